"""BN-Inception, GoogLeNet with batch normalisation and ViT-S/16: figures, sizes, formulas."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import models
from abe_jax.errors import UserError
from abe_jax.models import counting
from abe_jax.models.backbones import bn_inception, googlenet_bn, vit
from abe_jax.models.backbones.layers import box_mean
from abe_jax.models.backbones.max_pooling import max_pool
from abe_jax.models.backbones.stages import Options
from abe_jax.models.pooling import patches, rmac

GOOGLENET = models.SingleHead(backbone="googlenet_bn", dim=1000)
INCEPTION = models.SingleHead(backbone="bn_inception", dim=1000, branch="inception3c")
VIT = models.SingleHead(backbone="vit_s16", dim=1000, branch="block5", pooling="token")
KEY = jax.random.key(0, impl="rbg")

# With a classifier of 1000 classes, and multiply-adds at 224 px as `models.counting` counts them.
FIGURES = [
    # torchvision, GoogLeNet_Weights.IMAGENET1K_V1: 6624904 parameters, 1.50 GFLOPS (1.498).
    (GOOGLENET, 6_624_904, 1_498_376_192),
    # imgclsmob's tables: 11,295,240 parameters and 2,048.06M, poolings and ReLUs counted as well.
    (INCEPTION, 11_295_240, 2_032_600_064),
    # DeiT-S, arXiv 2012.12877, table 5: 22M parameters; timm's vit_small_patch16_224: 22.1 M.
    (VIT, 22_050_664, 4_598_882_304),
]


def images(size: int, *, batch: int = 2) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)


def traced(net: models.Ensemble, size: int):
    return jax.eval_shape(lambda x: net.init_with_output(KEY, x, train=False), images(size))


@pytest.mark.parametrize(("model", "parameters", "macs"), FIGURES, ids=lambda x: str(x)[:20])
def test_parameters_and_multiply_adds_are_the_published_ones(model, parameters, macs):
    counted, (_, variables) = counting.traced(
        lambda x: model.init_with_output(KEY, x, train=False), images(224, batch=1)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters
    assert sum(counted.values()) == macs


def test_what_tables_of_inception_count_beside_products():
    """imgclsmob adds one for every ReLU and nine for every pooled position: under one percent."""
    paper, ours = 2_048.06e6, FIGURES[1][2]
    assert 0 < paper / ours - 1 < 0.01


def test_what_tables_of_vit_count():
    """Of DeiT-S 4.6 G include the products of the attention, and timm's 4.25 leave them out.

    Both count five for every number that a layer norm sees, as fvcore does.
    """
    tokens, ours = 1 + 14 * 14, FIGURES[2][2]
    norms = 5 * tokens * 384 * (2 * 12 + 1)
    products = 12 * 2 * tokens * tokens * 384
    assert ours + norms == 4_608_338_304
    assert round((ours + norms - products) / 1e9, 2) == 4.25


SIDES = {
    "googlenet_bn": {
        **{"conv1": (112, 64), "pool1": (56, 64), "conv2": (56, 192), "pool2": (28, 192)},
        **{"inception3a": (28, 256), "inception3b": (28, 480), "pool3": (14, 480)},
        **{"inception4a": (14, 512), "inception4b": (14, 512), "inception4c": (14, 512)},
        **{"inception4d": (14, 528), "inception4e": (14, 832), "pool4": (7, 832)},
        **{"inception5a": (7, 832), "inception5b": (7, 1024)},
    },
    "bn_inception": {
        **{"conv1": (112, 64), "pool1": (56, 64), "conv2": (56, 192), "pool2": (28, 192)},
        **{"inception3a": (28, 256), "inception3b": (28, 320), "inception3c": (14, 576)},
        **{"inception4a": (14, 576), "inception4b": (14, 576), "inception4c": (14, 608)},
        **{"inception4d": (14, 608), "inception4e": (7, 1056)},
        **{"inception5a": (7, 1024), "inception5b": (7, 1024)},
    },
    "vit_s16": dict.fromkeys(["embed", *(f"block{i}" for i in range(12)), "norm"], (197, 384)),
}


def maps(stages, size: int):
    """Every stage's name and the map that it makes of the one before."""
    x = images(size)
    for stage in stages:
        x, _ = jax.eval_shape(
            lambda x, stage=stage: stage.make().init_with_output(KEY, x, False), x
        )
        yield stage, x


@pytest.mark.parametrize("model", [GOOGLENET, INCEPTION, VIT], ids=lambda model: model.backbone)
def test_sizes_of_maps(model):
    found = {}
    for stage, x in maps(models.stages(model.backbone), 224):
        assert x.shape[1] == (1 if model.backbone == "vit_s16" else x.shape[2])
        found[stage.name] = x.shape[2:]
    assert found == SIDES[model.backbone]


SAMPLE = [
    *((GOOGLENET, branch) for branch in ("conv1", "pool4")),
    *((INCEPTION, branch) for branch in ("pool2", "inception3b", "inception5a")),
    *((VIT, branch) for branch in ("embed", "block11")),
]


@pytest.mark.parametrize("kind", ["single", "heads", "attention"])
@pytest.mark.parametrize(
    ("model", "branch"), SAMPLE, ids=lambda x: x if isinstance(x, str) else x.backbone
)
def test_cut_anywhere(model, branch, kind):
    names = [stage.name for stage in models.stages(model.backbone)]
    behind = [s for s in models.stages(model.backbone)[names.index(branch) + 1 :] if not s.pooling]
    learners = 1 if kind == "single" else 2
    changes = {"kind": kind, "branch": branch, "learners": learners, "dim": 8}
    changes |= {"trunk_depth": min(2, len(behind))}
    embeddings, variables = traced(models.build(**models.options(model) | changes), 64)
    assert embeddings.vectors.shape == (2, learners, 8 // learners)
    if kind == "attention":
        assert list(variables["params"]["trunk"]) == [stage.name for stage in behind[:2]]


def at(stages, name: str):
    return next(stage for stage in stages if stage.name == name)


@pytest.mark.parametrize("name", ["inception3c", "inception4e"])
def test_a_strided_stage_without_its_stride_has_the_same_parameters(name):
    stage = at(bn_inception.stages(Options(norm="batch")), name)
    x = jnp.zeros((1, 8, 8, 20))
    assert stage.unstrided is not None
    own, copy = (
        jax.eval_shape(lambda make=make: make().init_with_output(KEY, x, False))
        for make in (stage.make, stage.unstrided)
    )
    assert own[0].shape[1:3] == (4, 4) and copy[0].shape[1:3] == (8, 8)
    assert own[0].shape[3] == copy[0].shape[3]
    assert jax.tree.map(jnp.shape, own[1]) == jax.tree.map(jnp.shape, copy[1])


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_box_mean_against_a_loop():
    x = normal(2, 4, 5, 3)
    expected = np.zeros(x.shape)
    for n, i, j, c in np.ndindex(*x.shape):
        window = x[n, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2, c]
        expected[n, i, j, c] = window.astype(np.float64).sum() / 9  # also at edges and corners
    found = box_mean(jnp.asarray(x), size=3)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5, atol=1e-6)
    low = box_mean(jnp.full((1, 3, 3, 1), 257.0, jnp.bfloat16), size=3)
    assert low.dtype == jnp.bfloat16 and low[0, 1, 1, 0] == jnp.bfloat16(257.0)


def without_convolutions(name: str, x: jax.Array):
    """A stage of BN-Inception whose convolutions only pick channels, and what they were given."""
    given = {}

    def unit(features, size, *, name, stride=1):
        def pick(x, train):
            given[name] = (size, stride, x)
            return x[:, ::stride, ::stride, :features]

        return pick

    strided = name in bn_inception.STRIDED
    stage = bn_inception.DoubleInception(
        widths=bn_inception.INCEPTIONS[name],
        unit=unit,
        maximum=name in bn_inception.MAXIMA,
        stride=2 if strided else 1,
    )
    return jnp.asarray(stage.apply({}, x, False)), given


@pytest.mark.parametrize("name", ["inception3a", "inception5b"])
def test_what_the_pooled_branch_is_given(name):
    x = jnp.asarray(normal(1, 5, 5, 4))
    _, given = without_convolutions(name, x)
    pooled = box_mean(x, size=3) if name == "inception3a" else max_pool(x, size=3, stride=1, pad=1)
    np.testing.assert_array_equal(given["pool"][2], pooled)


@pytest.mark.parametrize("name", bn_inception.STRIDED)
def test_a_strided_stage_joins_the_maxima_of_its_input_unchanged(name):
    x = jnp.asarray(normal(1, 6, 6, 5))
    found, given = without_convolutions(name, x)
    np.testing.assert_array_equal(found[..., -5:], max_pool(x, size=3, stride=2))
    assert {name: (size, stride) for name, (size, stride, _) in given.items()} == {
        "three_reduce": (1, 1),
        "three": (3, 2),
        "double_reduce": (1, 1),
        "double_one": (3, 1),
        "double_two": (3, 2),
    }


@pytest.mark.parametrize("module", [googlenet_bn, bn_inception], ids=lambda m: m.__name__)
@pytest.mark.parametrize("frozen", [False, True])
def test_statistics_span_devices_and_stand_still_when_frozen(module, frozen):
    options = Options(norm="batch", freeze_norm=frozen, axis_name="devices")
    first, alone = (
        module.stages(o)[0].make() for o in (options, dataclasses.replace(options, axis_name=None))
    )
    x = jnp.asarray(normal(4, 8, 8, 3))
    variables = jax.jit(lambda: alone.init(KEY, x, False))()
    assert ("bias" in variables["params"]["conv"]) == (module is bn_inception)

    def train(net, x):
        return net.apply(variables, x, True, mutable=["batch_stats"])[1]["batch_stats"]

    complete = jax.jit(lambda x: train(alone, x))(x)
    halves = jax.vmap(lambda x: train(first, x), axis_name="devices")(x.reshape(2, 2, 8, 8, 3))
    for old, new, split in zip(
        *map(jax.tree.leaves, (variables["batch_stats"], complete, halves)), strict=True
    ):
        np.testing.assert_allclose(split[1], new, rtol=1e-4, atol=1e-6)
        assert (jnp.abs(old - new).max() > 0) != frozen


@pytest.mark.parametrize(("name", "epsilon"), [("googlenet_bn", 1e-3), ("bn_inception", 1e-5)])
def test_epsilon_of_the_normalisation(name, epsilon):
    stage = models.stages(name)[0]
    x = jnp.asarray(normal(1, 8, 8, 3))
    variables = jax.jit(lambda: stage.make().init(KEY, x, False))()
    tiny = jax.tree.map(lambda leaf: leaf * jnp.float32(1e-4), variables["batch_stats"])
    found = stage.make().apply({**variables, "batch_stats": tiny}, x, False)
    kernel = variables["params"]["conv"]["kernel"]
    plain = jax.lax.conv_general_dilated(
        x, kernel, (2, 2), ((3, 3), (3, 3)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    expected = np.maximum(np.asarray(plain), 0) / math.sqrt(1e-4 + epsilon)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-4)


# ViT-S/16.


def erf_gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def layer_norm(x: np.ndarray, p) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-6) * p["scale"] + p["bias"]


def dense(x: np.ndarray, p) -> np.ndarray:
    return x @ p["kernel"] + p["bias"]


def loop_attention(tokens: np.ndarray, p) -> np.ndarray:
    """Of one image's tokens [t, 384], head by head and query by query."""
    wide = dense(tokens, p["qkv"])
    mixed = np.zeros_like(tokens)
    for head in range(6):
        q, k, v = (wide[:, part * 384 + head * 64 :][:, :64] for part in range(3))
        for i in range(len(tokens)):
            scores = np.array([q[i] @ key / 8 for key in k])
            weights = np.exp(scores - scores.max())
            weights /= weights.sum()
            mixed[i, head * 64 : head * 64 + 64] = sum(
                w * value for w, value in zip(weights, v, strict=True)
            )
    return dense(mixed, p["proj"])


def loop_block(tokens: np.ndarray, p) -> np.ndarray:
    tokens = tokens + loop_attention(layer_norm(tokens, p["norm1"]), p)
    hidden = erf_gelu(dense(layer_norm(tokens, p["norm2"]), p["fc1"]))
    return tokens + dense(hidden, p["fc2"])


def random_like(tree, scale: float):
    """Every parameter random, biases and scales too, so that none can be mistaken."""
    leaves, form = jax.tree.flatten(tree)
    found = [jnp.asarray(scale * normal(*leaf.shape, seed=i)) for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(form, found)


def test_a_block_against_loops():
    block = vit.Block(dtype=jnp.float32)
    x = normal(2, 1, 5, 384)
    shapes = jax.eval_shape(lambda: block.init(KEY, jnp.asarray(x), False))["params"]
    assert set(shapes) == {"norm1", "qkv", "proj", "norm2", "fc1", "fc2"}
    params = random_like(shapes, 0.1)
    found = jax.jit(lambda p: block.apply({"params": p}, jnp.asarray(x), False))(params)
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    expected = np.stack([loop_block(image[0].astype(np.float64), exact)[None] for image in x])
    assert np.abs(expected - x).max() > 1
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-4)

    low = jax.jit(lambda p, x: vit.Block(dtype=jnp.bfloat16).apply({"params": p}, x, False))(
        params, jnp.asarray(x, jnp.bfloat16)
    )
    assert low.dtype == jnp.bfloat16
    error = np.abs(np.asarray(low, np.float64) - expected).mean() / np.abs(expected).mean()
    assert 1e-4 < error < 0.03


def test_embedding_of_patches_against_a_loop():
    embed = vit.Embed(dtype=jnp.float32)
    x = normal(2, 32, 32, 3)
    shapes = jax.eval_shape(lambda: embed.init(KEY, jnp.asarray(x), False))["params"]
    assert jax.tree.map(jnp.shape, shapes) == {
        "conv": {"kernel": (16, 16, 3, 384), "bias": (384,)},
        "cls": (1, 1, 384),
        "pos": (1, 5, 384),
    }
    params = random_like(shapes, 0.1)
    found = jax.jit(lambda p: embed.apply({"params": p}, jnp.asarray(x), False))(params)
    assert found.shape == (2, 1, 5, 384)
    exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    for n in range(2):
        tokens = [exact["cls"][0, 0]]
        for top, left in ((0, 0), (0, 16), (16, 0), (16, 16)):
            patch = x[n, top : top + 16, left : left + 16].astype(np.float64)
            kernel = exact["conv"]["kernel"]
            tokens.append(np.einsum("hwc,hwcd->d", patch, kernel) + exact["conv"]["bias"])
        expected = np.stack(tokens) + exact["pos"][0]
        np.testing.assert_allclose(np.asarray(found[n, 0]), expected, rtol=1e-4, atol=1e-4)


class ShortABE(models.ABE):
    """With all blocks of the encoder but the first left out."""

    @property
    def cut(self):
        parts = super().cut
        return dataclasses.replace(parts, encoder=parts.encoder[:1])


@pytest.fixture(scope="module")
def small_vit():
    """ABE-2 of few blocks, which compiles in seconds."""
    net = ShortABE(
        backbone="vit_s16", learners=2, dim=8, branch="block10", trunk_depth=1, pooling="token"
    )
    x = jnp.asarray(normal(2, 48, 48, 3))
    return net, jax.jit(lambda: net.init(KEY, x, train=False))(), x


def test_masks_of_tokens_become_squares(small_vit):
    net, variables, x = small_vit
    masks = jax.jit(lambda v: net.apply(v, x, method="masks"))(variables)
    assert masks.shape == (2, 2, 3, 3, 384)
    assert 0 < masks.min() < masks.max() < 1
    flat = jax.jit(
        lambda v: net.apply(v, x, method=lambda net, x: net.attention(net.encoder(x, False), False))
    )(variables)
    assert flat.shape == (2, 2, 1, 10, 384)
    for patch in range(9):  # row by row, behind the class token
        same = (masks[:, :, patch // 3, patch % 3], flat[:, :, 0, 1 + patch])
        np.testing.assert_allclose(*same, atol=1e-6)  # of two programs


def test_a_rectangle_of_patches_is_laid_out_row_by_row(small_vit):
    net, _, _ = small_vit
    tokens = jnp.arange(2 * 1 * 9 * 384, dtype=jnp.float32).reshape(2, 1, 9, 384)
    found = patches(tokens, (4, 2))
    assert found.shape == (2, 4, 2, 384)
    for row, column in itertools.product(range(4), range(2)):
        np.testing.assert_array_equal(found[:, row, column], tokens[:, 0, 1 + 2 * row + column])
    images = jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: net.init(KEY, x, train=False), images)
    assert shapes["params"]["encoder"]["embed"]["pos"].shape == (1, 9, 384)
    masks = jax.eval_shape(lambda v, x: net.apply(v, x, method="masks"), shapes, images)
    assert masks.shape == (2, 2, 4, 2, 384)
    regional = net.clone(
        pooling="rmac", head="none", dim=768
    )  # whose regions are those of a map of 4 x 2
    pooled = regional.apply(
        {}, tokens[:, None], False, (4, 2), method=lambda n, *a: n.embed(*a).features
    )
    np.testing.assert_allclose(pooled[:, 0], rmac(found), rtol=1e-6)


def test_pooling_the_class_token_or_the_patches(small_vit):
    net, variables, x = small_vit
    kinds = ("token", "average", "max")
    nets = [net.clone(pooling=kind) for kind in kinds]
    token, average, largest = jax.jit(
        lambda v: [pooled.apply(v, x, train=False).features for pooled in nets]
    )(variables)
    assert token.shape == average.shape == largest.shape == (2, 2, 384)
    assert jnp.abs(token - average).max() > 0.1
    assert (largest >= average).all() and jnp.abs(largest - average).max() > 0.1


def test_gradients_of_vit_are_finite_at_zero(small_vit):
    net, variables, x = small_vit
    zero = jax.tree.map(np.zeros_like, variables["params"])
    gradient = jax.jit(jax.grad(lambda p: net.apply({"params": p}, x, train=True).vectors.sum()))
    for params in (zero, variables["params"]):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient(params)))


@pytest.mark.parametrize("model", [GOOGLENET, INCEPTION], ids=lambda model: model.backbone)
def test_other_backbones_have_no_class_token(model):
    with pytest.raises(UserError, match="vision transformers"):
        model.clone(pooling="token")


@pytest.mark.parametrize(
    ("model", "sides", "told"),
    [
        (VIT, (227, 227), "nearest is 224"),
        (VIT, (20, 20), "nearest is 16"),
        (VIT, (4, 4), "nearest is 16"),
        (VIT, (64, 36), "nearest is 64 x 32"),
        (VIT, (36, 64), "nearest is 32 x 64"),
        (INCEPTION, (232, 232), "multiples of 32"),
        (INCEPTION, (64, 80), "multiples of 32"),
    ],
)
def test_wrong_sizes_are_told_right_ones(model, sides, told):
    x = jax.ShapeDtypeStruct((1, *sides, 3), jnp.float32)
    with pytest.raises(UserError, match=told) as error:
        jax.eval_shape(lambda x: model.init(KEY, x, train=False), x)
    assert str(error.value).startswith("size: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("size", [32, 64, 96, 256])
def test_inception_takes_multiples_of_32(size):
    last = list(maps(models.stages("bn_inception"), size))[-1][1]
    assert last.shape == (2, size // 32, size // 32, 1024)
