"""Stages taken out of one network and put into another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import models
from abe_jax.errors import UserError

SMALL = {"backbone": "convnet", "dim": 8, "width": 4, "norm": "batch"}
SINGLE = models.SingleHead(branch="conv4", **SMALL)
HEADS = models.MultiHead(learners=2, branch="pool2", **SMALL)
ATTENTION = models.ABE(learners=2, branch="pool2", trunk_depth=2, **SMALL)


def variables(net: models.Ensemble, seed: int = 0):
    images = jnp.zeros((2, 32, 32, 1))
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), images, train=False))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


def test_stages_of_every_kind_have_the_same_names_and_shapes():
    shapes = [
        jax.tree.map(jnp.shape, models.stage_params(variables(model)["params"]))
        for model in (SINGLE, HEADS, ATTENTION)
    ]
    assert sorted(shapes[0]) == sorted(n for n in shapes[0] if n.startswith("conv"))
    assert shapes[0] == shapes[1] == shapes[2]


def test_of_heads_the_first_is_taken():
    params = variables(HEADS)["params"]
    assert_same(models.stage_params(params)["conv4"], params["decoder"]["head0"]["conv4"])


@pytest.mark.parametrize("collection", ["params", "batch_stats"])
def test_attention_starts_trunk_and_decoder_from_the_same_stages(collection):
    given = models.stage_params(variables(SINGLE, seed=1)[collection])
    given = jax.tree.map(lambda leaf: leaf + 1, given)
    target = variables(ATTENTION)[collection]
    grafted = models.graft(target, given)
    for part in ("encoder", "trunk", "decoder"):
        for name, stage in grafted[part].items():
            assert_same(stage, given[name])
    assert jax.tree.structure(grafted) == jax.tree.structure(target)
    for new in ("head", "mask_heads"):
        if collection == "params":
            assert_same(grafted[new], target[new])


def test_every_head_starts_from_the_stages():
    given = models.stage_params(variables(SINGLE, seed=1)["params"])
    grafted = models.graft(variables(HEADS)["params"], given)
    for m in (0, 1):
        for name, stage in grafted["decoder"][f"head{m}"].items():
            assert_same(stage, given[name])


def test_what_does_not_fit_is_named():
    given = models.stage_params(variables(SINGLE)["params"])
    del given["conv2"]
    given["conv3"] = {"conv": given["conv3"]["conv"]}
    given["conv4"] = jax.tree.map(lambda leaf: leaf[..., 1:], given["conv4"])
    with pytest.raises(UserError) as error:
        models.graft(variables(ATTENTION)["params"], given)
    line = str(error.value)
    assert "conv2 is missing" in line
    assert "conv3 has other parameters" in line
    assert "conv4 has shapes" in line and "(3, 3, 8, 8)" in line
    assert "conv1" not in line and "conv5" not in line and "\n" not in line


def test_new_parameters_are_those_that_no_backbone_brings():
    params = variables(ATTENTION)["params"]
    new = {
        path[0].key
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
        if models.new_parameters(path)
    }
    assert new == {"head", "mask_heads"}
    assert models.new_parameters(("head", "kernel"))
    assert not models.new_parameters(("decoder", "head0", "conv3", "conv", "kernel"))
