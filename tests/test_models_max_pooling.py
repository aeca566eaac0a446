"""Maximum pooling against Caffe's loop and, on both of its ways, against itself."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import ways
from abe_jax.models.backbones.max_pooling import max_pool

WAYS = ((), ("pooling",))
# Height, width, size, stride, pad, ceil: GoogLeNet's, BN-Inception's, ResNet's, and odder ones.
SHAPES = [
    (7, 7, 3, 2, 0, True),
    (8, 9, 3, 2, 0, True),
    (14, 5, 3, 2, 0, True),
    (6, 7, 3, 1, 1, True),
    (5, 6, 2, 2, 1, True),
    (9, 10, 3, 2, 1, False),
    (8, 7, 2, 2, 0, False),
    (2, 3, 3, 2, 1, True),
]


def image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def caffe_max_pool(x: np.ndarray, size: int, stride: int, pad: int, ceil: bool) -> Any:
    """Caffe's loop; also where each maximum came from, for the gradient."""
    b, h, w, c = x.shape

    def length(n: int) -> int:
        out = int((np.ceil if ceil else np.floor)((n + 2 * pad - size) / stride)) + 1
        return out - 1 if ceil and pad and (out - 1) * stride >= n + pad else out

    out = np.zeros((b, length(h), length(w), c), np.float32)
    gradient = np.zeros_like(x)
    for n, i, j, k in np.ndindex(*out.shape):
        rows = range(max(i * stride - pad, 0), min(i * stride - pad + size, h))
        columns = range(max(j * stride - pad, 0), min(j * stride - pad + size, w))
        best = max(((r, s) for r in rows for s in columns), key=lambda at: x[n, at[0], at[1], k])
        out[n, i, j, k] = x[n, best[0], best[1], k]
        gradient[n, best[0], best[1], k] += 1 + i + 10 * j
    return out, gradient


def weighted_gradient(x: Any, way: tuple[str, ...], **options: Any) -> np.ndarray:
    """The gradient of the sum of the maxima, each with the weight of `caffe_max_pool`."""
    return maxima_and_gradient(x, way, **options)[1]


def maxima_and_gradient(x: Any, way: tuple[str, ...], **options: Any) -> Any:
    """The maxima, and `weighted_gradient`."""

    def total(x: jax.Array) -> Any:
        pooled = max_pool(x, **options)
        weights = 1 + np.arange(pooled.shape[1])[:, None] + 10 * np.arange(pooled.shape[2])[None]
        spread = np.broadcast_to(weights[None, :, :, None], pooled.shape)
        return (pooled * jnp.asarray(spread, pooled.dtype)).sum(), pooled

    with ways.only(*way):
        gradient, pooled = jax.jit(jax.grad(total, has_aux=True))(jnp.asarray(x))
    return np.asarray(pooled), np.asarray(gradient, np.float32)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("h", "w", "size", "stride", "pad", "ceil"), SHAPES)
def test_value_and_gradient_against_caffes_loop(h, w, size, stride, pad, ceil, way) -> None:
    x = image(2, h, w, 3)
    expected, gradient = caffe_max_pool(x, size, stride, pad, ceil)
    options = {"size": size, "stride": stride, "pad": pad, "ceil": ceil}
    found, slope = maxima_and_gradient(x, way, **options)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(slope, gradient, rtol=1e-6)


def test_by_slices_equal_entries_share_the_gradient() -> None:
    with ways.only():
        slope = jax.jit(jax.grad(lambda x: max_pool(x, size=3, stride=2).sum()))
        gradient = slope(jnp.ones((1, 6, 6, 1)))
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(), 9)  # one for each of the 3 x 3 windows


@pytest.mark.parametrize(("stride", "pad"), [(2, 0), (1, 1)])
def test_by_places_the_first_of_equal_entries_has_the_gradient(stride: int, pad: int) -> None:
    x = np.random.default_rng(1).integers(0, 3, (2, 8, 7, 3)).astype(np.float32)
    _, gradient = caffe_max_pool(x, 3, stride, pad, True)
    found = weighted_gradient(x, ("pooling",), size=3, stride=stride, pad=pad)
    np.testing.assert_array_equal(found, gradient)
    shared = weighted_gradient(x, (), size=3, stride=stride, pad=pad)
    assert np.abs(shared - gradient).max() > 1  # so the test would see the other rule


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_ways_give_the_same_maxima(dtype: str) -> None:
    x = jnp.asarray(image(2, 9, 10, 4), dtype)  # of bfloat16 many are equal
    x = x.at[0, 3, 4, 1].set(jnp.nan).at[1, 0, 0, 2].set(-jnp.inf)
    found = []
    for way in WAYS:
        with ways.only(*way):
            pool = jax.jit(partial(max_pool, size=3, stride=2))
            found.append(np.asarray(pool(x), np.float32))
    assert np.isnan(found[0]).sum() == 2  # row 3 is in one window's rows, column 4 in two's columns
    np.testing.assert_array_equal(*found)


def test_behind_a_relu_both_ways_have_the_same_gradient() -> None:
    x = image(2, 9, 10, 4)  # half of it becomes zeros, which are equal
    options: dict[str, Any] = {"size": 3, "stride": 1, "pad": 1}

    def gradient(way: tuple[str, ...]) -> Any:
        with ways.only(*way):
            return jax.jit(jax.grad(lambda x: (max_pool(jax.nn.relu(x), **options) ** 2).sum()))(x)

    np.testing.assert_allclose(gradient(("pooling",)), gradient(()), rtol=1e-5, atol=1e-6)


def test_both_ways_have_the_same_second_derivative() -> None:
    x, v = jnp.asarray(image(1, 7, 7, 2)), jnp.asarray(image(1, 7, 7, 2, seed=1))

    def along(way: tuple[str, ...]) -> Any:
        with ways.only(*way):
            slope = jax.grad(lambda x: (max_pool(x, size=3, stride=2) ** 3).sum())
            return jax.jit(jax.grad(lambda x: (slope(x) * v).sum()))(x)

    expected = along(())
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(along(("pooling",)), expected, rtol=1e-5, atol=1e-6)


def test_by_places_mapped_over_learners_and_computed_again() -> None:
    x = jnp.asarray(image(2, 2, 9, 8, 3))

    def slope(x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: (max_pool(x, size=3, stride=2) ** 2).sum())(x)

    def again(x: jax.Array) -> jax.Array:
        pooled = jax.checkpoint(lambda x: max_pool(x, size=3, stride=2))
        return jax.grad(lambda x: (pooled(x) ** 2).sum())(x)

    with ways.only("pooling"):
        found = jax.jit(jax.vmap(slope))(x), jax.jit(jax.vmap(again))(x)
        each = jax.jit(slope)
        expected = np.stack([each(x[0]), each(x[1])])
    for gradient in found:
        np.testing.assert_array_equal(gradient, expected)


def test_by_places_the_last_nan_of_a_window_has_the_gradient() -> None:
    x = jnp.asarray([[1.0, jnp.nan], [jnp.nan, 3.0]])[None, :, :, None]
    found = weighted_gradient(x, ("pooling",), size=2, stride=2)
    np.testing.assert_array_equal(found.ravel(), [0, 0, 1, 0])


def test_a_window_of_more_places_than_a_byte_numbers_is_pooled_by_slices() -> None:
    x, programs = jax.ShapeDtypeStruct((1, 24, 24, 1), jnp.float32), []
    for way in WAYS:
        with ways.only(*way):
            programs.append(str(jax.make_jaxpr(lambda x: max_pool(x, size=12, stride=12))(x)))
    assert programs[0] == programs[1]


def kept_bytes(way: tuple[str, ...], x: jax.ShapeDtypeStruct, **options: Any) -> int:
    """What a pooling keeps of its forward pass for its gradient."""
    with ways.only(*way):
        backward = jax.eval_shape(lambda x: jax.vjp(lambda x: max_pool(x, **options), x)[1], x)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(backward))


@pytest.mark.parametrize(("side", "out", "stride", "pad"), [(56, 28, 2, 0), (14, 14, 1, 1)])
def test_by_places_a_byte_is_kept_for_each_maximum(side, out, stride, pad) -> None:
    x = jax.ShapeDtypeStruct((4, side, side, 8), jnp.bfloat16)
    options = {"size": 3, "stride": stride, "pad": pad}
    assert kept_bytes(("pooling",), x, **options) == 4 * out * out * 8
    assert kept_bytes((), x, **options) > 4 * 4 * out * out * 8
