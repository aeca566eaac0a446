"""The weighted sum of losses that a config names."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.config import CrossEntropy, NormSoftmax, Term
from abe_jax.losses.rows import Embedded, Rows
from abe_jax.losses.terms import LOSSES, Place


def keys(terms: tuple[Term, ...]) -> tuple[str, ...]:
    """A distinct name for each term: its own, then name_2, name_3 ... where names repeat."""
    seen: dict[str, int] = {}
    result = []
    for term in terms:
        seen[term.name] = seen.get(term.name, 0) + 1
        result.append(term.name if seen[term.name] == 1 else f"{term.name}_{seen[term.name]}")
    return tuple(result)


def rates(terms: tuple[Term, ...]) -> dict[str, float]:
    """What multiplies the optimiser's rate for each term's parameters, by the names of `keys`."""
    return {key: getattr(term, "rate", 1.0) for key, term in zip(keys(terms), terms, strict=True)}


def classifier(terms: tuple[Term, ...]) -> tuple[CrossEntropy | NormSoftmax, str] | None:
    """The first term that is a linear classifier, and its name of `keys`; None where none is.

    A term of weight 0 has learned nothing and is passed over.
    """
    for term, key in zip(terms, keys(terms), strict=True):
        if isinstance(term, CrossEntropy | NormSoftmax) and term.weight:
            return term, key
    return None


class Objective(nn.Module):
    """sum_t weight_t * loss_t(batch) over a config's terms.

    `apply(variables, embeddings, labels, instances, mask, key, domains)` returns the total (float32
    scalar) and each term's value before its weight, by the names of `keys`. labels [b] are classes
    below `classes`, instances [b] image identities, mask [b] which rows are there; `key` is what
    losses that draw need, domains [b] what losses over domains do. `init` gives an empty tree where
    no term has parameters. Errors: those of the terms' losses.
    """

    terms: tuple[Term, ...]
    classes: int = 0

    @nn.compact
    def __call__(
        self,
        embeddings: Embedded,
        labels: Int[Array, " b"],
        instances: Int[Array, " b"] | None = None,
        mask: Bool[Array, " b"] | None = None,
        key: Key[Array, ""] | None = None,
        domains: Int[Array, " b"] | None = None,
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        total, values = jnp.float32(0), {}
        for at, (term, name) in enumerate(zip(self.terms, keys(self.terms), strict=True)):
            loss = LOSSES[type(term)](term, Place(name, self.classes))
            drawn = None if key is None else jax.random.fold_in(key, at)
            values[name] = loss(Rows(embeddings, labels, instances, mask, domains, drawn))
            total = total + term.weight * values[name]
        return total, values
