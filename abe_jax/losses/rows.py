"""A whole global batch, as every loss sees it."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Bool, Int, Key

from abe_jax.errors import UserError

LABELS = ("class", "instance")


@runtime_checkable
class Embedded(Protocol):
    """What a model gives for a batch: features [b, m, c], embedding and vectors [b, m, d]."""

    @property
    def features(self) -> Array: ...

    @property
    def embedding(self) -> Array: ...

    @property
    def vectors(self) -> Array: ...


class Rows(NamedTuple):
    """The rows of a global batch: `embedding` [b, m, d] before and `vectors` after L2."""

    embeddings: Embedded
    labels: Int[Array, " b"]
    instances: Int[Array, " b"] | None = None  # image identities
    mask: Bool[Array, " b"] | None = None  # which rows are there
    domains: Int[Array, " b"] | None = None  # where the sampler lays them in blocks
    key: Key[Array, ""] | None = None  # of this step and term; the same on every device

    def identities(self, label: str) -> Int[Array, " b"]:
        """What makes two rows positive by a term's `label`: their class or their image."""
        if label == "class":
            return self.labels
        if label != "instance":
            raise UserError(f"a term's label is one of {', '.join(LABELS)}, not {label!r}")
        if self.instances is None:
            raise UserError("a term with label 'instance' needs the batch's instances")
        return self.instances

    def of_domains(self) -> Int[Array, " b"]:
        """The rows' domains, where a loss needs them."""
        if self.domains is None:
            raise UserError(
                "a loss over domains needs the batch's: set config.data.sampler to 'domains'"
            )
        return self.domains

    def random(self) -> Key[Array, ""]:
        """The key, where a loss draws."""
        if self.key is None:
            raise UserError("a loss that draws at random needs a key")
        return self.key
