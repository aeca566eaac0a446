"""Learners of sizes of their own, their weights at test, and the embedding layer divided."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import losses, models
from abe_jax.errors import ArgumentError
from abe_jax.losses.batch import PlainVectors
from abe_jax.losses.classes import symmetric
from abe_jax.models import counting

SMALL = {"backbone": "convnet", "branch": "pool2", "width": 4}
SIZES = (3, 5, 4)
DIVIDED: Any = models.DividedHead(dims=SIZES, dim=12, **SMALL)
HEADS: Any = models.MultiHead(learners=3, dims=SIZES, dim=12, **SMALL)
EVEN: Any = models.DividedHead(learners=3, dim=12, **SMALL)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(6, 32, 32, 1)), jnp.float32)
by_kind = pytest.mark.parametrize(
    "net", [DIVIDED, HEADS, EVEN], ids=["divided", "heads", "divided evenly"]
)


@functools.cache
def embedded(net: Any) -> tuple[Any, Any]:
    """Parameters with biases that are not zero, and what they make of IMAGES."""
    params = jax.jit(lambda: net.init(jax.random.key(0, impl="rbg"), IMAGES))()["params"]
    head = {name: layer | {"bias": 0.1 + layer["bias"]} for name, layer in params["head"].items()}
    params |= {"head": head}
    return params, jax.jit(lambda p: net.apply({"params": p}, IMAGES))(params)


@by_kind
def test_each_learner_is_its_own_layer_and_zeros_stand_behind(net: Any) -> None:
    params, found = jax.tree.map(np.asarray, embedded(net))
    sizes = net.sizes
    assert found.sizes == sizes and found.vectors.shape == (6, 3, max(sizes))
    for m, size in enumerate(sizes):
        layer = params["head"][f"learner{m}"]
        kernel, bias = (np.asarray(layer[name], np.float64) for name in ("kernel", "bias"))
        assert kernel.shape == (16, size)
        for i in range(len(IMAGES)):
            feature = np.asarray(found.features[i, m], np.float64)
            x = [math.fsum(feature * kernel[:, j]) + bias[j] for j in range(size)]
            length = math.sqrt(math.fsum(value * value for value in x))
            np.testing.assert_allclose(found.unnormalised[i, m, :size], x, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(
                found.vectors[i, m, :size], np.array(x) / length, rtol=1e-5, atol=1e-6
            )
        assert not np.asarray(found.vectors[:, m, size:]).any()
        assert not np.asarray(found.unnormalised[:, m, size:]).any()


def test_divided_learners_see_one_feature_and_heads_their_own() -> None:
    divided, heads = (np.asarray(embedded(net)[1].features) for net in (DIVIDED, HEADS))
    assert (divided[:, :1] == divided).all()
    assert np.abs(heads[:, 0] - heads[:, 1]).max() > 1e-3


def test_a_divided_layer_is_a_single_head_of_the_same_size() -> None:
    single: Any = models.SingleHead(dim=12, **SMALL)
    rows = [{part.name: part for part in counting.parts(net, 32, 1)} for net in (DIVIDED, single)]
    for name, count in rows[1].items():
        assert rows[0][name].parameters == count.parameters
        assert rows[0][name].multiply_adds == count.multiply_adds
    assert rows[0]["fully connected"].detail == "to 3 + 5 + 4, one for each learner"
    assert rows[0]["decoder"].detail.endswith(", shared")
    params, found = embedded(DIVIDED)
    layers = [params["head"][f"learner{m}"] for m in range(3)]
    joined = {
        name: jnp.concatenate([layer[name] for layer in layers], axis=-1)
        for name in ("kernel", "bias")
    }
    alone = single.apply({"params": params | {"head": joined}}, IMAGES)
    cut = [found.unnormalised[:, m, :size] for m, size in enumerate(SIZES)]
    np.testing.assert_allclose(jnp.concatenate(cut, axis=-1), alone.unnormalised[:, 0], atol=1e-6)


@pytest.mark.parametrize("weights", [(1.0, 2.0, 3.0), (96 / 512, 160 / 512, 256 / 512), (7, 7, 7)])
def test_compared_vectors_are_the_weighted_concatenation_by_hand(weights: tuple) -> None:
    net = DIVIDED.clone(test_weights=weights)
    found = embedded(DIVIDED)[1]
    compared = np.asarray(net.compared(found), np.float64)
    np.testing.assert_allclose((compared**2).sum((1, 2)), 3, rtol=1e-6)
    by_hand = [
        [w * z for m, w in enumerate(weights) for z in np.asarray(row[m, : SIZES[m]], np.float64)]
        for row in found.vectors
    ]
    scale = 3 / sum(w * w for w in weights)
    for i, j in np.ndindex(6, 6):
        expected = scale * sum((a - b) ** 2 for a, b in zip(by_hand[i], by_hand[j], strict=True))
        distance = ((compared[i] - compared[j]) ** 2).sum()
        assert distance == pytest.approx(expected, rel=1e-5, abs=1e-12) and distance <= 12
    if len(set(weights)) > 1:
        assert np.abs(compared - np.asarray(found.vectors)).max() > 0.1


def test_without_weights_nothing_is_computed() -> None:
    found = embedded(DIVIDED)[1]
    assert DIVIDED.compared(found) is found.vectors


@pytest.mark.parametrize(
    "name", ["norm_softmax", "proxy_nca", "proxy_anchor", "soft_triple", "cos_face", "arc_face"]
)
def test_proxies_of_a_smaller_learner_stay_in_its_own_space(name: str) -> None:
    found, term = embedded(DIVIDED)[1], losses.TERMS[name](name=name)
    init, shape = term.parameters(found, 4)["proxies"]
    proxies = init(jax.random.key(1), shape)
    labels = jnp.arange(6) % 4
    loss = jax.jit(jax.grad(lambda p: term(found, labels, parameters={"proxies": p})))
    gradient = loss(proxies)
    for array in (proxies, gradient):
        for m, size in enumerate(SIZES):
            assert np.asarray(array[m, :, :size]).all() and not np.asarray(array[m, :, size:]).any()
    plain = term.parameters(PlainVectors(found.unnormalised, found.vectors), 4)["proxies"]
    assert plain.init is symmetric and plain.shape == shape


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dims": (3, 5)}, "dims: 2 sizes for 3 learners"),
        ({"dims": (3, 5, 5)}, "dim: 12, but the learners' dims (3, 5, 5) sum to 13"),
        ({"dims": (0, 6, 6)}, "dims: 0; a learner has at least 1"),
        ({"kind": "attention", "trunk_depth": 1}, "set kind to 'divided' or 'heads'"),
        ({"kind": "heads", "head": "none"}, "set head to 'linear' or 'projection'"),
        ({"dims": (), "head": "none"}, "head: 'none', but the learners of kind 'divided'"),
        ({"test_weights": (1.0,)}, "test_weights: 1 weights for 3 learners"),
        ({"test_weights": (1.0, 0.0, 2.0)}, "test_weights: 0; each is above 0"),
        ({"test_weights": (1.0, math.nan, 2.0)}, "test_weights: nan;"),
        ({"dims": (), "dim": 13}, "dim: 13 does not split evenly"),
    ],
)
def test_wrong_sizes_and_weights_are_told_what_is_right(change: dict, told: str) -> None:
    given = {"kind": "divided", "learners": 3, "dim": 12, "dims": SIZES, **SMALL, **change}
    with pytest.raises(ArgumentError) as error:
        models.build(**given)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_equal_sizes_given_one_by_one_are_the_even_split() -> None:
    """Also of a network whose learners share a layer."""
    shared: Any = models.ABE(learners=3, dim=12, dims=(4, 4, 4), trunk_depth=1, **SMALL)
    even = shared.clone(dims=())
    key = jax.random.key(0, impl="rbg")
    trees = [jax.eval_shape(lambda n=net: n.init(key, IMAGES)) for net in (shared, even)]
    assert trees[0] == trees[1] and shared.sizes == even.sizes == (4, 4, 4)
    assert models.build(**models.options(shared)) == shared
