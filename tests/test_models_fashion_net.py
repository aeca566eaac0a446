"""FashionNet: pooling at landmarks equals a loop; its branches, its options, its parameters."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_annotated
import pytest

from abe_jax import models
from abe_jax.data import Preprocessing, Split
from abe_jax.data.annotations import Annotations
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation import grain_levels
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import Embedded, Network
from abe_jax.evaluation.options import Measures
from abe_jax.evaluation.resolution import resized
from abe_jax.models import counting
from abe_jax.models.fashion_net import Pose
from abe_jax.models.landmark_pooling import pooled_at

B, K, H, W, C = 3, 4, 5, 7, 2
RNG = np.random.default_rng(0)
MAPS = RNG.normal(size=(B, H, W, C)).astype(np.float32)
POINTS = RNG.uniform(-0.3, 1.3, size=(B, K, 2)).astype(np.float32)  # some outside of the image
VISIBLE = RNG.random((B, K)) < 0.7


@pytest.mark.parametrize("window", [1, 2, 3, 9])
def test_pooling_is_the_loops_value_and_gradient(window: int) -> None:
    weights = np.random.default_rng(1).normal(size=(B, K, C)).astype(np.float32)

    def loop(maps: np.ndarray) -> float:
        return float((oracles_annotated.pooled_at(maps, POINTS, VISIBLE, window) * weights).sum())

    @jax.jit
    def found(maps, points):
        pooled = pooled_at(maps, points, jnp.asarray(VISIBLE), window)
        return jnp.sum(pooled * weights), pooled

    gradient = jax.jit(jax.grad(lambda *given: found(*given)[0], argnums=(0, 1)))
    of_maps, of_points = gradient(jnp.asarray(MAPS), jnp.asarray(POINTS))
    expected = oracles_annotated.pooled_at(MAPS, POINTS, VISIBLE, window)
    np.testing.assert_array_equal(found(MAPS, POINTS)[1], expected.astype(np.float32))
    assert not expected[~VISIBLE].any() and expected[VISIBLE].all()
    towards = np.random.default_rng(2).normal(size=MAPS.shape)
    slope = oracles.slope(loop, MAPS.astype(np.float64), towards)
    assert abs(slope) > 0.1
    assert float((of_maps * towards).sum()) == pytest.approx(slope, rel=1e-4)
    assert not of_points.any()


def test_pooling_of_points_that_are_no_numbers_is_of_the_first_position() -> None:
    points = np.full((B, K, 2), np.nan, np.float32)
    pooled = pooled_at(jnp.asarray(MAPS), jnp.asarray(points), jnp.ones((B, K), bool), 1)
    np.testing.assert_array_equal(pooled, np.broadcast_to(MAPS[:, :1, 0], (B, K, C)))


OPTIONS: dict[str, Any] = {
    "backbone": "convnet",
    "branch": "conv2",
    "norm": "none",
    "width": 4,
    "dim": 16,
    "landmarks": 3,
    "categories": 5,
    "attributes": 7,
    "window": 3,
    "pose_width": 12,
    "local_width": 10,
    "global_width": 14,
}
IMAGES = RNG.normal(size=(2, 32, 32, 3)).astype(np.float32)


def made(**changes: Any) -> tuple[models.FashionNet, Any]:
    """A network and parameters that are drawn; to initialise them would be compiled."""
    net = models.FashionNet(**OPTIONS | changes)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.asarray(IMAGES))["params"]
    rng = np.random.default_rng(3)

    def drawn(leaf: Any) -> Any:
        fan_in = np.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 25
        return jnp.asarray(rng.normal(0, fan_in**-0.5, leaf.shape), jnp.float32)

    return net, jax.tree.map(drawn, shapes)


def test_an_embedding_and_what_is_predicted() -> None:
    net, params = made()
    found = jax.jit(net.apply)({"params": params}, jnp.asarray(IMAGES))
    assert found.features.shape == (2, 1, 24)
    assert found.unnormalised.shape == found.vectors.shape == (2, 1, 16)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=-1), 1, atol=1e-5)
    shapes = [x.shape for x in found.predictions]
    assert shapes == [(2, 3, 2), (2, 3, 2), (2, 5), (2, 7)]
    assert found.vectors.dtype == found.predictions.landmarks.dtype == jnp.float32


def test_landmarks_start_in_the_middle_of_the_image() -> None:
    maps = jnp.asarray(RNG.normal(size=(4, 2, 2, 6)), jnp.float32)
    (at, visible), _ = jax.jit(Pose(3, 12).init_with_output)(jax.random.key(0), maps)
    assert at.shape == visible.shape == (4, 3, 2)
    np.testing.assert_allclose(at, 0.5, atol=0.05)


def test_the_local_branch_looks_at_visible_landmarks_and_moves_none() -> None:
    net, params = made()

    def seen(bias: float) -> Any:
        """With every landmark in the middle, visible where `bias` is above 0."""
        pose = jax.tree.map(jnp.zeros_like, params["pose"])
        pose["landmarks"]["bias"] += 0.5
        pose["visibility"]["bias"] = jnp.asarray([0.0, bias] * 3)
        return params | {"pose": pose}

    run = jax.jit(lambda params, images: net.apply({"params": params}, images))
    far = IMAGES.copy()
    far[:, 30:, 30:] += 5.0  # beyond the window around the middle, within the global branch
    near = IMAGES.copy()
    near[:, 14:18, 14:18] += 5.0
    local = slice(0, net.local_width)

    def features(bias: float, images: np.ndarray) -> np.ndarray:
        return np.asarray(run(seen(bias), images).features)[:, 0, local]

    np.testing.assert_array_equal(features(1.0, far), features(1.0, IMAGES))
    assert (features(1.0, near) != features(1.0, IMAGES)).any()
    np.testing.assert_array_equal(features(-1.0, near), features(-1.0, IMAGES))  # all zeros
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(run(p, IMAGES).vectors[0, 0, :3])))(seen(1.0))
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient["pose"]))
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient["pose_decoder"]))
    assert all(leaf.any() for leaf in jax.tree.leaves(gradient["local_branch"]))


def test_given_points_take_the_place_of_landmarks() -> None:
    net, params = made(pooled_at="given")
    assert not {"pose", "pose_decoder"} & set(params)
    run = jax.jit(lambda points: net.apply({"params": params}, jnp.asarray(IMAGES), points=points))
    points = np.array([[[0.2, 0.2, 1], [0.8, 0.8, 1], [0.5, 0.5, 0]]] * 2, np.float32)
    found = run(jnp.asarray(points))
    assert found.predictions.landmarks is None and found.predictions.visibility is None
    assert found.predictions.category.shape == (2, 5)
    hidden = points.copy()
    hidden[:, 2, :2] = 0.9  # not visible: wherever it is
    np.testing.assert_array_equal(run(hidden).vectors, found.vectors)
    moved = points.copy()
    moved[:, 0, :2] = 0.9
    assert (np.asarray(run(moved).vectors) != found.vectors).any()
    with pytest.raises(ArgumentError, match="pooled_at: 'given', but these images come without"):
        jax.eval_shape(net.apply, {"params": params}, jnp.asarray(IMAGES))
    with pytest.raises(ArgumentError, match="landmarks: 3, but these images have 2 points"):
        jax.eval_shape(run, jnp.asarray(points[:, :2]))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"learners": 2}, "learners: 2, but a network of kind 'fashion_net' has 1"),
        ({"pooled_at": "predict"}, "pooled_at: .*did you mean 'predicted'"),
        ({"window": 0}, "window: 0; it is at least 1"),
        ({"pooling": "max"}, "pooling: 'max', but a network of kind 'fashion_net' .* at 'average'"),
        ({"gem_p": 4.0}, "gem_p: 4.0, .*leave it at 3.0"),
        ({"gem_learned": True}, "gem_learned: True, .*leave it at False"),
        ({"layer_norm": True}, "layer_norm: True, .*leave it at False"),
        ({"head": "projection"}, "head: 'projection', .*leave it at 'linear'"),
        ({"head": "none"}, "head: 'none', .*leave it at 'linear'"),
        ({"neck": "batch"}, "neck: 'batch', .*leave it at ''"),
        ({"backbone": "vit_s16", "branch": "", "norm": ""}, "backbone: 'vit_s16' has no maps"),
    ],
)
def test_what_makes_no_network_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        models.FashionNet(**OPTIONS | changes)


def test_it_takes_images_of_one_size() -> None:
    one = Preprocessing(resize=32, size=32)
    with pytest.raises(ArgumentError, match=r"^longest: kind 'fashion_net' has .* one size only"):
        Network(models.FashionNet(**OPTIONS), one, longest=64)
    with pytest.raises(ArgumentError, match=r"^size: 48; kind 'fashion_net' has .* 32 px alone"):
        resized(Network(models.FashionNet(**OPTIONS), one), 48)


def test_images_without_points_are_refused_before_any_is_read() -> None:
    net = models.FashionNet(**OPTIONS, pooled_at="given")
    embedder = Embedder.of(Network(net, Preprocessing(resize=32, size=32)), {}, {}, {})
    with pytest.raises(
        UserError, match=r"pooled_at is 'given'\), and files of images come without"
    ):
        embedder.embed([b""])
    split = Split(name="x", records=[b""], labels=np.zeros(1, np.int32), class_names=("a",))
    with pytest.raises(ArgumentError, match=r"pooled_at: .*the images of x come without points"):
        embedder.embed(split)
    known = Annotations(points=np.zeros((1, 2, 3), np.float32))
    with pytest.raises(ArgumentError, match=r"landmarks: 3, but the images of x have 2 points"):
        embedder.embed(dataclasses.replace(split, annotations=known))
    nothing = Embedded(*(np.zeros(0) for _ in range(3)))
    with pytest.raises(ArgumentError, match=r"copies: 5, but altered copies of images have no poi"):
        grain_levels.measure(embedder, split, nothing, Measures(copies=5), None)


def test_weights_of_a_backbone_go_into_all_branches() -> None:
    params = jax.tree.map(np.asarray, made()[1])
    given = {
        name: jax.tree.map(lambda x: x + 1, own)
        for name, own in models.stage_params(params).items()
    }
    grafted = models.graft(params, given)
    for part in ("encoder", "decoder", "pose_decoder"):
        for name, stage in grafted[part].items():
            jax.tree.map(np.testing.assert_array_equal, stage, given[name])
    new = {
        path[0].key
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
        if models.new_parameters(path)
    }
    assert new == set(params) - {"encoder", "decoder", "pose_decoder"}


def test_on_vgg_it_has_the_papers_widths() -> None:
    """conv1 to conv4 once, conv5 twice, and the fully connected layers by hand."""
    net = models.FashionNet(backbone="vgg16", branch="conv4_3")
    found = {row.name: row.parameters for row in counting.parts(net, 224, 3)}
    conv5 = 3 * (9 * 512 * 512 + 512)
    pooled = 7 * 7 * 512
    pose = pooled * 1024 + 1024 + 1024 * 1024 + 1024 + 2 * (1024 * 16 + 16)
    assert found == {
        "encoder": 14_714_688 - conv5,  # of VGG-16's convolutions
        "decoder": conv5,
        "pose, convolutions": conv5,
        "pose, landmarks": pose,
        "local branch": 8 * 512 * 1024 + 1024,
        "global branch": pooled * 4096 + 4096,
        "fully connected": (1024 + 4096) * 4096 + 4096,
        "categories": 4096 * 50 + 50,
        "attributes": 4096 * 1000 + 1000,
        "total": sum(found.values()) - found["total"],
    }


def test_options_build_the_same_network() -> None:
    net = models.FashionNet(**OPTIONS)
    assert models.build(**models.options(net)) == net
    assert dataclasses.replace(net, window=5) != net
