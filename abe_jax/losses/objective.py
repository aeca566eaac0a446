"""The weighted sum of losses that a model is trained by."""

from collections.abc import Iterable, Sequence
from typing import Any

from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.losses.batch import BatchEmbeddings, GlobalBatch
from abe_jax.losses.cross_entropy import CrossEntropy
from abe_jax.losses.domains import blocks
from abe_jax.losses.norm_softmax import NormSoftmax
from abe_jax.losses.stages import TrainingStage, check, factors
from abe_jax.losses.term import Term, Values, keys, weighted
from abe_jax.losses.term import terms as as_terms


def rates(terms: Iterable[Term]) -> dict[str, float]:
    """What multiplies the optimiser's rate for each term's parameters, by the names of `keys`."""
    made = tuple(terms)
    return {key: getattr(term, "rate", 1.0) for key, term in zip(keys(made), made, strict=True)}


def classifier(terms: Iterable[Term]) -> tuple[CrossEntropy | NormSoftmax, str] | None:
    """The first term that is a linear classifier, and its name of `keys`; None where none is.

    A term of weight 0 has learned nothing and is passed over.
    """
    made = tuple(terms)
    for term, key in zip(made, keys(made), strict=True):
        if isinstance(term, CrossEntropy | NormSoftmax) and term.weight:
            return term, key
    return None


class Objective(nn.Module):
    """sum_t weight_t * loss_t(batch) over the terms.

    `apply(variables, embeddings, labels, image_ids, mask, key)` returns the total (float32 scalar)
    and each term's value before its weight, by the names of `keys`. labels [b] are classes below
    `classes`, mask [b] says which rows are there; `key` is what losses that draw need, `kernels`
    (those of `models.head_kernels`) what losses on the network's last layers need, `annotations`
    what is known of the rows beside. Where `domain_blocks` is above 0, the rows are so many equal
    blocks, one for each domain. With `stages` each weight is multiplied by its factor at `step`.
    `init` gives an empty tree where no term has parameters. Errors: those of the terms' losses.
    """

    terms: Iterable[Term]  # a term, a sum or several terms; kept as a tuple
    classes: int = 0
    domain_blocks: int = 0
    attribute_shares: tuple[float, ...] = ()  # of the training images, that have each attribute
    stages: tuple[TrainingStage, ...] = ()  # that alternate; their factors are asked for by `step`

    def __post_init__(self) -> None:
        self.terms = as_terms(self.terms)
        check(self.stages, len(self.terms))
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        embeddings: BatchEmbeddings,
        labels: Int[Array, " b"],
        image_ids: Int[Array, " b"] | None = None,
        mask: Bool[Array, " b"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        kernels: Sequence[Float[Array, "_ _"]] = (),
        annotations: Any = None,
        step: Int[Array, ""] | None = None,
    ) -> tuple[Float[Array, ""], Values]:
        domains = blocks(len(labels), self.domain_blocks) if self.domain_blocks else None
        batch = GlobalBatch(embeddings, labels, image_ids, mask, domains, key, tuple(kernels))
        batch = batch._replace(annotations=annotations, attribute_shares=self.attribute_shares)

        def loss(term: Term, name: str, batch: GlobalBatch) -> Array:
            return LearnedTerm(term, self.classes, name=name)(batch)

        terms = as_terms(self.terms)
        return weighted(terms, batch, loss, factors(self.stages, len(terms), step))


class LearnedTerm(nn.Module):
    """A term's loss, what it learns among the variables."""

    term: Term
    classes: int

    @nn.compact
    def __call__(self, batch: GlobalBatch) -> Float[Array, ""]:
        declared = self.term.parameters(batch.embeddings, self.classes)
        learned = {name: self.param(name, *parameter) for name, parameter in declared.items()}
        return self.term.loss(batch, learned)
