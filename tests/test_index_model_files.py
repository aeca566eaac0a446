"""The network in an index's folder: read as it was written, whatever ended in between."""

import dataclasses
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import disk_events
import jax
import numpy as np
import pytest
import serving_examples
from index_runs import noise

from abe_jax import files
from abe_jax.config import stored
from abe_jax.errors import UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import Network
from abe_jax.index import Index, manifest, model_files, snapshot
from abe_jax.index.segments import header


@pytest.fixture(scope="module")
def made() -> Embedder:
    return serving_examples.model()


def test_what_was_saved_is_read_with_the_same_bits(made: Embedder, tmp_path: Path) -> None:
    model_files.save(made, tmp_path / "model")
    read = stored.embedder_of_index(tmp_path / "model")
    assert (read.fingerprint, read.description) == (made.fingerprint, made.description)
    images = [serving_examples.png("A", face) for face in serving_examples.FACES]
    np.testing.assert_array_equal(read.embed(images).vectors, made.embed(images).vectors)


def test_the_network_alone_is_written(made: Embedder, tmp_path: Path) -> None:
    model_files.save(made, tmp_path / "model")
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"config.json", "weights.npz"}
    with np.load(tmp_path / "model" / "weights.npz") as arrays:
        assert {name.split("/")[0] for name in arrays.files} == {"params", "batch_stats"}
    with pytest.raises(UserError, match="exists already"):
        model_files.save(made, tmp_path / "model")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".model.partial").mkdir()  # of a killed process
    model_files.save(made, tmp_path / "other" / "model")
    assert {p.name for p in (tmp_path / "other").iterdir()} == {"model"}


def test_the_same_network_gives_the_same_bytes(made: Embedder, tmp_path: Path) -> None:
    for name in ("a", "b"):
        model_files.save(made, tmp_path / name)
    for name in ("config.json", "weights.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_network_is_on_disk_before_its_folder_appears(
    made: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = disk_events.recorded(monkeypatch)
    model_files.save(made, tmp_path / "model")
    assert disk_events.not_on_disk(tmp_path / "model", events) == set()


def test_an_index_is_on_disk_before_its_folder_appears(
    made: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        (tmp_path / "pictures" / f"{i}.png").write_bytes(noise(i))
    (tmp_path / "pictures" / "bad.png").write_bytes(b"?")
    events = disk_events.recorded(monkeypatch)
    Index.build(tmp_path / "index", made, tmp_path / "pictures")
    assert (tmp_path / "index" / "unreadable.txt").exists()
    assert snapshot.read(tmp_path / "index").count == 3
    assert disk_events.not_on_disk(tmp_path / "index", events) == set()


@pytest.mark.parametrize(
    ("skipped", "missing"),
    [
        (".config.json.", "config.json"),
        (".weights.npz.", "weights.npz"),
        (".model.partial", "."),
        ("around", "the rename"),
    ],
)
def test_the_tests_of_what_is_on_disk_notice_a_lost_sync(
    skipped: str, missing: str, made: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "around").mkdir()
    events = disk_events.recorded(monkeypatch)
    recording = os.fsync

    def forgetful(handle: int) -> None:
        if not Path(os.readlink(f"/proc/self/fd/{handle}")).name.startswith(skipped):
            recording(handle)

    monkeypatch.setattr(os, "fsync", forgetful)
    folder = tmp_path / "around" / "model"
    model_files.save(made, folder)
    assert disk_events.not_on_disk(folder, events) == {missing}


def test_damage_is_named(made: Embedder, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(UserError, match=r"config.json: not found; is .* the folder of an index"):
        stored.embedder_of_index(folder)
    model_files.save(made, folder)
    weights = folder / "weights.npz"
    content = weights.read_bytes()
    with np.load(weights) as read:
        arrays = dict(read)
    name = next(iter(arrays))
    weights.write_bytes(content[: len(content) // 2])
    _refused(folder, r"weights.npz: damaged")
    np.savez(weights, **{k: v for k, v in arrays.items() if k != name})
    _refused(folder, f"not of the model in config.json: {name}")
    np.savez(weights, **{**arrays, name: arrays[name].astype(np.float16)})
    _refused(folder, f"not of the model in config.json: {name}")
    np.savez(weights, **{**arrays, name: np.array([{}])})  # a pickle
    _refused(folder, r"weights.npz: damaged")
    weights.write_bytes(b"no archive")
    _refused(folder, r"weights.npz: damaged \(no .npz\)$")  # no pickle is loaded
    weights.unlink()
    _refused(folder, r"weights.npz: not found")
    files.write(folder / "config.json", "{}")
    _refused(folder, r"model/config.json: config.data: missing")
    for damaged in ("{", "[]"):
        files.write(folder / "config.json", damaged)
        _refused(folder, r"config.json: damaged")


def refusing(*_: object) -> None:
    raise AssertionError("the model is traced")


def test_the_right_arrays_are_told_by_their_digest_without_a_trace(
    made: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    model_files.save(made, folder)
    traced = stored.embedder_of_index(folder)
    monkeypatch.setattr(Network, "shapes", refusing)
    read = stored.embedder_of_index(folder, made.fingerprint)
    assert jax.tree.structure(read.state) == jax.tree.structure(traced.state)
    for one, other in zip(jax.tree.leaves(read.state), jax.tree.leaves(traced.state), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    images = [serving_examples.png("A", face) for face in serving_examples.FACES]
    np.testing.assert_array_equal(read.embed(images).vectors, traced.embed(images).vectors)


def test_arrays_of_another_form_are_read_as_the_model_says(made: Embedder, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model_files.save(made, folder)
    weights = folder / "weights.npz"
    with np.load(weights) as read:
        arrays = dict(read)
    wide = next(name for name, array in arrays.items() if array.ndim == 2)
    kernel = np.asfortranarray(arrays[wide])
    forms: list[tuple[Any, dict[str, Any]]] = [
        (np.savez_compressed, arrays),
        (np.savez, {**arrays, wide: kernel}),
    ]
    for write, given in forms:
        write(weights, **given)
        assert model_files.own_arrays(folder) is None
        assert stored.embedder_of_index(folder, made.fingerprint).fingerprint == made.fingerprint
    np.savez(weights, **arrays)
    content = weights.read_bytes()  # of which the list of its members is told twice
    with zipfile.ZipFile(weights) as archive:
        begins, members = archive.start_dir, len(archive.namelist())
    end = content.index(b"PK\5\6")
    listed = content[begins:end]
    weights.write_bytes(
        content[:begins]
        + listed
        + listed
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *[2 * members] * 2, 2 * len(listed), begins, 0)
    )
    assert model_files.own_arrays(folder) is None
    name = next(iter(arrays))
    np.savez(weights, **{**arrays, name: arrays[name] + 1})
    other = stored.embedder_of_index(folder, made.fingerprint).fingerprint  # the index refuses it
    assert other != made.fingerprint


@pytest.mark.parametrize(
    "forged",
    [
        lambda arrays, name: {k: v for k, v in arrays.items() if k != name},
        lambda arrays, name: {**arrays, name: arrays[name][..., :1]},
        lambda arrays, name: {**arrays, name: arrays[name].astype(str)},
        lambda arrays, name: {k: v for k, v in arrays.items() if not k.startswith("batch_stats")},
        lambda arrays, name: {k: v[:0] for k, v in arrays.items()},
    ],
    ids=["missing", "shape", "type", "no statistics", "empty"],
)
def test_arrays_under_a_forged_digest_that_fit_no_network_are_one_line(
    forged: Callable[..., dict[str, np.ndarray]], made: Embedder, tmp_path: Path
) -> None:
    index = serving_examples.index(tmp_path, made)
    weights = index.folder / "model" / "weights.npz"
    with np.load(weights) as read:
        arrays = dict(read)
    name = next(name for name in arrays if name.endswith("kernel"))
    given: dict[str, Any] = forged(arrays, name)
    np.savez(weights, **given)
    own = model_files.own_arrays(index.folder / "model")
    assert own is not None
    claimed = Embedder.of(made.network, own["params"], own["batch_stats"], {}).fingerprint
    state = manifest.load(index.folder)
    spec = dataclasses.replace(state.spec, fingerprint=claimed)
    manifest.write(index.folder, dataclasses.replace(state, spec=spec))
    with pytest.raises(UserError, match=r"the arrays are not the network's: (params|batch_stats)/"):
        stored.index(index.folder).search(index.files[0])


def test_links_out_of_the_index_are_refused(made: Embedder, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    folder = tmp_path / "index" / "model"
    model_files.save(made, folder)
    for name in ("config.json", "weights.npz"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        _refused(folder, f"{name} is a symbolic link, and an index reads only what lies in its own")
        (folder / name).unlink()
        (tmp_path / name).rename(folder / name)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to("../elsewhere")
    _refused(folder, "index/model is a symbolic link")
    folder.unlink()
    (tmp_path / "elsewhere").rename(folder)
    (tmp_path / "link").symlink_to("index")
    assert stored.embedder_of_index(tmp_path / "link" / "model").fingerprint == made.fingerprint


def test_weights_that_say_they_are_huge_are_refused_by_their_header(
    made: Embedder, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    model_files.save(made, folder)
    with np.load(folder / "weights.npz") as read:
        arrays = dict(read)
    first, *others = arrays
    for shape in ((2**40,), (2**20, 2**20, 2**20)):
        with zipfile.ZipFile(folder / "weights.npz", "w") as archive:
            archive.writestr(f"{first}.npy", header(shape, "<f4") + b"\0" * 8)
            for name in others:
                with archive.open(f"{name}.npy", "w") as file:
                    np.save(file, arrays[name])
        _refused(folder, f"not of the model in config.json: {first}")
    complete = (folder / "config.json").read_text()
    for config in ("[" * 100_000, '{"a":' * 100_000):
        (folder / "config.json").write_text(config)
        _refused(folder, r"config.json: damaged \(nested too deeply\)")
    (folder / "config.json").write_text(complete)
    (folder / "weights.npz").write_bytes(header((4,), "<f4") + b"\0" * 16)  # an .npy
    _refused(folder, r"weights.npz: damaged \(no .npz\)$")


def _refused(folder: Path, message: str) -> None:
    with pytest.raises(UserError, match=message):
        stored.embedder_of_index(folder)
