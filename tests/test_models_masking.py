"""A map under learners' masks, on both ways, against sums in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import ways
from abe_jax.models.masking import masked

WAYS = ((), ("masks",))


def example(dtype: str) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A map, logits of three learners, and a gradient of the masked maps."""
    rng = np.random.default_rng(0)
    shapes = ((2, 1, 4, 5, 6), (2, 3, 4, 5, 6), (2, 3, 4, 5, 6))
    s, logits, g = (jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes)
    return s, logits, g


def value_and_gradients(way: tuple[str, ...], dtype: str) -> Any:
    def both(s: jax.Array, logits: jax.Array, g: jax.Array) -> Any:
        y, backward = jax.vjp(masked, s, logits)
        return y, *backward(g)

    with ways.only(*way):
        return jax.jit(both)(*example(dtype))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_against_the_formula_in_float64(way: tuple[str, ...], dtype: str, bound: float) -> None:
    s, logits, g = (np.asarray(a, np.float64) for a in example(dtype))
    masks = 1 / (1 + np.exp(-logits))
    expected = (
        s * masks,
        (g * masks).sum(1, keepdims=True),
        g * s * masks * (1 - masks),
    )
    for ours, theirs in zip(value_and_gradients(way, dtype), expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(np.asarray(ours, np.float64), theirs, rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_ways_give_the_same_values_to_the_bit(dtype: str) -> None:
    found = [np.asarray(value_and_gradients(way, dtype)[0], np.float32) for way in WAYS]
    np.testing.assert_array_equal(found[0], found[1])


def test_mapped_computed_again_and_differentiated_twice() -> None:
    s, logits, _ = example("float32")

    def slopes(s: jax.Array, logits: jax.Array) -> Any:
        return jax.grad(jax.checkpoint(lambda s, a: (masked(s, a) ** 3).sum()), (0, 1))(s, logits)

    def twice(s: jax.Array, logits: jax.Array) -> Any:
        return jax.vmap(jax.grad(lambda s, a: slopes(s, a)[1].sum(), (0, 1)))(s, logits)

    found = []
    for way in WAYS:
        with ways.only(*way):
            found.append(jax.jit(twice)(jnp.stack([s, -s]), jnp.stack([logits, logits])))
    assert np.abs(found[0][0]).max() > 0.1
    for theirs, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_map_and_the_logits_alone_are_kept() -> None:
    s, logits, _ = example("bfloat16")
    with ways.only("masks"):
        backward = jax.eval_shape(lambda s, a: jax.vjp(masked, s, a)[1], s, logits)
    assert sorted(leaf.shape for leaf in jax.tree.leaves(backward)) == [s.shape, logits.shape]
