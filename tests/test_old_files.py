"""Configs, runs, checkpoints and indexes that c58ecb9 wrote are read, and say what they said."""

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from abe_jax.training.run_folder import RunFolder

FILES = Path(__file__).parent / "old_files"
SAID = json.loads((FILES / "answers.json").read_text())
# Of values that another processor computes: vectors of unit length, and what two steps of training
# with rates and losses above 1 make of such differences.
CLOSE, TRAINED = 1e-5, 1e-3


def asked(folder: Path, *arguments: str) -> dict[str, Any]:
    """What today's commands say of the old files, unpacked into an empty folder."""
    for archive in sorted(FILES.glob("*.tar.xz")):
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
    done = subprocess.run(
        [sys.executable, str(FILES / "ask.py"), *arguments],
        cwd=folder,
        # The package of these tests, wherever the folder of the command is.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "answers.json").read_text())


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("old")
    return folder, asked(folder)


def close(found: Any, said: Any) -> None:
    """Texts, whole numbers and the shape equal, other numbers within CLOSE."""
    if isinstance(said, dict):
        assert found.keys() == said.keys()
        for name in said:
            close(found[name], said[name])
    elif isinstance(said, list):
        assert len(found) == len(said)
        for one, other in zip(found, said, strict=True):
            close(one, other)
    elif isinstance(said, float):
        assert found == pytest.approx(said, abs=CLOSE)
    else:
        assert found == said


def test_every_name_of_an_old_config_is_read(today: tuple[Path, dict[str, Any]]) -> None:
    assert today[1]["complexity"] == SAID["complexity"]


@pytest.mark.parametrize("run", ["abe", "multigrain", "metabin"])
def test_an_old_run_is_measured_as_it_was(
    run: str, today: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    # As the run's folder had it, under names that were others then.
    folder = RunFolder(tmp_path)
    folder.evaluation.write_text(json.dumps(SAID[run]))
    before = folder.evaluations()
    close(today[1][run], before)


@pytest.mark.parametrize("name", ["plain.index", "binary.index"])
def test_an_old_index_is_whole_and_answers_as_it_did(
    name: str, today: tuple[Path, dict[str, Any]]
) -> None:
    close(today[1]["index"][name], SAID["index"][name])


def test_an_old_run_embeds_as_it_did_under_the_same_fingerprint(
    today: tuple[Path, dict[str, Any]],
) -> None:
    folder, found = today
    vectors = np.load(folder / "vectors.npy")
    np.testing.assert_allclose(vectors, np.load(FILES / "vectors.npy"), rtol=0, atol=CLOSE)
    indexed = found["index"]["plain.index"]["info"]["fingerprint"]
    assert found["fingerprint"] == indexed == SAID["fingerprint"]


@pytest.mark.slow
def test_an_old_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    def rows(text: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(text)))

    found, said = rows(asked(tmp_path, "--resume")["metrics"]), rows(SAID["metrics"])
    assert [row["step"] for row in found] == [row["step"] for row in said]
    for now, before in zip(found, said, strict=True):
        assert now.keys() == before.keys()
        for name, value in before.items():
            own = name.startswith("val_")  # of places in an order: not proportional to rounding
            if not own:
                assert float(now[name]) == pytest.approx(float(value), rel=TRAINED), name
            assert bool(now[name]) == bool(value)
