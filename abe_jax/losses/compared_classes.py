"""The classes that a batch is compared with: all of them, or its own and others drawn at random."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.errors import ArgumentError
from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs


class DrawnClasses(NamedTuple):
    """The classes that a batch is compared with, in slots of which some may be empty."""

    classes: Int[Array, " s"]  # distinct
    counts: Bool[Array, " s"]  # False: an empty slot
    slot: Int[Array, " c"]  # of each class; meaningless for one that is not among `classes`


def draw(
    labels: Int[Array, " b"],
    here: Bool[Array, " b"],
    classes: int,
    subsample: int,
    key: Key[Array, ""],
) -> DrawnClasses:
    """The classes of the batch, and others drawn evenly until `subsample` are together.

    All own classes are there even if they are more than `subsample`; hence min(c, max(subsample,
    b)) slots. Classes and not rows are ranked, own ones first and the others at random, so that no
    class comes twice. Memory O(c) numbers, whatever the length of a proxy.
    """
    index = jnp.where(here & classes_.among(labels, classes), labels, classes)
    present = jnp.zeros(classes, bool).at[index].set(True, mode="drop")
    rank = jax.random.uniform(key, (classes,)) + present.astype(jnp.float32)
    size = min(classes, max(subsample, labels.shape[0]))
    chosen = jax.lax.top_k(rank, size)[1]
    slots = jnp.arange(size, dtype=chosen.dtype)
    number = jnp.sum(present, dtype=chosen.dtype)
    slot = jnp.zeros(classes, chosen.dtype).at[chosen].set(slots, unique_indices=True)
    return DrawnClasses(chosen, slots < jnp.maximum(number, subsample), slot)


class ComparedClasses(NamedTuple):
    """A batch's vectors and the proxies that they are compared with, all of unit length.

    The s classes have k proxies each, one behind the other: those of slot z are the rows z k ..
    z k + k - 1. A zero vector stays zero.
    """

    vectors: Float[Array, "m b d"]  # zeros where a row is not there
    proxies: Float[Array, "m n d"]  # n = s k
    slot: Int[Array, " b"]  # of each row's own class; meaningless where its label is none
    valid: Bool[Array, " b"]  # False: the row's label is no class
    counts: Bool[Array, " s"]  # False: an empty slot
    here: Bool[Array, " b"]  # which rows are there
    centres: int  # k

    def cosines(self) -> Float[Array, "m b s k"]:
        """Of each row with each proxy."""
        x = classes_.products(self.vectors, self.proxies)
        return x.reshape(*x.shape[:2], self.counts.shape[0], self.centres)

    def own(self) -> Bool[Array, "b s"]:
        """Which slot is that of a row's own class."""
        slots = jnp.arange(self.counts.shape[0], dtype=self.slot.dtype)
        return self.slot[:, None] == slots[None, :]

    def own_proxies(self) -> Float[Array, "m b k d"]:
        """The proxies of each row's class."""
        x = jnp.take(self.proxies, rows_of(self.slot, self.centres), axis=1, mode="clip")
        return x.reshape(x.shape[0], self.slot.shape[0], self.centres, x.shape[-1])

    def cross_entropy(
        self, own: Float[Array, "m b"], scores: Float[Array, "m b s"]
    ) -> Float[Array, ""]:
        """-log( exp(own) / (exp(own) + sum_z exp(score_z)) ), z over the classes but the row's own.

        The mean over rows, summed over learners; NaN where a row that is there has a label that is
        no class. As log(1 + exp(...)) it keeps its digits where it is far below 1. Of one class 0.
        """
        others = self.counts[None, :] & ~self.own()
        others = jnp.where(others[None], scores, pairs.NOTHING)
        terms = jax.nn.softplus(jax.nn.logsumexp(others, axis=-1) - own)
        return classes_.mean_of_rows(jnp.where(self.valid[None], terms, jnp.nan), self.here)


def rows_of(classes: Int[Array, " n"], centres: int) -> Int[Array, " nk"]:
    """The rows of the proxies of these classes, where each class has `centres`."""
    each = jnp.arange(centres, dtype=classes.dtype)
    return (classes[:, None] * centres + each[None, :]).reshape(-1)


def compared_classes(
    vectors: Float[Array, "b *m d"],
    proxies: Float[Array, "*m n d"],
    labels: Int[Array, " b"],
    mask: Bool[Array, " b"] | None,
    *,
    centres: int = 1,
    subsample: int = 0,
    key: Key[Array, ""] | None = None,
) -> ComparedClasses:
    """A batch beside the proxies of all classes, or with `subsample` = s > 0 of some.

    Those are the batch's own classes and others drawn evenly by `key` until s are together, the
    same for all learners; a batch of more than s classes has all its own. Only their proxies are
    gathered, memory O(m s' k d) with s' = max(s, b), besides O(c) numbers for the draw; the
    gradient of all others is exactly 0. From s = c on it is all classes.

    Raises ArgumentError where vectors and proxies are not of the same learners, where the proxies
    are not `centres` for each class, for a subsample without a key, and for fewer centres than 1.
    """
    for name, number, least in (("centres", centres, 1), ("subsample", subsample, 0)):
        if not number >= least:
            raise ArgumentError(name, f"{number} is not at least {least}")
    here = pairs.present(labels, mask)
    y = classes_.for_learners(proxies, vectors, 2)
    count, rest = divmod(y.shape[1], centres)
    if rest or not count:
        raise ArgumentError("proxies", f"{y.shape[1]} are not {centres} for each class")
    valid = classes_.among(labels, count)
    slot = jnp.clip(labels.astype(jnp.int32), 0, count - 1)
    counts = jnp.ones(count, bool)
    if 0 < subsample < count:
        if key is None:
            raise ArgumentError(
                "key", "a subsample of the classes is drawn at random: it needs one"
            )
        drawn = draw(labels, here, count, subsample, key)
        rows = rows_of(drawn.classes, centres)
        y = jnp.take(y, rows, axis=1, mode="clip", unique_indices=True)
        slot, counts = drawn.slot[slot], drawn.counts
    x = classes_.unit(pairs.without_absent(pairs.per_learner(vectors), here))
    return ComparedClasses(x, classes_.unit(y), slot, valid, counts, here, centres)
