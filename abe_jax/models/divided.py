"""An embedding layer divided among M learners: BIER's network, Opitz et al., arXiv 1801.04815."""

from jaxtyping import Array, Float

from abe_jax.models.backbones.stages import Stages
from abe_jax.models.ensemble import Embeddings, Ensemble


class DividedHead(Ensemble):
    """One backbone and one pooled feature; each learner has a fully connected layer of its own.

    It costs what a single head of the same `dim` costs. The backbone is cut at `branch` as the
    others are, so that parameters have the same names.
    """

    kind = "divided"

    learners: int = 3

    def setup(self) -> None:
        stages = self.cut
        self.encoder = Stages(stages.encoder)
        self.decoder = Stages(stages.decoder)
        self.setup_head()

    def __call__(self, images: Float[Array, "b h w c"], train: bool = False) -> Embeddings:
        """Embeds images; keep `batch_stats` mutable when `train` is true."""
        x = self.encoder(images.astype(self.dtype), train)
        return self.embed(self.decoder(x, train)[:, None], train, self.grid(images))
