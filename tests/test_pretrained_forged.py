"""Weights that somebody damaged or forged: each is one line, soon, in little memory."""

import io
import json
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch_bytes as tb

from abe_jax import pretrained
from abe_jax.errors import UserError
from abe_jax.pretrained import pickled, stored, torch_file

SOURCE = "torchvision_resnet18"
ONE = tb.tensor(tb.storage("FloatStorage", "0", 4), (4,), (1,))
GIBI = 2**30


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, data in files:
            made.writestr(name, data)
    return file.getvalue()


def said_to_be(archive: bytes, sizes: dict[int, int]) -> bytes:
    """The same archive, where sizes in its headers are others than they are."""
    for true, said in sizes.items():
        archive = archive.replace(struct.pack("<I", true), struct.pack("<I", said))
    return archive


def torch_files() -> Iterator[tuple[str, bytes]]:
    """Forged checkpoints of PyTorch, by what they try."""
    zeros = bytes(2**21)
    bomb = zipped(("net/data.pkl", tb.pickled(tb.mapping({"x": ONE}))), ("net/data/0", zeros))
    yield "unpacks to 3 GB", said_to_be(bomb, {len(zeros): 3 * GIBI})
    yield "unpacks to more than it says", said_to_be(bomb, {len(zeros): 16})
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield f"method {method}", zipped(("net/data.pkl", zeros), method=method)
    twice = tb.archive(tb.mapping({"x": ONE}), {"0": bytes(16), "1": bytes(16)})
    yield "one name twice", twice.replace(b"net/data/1", b"net/data/0")
    spread = tb.tensor(tb.storage("FloatStorage", "0", 1), (2**20, 2**20), (0, 0))
    huge = tb.tensor(tb.storage("FloatStorage", "0", 1), (1,) * 9, (1,) * 9)
    long = b"\x8b" + struct.pack("<I", 1000) + b"\x7f" * 1000  # an integer of 1,000 bytes
    numbered = tb.called("torch._utils", "_rebuild_tensor_v2", b"N", long, long, long)
    nested = b")" + b"\x85" * 30_000  # tuples in one another, which none can hash
    doubled = b")q\x01" + b"h\x01h\x01\x86q\x01" * 60  # 2^60 of them
    key = b"}" + doubled + b"Ns"
    named = tb.several(tb.text("storage"), b"N", doubled, b"N", b"N") + b"Q"
    listed = b"(" + b"N" * 5_000 + b"lq\x02"
    many = tb.named("torch", "Size") + b"q\x03" + b"h\x03h\x02\x85R0" * 2_000
    ones = {
        "an array of 4 TB": tb.mapping({"x": spread}),
        "nine axes": tb.mapping({"x": huge}),
        "an endless number": tb.mapping({"x": numbered}),
        "a deep key": tb.mapping({"x": b"}" + nested + b"Ns"}),
        "a key doubled 60 times": key,
        "a storage of that name": tb.mapping({"x": tb.tensor(named, (1,), (1,))}),
        "itself inside of itself": b"}q\x01" + tb.text("model") + b"h\x01s",
        "a memo of 2^31 places": b"Nr" + struct.pack("<I", 2**31 - 1),
        "an opcode of an extension": b"\x82\x01",
        "takes more from its stack than is there": b"0000",
        "a mark alone": b"(0(e",
        "a long list copied often": listed + many,
        "a name of other things": b"NN\x93",
        "a key of half a letter": tb.mapping({}) + b"X\x03\x00\x00\x00\xed\xa0\x80Ns",
        "keys of two lines": tb.mapping({"a\nb\x1b[2J": ONE}),
    }
    # What is said of them must not be as long as they are.
    ones["itself a mapping of a key doubled 60 times"] = b"}" + doubled + b"Ns"
    ones["a key made by what is doubled"] = b"}" + doubled + b"}RNs"
    ones["a key in a list in a key"] = b"}](" + doubled + b"e\x85Ns"
    for what, body in ones.items():
        yield f"{what}, zipped", tb.archive(body, {"0": bytes(16)})
        yield f"{what}, in a stream", tb.stream(body, {"0": (4, bytes(16))})
    yield "a storage of 2^62 numbers", tb.stream(tb.mapping({"x": ONE}), {"0": (2**62, b"")})
    yield "a storage of -1 numbers", tb.stream(tb.mapping({"x": ONE}), {"0": (-1, bytes(16))})
    yield "no storage", tb.stream(tb.mapping({"x": ONE}), {})
    body = bytearray(tb.archive(tb.mapping({"x": ONE}), {"0": bytes(16)}))
    rng = np.random.default_rng(0)
    for i in range(12):
        harmed = body.copy()
        harmed[rng.integers(len(body))] ^= 1 << rng.integers(8)
        yield f"bit {i}", bytes(harmed)


def as_npz(about: object, arrays: dict[str, bytes] | None = None) -> bytes:
    """A file of weights with that description and those files of arrays in it."""
    made = io.BytesIO()
    text = about if isinstance(about, str) else json.dumps(about)
    np.save(made, np.array(text))
    files = {"params/conv1/conv/kernel": npy(np.ones((1, 1, 3, 2), np.float32))}
    files = {f"{name}.npy": data for name, data in (files if arrays is None else arrays).items()}
    return zipped(("about.npy", made.getvalue()), *files.items())


def npy(array: np.ndarray) -> bytes:
    """An array as a file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(shape: str, dtype: str = "<f4") -> bytes:
    """The same with a header that says something else."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64)


ABOUT = {
    "format": 1,
    "backbone": "convnet",
    "norm": "batch",
    "mean": [1.0],
    "std": [2.0],
    "source": "a test",
}


def npz_files() -> Iterator[tuple[str, bytes]]:
    """Forged files of ours."""
    kernel = "params/conv1/conv/kernel"
    yield "nested", as_npz("[" * 100_000 + "]" * 100_000)
    yield "nested less", as_npz('{"format":' + "[" * 20_000 + "]" * 20_000 + "}")
    yield "an .npy", npy(np.ones(3))
    yield "4 TB", as_npz(ABOUT, {kernel: header("(1000000, 1000000)")})
    yield "more than 64 bits", as_npz(ABOUT, {kernel: header(f"({2**62}, {2**62})")})
    yield "a long header", as_npz(ABOUT, {kernel: header("(" + "1," * 20_000 + ")")})
    yield "words", as_npz(ABOUT, {kernel: header("(1,)", "<U4000000")})
    yield "a pickle", as_npz(ABOUT, {kernel: npy(np.array({"a": 1}, object))})
    yield "no array", as_npz(ABOUT, {kernel: b"words"})
    both = {kernel: npy(np.ones(1, np.float32)), f"{kernel}/x": npy(np.ones(1, np.float32))}
    yield "an array inside of an array", as_npz(ABOUT, both)
    yield "no name", as_npz(ABOUT, {"params//x": npy(np.ones(1, np.float32))})
    yield "too large", as_npz(ABOUT, {kernel: npy(np.zeros(2**23, np.float32))})
    yield "about too large", as_npz({**ABOUT, "source": "x" * 50_000})
    for name, value in (
        ("backbone", ["convnet"]),
        ("norm", 3),
        ("source", None),
        ("mean", "1"),
        ("mean", []),
        ("mean", [1.0, 2.0]),
        ("mean", [float("nan")]),
        ("mean", [[1.0]]),
        ("std", [0.0]),
        ("std", [True]),
        ("std", {"a": 1}),
        ("format", [1]),
        ("more", 1),
    ):
        yield f"{name} {value}", as_npz({**ABOUT, name: value})


def soon_refused(read: Callable[[], object], what: str) -> None:
    """Fails unless it is a line, without a pause, in which nothing moves a cursor."""
    began = time.monotonic()
    with pytest.raises(UserError) as error:
        read()
    assert time.monotonic() - began < 20, what
    assert str(error.value).isprintable() and len(str(error.value)) < 600, what


FORGED = dict(torch_files())
NPZ = dict(npz_files())


def test_there_are_many() -> None:
    assert len(FORGED) + len(NPZ) > 60


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_checkpoint_is_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(FORGED[what])
    soon_refused(lambda: pretrained.convert(SOURCE, path), what)


@pytest.mark.parametrize("what", NPZ)
def test_a_forged_npz_is_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    path.write_bytes(NPZ[what])
    soon_refused(lambda: stored.read(path), what)


def test_a_pickle_of_too_many_steps_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "MOST_STEPS", 1000)
    listed = b"(" + b"N" * 300 + b"lq\x02"
    for body in (b"N0" * 600, listed + (tb.named("torch", "Size") + b"h\x02\x85R0") * 5):
        with pytest.raises(UserError, match=r"^f: its pickle has more than 1,000 steps"):
            torch_file.arrays(tb.archive(body + tb.mapping({"x": ONE}), {"0": bytes(16)}), "f")


def test_the_unforged_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    path.write_bytes(as_npz(ABOUT))
    assert stored.read(path).params["conv1"]["conv"]["kernel"].shape == (1, 1, 3, 2)
    found = torch_file.arrays(tb.archive(tb.mapping({"x": ONE}), {"0": bytes(16)}), "f")
    assert found["x"].shape == (4,)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "net.npz")
    for path in (tmp_path / "net.npz", Path("/dev/zero"), tmp_path):
        soon_refused(lambda path=path: pretrained.convert(SOURCE, path), str(path))
        soon_refused(lambda path=path: stored.read(path), str(path))


def test_little_memory_is_taken(tmp_path: Path) -> None:
    """Half a gibibyte of zeros in an archive of half a mebibyte that says it is much or little."""
    size, paths = 2**29, []
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        made.writestr("net/data.pkl", tb.pickled(tb.mapping({"x": ONE})))
        made.writestr("net/data/0", bytes(size))
    for said in (3 * GIBI, 16):
        paths.append(tmp_path / f"{said}.pth")
        paths[-1].write_bytes(said_to_be(archive.getvalue(), {size: said}))
    program = (
        "import sys, resource\n"
        "from pathlib import Path\n"
        "from abe_jax import errors, pretrained\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        f"        pretrained.convert({SOURCE!r}, Path(path))\n"
        "    except errors.UserError as error:\n"
        "        print(error)\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    words = [sys.executable, "-c", program, *map(str, [paths[0], *paths])]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    large, before, _, _, little, after = ended.stdout.splitlines()
    assert "unpacks to 3,073 MiB" in large and "damaged" in little
    assert int(after) - int(before) < 100 * 2**10  # KiB
