"""Terms of an objective: losses with their options, which can be called, scaled and added up."""

import dataclasses
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.bounds import Amount
from abe_jax.errors import ArgumentError, require
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import LABELS, BatchEmbeddings, GlobalBatch, PlainVectors

Parameters = Mapping[str, Any]  # arrays by name
Scaled = TypeVar("Scaled", bound="Term")
Values = dict[str, Float[Array, ""]]  # of each term, before its weight


class Parameter(NamedTuple):
    """An array that a term learns: how it starts, and its shape."""

    init: Callable[..., Array]  # of a key and a shape
    shape: tuple[int, ...]


class Addable:
    """One term or several, in order: `+` joins them, a number scales their weights."""

    def __iter__(self) -> Iterator["Term"]:
        raise NotImplementedError

    def __add__(self, other: Iterable["Term"]) -> "Sum":
        return Sum((*self, *terms(other)))

    def __radd__(self, other: Literal[0]) -> "Sum":
        """So that Python's `sum`, which starts from 0, adds up terms."""
        return Sum(tuple(self)) if other == 0 else NotImplemented

    def weighted_loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        """The weight times the loss, or the sum of these."""
        raise NotImplementedError

    @checked
    def __call__(
        self,
        vectors: Float[Array, "b *m d"] | BatchEmbeddings,
        labels: Int[Array, " b"],
        *,
        image_ids: Int[Array, " b"] | None = None,
        mask: Bool[Array, " b"] | None = None,
        domains: Int[Array, " b"] | None = None,
        key: Key[Array, ""] | None = None,
        parameters: Parameters | None = None,
        kernels: Sequence[Float[Array, "_ _"]] = (),
    ) -> Float[Array, ""]:
        """The weight times the loss of one batch, summed over the terms: a float32 scalar.

        `vectors` is an array [b, d] or [b, m, d], or a model's embeddings, of which some losses
        read the vectors before normalisation; an array is taken as it is by all. The other
        arguments are needed by some losses only: `image_ids` by label "instance", `domains` by
        Scatter and Shuffle, `key` by what draws at random, `parameters` by what learns some (as an
        objective has them: {"proxies": [m, classes, d]}, or [classes, d] for vectors [b, d]; of
        several terms those of each by its name in `keys`), `kernels` by Adversarial (those of
        `models.head_kernels`).

        Raises ArgumentError, by the argument's name, where one is missing or of another shape.
        """
        embeddings = _embeddings(vectors)
        batch = GlobalBatch(embeddings, labels, image_ids, mask, domains, key, tuple(kernels))
        return self.weighted_loss(batch, parameters or {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term(Addable):
    """A loss with its options and its weight in an objective.

    `0.1 * term` is the same term at a tenth of its weight; `term + term` is a `Sum`. A term is also
    a function of a batch: see `__call__`. A subclass gives `loss`, and `parameters` where it learns
    some. Raises ArgumentError for options outside of their bounds.
    """

    name: str
    weight: Amount = 1.0

    def __post_init__(self) -> None:
        for option, hint in typing.get_type_hints(type(self), include_extras=True).items():
            if typing.get_origin(hint) is typing.Annotated:
                _, least, most = typing.get_args(hint)
                value = getattr(self, option)
                if not least <= value <= most:
                    raise ArgumentError(option, f"{value} is not between {least:g} and {most:g}")

    def __iter__(self) -> Iterator["Term"]:
        yield self

    def options(self) -> dict[str, Any]:
        """The loss's own options, by the names that the loss's function has for them."""
        shared = ("name", "weight", "label", "rate", "reads")
        own = [field.name for field in dataclasses.fields(self) if field.name not in shared]
        return {name: getattr(self, name) for name in own}

    def parameters(self, embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
        """What the term learns from vectors of this shape and so many classes: nothing."""
        return {}

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        """The value before the weight, float32; `parameters` has what `parameters` declares."""
        raise NotImplementedError

    def __mul__(self: Scaled, factor: float) -> Scaled:
        return dataclasses.replace(self, weight=float(factor) * self.weight)

    def __rmul__(self: Scaled, factor: float) -> Scaled:
        return self * factor

    def weighted_loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        return self.weight * self.loss(batch, Given(self.name, parameters))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairTerm(Term):
    """A loss between the images of a batch, of which two are a positive pair by their `label`."""

    label: str = "class"  # class | instance: what makes two rows of a batch a positive pair

    def __post_init__(self) -> None:
        super().__post_init__()
        require("label", self.label, LABELS)


@dataclasses.dataclass(frozen=True)
class Sum(Addable):
    """Several terms: what an Objective takes, and a function of a batch."""

    terms: tuple[Term, ...]

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __len__(self) -> int:
        return len(self.terms)

    def __mul__(self, factor: float) -> "Sum":
        return Sum(tuple(term * factor for term in self.terms))

    def __rmul__(self, factor: float) -> "Sum":
        return self * factor

    def weighted_loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        """The sum that an Objective gives; each term draws by a key of its own."""

        def loss(term: Term, name: str, batch: GlobalBatch) -> Array:
            return term.loss(batch, Given(name, parameters.get(name, {})))

        return weighted(self.terms, batch, loss)[0]


def terms(objective: Any) -> tuple[Term, ...]:
    """The terms of a single term, a sum, or several terms in order."""
    made = tuple(objective) if isinstance(objective, Iterable) else (objective,)
    for term in made:
        if not isinstance(term, Term):
            raise ArgumentError(
                "terms",
                f"expected losses such as Contrastive() or custom(function), not {term!r}",
            )
    return made


def keys(terms: Iterable[Term]) -> tuple[str, ...]:
    """A distinct name for each term: its own, then name_2, name_3 ... where names repeat."""
    seen: dict[str, int] = {}
    result = []
    for term in terms:
        seen[term.name] = seen.get(term.name, 0) + 1
        result.append(term.name if seen[term.name] == 1 else f"{term.name}_{seen[term.name]}")
    return tuple(result)


def weighted(
    terms: tuple[Term, ...],
    batch: GlobalBatch,
    loss: Callable[[Term, str, GlobalBatch], Array],
    factors: Float[Array, " t"] | None = None,
) -> tuple[Float[Array, ""], Values]:
    """sum_t factor_t * weight_t * loss_t(batch), and each loss_t by the names of `keys`.

    `loss(term, name, batch)` gets the batch with a key of the term's own.
    """
    total, values = jnp.float32(0), {}
    for index, (term, name) in enumerate(zip(terms, keys(terms), strict=True)):
        key = None if batch.key is None else jax.random.fold_in(batch.key, index)
        values[name] = loss(term, name, batch._replace(key=key))
        share = values[name] if factors is None else factors[index] * values[name]
        total = total + term.weight * share
    return total, values


class Given(dict):
    """A term's parameters as a caller gave them; one that is missing is named."""

    def __init__(self, term: str, parameters: Parameters):
        super().__init__({name: jnp.asarray(value) for name, value in parameters.items()})
        self.term = term

    def __missing__(self, name: str) -> Array:
        raise ArgumentError(
            "parameters", f"{self.term} learns {name!r}; give it, or train by an Objective"
        )


def _embeddings(vectors: Array | BatchEmbeddings) -> BatchEmbeddings:
    return vectors if isinstance(vectors, BatchEmbeddings) else PlainVectors(vectors, vectors)
