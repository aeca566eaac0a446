"""An index under other processes: killed writers, readers meanwhile, two writers, a full disk."""

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import index_growing
import numpy as np
import pytest
from index_examples import MODEL, built, drawn, named
from processes import ROOT, environment

from abe_jax import index
from abe_jax.errors import UserError
from abe_jax.index import ImageRow, VectorSpec, manifest, store


def started(script: str, *arguments: object, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A script beside this one, as a process of its own."""
    path = str(ROOT / "tests" / script)
    return subprocess.Popen(
        [*before, sys.executable, path, *map(str, arguments)],
        env={**environment(Path()), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], timeout: float) -> str:
    """What a process printed, once it ended well."""
    out, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, out + errors
    return out


@pytest.mark.parametrize("points", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_killed_anywhere_the_old_or_the_new_state_is_left(tmp_path, points):
    told = json.loads(ended(started("index_killed.py", tmp_path, points), 500))
    assert set(told) == {"add", "transaction", "remove", "set_threshold"}
    for left in told.values():
        assert left["old"] + left["new"] == min(points, left["events"])
        assert left["events"] > 40 and left["old"] and left["new"]


@pytest.mark.slow
def test_every_answer_during_10000_additions_is_that_of_one_state(tmp_path):
    folder = tmp_path / "index"
    index.create(folder, VectorSpec(MODEL, 2, 8))
    x, queries = index_growing.rows(), drawn(7, 2, 8, seed=9)
    writer, answers = started("index_growing.py", folder), []
    while writer.poll() is None:
        now = index.read(folder)
        answers.append((now, now.ids(), index.nearest_rows(now, queries, 5)))
    ended(writer, 10)
    states = index_growing.states()
    assert len({now.generation for now, _, _ in answers}) > 10
    every = ((queries.reshape(7, 1, -1) - x.reshape(1, len(x), -1).astype(np.float64)) ** 2).sum(-1)
    for now, ids, nearest in answers:
        state = states[now.generation - 1]
        np.testing.assert_array_equal(ids, state)
        order = np.argsort(every[:, state], axis=1, kind="stable")[:, :5]
        np.testing.assert_array_equal(nearest.ids[:, : order.shape[1]], state[order])
    last = index.read(folder)
    index.verify(last)
    np.testing.assert_array_equal(last.ids(), states[-1])
    np.testing.assert_array_equal(last.vectors(last.ids()), x[states[-1]])


@pytest.mark.slow
def test_two_writers_take_turns_and_lose_nothing(tmp_path):
    folder = tmp_path / "index"
    index.create(folder, VectorSpec(MODEL, 2, 8))
    writers = [started("index_growing.py", folder) for _ in range(2)]
    for writer in writers:
        ended(writer, 120)
    now = index.read(folder)
    index.verify(now)
    assert now.manifest.next_id == 2 * index_growing.STEPS * index_growing.ROWS
    labels = [int(row.label) for _, row in now.rows()]
    assert len(labels) == now.count > 2 * index_growing.STEPS * index_growing.ROWS / 2


def test_a_writer_that_does_not_end_is_told_of(tmp_path, monkeypatch):
    folder = built(tmp_path / "index", drawn(4))
    monkeypatch.setattr(store, "PATIENCE", 0.1)
    with index.transaction(folder, MODEL) as new:
        new.append(drawn(2), named("ab"))
        with pytest.raises(UserError, match="another process is writing"):
            index.remove(folder, np.array([1]))
        assert index.read(folder).count == 4  # readers wait for nobody
    assert index.read(folder).count == 6


def test_a_reader_whose_files_are_swept_reads_the_newer_state(tmp_path, monkeypatch):
    folder = built(tmp_path / "index", drawn(4))
    load, first = manifest.load, []

    def overtaken(at: Path) -> manifest.Manifest:
        state = load(at)
        if not first:
            first.append(state)
            thread = threading.Thread(  # merges: the files that `state` names go
                target=index.add, args=(folder, drawn(4), named("abcd"), MODEL)
            )
            thread.start()
            thread.join()
        return state

    monkeypatch.setattr(manifest, "load", overtaken)
    now = index.read(folder)
    assert first[0].generation == 2 and now.generation == 3 and now.count == 8


def test_everything_is_on_disk_before_the_rename(tmp_path, monkeypatch):
    folder = built(tmp_path / "index", drawn(30), pieces=3)
    flushed: dict[str, int] = {}
    fsync, replace = os.fsync, os.replace

    def watched_fsync(handle: int) -> None:
        path = os.readlink(f"/proc/self/fd/{handle}")
        flushed[path] = os.path.getsize(path)
        fsync(handle)

    def watched_replace(new: Path, old: Path) -> None:
        content = json.loads(Path(new).read_text())
        files = [s[part] for s in content["segments"] for part in ("vectors", "ids", "rows")]
        files += [content["removed"]] if content["removed"] else []
        fresh = {f"{folder}/segments/{file['name']}": file["bytes"] for file in files}
        fresh = {path: size for path, size in fresh.items() if Path(path).name not in before}
        assert fresh and fresh.items() <= flushed.items()
        assert list(flushed)[-2] == f"{folder}/segments" and list(flushed)[-1] == str(new)
        flushed.clear()
        replace(new, old)

    monkeypatch.setattr("os.fsync", watched_fsync)
    monkeypatch.setattr("os.replace", watched_replace)
    for change in (
        lambda: index.add(folder, drawn(3), named("abc"), MODEL),
        lambda: index.remove(folder, np.arange(2)),
        lambda: index.remove(folder, np.arange(28)),
        lambda: describe(folder, {30: ImageRow("moved.png")}),
    ):
        before = set(os.listdir(folder / "segments"))
        change()
        assert list(flushed) == [str(folder)]  # the rename itself
        flushed.clear()


def describe(folder: Path, rows: dict[int, ImageRow]) -> None:
    with index.transaction(folder, MODEL) as changes:
        changes.describe(rows)


@pytest.mark.parametrize("room", [200, 4_000, 40_000])
def test_a_file_that_grows_no_further_is_one_line_and_the_old_state(tmp_path, room):
    folder = built(tmp_path / "index", drawn(10), pieces=2)
    before = index.read(folder)
    names = set(os.listdir(folder / "segments"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(UserError, match="File too large") as error:
            index.add(folder, drawn(2000), named(range(2000)), MODEL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value) and "as it was" in str(error.value)
    assert index.read(folder).manifest == before.manifest
    assert set(os.listdir(folder / "segments")) == names
    assert index.add(folder, drawn(1), named("a"), MODEL).tolist() == [10]


def test_a_full_disk_is_one_line_and_the_old_state(tmp_path):
    mount = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=300k none "$0" && exec "$@"')
    if shutil.which("unshare") is None or subprocess.run([*mount, tmp_path, "true"]).returncode:
        pytest.skip("no file system of a given size can be mounted here")
    process = started("index_full_disk.py", tmp_path, before=(*mount, str(tmp_path)))
    lines = ended(process, 120).splitlines()
    assert len(lines) == 4
    assert all("No space left on device" in line and "as it was" in line for line in lines)
