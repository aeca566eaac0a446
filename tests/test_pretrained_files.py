"""Files of weights: PyTorch's two formats, Caffe's, and ours; damaged, foreign and hostile ones."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import caffe_bytes
import numpy as np
import pytest
import torch_bytes as tb

from abe_jax.errors import UserError
from abe_jax.pretrained import About, Weights, caffe_file, stored, torch_file

COUNT = np.arange(12, dtype=np.float32)
# float16 1.5 and -2, bfloat16 the same: the upper halves of float32.
HALVES = np.array([1.5, -2.0], np.float16).tobytes()
BRAINS = (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).astype(np.uint16).tobytes()
STORAGES = {
    "7": ("FloatStorage", 12, COUNT.tobytes()),
    "8": ("HalfStorage", 2, HALVES),
    "9": ("BFloat16Storage", 2, BRAINS),
    "10": ("LongStorage", 1, np.array([41]).tobytes()),
    "11": ("DoubleStorage", 1, np.array([0.1]).tobytes()),
}
Format = Callable[[bytes], bytes]


def of(key: str) -> bytes:
    kind, count, _ = STORAGES[key]
    return tb.storage(kind, key, count)


def as_archive(body: bytes) -> bytes:
    return tb.archive(body, {key: data for key, (_, _, data) in STORAGES.items()})


def as_stream(body: bytes) -> bytes:
    used = [key for key in STORAGES if tb.text(key) in body]
    return tb.stream(body, {key: STORAGES[key][1:] for key in used})


FORMATS = pytest.mark.parametrize("made", [as_archive, as_stream])
# Two tensors share a storage; one of them is a transposed part of it.
TENSORS = {
    "whole": tb.tensor(of("7"), (3, 4), (4, 1)),
    "part": tb.tensor(of("7"), (2, 3), (1, 4), offset=1),
    "parameter": tb.called(
        "torch._utils", "_rebuild_parameter", tb.tensor(of("7"), (2,), (1,)), b"\x88", b"N"
    ),
    "half": tb.tensor(of("8"), (2,), (1,)),
    "brain": tb.tensor(of("9"), (2,), (1,)),
    "counter": tb.tensor(of("10"), (), ()),
    "double": tb.tensor(of("11"), (1,), (1,)),
    "none": tb.tensor(of("7"), (0, 3), (3, 1), offset=12),
}
NEWOBJ = b"\x81"
NAMESPACE = tb.named("argparse", "Namespace") + tb.several() + NEWOBJ
NAMESPACE += b"}(" + tb.text("lr") + tb.number(1) + b"u" + tb.BUILD
AS_HALVES = tb.storage("HalfStorage", "7", 24)


@FORMATS
def test_tensors_are_read_with_strides_offsets_and_types(made: Format) -> None:
    found = torch_file.arrays(made(tb.mapping(TENSORS)), "f")
    assert list(found) == list(TENSORS)
    np.testing.assert_array_equal(found["whole"], COUNT.reshape(3, 4))
    np.testing.assert_array_equal(found["part"], [[1, 5, 9], [2, 6, 10]])
    np.testing.assert_array_equal(found["parameter"], [0, 1])
    np.testing.assert_array_equal(found["half"], [1.5, -2])
    np.testing.assert_array_equal(found["brain"], [1.5, -2])
    assert found["counter"] == 41 and found["double"] == 0.1 and found["none"].shape == (0, 3)
    types = [found[n].dtype.name for n in ("whole", "half", "brain", "counter", "double")]
    assert types == ["float32", "float16", "float32", "int64", "float64"]
    found["whole"][:] = 0  # a copy: what else lies in the storage stays
    assert found["part"].any()


@FORMATS
@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "net"])
def test_a_network_is_found_in_a_checkpoint(made: Format, wrapper: str) -> None:
    inner = tb.mapping(TENSORS)
    for beside in (
        {"epoch": tb.number(3), "rng": TENSORS["half"]},
        {"args": NAMESPACE, "optimizer": tb.mapping({"state": tb.mapping({"0": inner})})},
    ):
        said: list[str] = []
        body = tb.mapping({**beside, wrapper: inner})
        assert list(torch_file.arrays(made(body), "f", note=said.append)) == list(TENSORS)
        assert said == []


@FORMATS
def test_a_network_is_taken_before_its_average_and_that_is_said(made: Format) -> None:
    one, other = ({name: TENSORS[name]} for name in ("whole", "half"))
    for content, taken, left in (
        ({"model_ema": other, "model": one}, "model", "model_ema"),
        ({"state_dict_ema": other, "state_dict": one}, "state_dict", "state_dict_ema"),
        ({"EMA": other, "net": one}, "net", "EMA"),
        ({"teacher": other, "state_dict": one}, "state_dict", "teacher"),
    ):
        said: list[str] = []
        body = tb.mapping({key: tb.mapping(value) for key, value in content.items()})
        assert list(torch_file.arrays(made(body), "f", note=said.append)) == ["whole"]
        assert said == [f"the network under {taken!r} is taken, what lies under {left!r} is not"]
    alone = tb.mapping({"model_ema": tb.mapping(other), "epoch": tb.number(1)})
    assert list(torch_file.arrays(made(alone), "f")) == ["half"]
    several = tb.mapping({"student": tb.mapping(one), "teacher": tb.mapping(other)})
    with pytest.raises(UserError, match=r"f: holds several networks \(student, teacher\)"):
        torch_file.arrays(made(several), "f")


@FORMATS
def test_what_is_saved_instead_of_a_state_dict_is_called_by_its_name(made: Format) -> None:
    network = tb.named("nets.own", "Net") + tb.several() + NEWOBJ + b"}" + tb.BUILD
    nested = network
    for _ in range(9):
        nested = tb.mapping({"model": nested})
    for body, says in (
        (network, "holds a nets.own.Net, not a state_dict"),
        (tb.mapping({"model": network, "epoch": tb.number(1)}), "model, epoch are no tensors"),
        (tb.mapping({"model": tb.mapping({"model": network})}), "model are no tensors"),
        (nested, "holds dictionaries in dictionaries"),
    ):
        with pytest.raises(UserError, match=f"^f: .*{says}"):
            torch_file.arrays(made(body), "f")


@pytest.mark.parametrize("archive", [True, False])
def test_what_pytorch_writes_is_what_is_read(archive: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (the extra `parity`)")
    wide = torch.arange(24.0).reshape(4, 6)
    given = {
        "turned": wide.t(),
        "part": wide[1:3, ::2],
        "parameter": torch.nn.Parameter(wide[2]),
        "brain": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "half": torch.tensor([1.5], dtype=torch.half),
        "counter": torch.tensor(7),
        "flags": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
        **torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).state_dict(),
    }
    file = io.BytesIO()
    torch.save({"model": given, "step": 3}, file, _use_new_zipfile_serialization=archive)
    found = torch_file.arrays(file.getvalue(), "f")
    assert list(found) == list(given)
    for name, value in given.items():
        np.testing.assert_array_equal(found[name], value.detach().to(torch.float32).numpy())


@FORMATS
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (lambda path: tb.called("os", "system", tb.text(f"touch {path}")), "os.system"),
        (lambda path: tb.called("posix", "system", tb.text(f"touch {path}")), "posix.system"),
        (lambda path: tb.called("builtins", "eval", tb.text(f"open({path!r})")), "builtins.eval"),
        (lambda path: tb.called("pathlib", "Path.touch", tb.text(path)), "pathlib.Path.touch"),
        (lambda path: tb.called("torch", "load", tb.text(path)), "torch.load"),
        (lambda path: tb.called("abe_jax.errors", "UserError"), "abe_jax.errors.UserError"),
    ],
)
def test_nothing_in_a_hostile_pickle_runs(
    made: Format, body: Callable[[str], bytes], says: str, tmp_path: Path
) -> None:
    harmed = tmp_path / "harmed"
    payload = body(str(harmed))
    with pytest.raises(UserError, match=r"f: .*payload are no tensors"):
        torch_file.arrays(made(tb.mapping({**TENSORS, "payload": payload})), "f")
    with pytest.raises(UserError, match=f"f: holds a {says}, not a state_dict"):
        torch_file.arrays(made(payload), "f")
    beside = tb.mapping({"args": payload, "state_dict": tb.mapping(TENSORS)})
    assert list(torch_file.arrays(made(beside), "f")) == list(TENSORS)
    assert not harmed.exists()


def attributes(of: bytes) -> bytes:
    """Sets attributes of what a pickle names, as no tensor needs to."""
    state = tb.several(b"N", b"}(" + tb.text("__defaults__") + tb.numbers((1,)) + b"u")
    return of + state + tb.BUILD


@FORMATS
@pytest.mark.parametrize(
    "body",
    [
        attributes(tb.named("torch._utils", "_rebuild_tensor_v2")),
        attributes(tb.named("torch", "FloatStorage")),
        attributes(tb.named("collections", "OrderedDict")),
        tb.called("torch", "FloatStorage", tb.number(3)),
        tb.named("torch._utils", "_rebuild_parameter") + tb.several() + b"\x81",  # as a class
    ],
)
def test_what_a_pickle_may_name_it_can_neither_change_nor_misuse(made: Format, body: bytes) -> None:
    with pytest.raises(UserError):
        torch_file.arrays(made(tb.mapping({**TENSORS, "payload": body})), "f")
    assert len(torch_file.arrays(made(tb.mapping(TENSORS)), "f")) == len(TENSORS)


@FORMATS
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (tb.mapping({"x": tb.tensor(of("7"), (3, 5), (4, 1))}), "beyond the 12 numbers"),
        (tb.mapping({"x": tb.tensor(of("7"), (2,), (-1,), offset=5)}), "strides"),
        (tb.mapping({"x": tb.tensor(of("7"), (2, 2), (1,))}), "strides"),
        (tb.mapping({"x": tb.tensor(tb.number(3), (2,), (1,))}), "without a storage"),
        (tb.mapping({**TENSORS, "x": tb.tensor(AS_HALVES, (), ())}), "storage 7 has two types"),
        (tb.mapping({**TENSORS, "lr": tb.number(1)}), "lr are no tensors"),
        (tb.mapping({}), "empty"),
        (b"]", "holds a list"),
    ],
)
def test_what_is_no_state_dict_is_one_line(made: Format, body: bytes, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        torch_file.arrays(made(body), "f")
    assert str(error.value).startswith("f: ") and "\n" not in str(error.value)


@FORMATS
def test_a_file_cut_short_is_one_line(made: Format) -> None:
    data = made(tb.mapping(TENSORS))
    for length in (*range(0, len(data) - 1, 97), len(data) - 1):
        with pytest.raises(UserError, match=r"^f: ") as error:
            torch_file.arrays(data[:length], "f")
        assert "\n" not in str(error.value)


def test_a_damaged_or_foreign_file_is_one_line() -> None:
    body = tb.mapping(TENSORS)
    archive = bytearray(as_archive(body))
    at = archive.index(COUNT.tobytes())
    archive[at + 4] ^= 1
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as made:
        made.writestr("words.txt", "no weights")
    for data, says in [
        (bytes(archive), "CRC"),
        (other.getvalue(), "no data.pkl"),
        (b"words that are no weights\n", "no checkpoint of PyTorch"),
        (b"", "no checkpoint of PyTorch"),
        (tb.archive(body, {}, byteorder="big"), "byte order"),
        (tb.stream(body, {}, little=False), "byte order"),
    ]:
        with pytest.raises(UserError, match=says) as error:
            torch_file.arrays(data, "f")
        assert "\n" not in str(error.value)


KERNEL = np.arange(12, dtype=np.float32).reshape(3, 2, 2, 1)
BIAS = np.array([0.5, -1, 2], np.float32)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_blobs_of_caffe_are_read(old: bool, packed: bool, double: bool) -> None:
    def blob(array: np.ndarray) -> bytes:
        return caffe_bytes.blob(array, old=old, packed=packed, double=double)

    layers = {"data": [], "conv/1": [blob(KERNEL), blob(BIAS)], "fc": [blob(KERNEL[:, :, 0, 0])]}
    found = caffe_file.arrays(caffe_bytes.model(layers, old=old), "f")
    assert list(found) == ["conv/1.0", "conv/1.1", "fc.0"]
    np.testing.assert_array_equal(found["conv/1.0"], KERNEL)
    np.testing.assert_array_equal(found["conv/1.1"].ravel(), BIAS)
    assert found["conv/1.1"].shape == ((1, 1, 1, 3) if old else (3,))
    assert all(array.dtype == np.float32 for array in found.values())


def test_a_damaged_caffemodel_is_one_line() -> None:
    data = caffe_bytes.model({"conv": [caffe_bytes.blob(KERNEL), caffe_bytes.blob(BIAS)]})
    wrong = caffe_bytes.field(7, caffe_bytes.field(1, b"\x05")) + caffe_bytes.field(5, b"abcd")
    for damaged in (
        *(data[:length] for length in range(len(data) - 1)),
        b"words that are no weights\n",
        caffe_bytes.model({"conv": [wrong]}),
        caffe_bytes.model({"conv": []}),
    ):
        with pytest.raises(UserError, match=r"^f: no \.caffemodel") as error:
            caffe_file.arrays(damaged, "f")
        assert "\n" not in str(error.value)


WEIGHTS = Weights(
    backbone="convnet",
    norm="batch",
    mean=(1.0,),
    std=(2.0,),
    source="a test",
    params={"conv1": {"conv": {"kernel": KERNEL}, "norm": {"bias": BIAS}}},
    batch_stats={"conv1": {"norm": {"mean": BIAS}}},
)


def test_our_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    stored.write(WEIGHTS, path)
    found = stored.read(path)
    for made, given in ((found.params, WEIGHTS.params), (found.batch_stats, WEIGHTS.batch_stats)):
        np.testing.assert_equal(made, given)
    about = stored.describe(path)
    assert about == About(
        backbone="convnet", norm="batch", mean=(1.0,), std=(2.0,), source="a test"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]


def test_a_damaged_or_foreign_npz_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    stored.write(WEIGHTS, path)
    data = path.read_bytes()

    def refused() -> str:
        with pytest.raises(UserError) as error:
            stored.read(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
        return str(error.value)

    for length in (0, 1, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        assert "damaged" in refused()
    np.savez(path, a=KERNEL)
    assert "not one of python -m abe_jax.convert" in refused()
    np.savez(path, about=np.array("[]"))
    assert "not one of python -m abe_jax.convert" in refused()
    np.savez(path, about=np.array('{"format": 2}'))
    assert "format 2" in refused()
    np.savez(path, about=np.array({"a": 1}, object))
    assert "damaged" in refused()  # a pickle, which is not opened
    path.unlink()
    assert "no such file" in refused()
