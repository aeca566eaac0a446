"""A bias, with and without a ReLU, on both of its ways."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import ways
from abe_jax.models.backbones.bias import biased, column_sums

WAYS = ((), ("bias",))


def example(dtype: str, seed: int = 0) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Maps, biases, and a gradient of what comes out."""
    rng = np.random.default_rng(seed)
    x, g = (jnp.asarray(rng.normal(size=(3, 5, 6, 4)), dtype) for _ in range(2))
    return x, jnp.asarray(rng.normal(size=4), jnp.float32), g


def value_and_gradients(way: tuple[str, ...], dtype: str, rectify: bool) -> Any:
    x, bias, g = example(dtype)

    def both(x: jax.Array, bias: jax.Array, g: jax.Array) -> Any:
        y, backward = jax.vjp(lambda x, bias: biased(x, bias, rectify=rectify), x, bias)
        return y, *backward(g)

    with ways.only(*way):
        return jax.jit(both)(x, bias, g)


@pytest.mark.parametrize("rectify", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("way", WAYS)
def test_against_sums_in_float64(way: tuple[str, ...], dtype: str, rectify: bool) -> None:
    y, to_x, to_bias = value_and_gradients(way, dtype, rectify)
    x, bias, g = example(dtype)
    before = np.asarray(x + bias.astype(dtype)[None, None, None], np.float64)
    expected = np.maximum(before, 0) if rectify else before
    np.testing.assert_array_equal(np.asarray(y, np.float64), expected)
    passed = np.where(before > 0, 1.0, 0.0) if rectify else np.ones_like(before)
    slope = np.asarray(g, np.float64) * passed
    np.testing.assert_array_equal(np.asarray(to_x, np.float64), slope)
    # 90 terms of about 1: in float32 within 1e-5. The way of all platforms adds them in the compute
    # type, and in bfloat16 each addition rounds a sum of up to 16 by at most 2^-5.
    bound = 1e-5 if dtype == "float32" or way else 0.3
    np.testing.assert_allclose(to_bias, slope.sum((0, 1, 2)), atol=bound, rtol=1e-6)
    assert to_bias.dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 3, 1, 5), (4, 9, 7, 2)])
def test_column_sums_of_any_number_of_positions(shape: tuple[int, ...], dtype: str) -> None:
    x = jnp.asarray(np.random.default_rng(2).normal(size=shape), dtype)
    expected = np.asarray(x, np.float64).sum((0, 1, 2))
    np.testing.assert_allclose(column_sums(x), expected, rtol=1e-5, atol=1e-5)


def test_a_nan_stays_and_passes_no_gradient() -> None:
    x, bias, _ = example("float32")
    x = x.at[0, 1, 2, 3].set(jnp.nan)
    for way in WAYS:
        with ways.only(*way):
            y, backward = jax.vjp(lambda x: biased(x, bias, rectify=True), x)
        assert np.isnan(y).sum() == 1
        assert backward(jnp.ones_like(y))[0][0, 1, 2, 3] == 0


def test_biases_of_several_learners_at_once() -> None:
    x, _, g = example("float32")
    biases = jnp.asarray(np.random.default_rng(3).normal(size=(2, 4)), jnp.float32)
    found = []
    for way in WAYS:
        with ways.only(*way):
            each = jax.vmap(lambda bias: biased(x, bias, rectify=True))
            slopes = jax.jit(lambda b, g: jax.vjp(each, b)[1](g)[0])  # noqa: B023 (called at once)
            found.append(slopes(biases, jnp.stack([g, 2 * g])))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)


def test_of_a_relu_its_output_alone_is_kept() -> None:
    x = jax.ShapeDtypeStruct((2, 4, 4, 8), jnp.bfloat16)
    bias = jax.ShapeDtypeStruct((8,), jnp.float32)

    def backward(x: jax.Array, bias: jax.Array) -> Any:
        return jax.vjp(lambda x, bias: biased(x, bias, rectify=True), x, bias)[1]

    with ways.only("bias"):
        kept = jax.tree.leaves(jax.eval_shape(backward, x, bias))
    assert [(leaf.shape, leaf.dtype) for leaf in kept] == [(x.shape, x.dtype)]


def test_no_sum_over_all_positions_is_left_in_the_program_for_a_gpu() -> None:
    x, bias, g = example("bfloat16")

    def gradient(x: jax.Array, bias: jax.Array, g: jax.Array) -> Any:
        return jax.vjp(lambda x, bias: biased(x, bias, rectify=True), x, bias)[1](g)

    found = {}
    for way in WAYS:
        with ways.only(*way):
            lowered = jax.jit(gradient).trace(x, bias, g).lower(lowering_platforms=("cuda",))
        found[way] = lowered.as_text()
    assert "dimensions = [0, 1, 2]" in found[()] and "dot_general" not in found[()]
    assert "dimensions = [0, 1, 2]" not in found["bias",] and "dot_general" in found["bias",]
