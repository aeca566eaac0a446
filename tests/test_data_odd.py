"""200 odd and broken files as a data set: none ends a run, each broken one is named."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import odd_files
import processes
import pytest

from abe_jax.data import (
    SPLITS,
    Augmentation,
    Dataset,
    Preprocessing,
    SourceOptions,
    Split,
    loader,
    named,
    uncropped,
)
from abe_jax.data.images import decoding, headers
from abe_jax.data.sources import csv_file
from abe_jax.data.sources.walking import below

SETTINGS = {
    "data.channels": 3,
    "data.mean": "()",
    "data.std": "()",
    "data.name": "folder",
    "data.fit": "cover",
    "data.crop": "resized",
    "data.resize": 16,
    "data.size": 16,
    "data.validation_classes": 1,
    "data.unreadable_share": 0.9,
    "model.kind": "single",
    "model.learners": 1,
    "model.norm": "none",
    "model.width": 4,
    "optimizer.warmup": 0,
    "train.batch": 12,
    "train.steps": 40,
    "evaluate.batch": 16,
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> tuple[Path, dict[str, odd_files.Odd]]:
    """A folder of all of them, each by its name as it is shown."""
    folder = tmp_path_factory.mktemp("odd") / "set"
    return folder, {csv_file.shown(made.path): made for made in odd_files.write(folder)}


SEEN = Preprocessing(resize=8, size=8)


def data(folder: Path, **changes) -> Dataset:
    options = {"path": str(folder), "validation_classes": 2, **changes}
    return named("folder", SourceOptions(**options))


def splits(chosen: Dataset) -> list[Split]:
    chosen.prepare()
    return [chosen.split(name) for name in SPLITS]


def unreadable(split: Split, seen: Preprocessing = SEEN) -> set[str]:
    """The files that the loader masks, by their shown paths."""
    mask = np.concatenate([batch.mask for batch in loader.in_order(split, seen, 16)])
    return {split.paths[i] for i in np.flatnonzero(~mask[: len(split.labels)])}


def broken(odds: dict[str, odd_files.Odd]) -> set[str]:
    return {name for name, made in odds.items() if made.size is None}


def test_there_are_200_of_many_kinds(odd):
    folder, odds = odd
    assert len(odds) == odd_files.COUNT and len({made.kind for made in odds.values()}) > 40
    assert set(below(folder)) == {made.path for made in odds.values()}
    assert 50 < len(broken(odds)) < 70
    assert any("\n" in made.path for made in odds.values())


@pytest.mark.parametrize("channels", [1, 3])
def test_every_broken_file_is_named_and_every_good_one_is_seen(odd, channels):
    folder, odds = odd
    seen, found = Preprocessing(resize=8, size=8, channels=channels), splits(data(folder))
    assert sorted(path for split in found for path in split.paths) == sorted(odds)
    assert set.union(*(unreadable(split, seen) for split in found)) == broken(odds)


def test_every_good_file_has_the_size_that_it_was_made_with(odd):
    folder, odds = odd
    for split in splits(data(folder)):
        for row, path in enumerate(split.paths):
            expected = odds[path].size
            assert uncropped.size(split.records[row]) in (
                (expected,) if expected else (uncropped.UNREADABLE, *_claimed(split.records[row]))
            )
            if expected:
                assert decoding.pixels(split.records[row]).shape[:2] == expected


def _claimed(encoded: bytes) -> list[tuple[int, int]]:
    # Of JPEG and PNG the header is believed: what is truncated behind it is found by decoding.
    claimed = headers.stored(encoded)
    return [] if claimed is None else [claimed]


def test_training_batches_leave_out_the_broken_alone(odd):
    folder, odds = odd
    augmentation = Augmentation(crop="resized", padding=1, flip=True)
    for split in splits(data(folder)):
        count = len(split.labels)
        sample = np.arange(-(-count // 10) * 10) % count
        batches = loader.training(
            split,
            SEEN,
            augmentation,
            lambda step, sample=sample: sample[10 * step : 10 * step + 10],
            loader.Schedule(steps=len(sample) // 10, threads=3),
        )
        masked = {
            split.paths[i] for batch in batches for i in batch.image_ids[~batch.mask].tolist()
        }
        assert masked == broken(odds) & set(split.paths)


def test_a_csv_file_of_them_is_read_as_the_folder_is(odd, tmp_path):
    folder, odds = odd
    copy = tmp_path / "set"
    copy.mkdir()
    for label in odd_files.CLASSES:
        (copy / label).symlink_to(folder / label)
    text = [made for made in odds.values() if made.path.isprintable()]
    with (copy / "list.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "thing"))
        writer.writerows((made.path, made.path.split("/")[0], made.kind) for made in text)
    assert len(text) > 180
    chosen = data(copy / "list.csv", instance_column="thing")
    named_files = set.union(*(unreadable(split) for split in splits(chosen)))
    assert named_files == {made.path for made in text if made.size is None}


def test_lines_about_them_are_lines(odd):
    _, odds = odd
    for name in odds:
        assert len(name.splitlines()) == 1
        assert json.loads(json.dumps(name)) == name and name.encode()


def nobody() -> list[str]:
    """The start of a command line by which the superuser runs it as another; skips without one."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("only the superuser can run a program as another user, with setpriv")
    start = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]
    python = [sys.executable, "-c", "import abe_jax.data.sources.image_files"]
    if subprocess.run([*start, *python], cwd=processes.ROOT, check=False).returncode:
        pytest.skip("another user cannot run this Python")
    return start


LISTED = """
import sys
from abe_jax.data.sources.csv_file import shown
from abe_jax.data.sources.image_files import read
from abe_jax.data.sources.walking import below
import pathlib
base = pathlib.Path(sys.argv[1])
for path in below(base):
    print(len(read(base / path)), shown(path))
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can reach, which those of tests are not."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_what_may_not_be_read_is_named_to_another_user(public):
    start = nobody()
    for name in ("open.png", "closed.png", "folder/in.png", "blind/in.png", "lost+found/in.png"):
        (public / name).parent.mkdir(exist_ok=True)
        (public / name).write_bytes(b"four")
    (public / "closed.png").chmod(0)
    (public / "folder").chmod(0)
    (public / "lost+found").chmod(0o700)  # of the superuser, on the disks of Linux
    (public / "blind").chmod(0o444)  # its names can be read, and no more
    done = subprocess.run(
        [*start, sys.executable, "-c", LISTED, str(public)],
        cwd=processes.ROOT,
        env=os.environ | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "0 blind/in.png",
        "0 closed.png",
        "0 folder",
        "4 open.png",
    ]


@pytest.mark.slow
def test_a_run_on_them_names_each_and_ends_well(odd, tmp_path):
    folder, odds = odd
    settings = {**SETTINGS, "data.path": folder}
    overrides = [f"--config.{name}={value}" for name, value in settings.items()]
    arguments = ("--config", processes.TINY, "--workdir", tmp_path / "run", *overrides)
    done = processes.run("train", *arguments, data=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    named = (tmp_path / "run" / "unreadable.txt").read_text(encoding="utf-8").splitlines()
    (tmp_path / "run" / "evaluation.json").unlink()
    evaluated = processes.run("evaluate", "--workdir", tmp_path / "run", data=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr[-3000:]
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    test = splits(data(folder, validation_classes=1))[-1]
    assert found["test"]["images"] == len(set(test.paths) - broken(odds))
    lines = {line.split("\t")[-1] for line in named if line.startswith("test\t")}
    assert lines == broken(odds) & set(test.paths)
    assert {line.split("\t")[-1] for line in named} <= broken(odds)


@pytest.mark.slow
def test_an_index_of_them_names_each_and_holds_the_good(odd, tmp_path):
    folder, odds = odd
    done = processes.run(
        "index",
        "build",
        "--weights",
        "efficientnet-lite0",
        "--images",
        folder,
        "--out",
        tmp_path / "index",
        data=tmp_path,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    info = processes.run("index", "info", "--index", tmp_path / "index", "--json", data=tmp_path)
    assert json.loads(info.stdout)["images"] == len(odds) - len(broken(odds))
    named = (tmp_path / "index" / "unreadable.txt").read_text(encoding="utf-8")
    assert len(named.splitlines()) == len(broken(odds))
    for name in broken(odds):
        assert name in named
