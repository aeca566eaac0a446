"""Cutting anywhere, the sizes of GoogLeNet's maps, and what wrong options are told."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from abe_jax import models
from abe_jax.errors import ArgumentError, UserError
from abe_jax.models.backbones.stages import Cut, with_trunk

SMALL = {
    "backbone": "convnet",
    "kind": "attention",
    "learners": 2,
    "dim": 8,
    "branch": "pool2",
    "width": 4,
}
LARGE = {"backbone": "googlenet", "kind": "attention", "learners": 2, "dim": 8}

SIDES = {
    "conv1": (112, 64),
    "pool1": (56, 64),
    "conv2": (56, 192),
    "pool2": (28, 192),
    "inception3a": (28, 256),
    "inception3b": (28, 480),
    "pool3": (14, 480),
    "inception4a": (14, 512),
    "inception4b": (14, 512),
    "inception4c": (14, 512),
    "inception4d": (14, 528),
    "inception4e": (14, 832),
    "pool4": (7, 832),
    "inception5a": (7, 832),
    "inception5b": (7, 1024),
}


@pytest.mark.parametrize("norm", ["none", "lrn"])
def test_sizes_of_googlenets_maps(norm):
    x = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    found = {}
    for stage in models.stages("googlenet", norm=norm):
        x, _ = jax.eval_shape(
            lambda x, stage=stage: stage.make().init_with_output(jax.random.key(0), x, False), x
        )
        found[stage.name] = x.shape[2:]
        assert x.shape[1] == x.shape[2]
    assert found == SIDES


def traced(options: dict[str, Any], size: int):
    net = models.build(**options)
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    return jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, train=False), images)


def cuts(backbone: str) -> list[tuple[str, int]]:
    """Every branch with the deepest trunk that it allows."""
    stages = models.stages(backbone)
    return [
        (stage.name, sum(not after.pooling for after in stages[i + 1 :]))
        for i, stage in enumerate(stages[:-1])
    ]


@pytest.mark.parametrize("kind", ["heads", "attention"])
@pytest.mark.parametrize(("branch", "depth"), cuts("convnet"))
def test_convnet_cut_anywhere(branch, depth, kind):
    options = SMALL | {"branch": branch, "trunk_depth": depth, "kind": kind}
    embeddings, variables = traced(options, 32)
    assert embeddings.vectors.shape == (2, 2, 4)
    if kind == "attention":
        assert len(variables["params"]["trunk"]) == depth


@pytest.mark.parametrize(("branch", "depth"), cuts("googlenet"))
def test_googlenet_cut_anywhere(branch, depth):
    embeddings, _ = traced(LARGE | {"branch": branch, "trunk_depth": min(depth, 2)}, 64)
    assert embeddings.vectors.shape == (2, 2, 4)


def test_a_trunk_of_no_stages_masks_from_the_encoder():
    _, variables = traced(SMALL | {"trunk_depth": 0}, 32)
    assert "trunk" not in variables["params"]


def test_the_trunk_copies_stages_with_parameters_of_its_own():
    _, variables = traced(LARGE, 64)
    trunk, decoder = variables["params"]["trunk"], variables["params"]["decoder"]
    assert sorted(trunk) == [f"inception4{letter}" for letter in "abcde"]
    for name in trunk:
        shapes = [jax.tree.map(lambda leaf: leaf.shape, tree[name]) for tree in (trunk, decoder)]
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"backbone": "googlnet"}, "'googlenet'"),
        ({"kind": "atention"}, "'attention'"),
        ({"norm": "bach"}, "'batch'"),
        ({"norm": "lrn"}, "none"),
        ({"compute": "float16"}, "'bfloat16'"),
        ({"branch": "poll2"}, "'pool2'"),
        ({"branch": "conv6"}, "'conv5'"),
        ({"trunk_depth": 9}, "0..4"),
        ({"trunk_depth": -1}, "0..4"),
        ({"learners": 0}, "at least 1"),
        ({"kind": "single"}, "set learners to 1"),
        ({"learners": 3, "dim": 10}, "9 or 12"),
        ({"learners": 3, "dim": 2}, "nearest is 3"),
        ({"dim": 0}, "nearest is 2"),
        ({"width": 0}, "at least 1"),
    ],
)
def test_wrong_options_are_told_the_nearest_right_choice(change, told):
    with pytest.raises(UserError) as error:
        models.build(**{**SMALL, "trunk_depth": 2, **change})
    line = str(error.value)
    assert told in line
    assert any(line.startswith(f"{name}: ") for name in (*change, "learners"))
    assert "\n" not in line


def test_a_trunk_copies_a_strided_stage_without_its_stride():
    first, second = models.stages("convnet", width=4)[1:3]
    strided = models.stages("convnet", width=4)[0]
    parts = with_trunk(Cut(encoder=(first,), trunk=(), decoder=(second, strided)), 1)
    (copied,) = parts.trunk  # `second` only pools, and is left out
    image = jnp.zeros((1, 8, 8, 3))
    own, copy = (
        jax.eval_shape(lambda s=stage: s.make().init_with_output(jax.random.key(0), image, False))
        for stage in (strided, copied)
    )
    assert own[0].shape == (1, 4, 4, 4) and copy[0].shape == (1, 8, 8, 4)
    assert jax.tree.map(jnp.shape, own[1]) == jax.tree.map(jnp.shape, copy[1])
    assert copied.name == strided.name and copied.stride == 1


@pytest.mark.parametrize("backbone", models.BACKBONES)
def test_every_backbone_is_cut_somewhere_unless_said(backbone):
    side = min(models.BACKBONES[backbone].size, 64)
    net = models.ABE(backbone=backbone, learners=2, dim=8)
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    embeddings, variables = jax.eval_shape(
        lambda x: net.init_with_output(jax.random.key(0), x, train=False), images
    )
    assert embeddings.vectors.shape == (2, 2, 4)
    known = models.BACKBONES[backbone]
    assert net.cut.encoder[-1].name == known.branch
    assert len(variables["params"]["trunk"]) == known.trunk_depth > 0


def test_googlenet_is_cut_where_the_paper_cuts_it():
    assert net_names(models.ABE(backbone="googlenet")) == (
        "pool3",
        [f"inception4{letter}" for letter in "abcde"],
    )


def net_names(net: models.Ensemble) -> tuple[str, list[str]]:
    return net.cut.encoder[-1].name, [stage.name for stage in net.cut.trunk]


def test_behind_a_branch_of_ones_own_the_trunk_is_as_deep_as_it_can_be():
    late = models.ABE(backbone="googlenet", branch="pool4")
    assert net_names(late) == ("pool4", ["inception5a", "inception5b"])
    assert net_names(models.ABE(backbone="convnet", branch="pool2")) == ("pool2", ["conv3"])


def test_another_backbones_branch_is_told_the_nearest():
    with pytest.raises(ArgumentError, match=r"^branch: nothing is called 'pool3'; did you mean"):
        models.ABE(backbone="resnet50", branch="pool3")


@pytest.mark.parametrize("kind", models.KINDS)
def test_options_build_the_same_network(kind):
    given: dict[str, Any] = {"backbone": "convnet", "branch": "pool2", "trunk_depth": 1}
    one = kind in ("single", "fashion_net")
    given |= {"learners": 1 if one else 2, "dim": 512}
    if kind != "fashion_net":  # which refuses what it would not use
        given |= {"gem_p": 4.0, "pooling": "gem"}
    net = models.build(kind, **given)
    options = models.options(net.clone(axis_name="devices"))
    assert options.items() >= {"kind": kind, "norm": "", **given}.items()
    assert set(options) & {"axis_name", "parent", "name", "weights"} == set()
    assert models.build(**options) == net
    assert type(net) is models.KINDS[kind]
