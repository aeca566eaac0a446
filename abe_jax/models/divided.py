"""An embedding layer divided among M learners: BIER's network, Opitz et al., arXiv 1801.04815."""

from abe_jax.models.single_head import SingleHead


class DividedHead(SingleHead):
    """One backbone and one pooled feature; each learner has a fully connected layer of its own.

    It costs what a single head of the same `dim` costs, and differs from it in that layer alone
    (`Ensemble.setup_head`).
    """

    kind = "divided"

    learners: int = 3
