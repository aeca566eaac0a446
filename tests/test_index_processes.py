"""The index through real processes: a run's own recall, moved folders, kills, one-line errors."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_runs import as_run, noise, split_of, tiny, written
from processes import ROOT, TINY, command, environment, run

from abe_jax import config
from abe_jax.config import stored
from abe_jax.data.dataset import Split
from abe_jax.index import snapshot

pytestmark = pytest.mark.slow


def done(process: subprocess.CompletedProcess[str]) -> str:
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout


def listed(folder: Path, split: Split) -> tuple[Path, list[Path]]:
    """A CSV file of a split's images, and they."""
    paths = written(folder, split, range(len(split.labels)))
    rows = [
        f"{path.relative_to(folder)},{label}"
        for path, label in zip(paths, split.labels, strict=True)
    ]
    (folder / "list.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    return folder / "list.csv", paths


def recall(results: Sequence[dict[str, Any]], k: int, labels: Sequence[str]) -> float:
    """The share of queries with one of their label among the k nearest others."""
    hits = [
        any(one["label"] == label for one in answer["neighbours"] if 1 <= one["rank"] <= k)
        for answer, label in zip(results, labels, strict=True)
        if labels.count(label) > 1
    ]
    return sum(hits) / len(hits)


def test_a_trained_run_has_its_recall_and_its_vectors_in_the_index(
    tmp_path: Path, tiny_data: Path
) -> None:
    workdir, folder = tmp_path / "run", tmp_path / "index"
    trained = run("train", "--config", TINY, "--workdir", workdir, data=tiny_data)
    assert trained.returncode == 0, trained.stderr
    evaluated = json.loads((workdir / "evaluation.json").read_text())["test"]
    chosen = config.read_json(workdir / "config.json")
    split = split_of(config.load(TINY, (f"data.root={tiny_data}",)), "test")
    table, paths = listed(tmp_path / "pictures", split)
    words = ("build", "--workdir", workdir, "--images", table, "--out", folder)
    done(run("index", *words, data=tiny_data))
    # The same batches by the same program, in an evaluation and in the index: the same bits.
    expected = stored.run(workdir).embedder.embed(split).vectors
    now = snapshot.read(folder)
    np.testing.assert_array_equal(now.vectors(now.ids()), expected)
    shutil.rmtree(workdir)
    folder.rename(tmp_path / "moved")
    search = ("--index", tmp_path / "moved", *paths, "--k", 2, "--json")
    results = json.loads(done(run("search", *search, data=tiny_data)))["results"]
    labels = [str(label) for label in split.labels]
    for k in chosen.evaluate.ks:
        assert recall(results, k, labels) == evaluated["metrics"]["ensemble"][f"recall@{k}"]
    for answer in results:  # embedded in the same batches as the index was
        assert [one["distance"] for one in answer["neighbours"] if one["itself"]] == [0.0]
    calibrate = ("calibrate", "--index", tmp_path / "moved", "--images", table)
    out = done(run("index", *calibrate, "--false-match-rate", 0.1, data=tiny_data))
    assert "for false-match rate 0.1: precision" in out
    limit = snapshot.read(tmp_path / "moved").threshold
    assert limit is not None and limit.measured["queries"] == len(labels)
    results = json.loads(done(run("search", *search, data=tiny_data)))["results"]
    matches = [answer for answer in results if answer["match"]]
    assert len(matches) == limit.measured["matches"]
    right = sum(
        next(one for one in answer["neighbours"] if one["rank"] == 1)["label"]
        == labels[paths.index(Path(answer["query"]))]
        for answer in matches
    )
    assert right / len(matches) == pytest.approx(limit.measured["precision"])


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> tuple[Path, Path]:
    """A run, and so many pictures that embedding them takes a while."""
    base = tmp_path_factory.mktemp("many")
    path = as_run(base / "run", tiny(tiny_data))
    (base / "pictures").mkdir()
    for i in range(40):
        (base / "pictures" / f"{i}-0.png").write_bytes(noise(i))
        for j in range(1, 150):
            os.link(base / "pictures" / f"{i}-0.png", base / "pictures" / f"{i}-{j}.png")
    return path, base / "pictures"


def stopped(words: Sequence[object], data: Path, begun: Any, how: signal.Signals) -> int:
    """The exit status of a command that is sent a signal once `begun()` is true."""
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *command("index", *words)],
        cwd=ROOT,
        env=environment(data),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not begun():
        time.sleep(0.001)
    process.send_signal(how)
    _, errors = process.communicate(timeout=100)
    assert errors == ""
    return process.returncode


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_build_leaves_no_index_and_the_same_command_makes_it(
    how: signal.Signals, many: tuple[Path, Path], tmp_path: Path, tiny_data: Path
) -> None:
    words = ("build", "--workdir", many[0], "--images", many[1], "--out", tmp_path / "index")

    def begun() -> bool:
        return any(tmp_path.glob(".index.building-*/segments/*.vectors.npy"))

    status = stopped(words, tiny_data, begun, how)
    assert status == (130 if how == signal.SIGINT else -9)
    assert not (tmp_path / "index").exists()
    assert len(list(tmp_path.iterdir())) == (how == signal.SIGKILL)  # hidden, and swept below
    assert "6000 added" in done(run("index", *words, data=tiny_data)).replace(",", "")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_add_leaves_the_index_and_the_same_command_goes_on(
    how: signal.Signals, many: tuple[Path, Path], tmp_path: Path, tiny_data: Path
) -> None:
    folder = tmp_path / "index"
    first = ("build", "--workdir", many[0], "--images", many[1] / "0-0.png", "--out", folder)
    done(run("index", *first, data=tiny_data))
    before = snapshot.read(folder)
    here = set((folder / "segments").iterdir())
    words = ("add", "--index", folder, "--images", many[1])
    status = stopped(words, tiny_data, lambda: set((folder / "segments").iterdir()) != here, how)
    assert status == (130 if how == signal.SIGINT else -9)
    now = snapshot.read(folder)
    assert (now.count, now.generation) == (1, before.generation)
    assert "5999 added" in done(run("index", *words, data=tiny_data)).replace(",", "")
    assert snapshot.read(folder).count == 6000
    assert set((folder / "segments").iterdir()) == {
        folder / "segments" / file.name for file in snapshot.read(folder).manifest.files()
    }


def test_mistakes_end_with_one_line_and_exit_status_2(
    many: tuple[Path, Path], tmp_path: Path, tiny_data: Path
) -> None:
    folder = tmp_path / "index"
    one = many[1] / "0-0.png"
    done(
        run(
            "index", "build", "--workdir", many[0], "--images", one, "--out", folder, data=tiny_data
        )
    )
    (tmp_path / "bad.png").write_bytes(b"bad")
    for module, words, says in (
        ("index", ("build", "--workdir", tmp_path, "--images", one, "--out", "x"), "of a run"),
        ("index", ("add", "--index", folder, "--images", tmp_path / "bad.png"), "can be read"),
        ("index", ("calibrate", "--index", folder, "--images", many[1]), "have no label"),
        ("search", ("--index", folder, "nothing.png"), "nothing.png: no such file"),
        ("search", ("--index", folder, "--html", "/proc/x.html", one), "cannot be written"),
    ):
        ended = run(module, *words, data=tiny_data)
        assert ended.returncode == 2, (words, ended.stderr)
        assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
        assert says in ended.stderr and "Traceback" not in ended.stderr


def test_several_devices_answer_alike(
    many: tuple[Path, Path], tmp_path: Path, tiny_data: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(30):
        (pictures / f"{i}.png").write_bytes(noise(i))
    answers = []
    for devices in (1, 4):
        folder = tmp_path / f"index{devices}"
        words = ("build", "--workdir", many[0], "--images", pictures, "--out", folder)
        done(run("index", *words, data=tiny_data, devices=devices))
        asked = (*sorted(pictures.iterdir())[:5], "--json", "--k", 5)
        out = done(run("search", "--index", folder, *asked, data=tiny_data, devices=devices))
        answers.append(json.loads(out)["results"])
    for one, four in zip(*answers, strict=True):
        for a, b in zip(one["neighbours"], four["neighbours"], strict=True):
            assert (a["path"], a["rank"]) == (b["path"], b["rank"])
            assert a["distance"] == pytest.approx(b["distance"], abs=1e-5)
