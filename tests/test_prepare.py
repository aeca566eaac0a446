"""`python -m abe_jax.prepare` as a user runs it, and killed where it hurts most."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import benchmark_trees as trees
import pytest
from processes import ROOT, environment, python, run

from abe_jax.cli import prepare
from abe_jax.data import SourceOptions, benchmark
from abe_jax.data.sources.benchmarks import builder, reading
from abe_jax.errors import UserError

# The command with small sets in place of the published ones.
COMMAND = """
import sys
sys.path.insert(0, "tests")
import benchmark_trees as trees
from abe_jax.cli import command, prepare
from abe_jax.data.sources.benchmarks.table import BENCHMARKS
tree = trees.TREES[sys.argv[1]]()
BENCHMARKS[tree.benchmark.name] = tree.benchmark
command.run(lambda argv: prepare.main(argv[1:]))
"""

# Kills a build before or after each of its writes, and lets another process finish it.
KILLS = """
import hashlib, json, os, pathlib, signal, sys
sys.path.insert(0, "tests")
import benchmark_trees as trees
from abe_jax.data.sources.benchmarks import builder

tree = trees.sop()
source, base = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])

def build(folder, last):
    left = [last]
    def killing(function):
        def call(*arguments, **options):
            for moment in ("before", "after"):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                if moment == "before":
                    result = function(*arguments, **options)
            return result
        return call
    pathlib.Path.replace = killing(pathlib.Path.replace)
    pathlib.Path.unlink = killing(pathlib.Path.unlink)
    os.fsync = killing(os.fsync)
    builder.build(tree.benchmark, source, folder)

def process(folder, last):
    pid = os.fork()
    if not pid:
        build(folder, last)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def state(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir()) if path.name != ".lock"
    }

found = []
for last in range(1000):
    folder = base / str(last)
    ended = process(folder, last)
    there = sorted(path.name for path in folder.iterdir())
    again = process(folder, 10**6)
    found.append((ended, there, again, state(folder)))
    if ended == 0:
        break
print(json.dumps(found))
"""


def test_a_build_killed_at_any_write_goes_on_to_the_same_files(tmp_path):
    tree = trees.sop()
    files = dict(tree.archives[0].files)
    files[next(path for path in files if path.endswith("_0.JPG"))] = b""  # cannot be read
    source = trees.packed(
        tree._replace(archives=[tree.archives[0]._replace(files=files)]), tmp_path / "source"
    )
    done = python("-c", KILLS, source, tmp_path, data=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    killed, finished = found[:-1], found[-1]
    assert finished[0] == 0 and len(killed) >= 12
    assert all(one[0] == -signal.SIGKILL and one[2] == 0 for one in killed)
    assert all(one[3] == finished[3] for one in killed)
    assert set(finished[3]) == {
        "info.json",
        "labels.npz",
        "sop-00000-of-00002.array_record",
        "sop-00001-of-00002.array_record",
        "unreadable.txt",
    }
    about = builder.info(tmp_path / str(len(killed)))
    assert (about["images"], about["unreadable"], about["as_published"]) == (10, 1, True)
    # There were kills with no shard, one shard and both, and with all but the commit.
    shards = {sum(name.endswith(".array_record") for name in one[1]) for one in killed}
    assert shards == {0, 1, 2}
    assert any("labels.npz" in one[1] and "info.json" not in one[1] for one in killed)


def ukbench(folder: Path, images: int) -> Path:
    names = [f"full/ukbench{i:05}.jpg" for i in range(images)]
    files = {name: trees.image(name) for name in names}
    trees.write(folder / "ukbench.zip", trees.pack("ukbench.zip", files))
    return folder


def start(*arguments: object, data: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=ROOT,
        env=environment(data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_command_goes_on_and_a_finished_one_returns_at_once(tmp_path):
    source, root = ukbench(tmp_path / "source", 6000), tmp_path / "root"
    words = ("--dataset", "ukbench", "--source", source, "--root", root, "--allow-counts")
    folder = root / "originals" / "ukbench"
    process = start("ukbench", *words, data=tmp_path)
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*.array_record"))) < 20 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / builder.INFO).exists()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*.array_record")}
    assert 20 <= len(kept) < 1200

    ended = start("ukbench", *words, data=tmp_path)
    out, err = ended.communicate(timeout=120)
    assert ended.returncode == 0, err
    assert f"ukbench is in {folder}: test 6000 images of 1500 classes" in out
    assert "writing:" in err and " 0/6000" not in err  # the bar goes on too
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list(folder.glob("*.array_record"))) == 1200

    (source / "ukbench.zip").unlink()
    ended = start("ukbench", *words, data=tmp_path)
    out, err = ended.communicate(timeout=60)
    assert ended.returncode == 0 and f"already in {folder}" in out and "ukbench:" not in err


def test_a_build_of_another_source_begins_anew(tmp_path, monkeypatch):
    tree = trees.cub()
    source, folder = trees.packed(tree, tmp_path / "s"), tmp_path / "root"

    written = builder._write_shard

    def stopping(path, *arguments):
        if "00003-of" in path.name:
            raise InterruptedError
        return written(path, *arguments)

    monkeypatch.setattr(builder, "_write_shard", stopping)
    with pytest.raises(InterruptedError):
        builder.build(tree.benchmark, source, folder)
    first = (folder / "cub-00000-of-00041.array_record").stat().st_mtime_ns
    monkeypatch.undo()
    builder.build(tree.benchmark, trees.unpacked(tree, tmp_path / "other"), folder)
    assert (folder / "cub-00000-of-00041.array_record").stat().st_mtime_ns != first
    other = tmp_path / "root2" / "originals" / "cub"
    builder.build(tree.benchmark, source, other)
    read = reading.read(tree.benchmark, SourceOptions(root=str(tmp_path / "root2")), "test")
    (tmp_path / "root3" / "originals").mkdir(parents=True)
    folder.rename(tmp_path / "root3" / "originals" / "cub")
    same = reading.read(tree.benchmark, SourceOptions(root=str(tmp_path / "root3")), "test")
    assert [read.records[i] for i in range(100)] == [same.records[i] for i in range(100)]


# The command line's own words.


def test_the_published_counts_are_asked_for(tmp_path):
    source = trees.packed(trees.cub(), tmp_path / "source")
    words = ("--dataset", "cub", "--source", source, "--root", tmp_path / "root")
    ended = run("prepare", *words, data=tmp_path)
    assert ended.returncode == 2
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("error: cub in ") and "Traceback" not in ended.stderr
    assert "train: expected 5864 images, found 101; train: expected 100 classes" not in line
    assert "train: expected 5864 images, found 101; test: expected 5924 images, found 100" in line
    ended = run("prepare", *words, "--allow-counts", data=tmp_path)
    assert ended.returncode == 0 and "warning: cub is not as published: train: exp" in ended.stdout
    split = benchmark("cub", tmp_path / "root").split("train")
    assert len(split.labels) == 101


def test_a_set_of_other_counts_does_not_stand_for_the_published_one(tmp_path, capsys):
    source, root = trees.packed(trees.cub(), tmp_path / "source"), tmp_path / "root"
    words = ["--dataset", "cub", "--root", str(root)]
    prepare.main([*words, "--source", str(source), "--allow-counts"])
    other = trees.unpacked(trees.cub(), tmp_path / "whole")
    with pytest.raises(
        UserError, match=r"cub in .* is not as published.*delete .*whole in its place"
    ):
        prepare.main([*words, "--source", str(other)])
    capsys.readouterr()
    for more in ([], ["--source", str(source), "--allow-counts"]):
        prepare.main([*words, *more])
        warning, line = capsys.readouterr().out.splitlines()
        assert warning.startswith("warning: cub in ") and "--allow-counts" in warning
        assert line.startswith("cub is already in ")
    folder = root / "originals" / "cub"
    (folder / ".lock").unlink()
    (folder / ".lock").mkdir()  # as of a folder that cannot be written
    prepare.main([*words, "--source", str(source), "--allow-counts"])
    (folder / builder.INFO).write_text("{")
    with pytest.raises(UserError, match=r"damaged.*delete"):
        prepare.main([*words, "--source", str(source)])


def test_what_is_asked_wrongly_is_one_line(tmp_path):
    root = ["--root", str(tmp_path)]
    for words, message in (
        (["--dataset", "cub"], "--source is missing: the folder with CUB_200_2011.tgz"),
        (["--dataset", "cup", "--source", "x"], "unknown data set 'cup'.*did you mean 'cub'"),
        (["--dataset", "glyphs_tiny", "--source", "x"], "--source: glyphs_tiny needs none"),
        (["--dataset", "folder"], "folder needs no preparation"),
        (["--dataset", "cub", "--source", str(tmp_path / "no")], "no is no folder"),
        (["--dataset", "cub", "--config.data.name=x"], "only --root is taken"),
        (["--dataset", "cub", "--sourse", "x"], "--sourse: no such argument.*--source"),
    ):
        with pytest.raises(UserError, match=message):
            prepare.main([*words, *root])


def test_a_root_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "root").write_text("a file")
    source = trees.packed(trees.cub(), tmp_path / "source")
    with pytest.raises(UserError, match="cannot write prepared data"):
        prepare.main(
            ["--dataset", "cub", "--source", str(source), "--root", str(tmp_path / "root")]
        )


def test_other_sets_are_prepared_too(tiny_data, capsys):
    prepare.main(["--dataset", "glyphs_tiny", "--root", str(tiny_data)])
    assert "glyphs_tiny is in" in capsys.readouterr().out


def test_what_is_prepared_and_damaged_names_the_folder(tmp_path):
    tree = trees.sop()
    source = trees.packed(tree, tmp_path / "source")
    for damage in ("halved", "gone", "labels", "info", "version"):
        root = tmp_path / damage
        folder = root / "originals" / "sop"
        builder.build(tree.benchmark, source, folder)
        shard = folder / "sop-00001-of-00002.array_record"
        if damage == "halved":
            os.truncate(shard, shard.stat().st_size // 2)
        elif damage == "gone":
            shard.unlink()
        elif damage == "labels":
            os.truncate(folder / builder.LABELS, 300)
        elif damage == "info":
            (folder / builder.INFO).write_text("{")
        else:
            about = builder.info(folder) | {"version": "0.9.0"}
            (folder / builder.INFO).write_text(json.dumps(about))
        with pytest.raises(UserError, match="delete") as caught:
            reading.read(tree.benchmark, SourceOptions(root=str(root)), "test")
        assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
