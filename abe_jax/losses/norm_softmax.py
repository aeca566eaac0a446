"""Normalised softmax: cross-entropy over cosines to one proxy for each class."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.errors import UserError
from abe_jax.losses import classes as classes_
from abe_jax.losses import pairs
from abe_jax.losses.rows import Rows


class Drawn(NamedTuple):
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
) -> Drawn:
    """The classes of the batch, and others drawn evenly until `subsample` are together.

    All own classes are there even if they are more than `subsample`; hence min(c, max(subsample,
    b)) slots. Classes and not rows are ranked, own ones first and the others at random, so that no
    class comes twice. Memory O(c) numbers, whatever the length of a proxy.
    """
    index = jnp.where(here & classes_.inside(labels, classes), labels, classes)
    present = jnp.zeros(classes, bool).at[index].set(True, mode="drop")
    rank = jax.random.uniform(key, (classes,)) + present.astype(jnp.float32)
    size = min(classes, max(subsample, labels.shape[0]))
    chosen = jax.lax.top_k(rank, size)[1]
    places = jnp.arange(size, dtype=chosen.dtype)
    number = jnp.sum(present, dtype=chosen.dtype)
    slot = jnp.zeros(classes, chosen.dtype).at[chosen].set(places, unique_indices=True)
    return Drawn(chosen, places < jnp.maximum(number, subsample), slot)


def norm_softmax(
    vectors: Float[Array, "b *m d"],
    proxies: Float[Array, "*m c d"],
    labels: Int[Array, " b"],
    *,
    temperature: float = 0.05,
    subsample: int = 0,
    key: Key[Array, ""] | None = None,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Normalised softmax: cross-entropy over an image's cosines to the proxies.

    The term of image x of class y is -log( exp(x.p_y / t) / sum_z exp(x.p_z / t) ), x and p of unit
    length, t the temperature; no bias, no margin. The loss is the mean over images, summed over
    learners. `vectors` [b, d] with `proxies` [c, d], or [b, m, d] with [m, c, d]. Computed in
    float32, memory O(m b c).

    `subsample` = s > 0 lets z run over s classes only: the batch's own and others drawn evenly by
    `key`, the same for all learners; nothing makes up for those left out. A batch of more than s
    classes is compared with all its own. Only those proxies are gathered, memory O(m s' (d + b))
    with s' = max(s, b), besides O(c) numbers for the draw; the gradient of all others is exactly 0.
    From s = c on it is the full softmax.

    With one class it is 0. Images where `mask` is False are not there, whatever their label; of the
    others a label that is not one of 0 .. c - 1 makes the loss NaN.

    NormalizedSoftmaxLoss of pytorch-metric-learning is the same without `subsample`.

    Raises UserError where vectors and proxies are not of the same learners, and for a subsample
    without a key.
    Source: Zhai and Wu, Classification is a Strong Baseline for Deep Metric Learning, BMVC 2019
    (arXiv 1811.12649), the normalised softmax and its class subsampling; the paper says of the
    latter that a subset is drawn, and how is our reading.
    """
    here = pairs.present(labels, mask)
    y = classes_.for_learners(proxies, vectors, 2)
    count = y.shape[1]
    valid, at, counts = classes_.inside(labels, count), labels, jnp.ones(count, bool)
    if 0 < subsample < count:
        if key is None:
            raise UserError("norm_softmax draws its subsample of the classes: it needs a key")
        drawn = draw(labels, here, count, subsample, key)
        y = jnp.take(y, drawn.classes, axis=1, mode="clip", unique_indices=True)
        at, counts = drawn.slot[jnp.clip(labels, 0, count - 1)], drawn.counts
    x = classes_.unit(pairs.without_absent(pairs.per_learner(vectors), here))
    logits = classes_.products(x, classes_.unit(y)) / temperature
    total = jax.nn.logsumexp(jnp.where(counts[None, None], logits, -jnp.inf), axis=-1)
    return classes_.mean_of_rows(total - classes_.own(logits, at, valid), here)


class NormSoftmaxLoss(nn.Module):
    """`norm_softmax` with proxies [m, classes, d] from U(-1 / sqrt(d), 1 / sqrt(d)).

    Raises UserError for `classes` 0.
    """

    classes: int
    temperature: float
    subsample: int

    @nn.compact
    def __call__(self, rows: Rows) -> Float[Array, ""]:
        vectors = rows.embeddings.vectors
        return norm_softmax(
            vectors,
            classes_.class_proxies(self, self.classes, vectors),
            rows.labels,
            temperature=self.temperature,
            subsample=self.subsample,
            key=rows.random() if self.subsample else None,
            mask=rows.mask,
        )
