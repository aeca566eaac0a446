"""Prepared data is copied once to a machine's own disk, whole or not at all."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from abe_jax import data
from abe_jax.data.sources import staging
from abe_jax.errors import UserError


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(staging.SCRATCH, str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared" / "set" / "1.0.0"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / name).write_bytes(os.urandom(1000))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def copies(scratch: Path) -> list[Path]:
    return [path for path in scratch.iterdir() if path.name != ".lock"]


def test_without_a_scratch_nothing_is_copied(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(staging.SCRATCH, raising=False)
    assert staging.staged(prepared) == prepared


def test_a_copy_is_made_once_and_anew_when_the_data_changes(prepared: Path, scratch: Path) -> None:
    there = staging.staged(prepared)
    assert there.parent == scratch and content(there) == content(prepared)
    before = there.stat().st_mtime_ns
    (prepared / "abe_jax_labels.npy").write_bytes(b"written beside the records later")
    assert staging.staged(prepared) == there and there.stat().st_mtime_ns == before
    (prepared / "a").write_bytes(b"prepared anew")
    again = staging.staged(prepared)
    assert again != there and content(again) == content(prepared)


def test_processes_that_come_together_copy_once(prepared: Path, scratch: Path) -> None:
    for number in range(20):
        (prepared / f"{number}").write_bytes(os.urandom(100_000))
    program = (
        "import sys; from pathlib import Path; from abe_jax.data.sources import staging; "
        "folder = staging.staged(Path(sys.argv[1])); "
        "print(folder, len(list(folder.iterdir())), folder.stat().st_ino)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(prepared)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    said = {process.communicate(timeout=120)[0] for process in processes}
    (one,) = said
    assert one.split()[1] == "22" and len(copies(scratch)) == 1


def test_what_a_killed_process_left_is_made_anew(prepared: Path, scratch: Path) -> None:
    there = staging.staged(prepared)
    partial = there.with_name(there.name + staging.PARTIAL)
    there.rename(partial)
    (partial / "b").unlink()
    assert staging.staged(prepared) == there and content(there) == content(prepared)
    assert copies(scratch) == [there]


def test_a_disk_without_room_is_told_of_and_stops_nothing(
    prepared: Path,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copytree", full)
    assert staging.staged(prepared) == prepared
    assert "No space left on device" in caplog.text and str(prepared) in caplog.text
    assert copies(scratch) == []


def test_a_scratch_that_cannot_be_is_one_line(prepared: Path, scratch: Path) -> None:
    scratch.write_text("a file")
    with pytest.raises(UserError, match=r"ABE_JAX_SCRATCH: .*cannot be written"):
        staging.staged(prepared)


def test_records_are_read_from_the_copy(tiny_data: Path, scratch: Path) -> None:
    images = data.glyphs(tiny_data, tiny=True).split("test").records
    (there,) = copies(scratch)
    bare = os.environ.pop(staging.SCRATCH)
    other = data.glyphs(tiny_data, tiny=True).split("test").records
    os.environ[staging.SCRATCH] = bare
    assert all(images[i] == other[i] for i in range(0, len(images), 7))
    for path in there.glob("*.array_record*"):
        os.truncate(path, 100)
    with pytest.raises(UserError, match="is damaged"):
        data.glyphs(tiny_data, tiny=True).split("test").records[0]
