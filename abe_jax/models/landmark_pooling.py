"""Maxima of a map around points of the image, such as landmarks: a vector for each point."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float


def pooled_at(
    maps: Float[Array, "b h w c"],
    points: Float[Array, "b k 2"],
    visible: Bool[Array, "b k"],
    window: int,
) -> Float[Array, "b k c"]:
    """For each channel the maximum over window x window positions around each point.

    `points` are (x, y) as shares of the image's width and height; the position that a point falls
    on is the middle of its window (of an even window: the one right of and below the middle). A
    point outside of the image counts as the nearest position of the map, and of a window that
    reaches over the edge only what lies inside counts. Zero where a point is not `visible`.
    The points have no gradient; equal maxima share theirs. Computed in the map's type.

    Source: the landmark pooling of FashionNet (Liu et al., DeepFashion, CVPR 2016, section 4),
    whose window is not known here.
    """
    _, height, width, _ = maps.shape
    columns = _window(points[..., 0], width, window)
    rows = _window(points[..., 1], height, window)
    image = jnp.arange(maps.shape[0])[:, None, None, None]
    around = maps[image, rows[:, :, :, None], columns[:, :, None, :]]
    return jnp.where(visible[:, :, None], jnp.max(around, axis=(2, 3)), jnp.zeros((), maps.dtype))


def _window(share: Float[Array, "b k"], length: int, window: int) -> Array:
    """The positions [b, k, window] along an axis, those beyond its ends put onto them.

    The middle is inside, so what is put onto an end is counted twice and no maximum changes.
    """
    at = jnp.floor(jnp.nan_to_num(lax.stop_gradient(share)) * length)
    middle = jnp.clip(at, 0, length - 1).astype(jnp.int32)
    around = middle[..., None] + (jnp.arange(window) - window // 2)[None, None, :]
    return jnp.clip(around, 0, length - 1)
