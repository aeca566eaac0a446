"""A whole global batch, as every loss sees it."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int, Key

from abe_jax.errors import ArgumentError, require

LABELS = ("class", "instance")
# Where a term takes its distances: between the vectors of a test, or between what a model's neck
# normalises, as it is or at unit length.
READS = ("vectors", "before_neck", "unit_before_neck")


@runtime_checkable
class BatchEmbeddings(Protocol):
    """What a model gives for a batch: [b, m, d] before L2 normalisation and after it."""

    @property
    def unnormalised(self) -> Array: ...

    @property
    def vectors(self) -> Array: ...


class PlainVectors(NamedTuple):
    """Vectors that no model gave: the same before and after normalisation."""

    unnormalised: Array
    vectors: Array


def sizes_of(embeddings: BatchEmbeddings) -> tuple[int, ...]:
    """The dimensions of each learner; behind those of a smaller one its vector has zeros."""
    _, learners, size = embeddings.vectors.shape
    return getattr(embeddings, "sizes", ()) or (size,) * learners


def read(embeddings: BatchEmbeddings, reads: str) -> Array:
    """One of READS, [b, m, d]; without a neck that is before it which is before L2 otherwise.

    Raises:
        ArgumentError: none of READS.
    """
    require("reads", reads, READS)
    if reads == "vectors":
        return jnp.asarray(embeddings.vectors)
    before = getattr(embeddings, "before_neck", None)
    before = jnp.asarray(embeddings.unnormalised if before is None else before)
    if reads == "before_neck":
        return before
    wide = before.astype(jnp.float32)
    square = jnp.sum(wide * wide, axis=-1, keepdims=True)
    return wide * lax.rsqrt(jnp.maximum(square, 1e-12))


class GlobalBatch(NamedTuple):
    """The rows of a global batch: the embeddings of all devices, and what is known of each row."""

    embeddings: BatchEmbeddings
    labels: Int[Array, " b"]
    image_ids: Int[Array, " b"] | None = None
    mask: Bool[Array, " b"] | None = None  # which rows are there
    domains: Int[Array, " b"] | None = None
    key: Key[Array, ""] | None = None  # of this step and term; the same on every device
    # [c, d] of each learner's fully connected layer, or one for all: parameters of the network, the
    # same on every device.
    kernels: tuple[Array, ...] = ()
    annotations: Any = None  # see data/annotations.py; of the rows, where the data has some
    attribute_shares: tuple[float, ...] = ()  # of the training images, that have each attribute

    @property
    def vectors(self) -> Array:
        """[b, m, d] of unit length."""
        return self.embeddings.vectors

    @property
    def unnormalised(self) -> Array:
        """[b, m, d] before L2 normalisation."""
        return self.embeddings.unnormalised

    @property
    def features(self) -> Array:
        """[b, m, c], what the network pools; of vectors that no network gave, these themselves."""
        return getattr(self.embeddings, "features", self.embeddings.unnormalised)

    def read(self, reads: str) -> Array:
        """What a term compares, [b, m, d], by its option `reads`."""
        return read(self.embeddings, reads)

    def identities(self, label: str) -> Int[Array, " b"]:
        """What makes two rows positive by a term's `label`: their class or their image."""
        require("label", label, LABELS)
        if label == "class":
            return self.labels
        if self.image_ids is None:
            raise ArgumentError("image_ids", "a term with label 'instance' needs them")
        return self.image_ids

    def known_domains(self) -> Int[Array, " b"]:
        """The rows' domains, for a loss that cannot do without them."""
        if self.domains is None:
            raise ArgumentError(
                "domains",
                "a loss over domains needs those of the rows; an Objective takes them from "
                "domain_blocks",
            )
        return self.domains

    def known_kernels(self) -> tuple[Array, ...]:
        """The kernels of the learners' layers, for a loss that they learn by directly."""
        if not self.kernels:
            raise ArgumentError(
                "kernels",
                "a loss on the network's fully connected layers needs theirs; with head 'none' "
                "there are none",
            )
        return self.kernels

    def prediction(self, name: str) -> Array:
        """What the network predicts, for a loss that compares it: see models/fashion_net.py."""
        found = getattr(getattr(self.embeddings, "predictions", None), name, None)
        if found is None:
            raise ArgumentError(
                "kind", f"a network of kind 'fashion_net' that predicts {name} is needed"
            )
        return found

    def annotation(self, name: str) -> Array:
        """What is known of the rows beside their labels, for a loss that cannot do without."""
        found = getattr(self.annotations, name, None)
        if found is None:
            raise ArgumentError("annotations", f"the images come without {name}")
        return jnp.asarray(found)

    def known_key(self) -> Key[Array, ""]:
        """The key, for a loss that draws at random."""
        if self.key is None:
            raise ArgumentError("key", "a loss that draws at random needs one")
        return self.key
