"""An inception stage whose 1x1 convolutions of one map are one product, against itself."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import ways
from abe_jax.models import counting
from abe_jax.models.backbones.googlenet import Inception, Widths, rectified
from abe_jax.models.backbones.siblings import rectified_siblings

WIDTHS = Widths(6, 5, 7, 3, 4, 2)
WAYS = ((), ("siblings",))


def stage(dtype: Any = jnp.float32) -> Inception:
    return Inception(
        widths=WIDTHS,
        unit=partial(rectified, dtype=dtype),
        siblings=partial(rectified_siblings, dtype=dtype),
    )


def maps(dtype: Any = jnp.float32) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4, 9)), dtype)


def random_variables() -> Any:
    """Parameters with biases that are not zero."""
    rng, made = np.random.default_rng(1), stage().init(jax.random.key(0), maps(), True)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), made)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_value_and_gradients_are_those_of_convolutions_apart(dtype: Any) -> None:
    variables, x, found = random_variables(), maps(dtype), []
    for way in WAYS:
        with ways.only(*way):
            y, backward = jax.vjp(lambda v, x: stage(dtype).apply(v, x, True), variables, x)
            g = jnp.asarray(np.random.default_rng(2).normal(size=y.shape), y.dtype)
            found.append((y, *backward(g)))
    # In bfloat16 the three gradients of the map are rounded apart, each by 2^-9 of itself.
    bound = {"rtol": 1e-5, "atol": 1e-4} if dtype == jnp.float32 else {"rtol": 0.02, "atol": 1.0}
    for apart, together in zip(*map(jax.tree.leaves, found), strict=True):
        assert apart.dtype == together.dtype
        assert np.abs(np.asarray(apart, np.float32)).max() > 4
        np.testing.assert_allclose(*(np.asarray(a, np.float32) for a in (together, apart)), **bound)


def test_the_same_parameters_start_alike() -> None:
    made = []
    for way in WAYS:
        with ways.only(*way):
            made.append(stage().init(jax.random.key(3), maps(), True))
    assert jax.tree.structure(made[0]) == jax.tree.structure(made[1])
    jax.tree.map(np.testing.assert_array_equal, *made)


def test_six_products_become_four_with_as_many_multiply_adds() -> None:
    variables = jax.eval_shape(random_variables)
    products, counted = [], []
    for way in WAYS:
        with ways.only(*way):
            run = partial(lambda v, x: stage().apply(v, x, True))
            counted.append(sum(counting.multiply_adds(run, variables, maps()).values()))
            text = jax.jit(run).lower(variables, maps()).as_text()
        products.append(text.count("dot_general") + text.count("stablehlo.convolution"))
    assert products == [6, 4]
    assert counted[0] == counted[1]
