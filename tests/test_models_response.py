"""Local response normalisation against its definition in float64, on both of its ways."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import ways
from abe_jax.models.backbones.response import local_response

WAYS = ((), ("response",))


def image(seed: int = 0) -> np.ndarray:
    """Large numbers, so that the small alpha makes itself felt."""
    return 30 * np.random.default_rng(seed).normal(size=(2, 3, 3, 8)).astype(np.float32)


def by_definition(x: np.ndarray) -> np.ndarray:
    out = np.zeros_like(x, np.float64)
    for k in range(x.shape[-1]):
        window = x[..., max(k - 2, 0) : k + 3].astype(np.float64)
        out[..., k] = x[..., k] / (1 + 1e-4 / 5 * (window**2).sum(-1)) ** 0.75
    return out


@pytest.mark.parametrize("way", WAYS)
def test_value_against_a_loop(way: tuple[str, ...]) -> None:
    x = image()
    expected = by_definition(x)
    assert np.abs(expected / x - 1).max() > 0.02
    with ways.only(*way):
        np.testing.assert_allclose(local_response(jnp.asarray(x)), expected, rtol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_gradient_against_differences_in_float64(way: tuple[str, ...]) -> None:
    x, g, step = image().astype(np.float64), image(1) / 30, 1e-4
    expected = np.zeros_like(x)
    for k in range(x.shape[-1]):  # a channel's gradient depends on its own position alone
        moved = np.zeros_like(x)
        moved[..., k] = step
        rise = by_definition(x + moved) - by_definition(x - moved)
        expected[..., k] = (g * rise).sum(-1) / (2 * step)
    with ways.only(*way):
        _, backward = jax.vjp(local_response, jnp.asarray(x, jnp.float32))
    found = backward(jnp.asarray(g, jnp.float32))[0]
    assert np.abs(expected - g).max() > 0.02
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_in_bfloat16_both_ways_agree_within_its_last_place() -> None:
    x, g = (jnp.asarray(image(seed), jnp.bfloat16) for seed in (0, 1))
    found: list[Any] = []
    for way in WAYS:
        with ways.only(*way):
            y, backward = jax.vjp(local_response, x)
            found.append((y, backward(g)[0]))
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype == jnp.bfloat16
        pair = (np.asarray(a, np.float32) for a in (ours, theirs))
        np.testing.assert_allclose(*pair, rtol=2**-7, atol=0.25)


def test_the_input_alone_is_kept() -> None:
    x = jax.ShapeDtypeStruct((2, 4, 4, 8), jnp.bfloat16)
    kept = {}
    for way in WAYS:
        with ways.only(*way):
            leaves = jax.tree.leaves(jax.eval_shape(lambda x: jax.vjp(local_response, x)[1], x))
        kept[way] = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    assert kept["response",] == 2 * 2 * 4 * 4 * 8
    assert kept[()] >= 4 * kept["response",]
