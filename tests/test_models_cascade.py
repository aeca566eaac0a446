"""The cascade's heads against loops in float64, where they stand, and what is refused."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import models
from abe_jax.data import Preprocessing
from abe_jax.errors import ArgumentError
from abe_jax.evaluation.network import Network
from abe_jax.models import counting
from abe_jax.models.backbones.layers import average_pool
from abe_jax.models.backbones.stages import StageMaps
from abe_jax.models.cascade import SideHead
from abe_jax.pretrained.placing import placed
from abe_jax.pretrained.sources import SOURCES

SMALL: dict[str, Any] = {"backbone": "convnet", "width": 2, "dim": 9, "norm": "none"}
OWN: dict[str, Any] = {"side_width": 8, "side_hidden": 16}
IMAGES = jax.random.normal(jax.random.key(1), (2, 32, 32, 1))


def made(net, seed=0) -> Any:
    """A network's parameters, biases drawn as well."""
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), IMAGES))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def averages(x, size, stride):
    """Caffe's average pooling without padding, by loops: [h, w, c] in float64."""
    h, w = x.shape[:2]
    rows, columns = (range(0, max(n - size, 0) + stride, stride) for n in (h, w))
    rows, columns = ([s for s in starts if s < n] for starts, n in ((rows, h), (columns, w)))
    rows = rows[: -(-max(h - size, 0) // stride) + 1]
    columns = columns[: -(-max(w - size, 0) // stride) + 1]
    return np.array([[x[i : i + size, j : j + size].mean((0, 1)) for j in columns] for i in rows])


# Side of the map -> side of what is pooled; 14 is GoogLeNet's, and below 5 the map is the window.
POOLED = {1: 1, 4: 1, 6: 2, 8: 2, 14: 4}


@pytest.mark.parametrize("side", POOLED)
def test_average_pooling_is_the_loops_in_value_and_gradient(side):
    rng = np.random.default_rng(side)
    x, towards = rng.normal(size=(2, 1, side, side + 1, 2))
    expected = averages(x[0], 5, 3)
    weight = rng.normal(size=expected.shape)

    def weighted(y):
        pooled = average_pool(y, size=5, stride=3)
        return jnp.sum(pooled[0] * weight), pooled

    run = jax.jit(jax.value_and_grad(weighted, has_aux=True))
    (_, given), gradient = run(jnp.asarray(x, jnp.float32))
    assert given.shape[1] == POOLED[side]
    np.testing.assert_allclose(given[0], expected, atol=1e-6)
    slope = (averages(towards[0], 5, 3) * weight).sum()  # pooling is linear
    assert (np.asarray(gradient) * towards).sum() == pytest.approx(slope, rel=1e-4)


def by_loop(params, x):
    """A side head's features of one map [h, w, c]."""
    pooled = averages(x, 5, 3)
    reduced = pooled @ params["reduce"]["kernel"][0, 0] + params["reduce"]["bias"]
    flat = np.maximum(reduced, 0).reshape(-1)
    return np.maximum(flat @ params["hidden"]["kernel"] + params["hidden"]["bias"], 0)


def doubled(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def test_a_side_head_is_the_loop_in_value_and_gradient():
    head = SideHead(width=3, hidden=5, dtype=jnp.float32)
    x, towards = np.random.default_rng(3).normal(size=(2, 2, 7, 7, 4))
    first = jnp.asarray(x, jnp.float32)
    params = jax.tree.map(lambda leaf: leaf + 0.1, jax.jit(head.init)(jax.random.key(0), first))
    params = params["params"]
    wide = doubled(params)
    weight = np.random.default_rng(4).normal(size=(2, 5))

    def of(params, x):
        found: Any = head.apply({"params": params}, x)
        return jnp.sum(found * weight)

    def oracle(params, x):
        return sum((by_loop(params, row) * own).sum() for row, own in zip(x, weight, strict=True))

    value, (by_params, by_map) = jax.jit(jax.value_and_grad(of, (0, 1)))(
        params, jnp.asarray(x, jnp.float32)
    )
    assert float(value) == pytest.approx(oracle(wide, x), rel=1e-5)
    step = 1e-6
    slope = (oracle(wide, x + step * towards) - oracle(wide, x - step * towards)) / (2 * step)
    assert (np.asarray(by_map) * towards).sum() == pytest.approx(slope, rel=1e-4)
    ahead, behind = (jax.tree.map(lambda p, s=s: p + s * np.cos(p), wide) for s in (step, -step))
    slope = (oracle(ahead, x) - oracle(behind, x)) / (2 * step)
    along = jax.tree.map(lambda g, p: (np.asarray(g) * np.cos(p)).sum(), by_params, wide)
    assert sum(jax.tree.leaves(along)) == pytest.approx(slope, rel=1e-4)


def test_each_head_sees_the_map_behind_its_own_stage():
    net = models.Cascade(**SMALL, **OWN, side_stages=("conv2", "conv4"), branch="pool2")
    variables = made(net)
    found: Any = jax.jit(net.apply)(variables, IMAGES)
    assert found.vectors.shape == found.unnormalised.shape == (2, 3, 3)
    params = doubled(variables["params"])
    stages = StageMaps((*net.cut.encoder, *net.cut.decoder))
    own = {"params": variables["params"]["encoder"] | variables["params"]["decoder"]}
    maps: Any = doubled(jax.jit(stages.apply, static_argnums=2)(own, IMAGES, False))
    for row in range(2):
        features = [by_loop(params["sides"][name], maps[name][row]) for name in ("conv2", "conv4")]
        features.append(maps["conv6"][row].mean((0, 1)))
        for m, own in enumerate(features):
            layer = params["head"][f"head{m}"]
            z = own @ layer["kernel"] + layer["bias"]
            np.testing.assert_allclose(found.unnormalised[row, m], z, rtol=1e-4, atol=1e-3)
            np.testing.assert_allclose(found.vectors[row, m], z / np.linalg.norm(z), atol=1e-5)


def test_the_first_heads_gradient_reaches_no_later_stage():
    net = models.Cascade(**SMALL, **OWN, side_stages=("conv2", "conv4"), branch="pool2")

    def of(variables):
        found: Any = net.apply(variables, IMAGES)
        return found.unnormalised.sum((0, 2))

    every = doubled(jax.jit(jax.jacrev(of))(made(net))["params"])
    first, last = (jax.tree.map(lambda leaf, m=m: leaf[m], every) for m in (0, 2))
    assert not any(
        leaf.any() for leaf in jax.tree.leaves((first["decoder"], first["head"]["head1"]))
    )
    assert any(leaf.any() for leaf in jax.tree.leaves(first["encoder"]["conv2"]))
    assert not any(leaf.any() for leaf in jax.tree.leaves(last["sides"]))
    assert any(leaf.any() for leaf in jax.tree.leaves(last["decoder"]["conv6"]))


def test_each_head_of_a_cascade_drops_by_draws_of_its_own():
    net = models.Cascade(**SMALL, **OWN, side_dropout=0.5, last_dropout=0.5)
    variables = made(net)
    plain: Any = jax.jit(net.apply)(variables, IMAGES)

    @functools.partial(jax.jit, static_argnames="last_dropout")
    def drawn(key, last_dropout=0.5):
        found: Any = net.clone(last_dropout=last_dropout).apply(
            variables, IMAGES, train=True, mutable=["batch_stats"], rngs={"dropout": key}
        )
        return found[0].unnormalised

    one, other = drawn(jax.random.key(1)), drawn(jax.random.key(2))
    assert all((one[:, m] != plain.unnormalised[:, m]).any() for m in range(3))
    assert (one != other).any()
    np.testing.assert_array_equal(one, drawn(jax.random.key(1)))
    side = drawn(jax.random.key(1), last_dropout=0.0)
    np.testing.assert_allclose(side[:, 2], plain.unnormalised[:, 2], rtol=1e-5)
    np.testing.assert_allclose(side[:, :2], one[:, :2], rtol=1e-5)


def test_googlenets_heads_stand_where_the_paper_has_them():
    assert models.Cascade(backbone="googlenet", dim=384).side_names == (
        "inception4a",
        "inception4d",
    )
    assert models.Cascade(backbone="convnet", dim=9).side_names == ("conv4", "conv5")
    assert models.Cascade(backbone="googlenet", learners=1, dim=128).side_names == ()
    assert models.Cascade(backbone="vit_s16", dim=9).side_names == ("block6", "block9")


@pytest.mark.slow
@pytest.mark.parametrize("backbone", models.BACKBONES)
def test_every_backbone_has_stages_for_side_heads(backbone):
    net = models.Cascade(backbone=backbone, dim=9, **OWN)
    side = min(models.BACKBONES[backbone].size, 64)
    found, variables = jax.eval_shape(
        lambda x: net.init_with_output(jax.random.key(0), x),
        jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32),
    )
    assert found.vectors.shape == (2, 3, 3) and found.vectors.dtype == jnp.float32
    assert tuple(variables["params"]["sides"]) == net.side_names


# Of GoogLeNet at 224 px: 14 x 14 maps of 512 and 528 channels, 4 x 4 windows.
def test_side_heads_are_counted():
    net = models.Cascade(backbone="googlenet", dim=384)
    found = {part.name: part for part in counting.parts(net, 224, 3)}
    sides, last = found["side heads"], found["fully connected"]
    assert sides.parameters == (512 + 528) * 128 + 2 * (128 + 2048 * 1024 + 1024)
    assert sides.multiply_adds == 16 * (512 + 528) * 128 + 2 * 2048 * 1024
    assert sides.detail == "behind inception4a, inception4d"
    assert (last.parameters, last.multiply_adds) == (3 * (1024 * 128 + 128), 3 * 1024 * 128)
    single = models.SingleHead(backbone="googlenet", dim=128)
    rest = sum(part.parameters for name, part in found.items() if name in ("encoder", "decoder"))
    theirs = {part.name: part.parameters for part in counting.parts(single, 224, 3)}
    assert rest == theirs["encoder"] + theirs["decoder"]


def test_stages_are_taken_from_other_networks_and_heads_are_new():
    net, single = models.Cascade(**SMALL, **OWN), models.SingleHead(**{**SMALL, "dim": 3})
    params, given = (made(n, seed)["params"] for seed, n in enumerate((net, single)))
    grafted = models.graft(params, models.stage_params(given))
    for part in ("encoder", "decoder"):
        jax.tree.map(np.testing.assert_array_equal, grafted[part], given[part])
    for part in ("sides", "head"):
        jax.tree.map(np.testing.assert_array_equal, grafted[part], params[part])
    new = {part: models.new_parameters((part,)) for part in params}
    assert new == {"encoder": False, "decoder": False, "sides": True, "head": True}
    fast = {part: models.last_layer((part,)) for part in params}
    assert fast == new | {"sides": False}


def test_caffes_auxiliary_classifiers_become_the_first_two_heads():
    rng = np.random.default_rng(0)
    arrays = {}
    for name, channels in (("loss1", 512), ("loss2", 528)):
        arrays[f"{name}/conv.0"] = rng.normal(size=(128, channels, 1, 1)) / channels
        arrays[f"{name}/fc.0"] = rng.normal(size=(1024, 2048)) / 50
        arrays |= {f"{name}/{k}.1": rng.normal(size=n) for k, n in (("conv", 128), ("fc", 1024))}
    caffe = SOURCES["caffe_googlenet"]
    trees = placed(arrays, caffe.sides, caffe.left_out, {"params": caffe.side_shapes})["params"]
    net = models.Cascade(backbone="googlenet", dim=9)
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), image)["params"]
    others = models.stage_params(shapes)
    sides = models.graft(shapes, {**others, **trees})["sides"]
    x = rng.normal(size=(14, 14, 528))
    for name, stage, c in (("loss1", "inception4a", 512), ("loss2", "inception4d", 528)):
        pooled = averages(x[..., :c], 5, 3)
        reduced = np.einsum("hwc,kc->khw", pooled, arrays[f"{name}/conv.0"][..., 0, 0])
        flat = np.maximum(reduced + arrays[f"{name}/conv.1"][:, None, None], 0).reshape(-1)
        expected = np.maximum(arrays[f"{name}/fc.0"] @ flat + arrays[f"{name}/fc.1"], 0)
        np.testing.assert_allclose(by_loop(doubled(sides[stage]), x[..., :c]), expected, atol=1e-4)
    narrow = {"inception4a": {"reduce": {"kernel": np.zeros((1, 1, 512, 8))}}}
    kept = models.graft({"sides": narrow}, trees)["sides"]  # of another shape: it stays
    assert kept["inception4a"]["reduce"]["kernel"].shape == (1, 1, 512, 8)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"side_stages": ("conv2", "con4")}, "side_stages: .*'conv4'"),
        ({"side_stages": ("conv2", "conv6")}, "side_stages: .*'conv5'"),
        ({"side_stages": ("conv4", "conv2")}, r"side_stages: .*\('conv2', 'conv4'\)"),
        ({"side_stages": ("conv2", "conv2")}, "side_stages: .*each stands once"),
        ({"side_stages": ("conv2",)}, "side_stages: 1 for 3 .*name 2, or set learners to 2"),
        ({"learners": 9}, "learners: 9 heads, .*at most 6"),
        ({"head": "none"}, "head: .*'linear' or 'projection'"),
        ({"side_dropout": 1.0}, "side_dropout: 1"),
        ({"last_dropout": -0.1}, "last_dropout: -0.1"),
        ({"side_width": 0}, "side_width: 0; it is at least 1"),
        ({"side_hidden": 0}, "side_hidden: 0; it is at least 1"),
        ({"dim": 8}, "dim: 8 does not split"),
        ({"dims": (2, 3, 4)}, "dims: differ, but learners of kind 'cascade' have one size"),
    ],
)
def test_wrong_options_are_told_the_nearest_right_choice(change, told):
    with pytest.raises(ArgumentError, match=f"^{told}"):
        models.build("cascade", **{**SMALL, **change})


def test_other_kinds_pass_over_what_a_cascade_alone_has():
    net = models.build("single", **SMALL, side_stages=("conv2",), side_width=7)
    assert net == models.SingleHead(**SMALL)
    assert "side_width" not in models.options(net)
    with pytest.raises(TypeError):
        models.build("single", **SMALL, side_widht=7)


def test_side_heads_take_images_of_one_size():
    net, one = models.Cascade(**SMALL, **OWN), Preprocessing(resize=32, size=32, channels=1)
    with pytest.raises(
        ArgumentError, match=r"^longest: kind 'cascade' has side heads for images of one"
    ):
        Network(net, one, longest=64)
    Network(net.clone(learners=1), one, longest=64)
