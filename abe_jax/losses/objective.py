"""The weighted sum of losses that a config names."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from abe_jax.config import Contrastive, Divergence, Term
from abe_jax.losses.contrastive import contrastive
from abe_jax.losses.divergence import divergence


@runtime_checkable
class Embedded(Protocol):
    """What a model gives for a batch: features [b, m, c] and vectors [b, m, d]."""

    @property
    def features(self) -> Array: ...

    @property
    def vectors(self) -> Array: ...


# A term's value from (embeddings, labels, instances, mask).
Loss = Callable[[Embedded, Array, Array | None, Array | None], Array]


def _contrastive(term: Contrastive, key: str) -> Loss:
    return lambda embeddings, labels, instances, mask: contrastive(
        embeddings.vectors,
        labels,
        margin=term.margin,
        squared=term.squared,
        pairs=term.pairs,
        reduction=term.reduction,
        mask=mask,
    )


def _divergence(term: Divergence, key: str) -> Loss:
    return lambda embeddings, labels, instances, mask: divergence(
        embeddings.vectors,
        margin=term.margin,
        squared=term.squared,
        reduction=term.reduction,
        mask=mask,
    )


# Config term -> what makes its loss, inside the module's scope. A term with parameters (proxies, a
# classifier) makes a Linen module named `key`, which is called like any Loss.
LOSSES: dict[type, Callable[..., Loss]] = {
    Contrastive: _contrastive,
    Divergence: _divergence,
}


def keys(terms: tuple[Term, ...]) -> tuple[str, ...]:
    """A distinct name for each term: its own, then name_2, name_3 ... where names repeat."""
    seen: dict[str, int] = {}
    result = []
    for term in terms:
        seen[term.name] = seen.get(term.name, 0) + 1
        result.append(term.name if seen[term.name] == 1 else f"{term.name}_{seen[term.name]}")
    return tuple(result)


class Objective(nn.Module):
    """sum_t weight_t * loss_t(batch) over a config's terms.

    `apply(variables, embeddings, labels, instances, mask)` returns the total (float32 scalar) and
    each term's value before its weight, by the names of `keys`. labels [b] are classes, instances
    [b] image identities, mask [b] which rows are there. `init` gives an empty tree as long as no
    term has parameters. Errors: those of the terms' losses.
    """

    terms: tuple[Term, ...]

    @nn.compact
    def __call__(
        self,
        embeddings: Embedded,
        labels: Int[Array, " b"],
        instances: Int[Array, " b"] | None = None,
        mask: Bool[Array, " b"] | None = None,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        total, values = jnp.float32(0), {}
        for term, key in zip(self.terms, keys(self.terms), strict=True):
            loss = LOSSES[type(term)](term, key)
            values[key] = loss(embeddings, labels, instances, mask)
            total = total + term.weight * values[key]
        return total, values
