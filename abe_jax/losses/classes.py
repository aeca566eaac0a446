"""What the losses with a parameter for each class share: proxies, own scores, means over rows."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from abe_jax.errors import ArgumentError
from abe_jax.losses import pairs
from abe_jax.losses.batch import BatchEmbeddings, sizes_of
from abe_jax.losses.term import Parameter


def known(classes: int) -> int:
    """The number of classes, for a loss that cannot do without it."""
    if not classes:
        raise ArgumentError("classes", "the number of training classes is not known")
    return classes


def symmetric(key: Key[Array, ""], shape: tuple[int, ...], dtype: type = jnp.float32) -> Array:
    """Proxies [..., d] drawn from U(-1 / sqrt(d), 1 / sqrt(d))."""
    bound = shape[-1] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def class_proxies(embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
    """The parameter `proxies` [m, classes, d]: a set for each learner.

    `classes`: or as many times as each class has centres.

    A learner smaller than d has proxies of its own size: zeros stand behind, and stay, since there
    the gradient is zero.
    """
    sizes = sizes_of(embeddings)
    shape = (len(sizes), known(classes), max(sizes))
    own = np.arange(shape[-1]) < np.array(sizes)[:, None, None]

    def within(key: Key[Array, ""], shape: tuple[int, ...], dtype: type = jnp.float32) -> Array:
        return jnp.where(own, symmetric(key, shape, dtype), 0)

    return {"proxies": Parameter(symmetric if own.all() else within, shape)}


def for_learners(
    parameters: Float[Array, "..."], vectors: Float[Array, "..."], single: int
) -> Float[Array, "..."]:
    """Parameters as float32 with the learners' axis, which they lack where `vectors` lack it.

    `single` is the number of axes they have without it. Raises ArgumentError where they disagree.
    """
    learners = () if vectors.ndim == 2 else vectors.shape[1:2]
    if parameters.ndim != single + len(learners) or parameters.shape[: len(learners)] != learners:
        raise ArgumentError(
            "vectors",
            f"vectors of shape {vectors.shape} and parameters of shape {parameters.shape} "
            "are not of the same learners",
        )
    x = parameters.astype(jnp.float32)
    return x if learners else x[None]


def unit(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """x / |x|; a zero vector stays zero, and its gradient is that of a vector of length 1.

    NaN where |x|^2 is more than float32 holds: else it would look like a zero vector.
    """
    length = pairs.distances(jnp.sum(x * x, axis=-1, keepdims=True))
    return x / jnp.where(jnp.isinf(length), jnp.nan, jnp.where(length == 0.0, 1.0, length))


def products(x: Float[Array, "m b d"], y: Float[Array, "m c d"]) -> Float[Array, "m b c"]:
    """Inner products of each row with each class."""
    return jnp.einsum("mbd,mcd->mbc", x, y, precision=lax.Precision.HIGHEST)


def among(labels: Int[Array, " b"], classes: int) -> Bool[Array, " b"]:
    """Which labels name one of the classes 0 .. classes - 1."""
    return (labels >= 0) & (labels < classes)


def at_index(scores: Float[Array, "m b c"], index: Int[Array, " b"]) -> Float[Array, "m b"]:
    """Each row's score at `index`, of which one out of bounds counts as the nearest."""
    inside = jnp.clip(index, 0, scores.shape[-1] - 1)[None, :, None]
    inside = jnp.broadcast_to(inside, (*scores.shape[:2], 1))
    return jnp.take_along_axis(scores, inside, axis=-1, mode="clip")[..., 0]


def own(
    scores: Float[Array, "m b c"], index: Int[Array, " b"], valid: Bool[Array, " b"]
) -> Float[Array, "m b"]:
    """Each row's score at `index`; NaN for a row that is not valid."""
    return jnp.where(valid[None], at_index(scores, index), jnp.nan)


def mean_of_rows(values: Float[Array, "m b"], here: Bool[Array, " b"]) -> Float[Array, ""]:
    """The mean over the rows that are there, summed over learners; 0 where there is none."""
    return jnp.sum(pairs.masked_mean(values, jnp.broadcast_to(here[None], values.shape)))
