"""Decoders of M-heads mapped over stacked parameters, against the loop over decoders."""

import re
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import ways
from abe_jax.models.backbones.conv_norm import ConvNorm
from abe_jax.models.backbones.convolution import convolution, heads_apart
from abe_jax.models.backbones.googlenet import Inception, Widths, rectified
from abe_jax.models.backbones.siblings import rectified_siblings
from abe_jax.models.backbones.stages import Options, Stage, staged
from abe_jax.models.multi_head import Decoders

LEARNERS = 2
NORMED = {"epsilon": 1e-5, "use_bias": False}


def decoders() -> Decoders:
    """An inception stage, with its pooling, for each learner."""
    inception = partial(
        Inception,
        widths=Widths(6, 5, 7, 3, 4, 2),
        unit=partial(rectified, dtype=jnp.float32),
        siblings=partial(rectified_siblings, dtype=jnp.float32),
    )
    return Decoders((Stage(name="inception", make=inception),), LEARNERS)


def maps() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 6, 9)), jnp.float32)


def abstract_variables() -> Any:
    return jax.eval_shape(partial(decoders().init, train=True), jax.random.key(0), maps())


def random_variables() -> Any:
    """Parameters with biases that are not zero."""
    rng = np.random.default_rng(1)

    def parameter(leaf: Any) -> jax.Array:
        return jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(parameter, abstract_variables())


def value_and_gradients(variables: Any, x: jax.Array) -> Any:
    def run(variables: Any, x: jax.Array) -> Any:
        return decoders().apply(variables, x, True)

    y, backward = jax.vjp(run, variables, x)
    g = jnp.asarray(np.random.default_rng(2).normal(size=y.shape), y.dtype)
    return y, *backward(g)


@cache
def of_the_loop() -> Any:
    with ways.only():
        return jax.jit(value_and_gradients)(random_variables(), maps())


@pytest.mark.parametrize("way", [("heads",), ways.PIECES])
def test_values_and_gradients_are_those_of_the_loop(way: tuple[str, ...]) -> None:
    with ways.only(*way):
        found = jax.jit(value_and_gradients)(random_variables(), maps())
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(of_the_loop()), strict=True):
        assert np.abs(theirs).max() > 0.5
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * float(np.abs(theirs).max()))


def test_the_parameters_are_those_of_the_loop() -> None:
    programs = []
    for way in ((), ("heads",)):
        with ways.only(*way):
            init = jax.make_jaxpr(partial(decoders().init, train=True))
            programs.append(str(init(jax.random.key(3), maps())))
    assert programs[0] == programs[1]


def test_what_stands_around_the_convolutions_is_computed_once_for_all_heads() -> None:
    counts, variables = [], abstract_variables()
    for way in ((), ("heads",)):
        with ways.only(*way):
            text = jax.jit(value_and_gradients).lower(variables, maps()).as_text()
        words = ("stablehlo.convolution", "stablehlo.dot_general", "stablehlo.concatenate")
        counts.append([text.count(word) for word in words])
        assert set(re.findall(r"feature_group_count = (\d+)", text)) == {"1"}
    distance, together = counts
    assert together[0] == distance[0]  # a convolution for each head, as before
    assert together[1] == distance[1] / LEARNERS


def test_a_mapped_convolution_has_the_gradients_of_a_grouped_one() -> None:
    rng = np.random.default_rng(4)
    kernels = jnp.asarray(rng.normal(size=(LEARNERS, 3, 3, 9, 4)), jnp.float32)
    each = jnp.asarray(rng.normal(size=(LEARNERS, 2, 7, 6, 9)), jnp.float32)

    def run(x: jax.Array, kernels: jax.Array, axis: int | None) -> Any:
        def one(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return convolution(x, kernel, 2, ((1, 1), (1, 1)))

        y, backward = jax.vjp(jax.vmap(one, in_axes=(axis, 0)), x, kernels)
        return y, *backward(jnp.cos(y))

    for x, axis in ((each, 0), (maps(), None)):
        grouped = run(x, kernels, axis)
        with heads_apart():
            looped = run(x, kernels, axis)
        for ours, theirs in zip(looped, grouped, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_decoders_with_running_statistics_stay_a_loop() -> None:
    normed = partial(ConvNorm, features=4, size=1, options=Options(norm="batch"), **NORMED)
    model = Decoders((staged("conv", normed),), LEARNERS)
    variables = jax.eval_shape(partial(model.init, train=True), jax.random.key(0), maps())
    assert variables["batch_stats"]
    programs = []
    for way in ((), ("heads",)):
        with ways.only(*way):
            run = partial(model.apply, train=True, mutable=["batch_stats"])
            programs.append(str(jax.make_jaxpr(run)(variables, maps())))
    assert programs[0] == programs[1]
