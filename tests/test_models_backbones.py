"""The large backbones: published figures, map sizes, cuts, and the layers that they brought."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import models
from abe_jax.errors import ArgumentError
from abe_jax.models import counting
from abe_jax.models.backbones import mobile
from abe_jax.models.backbones.depthwise import Depthwise, depthwise
from abe_jax.models.backbones.layers import Conv, pads
from abe_jax.models.backbones.max_pooling import max_pool
from abe_jax.models.backbones.stages import Options, Stages
from abe_jax.models.backbones.table import backbone

SIZES = {
    "efficientnet_lite0": 224,
    "efficientnet_lite1": 240,
    "efficientnet_lite2": 260,
    "mobilenet_v2": 224,
    "mobilenet_v2_1.4": 224,
    "mobilenet_v2_1.4_reid": 224,
    "resnet18": 224,
    "resnet50": 224,
    "vgg16": 224,
}


@functools.cache
def traced(name: str):
    """The last map's channels, parameters and multiply-adds of a whole backbone."""
    net = Stages(backbone(name).stages(Options(norm="batch")))
    image = jax.ShapeDtypeStruct((1, SIZES[name], SIZES[name], 3), jnp.float32)
    run = functools.partial(net.init_with_output, jax.random.key(0), train=False)
    macs, (out, variables) = counting.traced(run, image)
    sizes = [math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])]
    return out.shape[-1], sum(sizes), sum(macs.values())


# With a classifier of 1000 classes: `num_params` and `GFLOPS` of torchvision's weights, which are
# multiply-adds; https://pytorch.org/vision/stable/models.html. Those of EfficientNet-Lite are in
# https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite.
@pytest.mark.parametrize(
    ("name", "parameters", "giga"),
    [
        ("resnet18", 11_689_512, 1.81),
        ("resnet50", 25_557_032, 4.09),
        ("mobilenet_v2", 3_504_872, 0.30),
        # torchvision's mobilenet_v2(width_mult=1.4); the paper says 585 M.
        ("mobilenet_v2_1.4", 6_108_776, 0.58),
    ],
)
def test_torchvisions_figures(name, parameters, giga):
    channels, own, macs = traced(name)
    assert own + 1000 * channels + 1000 == parameters
    assert round((macs + 1000 * channels) / 1e9, 2) == giga


def test_torchvisions_figures_of_vgg():
    """Its classifier has two layers of 4096 between the 7 x 7 map and the classes."""
    channels, own, macs = traced("vgg16")
    classifier = [(49 * channels, 4096), (4096, 4096), (4096, 1000)]
    products = [ins * outs for ins, outs in classifier]
    assert own == 14_714_688
    assert own + sum(products) + 4096 + 4096 + 1000 == 138_357_544
    assert round((macs + sum(products)) / 1e9, 2) == 15.47


@pytest.mark.parametrize(
    ("name", "parameters", "millions", "mega"),
    [
        ("efficientnet_lite0", 4_652_008, 4.7, 407),
        ("efficientnet_lite1", 5_416_680, 5.4, 631),
        ("efficientnet_lite2", 6_092_072, 6.1, 899),
    ],
)
def test_figures_of_efficientnet_lite(name, parameters, millions, mega):
    channels, own, macs = traced(name)
    assert own + 1000 * channels + 1000 == parameters
    assert round(parameters / 1e6, 1) == millions
    # TensorFlow's counter adds normalisation and ReLUs, about three for each entry of a map.
    assert 0.945 < (macs + 1000 * channels) / (mega * 1e6) < 0.957


@pytest.mark.parametrize(
    ("name", "stem", "channels", "head", "always"),
    [
        ("mobilenet_v2", 32, (16, 24, 32, 64, 96, 160, 320), 1280, False),
        ("mobilenet_v2_1.4", 48, (24, 32, 48, 88, 136, 224, 448), 1792, False),
        ("mobilenet_v2_1.4_reid", 44, (22, 33, 44, 89, 134, 224, 448), 1792, True),
    ],
)
def test_parameters_of_mobilenet_by_its_channels(name, stem, channels, head, always):
    def unit(ins, outs, size=1, depthwise=False):  # a kernel, a scale and a bias
        return size**2 * (1 if depthwise else ins) * outs + 2 * outs

    total, ins = unit(3, stem, 3), stem
    for group, (outs, blocks) in enumerate(zip(channels, (1, 2, 3, 4, 3, 3, 1), strict=True)):
        for _ in range(blocks):
            wide = ins * (6 if group else 1)
            total += unit(ins, wide) if group or always else 0
            total += unit(wide, wide, 3, depthwise=True) + unit(wide, outs)
            ins = outs
    assert traced(name)[:2] == (head, total + unit(ins, head))


def test_multiply_adds_of_lite0_by_its_table():
    # Table 1 of arXiv 1905.11946: side, kernel, channels, blocks; the side is the input's.
    rows = [(112, 3, 16, 1), (112, 3, 24, 2), (56, 5, 40, 2), (28, 3, 80, 3)]
    rows += [(14, 5, 112, 3), (14, 5, 192, 4), (7, 3, 320, 1)]
    strides = [1, 2, 2, 2, 1, 2, 1]
    total, channels = 112**2 * 27 * 32 + 7**2 * 320 * 1280, 32
    for index, ((side, kernel, features, blocks), stride) in enumerate(
        zip(rows, strides, strict=True)
    ):
        for block in range(blocks):
            after = side // (stride if block == 0 else 1)
            wide = channels * 6 if index else channels
            total += side**2 * channels * wide if index else 0
            total += after**2 * (kernel**2 * wide + wide * features)
            side, channels = after, features
    assert traced("efficientnet_lite0")[2] == total


SIDES = {
    "efficientnet_lite0": (
        (112, 32),
        (7, 1280),
        "112 112 56 56 28 28 14 14 14 14 14 14 7 7 7 7 7 7",
    ),
    "efficientnet_lite2": (
        (130, 32),
        (9, 1280),
        "130 130 65 65 65 33 33 33 17 17 17 17 17 17 17 17 9 9 9 9 9 9 9",
    ),
    "mobilenet_v2": ((112, 32), (7, 1280), "112 112 56 56 28 28 28 14 14 14 14 14 14 14 7 7 7 7 7"),
    "mobilenet_v2_1.4_reid": (
        (112, 44),
        (7, 1792),
        "112 112 56 56 28 28 28 14 14 14 14 14 14 14 7 7 7 7 7",
    ),
    "mobilenet_v2_1.4": (
        (112, 48),
        (7, 1792),
        "112 112 56 56 28 28 28 14 14 14 14 14 14 14 7 7 7 7 7",
    ),
    "resnet18": ((112, 64), (7, 512), "112 56 56 56 28 28 14 14 7 7"),
    "resnet50": ((112, 64), (7, 2048), "112 56 56 56 56 28 28 28 28 14 14 14 14 14 14 7 7 7"),
    "vgg16": (
        (224, 64),
        (7, 512),
        "224 224 112 112 112 56 56 56 56 28 28 28 28 14 14 14 14 7",
    ),
}


@pytest.mark.parametrize("name", SIDES)
def test_sizes_of_all_maps(name):
    first, last, sides = SIDES[name]
    x = jax.ShapeDtypeStruct((1, SIZES[name], SIZES[name], 3), jnp.float32)
    found = []
    for stage in backbone(name).stages(Options(norm="batch")):
        before = x.shape[1]
        made = stage.make(name=None)
        x, _ = jax.eval_shape(
            lambda x, made=made: made.init_with_output(jax.random.key(0), x, False), x
        )
        assert x.shape[1] == x.shape[2] == -(-before // stage.stride)
        found.append(x.shape[2:])
    assert (found[0], found[-1]) == (first, last)
    assert [side for side, _ in found] == [int(side) for side in sides.split()]


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2_1.4", "bn_inception"])
def test_without_its_last_stride_a_map_is_16_x_8_at_256_x_128(name):
    x = jax.ShapeDtypeStruct((1, 256, 128, 3), jnp.float32)
    shapes = {}
    for stride in (0, 1):
        net = Stages(models.stages(name, last_stride=stride))
        shapes[stride] = jax.eval_shape(
            lambda x, net=net: net.init_with_output(jax.random.key(0), x, False), x
        )
    (small, own), (large, same) = shapes[0], shapes[1]
    assert small.shape[1:3] == (8, 4) and large.shape[1:3] == (16, 8)
    assert small.shape[3] == large.shape[3] and own == same  # names and shapes of all arrays


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn", "convnet", "vit_s16"])
def test_a_last_stride_that_cannot_go_is_one_line(name):
    with pytest.raises(ArgumentError, match=rf"^last_stride: 1; the last stride of '{name}' is"):
        models.stages(name, last_stride=1)
    with pytest.raises(ArgumentError, match=r"^last_stride: 3; it is 1, or 0 for the 2 of"):
        models.SingleHead(backbone="resnet18", last_stride=3)


def test_names_of_stages():
    def names(name: str) -> list[str]:
        return [stage.name for stage in backbone(name).stages(Options(norm="batch"))]

    assert names("mobilenet_v2") == ["stem", *(f"block{i}" for i in range(17)), "head"]
    assert names("efficientnet_lite0") == ["stem", *(f"block{i}" for i in range(16)), "head"]
    blocks = [f"block{group}_{i}" for group, n in enumerate((3, 4, 6, 3), 1) for i in range(n)]
    assert names("resnet50") == ["conv1", "pool1", *blocks]


@pytest.mark.parametrize(
    ("channels", "multiple"), [(35.2, 32), (17.6, 16), (10, 16), (44, 48), (3, 8)]
)
def test_rounded_channels(channels, multiple):
    assert mobile.rounded(channels) == multiple


CUTS = [
    ("efficientnet_lite0", "stem", 3),
    ("efficientnet_lite0", "block4", 2),
    ("efficientnet_lite0", "block15", 1),
    ("efficientnet_lite2", "block10", 6),
    ("mobilenet_v2", "block6", 4),
    ("resnet18", "conv1", 3),
    ("resnet18", "pool1", 8),
    ("resnet50", "block3_5", 2),
    ("vgg16", "conv4_3", 2),
]


@pytest.mark.parametrize("kind", ["single", "heads", "attention"])
@pytest.mark.parametrize(("name", "branch", "depth"), CUTS)
def test_cuts(name, branch, depth, kind):
    learners = 1 if kind == "single" else 2
    net = models.build(
        kind, backbone=name, learners=learners, dim=8, branch=branch, trunk_depth=depth
    )
    images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    found, variables = jax.eval_shape(
        lambda x: net.init_with_output(jax.random.key(0), x, train=False), images
    )
    assert found.vectors.shape == (2, learners, 8 // learners)
    if kind != "attention":
        return
    # The trunk's parameters are those of the stages that it copies, strided ones included.
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert len(shapes["trunk"]) == depth
    for stage, tree in shapes["trunk"].items():
        unlike = {k for k in tree if tree[k] != shapes["decoder"][stage].get(k)}
        assert not unlike


def test_the_parameters_of_a_block_of_each_family():
    def tree(name: str, stage: str):
        (found,) = (s for s in backbone(name).stages(Options(norm="batch")) if s.name == stage)
        image = jnp.zeros((1, 8, 8, 16))
        variables = jax.eval_shape(lambda: found.make().init(jax.random.key(0), image, False))
        return jax.tree.map(jnp.shape, variables["params"])

    def norm(n: int):
        return {"scale": (n,), "bias": (n,)}

    assert tree("efficientnet_lite0", "block3") == {
        "expand": {"conv": {"kernel": (1, 1, 16, 96)}, "norm": norm(96)},
        "depthwise": {"conv": {"kernel": (5, 5, 1, 96)}, "norm": norm(96)},
        "project": {"conv": {"kernel": (1, 1, 96, 40)}, "norm": norm(40)},
    }
    assert sorted(tree("mobilenet_v2", "block0")) == ["depthwise", "project"]
    assert tree("resnet18", "block2_0") == {
        "conv1": {"kernel": (3, 3, 16, 128)},
        "norm1": norm(128),
        "conv2": {"kernel": (3, 3, 128, 128)},
        "norm2": norm(128),
        "shortcut_conv": {"kernel": (1, 1, 16, 128)},
        "shortcut_norm": norm(128),
    }


def test_a_bottlenecks_stride_is_on_its_3x3_convolution():
    (stage,) = (
        s for s in backbone("resnet50").stages(Options(norm="batch")) if s.name == "block2_0"
    )
    x = jax.ShapeDtypeStruct((1, 8, 8, 256), jnp.float32)
    variables = jax.eval_shape(lambda x: stage.make().init(jax.random.key(0), x, False), x)
    macs = counting.multiply_adds(lambda v, x: stage.make().apply(v, x, False), variables, x)
    expected = 64 * 256 * 128 + 16 * (9 * 128 * 128 + 128 * 512 + 256 * 512)
    assert sum(macs.values()) == expected


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_frozen_norm_uses_and_keeps_the_running_statistics(name):
    def block(freeze: bool):
        return backbone(name).stages(Options(norm="batch", freeze_norm=freeze))[2].make()

    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 6, 64)), jnp.float32)
    init = jax.jit(lambda: block(False).init(jax.random.key(0, impl="rbg"), x, False))
    variables = init()
    moved = jax.tree.map(lambda leaf: leaf + 0.5, variables["batch_stats"])
    variables = {"params": variables["params"], "batch_stats": moved}

    def run(freeze: bool, train: bool):
        apply = block(freeze).apply
        return jax.jit(lambda v: apply(v, x, train, mutable=["batch_stats"]))(variables)

    plain, _ = run(False, False)
    frozen, kept = run(True, True)
    trained, updated = run(False, True)
    # Two programs, whose sums through several layers may round otherwise on another processor.
    np.testing.assert_allclose(frozen, plain, rtol=1e-5, atol=1e-5)
    assert all(jax.tree.leaves(jax.tree.map(jnp.array_equal, kept["batch_stats"], moved)))
    assert not np.allclose(trained, plain, atol=1e-2)
    assert not any(jax.tree.leaves(jax.tree.map(jnp.array_equal, updated["batch_stats"], moved)))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 5, 7])
def test_same_padding_against_laxs(size, stride):
    for length in range(1, 12):
        (expected,) = jax.lax.padtype_to_pads((length,), (size,), (stride,), "SAME")
        found = pads(length, size, stride, same=True)
        assert found == expected
        assert (length + sum(found) - size) // stride + 1 == -(-length // stride)
    assert pads(9, size, stride, same=False) == ((size - 1) // 2,) * 2


@pytest.mark.parametrize("same", [False, True])
def test_convolutions_with_padding_on_odd_and_even_sides(same):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 7, 2)), jnp.float32)
    conv = Conv(3, 3, stride=2, same=same, use_bias=False)
    variables: Any = conv.init(jax.random.key(0), x)
    kernel = variables["params"]["kernel"]
    padding = "SAME" if same else [(1, 1), (1, 1)]
    names = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(x, kernel, (2, 2), padding, dimension_numbers=names)
    found: Any = conv.apply(variables, x)
    # Two orders of a sum of 18 products of size 1: 2 * 18 * 2^-24.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-6)


def loop(x, kernel, stride, padding):
    """Depthwise convolution by its definition, in float64."""
    wide = np.pad(np.asarray(x, np.float64), ((0, 0), *padding, (0, 0)))
    size, kernel = kernel.shape[0], np.asarray(kernel, np.float64)
    rows, columns = ((side - size) // stride + 1 for side in wide.shape[1:3])
    out = np.zeros((len(x), rows, columns, x.shape[-1]))
    for i, j in np.ndindex(rows, columns):
        window = wide[:, i * stride : i * stride + size, j * stride : j * stride + size]
        out[:, i, j] = (window * kernel[:, :, 0]).sum((1, 2))
    return out


def depthwise_case(batch, height, width, size, stride, same):
    numbers = np.random.default_rng(0)
    padding = (pads(height, size, stride, same=same), pads(width, size, stride, same=same))
    x = jnp.asarray(numbers.normal(size=(batch, height, width, 3)), jnp.float32)
    kernel = jnp.asarray(numbers.normal(size=(size, size, 1, 3)), jnp.float32)
    return x, kernel, padding


@pytest.mark.parametrize(
    ("batch", "height", "width", "size", "stride", "same"),
    [
        (8, 6, 7, 3, 1, False),
        (3, 7, 6, 3, 2, False),
        (6, 7, 6, 3, 2, True),
        (2, 5, 4, 5, 1, True),
        (1, 8, 5, 5, 2, True),
        (4, 2, 1, 5, 2, True),
    ],
)
def test_depthwise_convolution(batch, height, width, size, stride, same):
    x, kernel, padding = depthwise_case(batch, height, width, size, stride, same)

    def grouped(x, kernel):
        names = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (stride,) * 2, padding, dimension_numbers=names, feature_group_count=3
        )

    def own(x, kernel):
        return depthwise(x, kernel, stride, padding)

    value = loop(x, kernel, stride, padding)
    g = jnp.asarray(np.random.default_rng(1).normal(size=value.shape), jnp.float32)
    found, expected = (
        jax.jit(lambda f=f: (f(x, kernel), *jax.vjp(f, x, kernel)[1](g)))() for f in (own, grouped)
    )
    np.testing.assert_allclose(found[0], value, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_depthwise_under_vmap_and_pmap():
    x, kernel, padding = depthwise_case(4, 6, 6, 3, 1, True)
    run = functools.partial(depthwise, kernel=kernel, stride=1, padding=padding)
    expected = loop(x, kernel, 1, padding)
    mapped = jax.vmap(run)(x.reshape(2, 2, *x.shape[1:]))
    np.testing.assert_allclose(mapped.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    replicated = jax.pmap(run)(x[None])[0]
    np.testing.assert_allclose(replicated, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("train", [False, True])
def test_multiply_adds_of_a_depthwise_convolution(train):
    def run(x, kernel):
        return jnp.sum(depthwise(x, kernel, 2, ((1, 1), (1, 1))))

    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((2, 8, 8, 6), (3, 3, 1, 6))]
    found = counting.multiply_adds(jax.grad(run) if train else run, *shapes)
    once = 2 * 4 * 4 * 9 * 6
    assert found.total() >= 2 * once if train else found.total() == once


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_depthwise_module_computes_in_its_type_and_keeps_float32_parameters(dtype):
    x, _, _ = depthwise_case(2, 6, 6, 3, 1, True)
    module = Depthwise(3, same=True, dtype=dtype)
    variables: Any = jax.eval_shape(module.init, jax.random.key(0), x.astype(dtype))
    assert variables["params"]["kernel"].dtype == jnp.float32

    def run(variables) -> Any:
        return module.apply(variables, x.astype(dtype))

    assert jax.eval_shape(run, variables).dtype == dtype
    gradient = jax.eval_shape(jax.grad(lambda v: run(v).astype(jnp.float32).sum()), variables)
    assert gradient["params"]["kernel"].dtype == jnp.float32


@pytest.mark.parametrize(("side", "after"), [(112, 56), (7, 4), (8, 4), (1, 1)])
def test_resnets_pooling_rounds_down(side, after):
    x = jnp.arange(float(side * side)).reshape(1, side, side, 1)
    found = max_pool(x, size=3, stride=2, pad=1, ceil=False)
    wide = np.pad(np.asarray(x), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    expected = [
        [wide[0, i : i + 3, j : j + 3].max() for j in range(0, 2 * after, 2)]
        for i in range(0, 2 * after, 2)
    ]
    np.testing.assert_array_equal(found[0, ..., 0], expected)
