"""Decoders of M-heads mapped over stacked parameters, against the loop over decoders."""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import models, ways
from abe_jax.models.backbones.convolution import convolution, heads_apart
from abe_jax.models.backbones.googlenet import Inception, Widths, rectified
from abe_jax.models.backbones.layers import MaxPool
from abe_jax.models.backbones.siblings import rectified_siblings
from abe_jax.models.backbones.stages import Stage
from abe_jax.models.multi_head import Decoders

LEARNERS = 3


def decoders() -> Decoders:
    """Two inception stages with a pooling between, three times."""
    make = partial(
        Inception,
        widths=Widths(6, 5, 7, 3, 4, 2),
        unit=partial(rectified, dtype=jnp.float32),
        siblings=partial(rectified_siblings, dtype=jnp.float32),
    )
    stages = (
        Stage(name="first", make=make),
        Stage(name="pool", make=MaxPool, stride=2, pooling=True),
        Stage(name="last", make=make),
    )
    return Decoders(stages, LEARNERS)


def maps() -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 6, 9)), jnp.float32)


def random_variables() -> Any:
    """Parameters with biases that are not zero."""
    rng, made = np.random.default_rng(1), decoders().init(jax.random.key(0), maps(), True)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), made)


def value_and_gradients(variables: Any, x: jax.Array) -> Any:
    y, backward = jax.vjp(lambda v, x: decoders().apply(v, x, True), variables, x)
    g = jnp.asarray(np.random.default_rng(2).normal(size=y.shape), y.dtype)
    return y, *backward(g)


@pytest.mark.parametrize("way", [("heads",), ways.PIECES])
def test_values_and_gradients_are_those_of_the_loop(way: tuple[str, ...]) -> None:
    variables, x = random_variables(), maps()
    with ways.only():
        expected = jax.jit(value_and_gradients)(variables, x)
    with ways.only(*way):
        found = jax.jit(value_and_gradients)(variables, x)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        largest = float(np.abs(theirs).max())
        assert largest > 1
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * largest)


def test_the_parameters_are_those_of_the_loop() -> None:
    made = []
    for way in ((), ("heads",)):
        with ways.only(*way):
            made.append(decoders().init(jax.random.key(3), maps(), True))
    assert jax.tree.structure(made[0]) == jax.tree.structure(made[1])
    jax.tree.map(np.testing.assert_array_equal, *made)


def test_what_stands_around_the_convolutions_is_computed_once_for_all_heads() -> None:
    counts, variables = [], jax.eval_shape(random_variables)
    for way in ((), ("heads",)):
        with ways.only(*way):
            text = jax.jit(value_and_gradients).lower(variables, maps()).as_text()
        words = ("stablehlo.convolution", "stablehlo.dot_general", "stablehlo.concatenate")
        counts.append([text.count(word) for word in words])
        assert set(re.findall(r"feature_group_count = (\d+)", text)) == {"1"}
    apart, together = counts
    assert together[0] == apart[0]  # a convolution for each head, as before
    assert together[1] < apart[1] / 2


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
    model = models.MultiHead(
        backbone="convnet", norm="batch", learners=2, dim=4, width=2, axis_name=None
    )
    images = jnp.asarray(np.random.default_rng(5).normal(size=(2, 16, 16, 3)), jnp.float32)
    variables = model.init(jax.random.key(0), images)
    found = []
    for way in ((), ("heads",)):
        with ways.only(*way):
            run = partial(model.apply, train=True, mutable=["batch_stats"])
            embeddings, updated = run(variables, images)
            found.append((embeddings.vectors, updated))
    jax.tree.map(np.testing.assert_array_equal, *found)
