"""1x1 convolutions of one map as one product, against float64 and against convolutions apart."""

from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import ways
from abe_jax.models import counting
from abe_jax.models.backbones.googlenet import Inception, Widths, rectified
from abe_jax.models.backbones.siblings import rectified_siblings

FEATURES = {"one": 6, "three_reduce": 5, "five_reduce": 3}
WAYS = ((), ("siblings",))


def stage() -> Inception:
    return Inception(
        widths=Widths(6, 5, 7, 3, 4, 2),
        unit=partial(rectified, dtype=jnp.float32),
        siblings=partial(rectified_siblings, dtype=jnp.float32),
    )


def maps(dtype: Any = jnp.float32) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4, 9)), dtype)


@cache
def random_variables() -> Any:
    """Parameters with biases that are not zero."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(partial(stage().init, train=True), jax.random.key(0), maps())

    def parameter(leaf: Any) -> jax.Array:
        return jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(parameter, shapes)


def of_siblings(variables: Any, x: jax.Array) -> Any:
    """Their maps side by side, and the gradients of these."""

    class Alone(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            made = rectified_siblings(x, FEATURES, dtype=x.dtype)
            return jnp.concatenate([made[name] for name in FEATURES], axis=-1)

    def run(variables: Any, x: jax.Array) -> Any:
        return Alone().apply(variables, x)

    y, backward = jax.vjp(run, variables, x)
    return y, *backward(jnp.asarray(np.random.default_rng(2).normal(size=y.shape), y.dtype))


@pytest.mark.parametrize(("dtype", "bound"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2**-6)])
def test_value_and_gradients_in_float64(dtype: Any, bound: float) -> None:
    params = {name: random_variables()["params"][name] for name in FEATURES}
    x = maps(dtype)
    y, to_params, to_x = jax.jit(of_siblings)({"params": params}, x)
    wide, g = np.asarray(x, np.float64), np.random.default_rng(2).normal(size=y.shape)
    g, at, complete = np.asarray(jnp.asarray(g, dtype), np.float64), 0, np.zeros(x.shape)
    for name, own in params.items():
        kernel = np.asarray(own["kernel"].astype(dtype), np.float64)[0, 0]
        before = wide @ kernel + np.asarray(own["bias"], np.float64)
        slope = g[..., at : at + FEATURES[name]] * (before > 0)
        found, at = np.asarray(y[..., at : at + FEATURES[name]], np.float64), at + FEATURES[name]
        close = partial(np.testing.assert_allclose, rtol=bound)
        close(found, np.maximum(before, 0), atol=bound * np.abs(before).max())
        to_kernel = np.einsum("bhwc,bhwk->ck", wide, slope)
        ours = to_params["params"][name]
        close(ours["kernel"][0, 0], to_kernel, atol=bound * np.abs(to_kernel).max())
        close(ours["bias"], slope.sum((0, 1, 2)), atol=bound * np.abs(slope).sum((0, 1, 2)).max())
        complete += slope @ kernel.T
    close(np.asarray(to_x, np.float64), complete, atol=bound * np.abs(complete).max())


def test_an_inception_stage_is_that_of_convolutions_apart() -> None:
    found = []
    for way in WAYS:
        with ways.only(*way):
            found.append(jax.jit(partial(stage().apply, train=True))(random_variables(), maps()))
    assert np.abs(found[0]).max() > 4
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-4)


def test_parameters_have_the_names_of_convolutions_and_start_alike() -> None:
    def one(x: jax.Array, way: str) -> jax.Array:
        if way:
            return rectified_siblings(x, {"one": 6}, dtype=x.dtype)["one"]
        return rectified(6, 1, name="one", dtype=x.dtype)(x, True)

    class Alone(nn.Module):
        way: str

        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return one(x, self.way)

    shapes, made = [], []
    for way in WAYS:
        with ways.only(*way):
            init = partial(stage().init, train=True)
            shapes.append(jax.eval_shape(init, jax.random.key(3), maps()))
            made.append(jax.jit(Alone("".join(way)).init)(jax.random.key(3), maps()))
    assert shapes[0] == shapes[1]
    assert jax.tree.structure(made[0]) == jax.tree.structure(made[1])
    jax.tree.map(np.testing.assert_array_equal, *made)


def test_six_products_become_four_with_as_many_multiply_adds() -> None:
    variables, products, counted = random_variables(), [], []
    for way in WAYS:
        with ways.only(*way):
            run = partial(lambda v, x: stage().apply(v, x, True))
            counted.append(sum(counting.multiply_adds(run, variables, maps()).values()))
            text = jax.jit(run).lower(variables, maps()).as_text()
        products.append(text.count("dot_general") + text.count("stablehlo.convolution"))
    assert products == [6, 4]
    assert counted[0] == counted[1]
