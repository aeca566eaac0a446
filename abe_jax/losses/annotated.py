"""Losses of predicted landmarks: where they are, and whether each is visible.

Source: Liu et al., DeepFashion, CVPR 2016, section 4.2 (FashionNet). Both are means over the images
of a batch, whose scale the paper leaves open.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from abe_jax.losses import classes, pairs
from abe_jax.losses.batch import GlobalBatch
from abe_jax.losses.term import Parameters, Term


def landmarks(
    predicted: Float[Array, "b k 2"],
    points: Float[Array, "b k 3"],
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """The mean over images of sum_k v_k |l^_k - l_k|^2, v_k 1 where landmark k is visible.

    `points` are (x, y, v), coordinates in any unit that both share. What an invisible landmark or
    an image that is not there holds has no part in it, NaN neither. Computed in float32.
    """
    here = _here(len(points), mask)
    seen = (points[..., 2] > 0) & here[:, None]
    away = jnp.where(seen[..., None], predicted.astype(jnp.float32) - points[..., :2], 0.0)
    each = jnp.sum(away * away, axis=(1, 2))
    return pairs.masked_mean(each[None], here[None])[0]


def visibility(
    logits: Float[Array, "b k 2"],
    points: Float[Array, "b k 3"],
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """The mean over images of sum_k -log softmax(logits_k) at what landmark k is: visible or not.

    `logits` are those of: not visible, visible; `points` as in `landmarks`, whose last number says
    which it is. Computed in float32.
    """
    here = _here(len(points), mask)
    x = jnp.where(here[:, None, None], logits.astype(jnp.float32), 0.0)
    is_visible = (points[..., 2] > 0)[..., None]
    own = jnp.where(is_visible, x[..., 1:], x[..., :1])[..., 0]
    each = jnp.sum(jax.nn.logsumexp(x, axis=-1) - own, axis=1)
    return pairs.masked_mean(each[None], here[None])[0]


def category(
    logits: Float[Array, "b c"],
    categories: Int[Array, " b"],
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """The mean over images of -log softmax(logits) at the image's category.

    A category that is not one of 0 .. c - 1 makes it NaN. Computed in float32.
    """
    here = _here(len(categories), mask)
    x = jnp.where(here[:, None], logits.astype(jnp.float32), 0.0)
    valid = classes.among(categories, x.shape[-1])
    own = classes.own(x[None], categories, valid)
    return classes.mean_of_rows(jax.nn.logsumexp(x, axis=-1)[None] - own, here)


def attributes(
    logits: Float[Array, "b a"],
    present: Bool[Array, "b a"],
    shares: Float[Array, " a"] | None = None,
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """Weighted cross-entropy of attributes, each of which an image has or has not.

    The mean over images of -sum_a (w_a y_a log p_a + (1 - w_a) (1 - y_a) log(1 - p_a)), p_a the
    sigmoid of the logit. w_a = 1 - shares_a is the share of the training images without the
    attribute, so that both sides of each attribute weigh alike over the training images. (The
    paper's weights are by the numbers of images with and without; its formula is not known here.)
    Without `shares` w_a is 1/2. Computed in float32.
    """
    here = _here(len(present), mask)
    x = jnp.where(here[:, None], logits.astype(jnp.float32), 0.0)
    w = jnp.full(x.shape[-1:], 0.5) if shares is None else 1.0 - shares
    with_it, without = jax.nn.softplus(-x), jax.nn.softplus(x)  # -log p and -log(1 - p)
    each = jnp.sum(jnp.where(present, w[None] * with_it, (1.0 - w[None]) * without), axis=1)
    return pairs.masked_mean(each[None], here[None])[0]


def _here(rows: int, mask: Bool[Array, " b"] | None) -> Bool[Array, " b"]:
    return jnp.ones(rows, bool) if mask is None else mask


@dataclasses.dataclass(frozen=True, kw_only=True)
class Landmarks(Term):
    """Visible landmarks near to where they are."""

    name: str = "landmarks"

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        found, known = batch.prediction("landmarks"), batch.annotation("points")
        return landmarks(found, known, batch.mask)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Visibility(Term):
    """Which landmarks are visible."""

    name: str = "visibility"

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        found, known = batch.prediction("visibility"), batch.annotation("points")
        return visibility(found, known, batch.mask)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Category(Term):
    """The category of an image, which is no class of its own: a kind of clothes."""

    name: str = "category"

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        found, known = batch.prediction("category"), batch.annotation("categories")
        return category(found, known, batch.mask)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attributes(Term):
    """The attributes of an image, weighted by how many training images have each."""

    name: str = "attributes"

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        found, known = batch.prediction("attributes"), batch.annotation("attributes")
        shares = jnp.asarray(batch.attribute_shares, jnp.float32)
        return attributes(found, known, shares if len(shares) else None, batch.mask)
