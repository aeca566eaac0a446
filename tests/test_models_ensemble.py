"""What makes single, heads and attention what they are, on the small convnet."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import models
from abe_jax.models import counting
from abe_jax.models.backbones.stages import Stages
from abe_jax.models.ensemble import unit

SMALL = {"backbone": "convnet", "dim": 12, "branch": "pool2", "width": 4}
ATTENTION: Any = models.ABE(learners=3, trunk_depth=1, **SMALL)
HEADS: Any = models.MultiHead(learners=3, **SMALL)
SINGLE: Any = models.SingleHead(**SMALL)
IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(4, 32, 32, 1)), jnp.float32)


@functools.cache
def made(net: models.Ensemble):
    # The key's kind compiles five times as fast on CPU as JAX's default.
    key = jax.random.key(0, impl="rbg")
    return net, jax.jit(lambda: net.init(key, IMAGES, train=False))()


@functools.partial(jax.jit, static_argnums=0)
def embed(net, variables) -> Any:
    return net.apply(variables, IMAGES, train=False)


@functools.partial(jax.jit, static_argnums=0)
def run(stages, params, x):
    return Stages(stages).apply({"params": params}, x, False)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("model", [SINGLE, HEADS, ATTENTION], ids=lambda model: model.kind)
def test_shapes_types_and_lengths(model, norm):
    net, variables = made(model.clone(norm=norm))
    found, updated = jax.jit(lambda v: net.apply(v, IMAGES, train=True, mutable=["batch_stats"]))(
        variables
    )
    assert found.features.shape == (4, model.learners, 16)
    assert found.vectors.shape == (4, model.learners, 12 // model.learners)
    assert found.features.dtype == found.vectors.dtype == jnp.float32
    np.testing.assert_allclose(jnp.linalg.norm(found.vectors, axis=-1), 1, rtol=1e-5)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    assert ("batch_stats" in updated) == (norm == "batch")


@pytest.mark.parametrize("model", [HEADS, ATTENTION], ids=lambda model: model.kind)
def test_learners_differ(model):
    net, variables = made(model)
    vectors = embed(net, variables).vectors
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        assert jnp.abs(vectors[:, a] - vectors[:, b]).max() > 1e-2


def test_learners_differ_by_their_masks_alone():
    net, variables = made(ATTENTION)
    heads = variables["params"]["mask_heads"]
    same = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape), heads)
    params = variables["params"] | {"mask_heads": same}
    vectors = embed(net, {"params": params}).vectors
    np.testing.assert_allclose(vectors[:, 0], vectors[:, 2], atol=1e-6)


def test_masks_lie_between_0_and_1_and_vmapped_equal_a_loop():
    net, variables = made(ATTENTION)
    params = variables["params"]
    masks = jax.jit(lambda v: net.apply(v, IMAGES, train=False, method="masks"))(variables)
    assert masks.shape == (4, 3, 8, 8, 4)
    assert 0 < masks.min() < masks.max() < 1
    x = run(net.cut.encoder, params["encoder"], IMAGES)
    trunk = run(net.cut.trunk, params["trunk"], x)
    for m in range(3):
        own = jax.tree.map(lambda leaf, m=m: leaf[m], params["mask_heads"]["conv"])
        logits = trunk @ own["kernel"][0, 0] + own["bias"][None, None, None]
        expected = jax.nn.sigmoid(logits)
        np.testing.assert_allclose(masks[:, m], expected, rtol=1e-5)


def test_folded_decoder_equals_a_loop_over_learners():
    net, variables = made(ATTENTION)
    params = variables["params"]
    masks = jax.jit(lambda v: net.apply(v, IMAGES, train=False, method="masks"))(variables)
    x = run(net.cut.encoder, params["encoder"], IMAGES)
    found = embed(net, variables)
    for m in range(3):
        maps = run(net.cut.decoder, params["decoder"], x * masks[:, m])
        features = maps.mean((1, 2))
        vectors = unit(features @ params["head"]["kernel"] + params["head"]["bias"][None])
        np.testing.assert_allclose(found.features[:, m], features, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.vectors[:, m], vectors, rtol=1e-4, atol=1e-6)


def test_heads_equal_single_networks_on_one_encoder():
    net, variables = made(HEADS)
    params = variables["params"]
    found = embed(net, variables)
    single = SINGLE.clone(dim=4)
    for m in range(3):
        own = {
            "encoder": params["encoder"],
            "decoder": params["decoder"][f"head{m}"],
            "head": jax.tree.map(lambda leaf, m=m: leaf[m], params["head"]),
        }
        alone = embed(single, {"params": own})
        np.testing.assert_allclose(found.vectors[:, m], alone.vectors[:, 0], rtol=1e-4, atol=1e-6)
        features = (found.features[:, m], alone.features[:, 0])
        np.testing.assert_allclose(*features, rtol=1e-4, atol=1e-6)


def test_parameters_of_heads_start_and_move_independently():
    net, variables = made(HEADS)
    params = variables["params"]
    first, second = (params["decoder"][f"head{m}"]["conv3"]["conv"]["kernel"] for m in (0, 1))
    assert jnp.abs(first - second).max() > 0.1
    assert jnp.abs(params["head"]["kernel"][0] - params["head"]["kernel"][1]).max() > 0.1

    def loss(params):
        return embed(net, {"params": params}).vectors[:, 1].sum()

    gradient = jax.jit(jax.grad(loss))(params)
    moved = {
        name: max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))
        for name, tree in gradient["decoder"].items()
    }
    assert moved["head1"] > 0
    assert moved["head0"] == moved["head2"] == 0
    assert jnp.abs(gradient["head"]["kernel"][0]).max() == 0


def test_the_trunk_is_computed_once_and_the_decoder_for_every_learner():
    def macs(learners: int) -> dict[str, int]:
        net = ATTENTION.clone(learners=learners)
        variables = jax.eval_shape(lambda: net.init(jax.random.key(0), IMAGES, train=False))
        return counting.multiply_adds(lambda v: net.apply(v, IMAGES, train=False), variables)

    one, three = macs(1), macs(3)
    assert three["encoder"] == one["encoder"]
    assert three["trunk"] == one["trunk"]
    assert three["decoder"] == 3 * one["decoder"]
    assert three["mask_heads"] == 3 * one["mask_heads"]


def test_gradients_reach_every_parameter():
    for model in (SINGLE, HEADS, ATTENTION):
        net, variables = made(model)

        def loss(params, net=net):
            return (embed(net, {"params": params}).vectors ** 3).sum()

        gradient = jax.jit(jax.grad(loss))(variables["params"])
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
            assert jnp.abs(leaf).max() > 0, (model.kind, path)


def test_unit_of_a_zero_vector_is_zero_with_a_finite_gradient():
    x = jnp.zeros((2, 3)).at[1].set(jnp.array([3.0, 0.0, 4.0]))
    np.testing.assert_allclose(unit(x), [[0, 0, 0], [0.6, 0, 0.8]], rtol=1e-6)
    gradient = jax.grad(lambda x: unit(x)[:, 0].sum())(x)
    assert jnp.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[1], [0.128, 0, -0.096], atol=1e-6)


def test_a_black_network_has_finite_gradients():
    net, variables = made(ATTENTION)
    zero = jax.tree.map(jnp.zeros_like, variables["params"])
    gradient = jax.jit(jax.grad(lambda p: embed(net, {"params": p}).vectors.sum()))(zero)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("model", [HEADS, ATTENTION], ids=lambda model: model.kind)
def test_bfloat16_is_close_and_really_used(model, norm):
    net, variables = made(model.clone(norm=norm))
    low = net.clone(compute="bfloat16")
    exact = embed(net, variables).vectors
    close = embed(low, variables).vectors
    assert close.dtype == jnp.float32
    np.testing.assert_allclose(jnp.linalg.norm(close, axis=-1), 1, rtol=1e-5)
    assert 1e-5 < jnp.abs(exact - close).max() < 0.1
    products = str(jax.make_jaxpr(lambda v: low.apply(v, IMAGES, train=False))(variables))
    convolutions = [line for line in products.splitlines() if "conv_general_dilated[" in line]
    assert convolutions and all(":bf16[" in line for line in convolutions)


def test_batch_statistics_move_while_training_and_rule_afterwards():
    net, variables = made(ATTENTION.clone(norm="batch"))
    _, updated = jax.jit(lambda x: net.apply(variables, x, train=True, mutable=["batch_stats"]))(
        5 + IMAGES
    )
    before, after = variables["batch_stats"], updated["batch_stats"]
    for part in ("encoder", "trunk", "decoder"):
        for old, new in zip(*map(jax.tree.leaves, (before[part], after[part])), strict=True):
            assert jnp.abs(old - new).max() > 0
    still = embed(net, variables).vectors
    moved = embed(net, {**variables, **updated}).vectors
    assert jnp.abs(still - moved).max() > 1e-3


def test_batch_statistics_span_the_device_axis():
    net, variables = made(ATTENTION.clone(norm="batch"))
    parts = net.clone(axis_name="devices")

    @functools.partial(jax.jit, static_argnums=0)
    def train(net, images):
        return net.apply(variables, images, train=True, mutable=["batch_stats"])

    complete, whole_stats = train(net, IMAGES)
    halves, stats = jax.jit(jax.vmap(lambda x: train(parts, x), axis_name="devices"))(
        IMAGES.reshape(2, 2, *IMAGES.shape[1:])
    )
    np.testing.assert_allclose(halves.vectors.reshape(4, 3, 4), complete.vectors, atol=1e-5)
    for split, one in zip(*map(jax.tree.leaves, (stats, whole_stats)), strict=True):
        np.testing.assert_allclose(split[0], one, rtol=1e-4, atol=1e-6)
