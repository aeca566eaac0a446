"""Pooling against loops in float64, and the head between the pooled features and the vectors."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from abe_jax import models
from abe_jax.errors import UserError
from abe_jax.models.pooling import Pooling, gem, regions, rmac

MAPS = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32) + 0.5


def pooled(x, **options) -> jax.Array:
    return jax.jit(Pooling(**options).apply)({}, jnp.asarray(x))  # pyright: ignore


def loop_gem(x, p: float) -> np.ndarray:
    out = np.zeros((x.shape[0], x.shape[3]))
    for n, c in np.ndindex(*out.shape):
        values = [max(float(v), 1e-6) for v in x[n, :, :, c].ravel()]
        out[n, c] = (sum(v**p for v in values) / len(values)) ** (1 / p)
    return out


@pytest.mark.parametrize("kind", ["average", "max"])
def test_average_and_maximum(kind):
    wide = MAPS.astype(np.float64)
    expected = wide.mean((1, 2)) if kind == "average" else wide.max((1, 2))
    np.testing.assert_allclose(np.asarray(pooled(MAPS, kind=kind)), expected, rtol=1e-5)


@pytest.mark.parametrize("p", [1.0, 2.5, 3.0, 10.0])
def test_gem_against_a_loop(p):
    expected = loop_gem(MAPS, p)
    np.testing.assert_allclose(np.asarray(pooled(MAPS, kind="gem", p=p)), expected, rtol=1e-5)


def test_gem_with_a_learned_exponent_against_a_loop():
    pooling = Pooling(kind="gem", p=2.0, learned=True)
    assert pooling.init(jax.random.key(0), jnp.asarray(MAPS)) == {"params": {"p": 2.0}}
    found = pooling.apply({"params": {"p": jnp.float32(4.5)}}, jnp.asarray(MAPS))
    np.testing.assert_allclose(np.asarray(found), loop_gem(MAPS, 4.5), rtol=1e-5)


def test_gem_of_an_infinite_exponent_is_the_maximum():
    found = pooled(MAPS, kind="gem", p=float("inf"))
    np.testing.assert_array_equal(found, np.maximum(MAPS, 1e-6).max((1, 2)))
    near = pooled(np.abs(MAPS), kind="gem", p=500.0)
    np.testing.assert_allclose(near, np.abs(MAPS).max((1, 2)), rtol=0.01)


def test_gradients_of_gem_by_finite_differences():
    x = MAPS.astype(np.float64)
    weights = np.random.default_rng(1).normal(size=(2, 5))

    def value(x, p):
        return (gem(x, p) * jnp.asarray(weights, jnp.float32)).sum()

    by_x, by_p = jax.jit(jax.grad(value, argnums=(0, 1)))(jnp.asarray(MAPS), jnp.float32(3.0))
    expected = oracles.slope(lambda p: (loop_gem(x, p) * weights).sum(), 3.0, 1.0)
    assert abs(expected) > 1e-2
    np.testing.assert_allclose(by_p, expected, rtol=1e-3)
    towards = np.random.default_rng(2).normal(size=x.shape)
    expected = oracles.slope(lambda x: (loop_gem(x, 3.0) * weights).sum(), x, towards)
    np.testing.assert_allclose((np.asarray(by_x) * towards).sum(), expected, rtol=1e-3)


@pytest.mark.parametrize("p", [1.0, 3.0, 10.0, 100.0])
@pytest.mark.parametrize("size", [0.0, 1e-8, 1e4, 1e30])
def test_gem_is_finite_and_right_at_all_sizes(size, p):
    x = (np.abs(MAPS) * size).astype(np.float32)
    x[:, 0] = 0.0

    def value(x, p):
        found = gem(x, p)
        return found.sum(), found

    (_, found), gradients = jax.jit(jax.value_and_grad(value, argnums=(0, 1), has_aux=True))(
        jnp.asarray(x), jnp.float32(p)
    )
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    scaled = max(size, 1e-6)
    expected = loop_gem(np.maximum(x, 1e-6).astype(np.float64) / scaled, p) * scaled
    np.testing.assert_allclose(np.asarray(found, np.float64), expected, rtol=1e-4)


def test_a_nan_in_a_map_is_not_hidden():
    x = MAPS.copy()
    x[1, 2, 3, 4] = np.nan
    for kind in ("average", "max", "gem", "rmac"):
        found = np.asarray(pooled(x, kind=kind))
        assert np.isnan(found[1, 4]) and np.isfinite(found[0]).all()


@pytest.mark.parametrize("kind", ["average", "max", "gem", "rmac"])
def test_bfloat16_maps_are_pooled_in_float32(kind):
    low = jnp.asarray(MAPS, jnp.bfloat16)
    found = pooled(low, kind=kind)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, pooled(low.astype(jnp.float32), kind=kind))


def test_regions_by_hand():
    assert regions(7, 7) == [
        (0, 0, 7),
        *((top, left, 4) for top in (0, 3) for left in (0, 3)),
        *((top, left, 3) for top in (0, 2, 4) for left in (0, 2, 4)),
    ]
    # One more along the longer side: neighbours at the first scale then share 4 of 7 columns,
    # which is nearer to 40 percent than the 5.5 of two more.
    wide = [
        *((0, left, 7) for left in (0, 3)),
        *((top, left, 4) for top in (0, 3) for left in (0, 3, 6)),
        *((top, left, 3) for top in (0, 2, 4) for left in (0, 2, 4, 7)),
    ]
    assert regions(7, 10) == wide
    assert sorted(regions(10, 7)) == sorted((top, left, side) for left, top, side in wide)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (1, 4), (3, 2), (14, 14), (7, 30)])
def test_regions_lie_in_the_map_and_reach_its_edges(height, width):
    found = regions(height, width)
    assert all(top >= 0 and top + side <= height for top, _, side in found)
    assert all(left >= 0 and left + side <= width for _, left, side in found)
    corners = {(top + side, left + side) for top, left, side in found}
    assert (height, width) in corners and found[0][:2] == (0, 0)


@pytest.mark.parametrize(("height", "width"), [(7, 7), (7, 10), (5, 3)])
def test_rmac_against_a_loop(height, width):
    x = np.random.default_rng(3).normal(size=(2, height, width, 6)).astype(np.float32)
    expected = np.zeros((2, 6))
    for n in range(2):
        for top, left, side in regions(height, width):
            square = x[n, top : top + side, left : left + side].astype(np.float64)
            largest = [square[:, :, c].max() for c in range(6)]
            expected[n] += np.array(largest) / np.linalg.norm(largest)
    np.testing.assert_allclose(np.asarray(rmac(jnp.asarray(x))), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pooled(x, kind="rmac"), expected, rtol=1e-4, atol=1e-5)


def test_rmac_of_a_black_map_has_a_finite_gradient():
    found, gradient = jax.jit(jax.value_and_grad(lambda x: rmac(x).sum()))(jnp.zeros((1, 4, 4, 3)))
    assert found == 0 and jnp.isfinite(gradient).all()


def test_tokens_are_pooled_as_the_square_of_patches():
    tokens = np.random.default_rng(4).normal(size=(2, 1, 10, 5)).astype(np.float32)
    square = tokens[:, 0, 1:].reshape(2, 3, 3, 5)
    for kind in ("average", "max", "gem", "rmac"):
        found = pooled(tokens, kind=kind, tokens=True)
        np.testing.assert_array_equal(found, pooled(square, kind=kind))
    np.testing.assert_array_equal(pooled(tokens, kind="token", tokens=True), tokens[:, 0, 0])


# What stands between the pooled features and the vectors.

SMALL = {"backbone": "convnet", "dim": 12, "branch": "pool2", "width": 4}
SINGLE: Any = models.SingleHead(**SMALL)
HEADS: Any = models.MultiHead(learners=3, **SMALL)
ATTENTION: Any = models.ABE(learners=3, trunk_depth=1, **SMALL)
KINDS = pytest.mark.parametrize("model", [SINGLE, HEADS, ATTENTION], ids=lambda model: model.kind)
IMAGES = jnp.asarray(np.random.default_rng(5).normal(size=(2, 16, 16, 1)), jnp.float32)


VARIANTS = [(head, norm) for head in ("linear", "projection", "none") for norm in (False, True)]


def network(model: models.Ensemble, head: str, layer_norm: bool) -> models.Ensemble:
    dim = 16 * model.learners if head == "none" else model.dim
    return model.clone(head=head, layer_norm=layer_norm, dim=dim)


def shapes(net: models.Ensemble):
    return jax.eval_shape(lambda: net.init(jax.random.key(0), IMAGES, train=False))["params"]


@functools.cache
def embedded(model: models.Ensemble):
    """What every variant makes of the images with one set of parameters, compiled together."""
    params = jax.jit(lambda: model.init(jax.random.key(0, impl="rbg"), IMAGES, train=False))()[
        "params"
    ]
    bias = params["head"]["bias"]
    params["head"]["bias"] = jnp.arange(bias.size, dtype=jnp.float32).reshape(bias.shape) / 10
    nets = {variant: network(model, *variant) for variant in VARIANTS}
    found = jax.jit(
        lambda p: {key: net.apply({"params": p}, IMAGES, train=False) for key, net in nets.items()}
    )(params)
    return params, jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), found)


def expected_embedding(features, params, kind: str, head: str, layer_norm: bool) -> np.ndarray:
    """Image by image, learner by learner."""
    out = np.zeros((*features.shape[:2], 16 if head == "none" else params["kernel"].shape[-1]))
    for n, m in np.ndindex(*features.shape[:2]):
        row = features[n, m]
        if layer_norm:
            row = (row - row.mean()) / np.sqrt(row.var() + 1e-5)
        if head != "none":
            own = m if kind == "heads" else ...
            row = row @ np.asarray(params["kernel"], np.float64)[own]
            row = row + (np.asarray(params["bias"])[own] if head == "linear" else 0.0)
        out[n, m] = row
    return out


@pytest.mark.parametrize(("head", "layer_norm"), VARIANTS)
@KINDS
def test_embedding_and_vectors_by_definition(model, head, layer_norm):
    params, variants = embedded(model)
    found = variants[head, layer_norm]
    expected = expected_embedding(found.features, params["head"], model.kind, head, layer_norm)
    np.testing.assert_allclose(found.unnormalised, expected, rtol=1e-4, atol=1e-5)
    lengths = np.linalg.norm(expected, axis=-1, keepdims=True)
    assert (np.abs(lengths - 1) > 1e-3).all()
    np.testing.assert_allclose(found.vectors, expected / lengths, rtol=1e-4, atol=1e-5)


@KINDS
def test_which_parameters_a_head_has(model):
    plain = shapes(network(model, "linear", False))
    assert set(plain["head"]) == {"kernel", "bias"}
    assert set(shapes(network(model, "projection", False))["head"]) == {"kernel"}
    assert "head" not in shapes(network(model, "none", False))
    assert shapes(network(model, "linear", True)) == plain  # no affine parameters


@KINDS
def test_layer_norm_has_mean_0_and_variance_1(model):
    found = embedded(model)[1]["none", True]
    np.testing.assert_allclose(found.unnormalised.mean(-1), 0, atol=1e-5)
    variance = found.features.var(-1)
    np.testing.assert_allclose(found.unnormalised.var(-1), variance / (variance + 1e-5), rtol=1e-4)


@KINDS
def test_without_a_head_the_dimension_is_that_of_the_features(model):
    net = model.clone(head="none")
    with pytest.raises(UserError) as error:
        shapes(net)
    line = str(error.value)
    assert line.startswith("dim: 12; ") and line.endswith(f" {16 * model.learners}")


def test_a_learned_exponent_is_one_parameter_of_the_network():
    params, variants = embedded(SINGLE)
    model = SINGLE.clone(pooling="gem", gem_p=2.0, gem_learned=True)
    assert jax.tree.map(jnp.shape, shapes(model)["pool"]) == {"p": ()}
    fixed = model.clone(gem_p=5.0, gem_learned=False)
    learned, plain = jax.jit(
        lambda p: [net.apply({"params": p}, IMAGES) for net in (model, fixed)]
    )({**params, "pool": {"p": jnp.float32(5.0)}})
    np.testing.assert_allclose(learned.features, plain.features, rtol=1e-5)
    assert np.abs(variants["linear", False].features - learned.features).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"pooling": "gme"}, "pooling: nothing is called 'gme'; did you mean 'gem'"),
        ({"pooling": "token"}, "pooling: 'token' is for vision transformers"),
        ({"head": "liner"}, "head: nothing is called 'liner'; did you mean 'linear'"),
        (
            {"pooling": "gem", "gem_p": float("inf"), "gem_learned": True},
            "gem_p: inf",
        ),
    ],
)
def test_wrong_choices_are_told_right_ones(change, told):
    with pytest.raises(UserError) as error:
        SINGLE.clone(**change)
    assert str(error.value).startswith(told)
