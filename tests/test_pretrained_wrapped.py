"""Weights as trainings and hubs leave them: safetensors, prefixes, what lies beside a network."""

import argparse
import collections
import enum
import importlib.util
import io
import json
import pathlib
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch_bytes as tb

from abe_jax import pretrained
from abe_jax.cli import convert
from abe_jax.errors import UserError
from abe_jax.pretrained import pickled, placing, safetensors_file
from abe_jax.pretrained.sources import SOURCES, WHEEL
from abe_jax.pretrained.wrapped import network, unprefixed

safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")

SOURCE = "torchvision_resnet18"
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def resnet() -> Arrays:
    """Random weights with torchvision's names."""
    rng, made = np.random.default_rng(0), {}
    source = SOURCES[SOURCE]
    shapes = placing.template(source.about.backbone, source.about.norm)
    for layer in source.layers:
        for key, path, change in layer.targets():
            shape: Any = shapes
            for part in path:
                shape = shape[part]
            theirs = change(np.zeros(shape.shape[::-1])).shape if shape.ndim == 1 else shape.shape
            sides = theirs if len(theirs) == 1 else (theirs[3], theirs[2], theirs[0], theirs[1])
            made[key] = rng.normal(size=sides).astype(np.float32)
    return made | {"fc.weight": np.ones((3, 512), np.float32), "fc.bias": np.ones(3, np.float32)}


def as_torch(arrays: Arrays, wrap: Callable[[bytes], bytes] = lambda network: network) -> bytes:
    """A checkpoint of PyTorch with these tensors, wrapped in a pickle's other opcodes."""
    tensors, storages = {}, {}
    for number, (key, array) in enumerate(arrays.items()):
        steps = [stride // array.itemsize for stride in array.strides]
        of = tb.storage("FloatStorage", str(number), array.size)
        tensors[key] = tb.tensor(of, array.shape, steps)
        storages[str(number)] = array.tobytes()
    return tb.archive(wrap(tb.mapping(tensors)), storages)


def converted(data: bytes, path: Path) -> pretrained.Weights:
    path.write_bytes(data)
    return pretrained.convert(SOURCE, path)


def same(found: pretrained.Weights, expected: pretrained.Weights) -> None:
    for name in ("params", "batch_stats"):
        np.testing.assert_equal(getattr(found, name), getattr(expected, name))


def test_safetensors_are_what_the_checkpoint_is(
    resnet: Arrays, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = converted(as_torch(resnet), tmp_path / "net.pth")
    data = safetensors.save(resnet)
    same(converted(data, tmp_path / "net.safetensors"), expected)
    same(converted(data, tmp_path / "renamed.pth"), expected)
    behind = {f"module.{key}": array for key, array in resnet.items()}
    out = tmp_path / "out.npz"
    (tmp_path / "net.safetensors").write_bytes(safetensors.save(behind))
    convert.main([SOURCE, str(tmp_path / "net.safetensors"), str(out)])
    same(pretrained.load(str(out)), expected)
    printed = capsys.readouterr().out
    assert "note                   the names under 'module.' are taken, without" in printed


def test_safetensors_hold_all_types_of_numbers(tmp_path: Path) -> None:
    wide = np.array([1.5, -2.0], np.float32)
    brains = (wide.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    for dtype, data in (
        ("BF16", brains),
        ("F16", wide.astype(np.float16).tobytes()),
        ("F64", wide.astype(np.float64).tobytes()),
        ("I8", np.array([1, -2], np.int8).tobytes()),
    ):
        file = raw({"x": {"dtype": dtype, "shape": [2], "data_offsets": [0, len(data)]}}, data)
        found = safetensors_file.arrays(file, "f")["x"]
        np.testing.assert_array_equal(found, np.trunc(wide) if dtype == "I8" else wide)
    file = raw({"x": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}, b"ab")
    with pytest.raises(UserError, match="f: x has numbers of type F8_E4M3"):
        safetensors_file.arrays(file, "f")


def raw(header: object, data: bytes, length: int | None = None) -> bytes:
    """A file of safetensors by hand."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def test_forged_safetensors_are_one_line(tmp_path: Path) -> None:
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    deep = b'{"x":' * 50_000 + b"1" + b"}" * 50_000
    for data in (
        b"",
        b"{}",
        raw({"x": one}, bytes(4)),
        raw({"x": one}, bytes(8), 2**62),
        raw({"x": one | {"data_offsets": [0, 2**62]}}, bytes(8)),
        raw({"x": one | {"data_offsets": [8, 0]}}, bytes(8)),
        raw({"x": one | {"shape": [2**62, 2**62]}}, bytes(8)),
        raw({"x": one | {"shape": [-2]}}, bytes(8)),
        raw({"x": one | {"dtype": "F4096"}}, bytes(8)),
        raw({"x": one, "y": one}, bytes(8)),
        raw(deep, b""),
        raw({"a\nb\x1b[2J": one | {"dtype": "U16", "data_offsets": [0, 4]}}, bytes(4)),
    ):
        with pytest.raises(UserError) as error:
            converted(data, tmp_path / "net.safetensors")
        assert str(error.value).isprintable() and len(str(error.value)) < 600


def test_without_the_package_its_name_is_said(
    resnet: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("net.safetensors", "net.pth"):
        with pytest.raises(UserError, match=r"missing: pip install safetensors$"):
            converted(safetensors.save(resnet), tmp_path / name)


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module.", "model.", "backbone.", "encoder.", "module._orig_mod.backbone.body."],
)
def test_names_with_a_prefix_are_taken_and_that_is_said(
    prefix: str, resnet: Arrays, tmp_path: Path
) -> None:
    expected = converted(as_torch(resnet), tmp_path / "plain.pth")
    assert expected.notes == ()
    behind = {f"{prefix}{key}": array for key, array in resnet.items()}
    found = converted(as_torch(behind), tmp_path / "net.pth")
    same(found, expected)
    assert found.notes == (f"the names under {prefix!r} are taken, without that prefix",)


def test_what_lies_beside_the_prefix_is_named(resnet: Arrays, tmp_path: Path) -> None:
    head = {f"head.{i}.weight": np.ones(2, np.float32) for i in range(6)}
    behind = {f"backbone.{key}": array for key, array in resnet.items()}
    found = converted(as_torch(head | behind), tmp_path / "net.pth")
    assert found.notes[0].endswith(
        "without that prefix, and without 6 others: head.0.weight, head.1.weight, head.2.weight, "
        "head.3.weight and 2 more"
    )
    averaged = {f"model_ema.{key}": array for key, array in resnet.items()}
    model = {f"model.{key}": array + 1 for key, array in resnet.items()}
    taken = converted(as_torch(averaged | model), tmp_path / "net.pth")
    assert taken.params["conv1"]["conv"]["kernel"].sum() > 5000  # of the network itself
    assert "the names under 'model.' are taken" in taken.notes[0]


def test_two_networks_under_prefixes_are_not_guessed_at(resnet: Arrays, tmp_path: Path) -> None:
    both = {f"{part}.{key}": a for part in ("encoder_q", "encoder_k") for key, a in resnet.items()}
    with pytest.raises(UserError, match=r"under each of encoder_q\., encoder_k\.; save one"):
        converted(as_torch(both), tmp_path / "net.pth")


@pytest.mark.parametrize("parts", [("semantic", "visual"), ("schema", "plan"), ("Cinema", "tv")])
def test_words_that_hold_the_letters_ema_are_no_averages(
    parts: tuple[str, str], resnet: Arrays, tmp_path: Path
) -> None:
    both = {f"{part}.{key}": array for part in parts for key, array in resnet.items()}
    with pytest.raises(UserError, match="a network under each of"):
        converted(as_torch(both), tmp_path / "net.pth")
    with pytest.raises(UserError, match="holds several networks"):
        network({part: {"a": 1} for part in parts}, lambda value: value == 1)
    for average in ("ema", "model_ema", "netEMA", "EMA_net", "emaModel", "state_dict_ema"):
        taken, _ = network({average: {"a": 1}, parts[0]: {"b": 1}}, lambda value: value == 1)
        assert taken == {"b": 1}


def test_a_prefix_is_one_only_where_it_explains_most_names() -> None:
    needed = {"conv1.weight", "conv2.weight", "layer.conv1.weight", "layer.conv2.weight"}
    plain = dict.fromkeys(needed, 1)
    assert unprefixed(plain, needed) == (plain, "")
    one = {"net.layer.conv1.weight": 1, "other": 2}
    assert unprefixed(one, needed) == (one, "")
    most = {f"net.{key}": 1 for key in needed if key != "conv1.weight"}
    assert set(unprefixed(most, needed)[0]) == needed - {"conv1.weight"}
    endless = {"a." * 10**6 + "conv1.weight": 1}
    assert unprefixed(endless, needed) == (endless, "")


def test_arguments_of_any_class_lie_beside_a_network(resnet: Arrays, tmp_path: Path) -> None:
    """What a training saves: its options, its optimizer, its generator, all as objects."""
    options = argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/x"), seen={(1, 2): 3})
    ones: Any = [options, collections.Counter("aab"), Colour.RED, np.float32(3), np.arange(3)]
    for protocol in range(2, 6):
        beside = pickle.dumps(ones, protocol)[2:-1]  # opcodes without version and end
        if protocol >= 4:  # a frame
            beside = beside[9:]
        data = as_torch(
            resnet,
            lambda network, beside=beside: tb.mapping({"args": beside, "model": network}),
        )
        found = converted(data, tmp_path / "net.pth")
        assert found.notes == () and found.params["conv1"]


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_in_a_pickle_is_what_pickle_makes_of_it(protocol: int) -> None:
    shared = [1, 2]
    given: Any = {
        "numbers": [0, 255, -1, 65536, 2**40, -(2**70), 1.5, float("inf"), True, False, None],
        "texts": ["", "é", "x" * 300, b"", b"\x00\xff" * 200],
        "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "shared": [shared, shared, {"a": {7: shared}}],
    }
    found = pickled.load(io.BytesIO(pickle.dumps(given, protocol) + b"more"))
    if protocol > 2:
        assert found == given and found["shared"][0] is found["shared"][1]
    else:  # bytes were no type of their own
        assert found["tuples"] == given["tuples"] and found["numbers"] == given["numbers"]
        assert found["shared"] == given["shared"] and found["texts"][:3] == given["texts"][:3]


def test_an_object_of_any_class_is_kept_as_what_it_was_made_of() -> None:
    given = [argparse.Namespace(lr=3), collections.Counter(a=2), Colour.RED]
    for protocol in range(2, 6):
        space, counter, colour = pickled.load(io.BytesIO(pickle.dumps(given, protocol)))
        assert str(space) == "argparse.Namespace" and space.state == {"lr": 3}
        assert str(counter) == "collections.Counter" and counter.arguments == ({"a": 2},)
        assert str(colour).endswith("Colour") and colour.arguments == (1,)


def test_a_forged_wheel_is_one_line(tmp_path: Path) -> None:
    import zipfile

    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "some.whl", "w", method) as wheel:
            wheel.writestr(WHEEL, bytes(2**20))
        with pytest.raises(UserError, match="compressed in another way"):
            pretrained.convert("mobilenet_v2", tmp_path / "some.whl")
