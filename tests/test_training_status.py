"""status.json in one process: what is written when, and which end stands."""

import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from abe_jax.errors import UserError
from abe_jax.training import ended
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.status import Status


def begun(folder: Path, said: list[str] | None = None) -> Status:
    return Status(RunFolder(folder), 10, 4, (said if said is not None else []).append)


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "status.json").read_text())


def test_an_end_stands_over_what_is_said_behind_it(tmp_path: Path) -> None:
    """Another thread than the training's says that a host is gone, while that one goes on."""
    with pytest.raises(UserError), begun(tmp_path) as status:
        status.enter("training")
        status.failed("host 1 is gone")
        assert (read(tmp_path)["state"], read(tmp_path)["line"]) == ("failed", "host 1 is gone")
        status.enter("saving")
        raise UserError("more is known")
    assert (read(tmp_path)["state"], read(tmp_path)["line"]) == ("failed", "more is known")
    with begun(tmp_path) as status:
        status.measured(8.0)
    finished = read(tmp_path)
    assert (finished["state"], finished["seconds_per_step"]) == ("finished", 0.5)
    status.failed("too late")
    assert read(tmp_path) == finished


def test_steps_count_when_their_results_are_there(tmp_path: Path) -> None:
    with begun(tmp_path) as status:
        status.goes_on(4)
        for step in (5, 6, 7):
            status.handed(step, jax.block_until_ready(jnp.zeros(())))
    assert read(tmp_path)["step"] == 7 and read(tmp_path)["stepped"]
    with begun(tmp_path) as status:
        status.goes_on(4)
    assert read(tmp_path)["step"] == 4 and read(tmp_path)["stepped"] is None


def test_a_file_that_cannot_be_written_stops_no_training(tmp_path: Path) -> None:
    (tmp_path / "status.json").mkdir()
    said: list[str] = []
    with begun(tmp_path, said) as status:
        status.enter("training")
        status.failed("first")
        status.failed("second")
    assert len(said) == 1 and f"{tmp_path / 'status.json'}: cannot be written" in said[0]


def test_the_end_of_a_process_is_told_only_where_it_wrote_the_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    ended.fallen(folder, os.getpid(), "no file is there")
    assert not folder.status.exists()
    with begun(tmp_path):
        running = read(tmp_path)
        assert running["state"] == "starting"
        ended.fallen(folder, os.getpid() + 1, "of another process")
        assert read(tmp_path) == running
        ended.fallen(folder, os.getpid(), "it was killed" * 100)
        fallen = read(tmp_path)
        assert fallen["state"] == "failed" and fallen["line"].startswith("it was killed")
        assert len(fallen["line"]) == ended.LONGEST
        assert {**fallen, "state": "starting", "line": None} | {
            name: running[name] for name in ("since", "written")
        } == running
    assert read(tmp_path)["state"] == "finished"
    ended.fallen(folder, os.getpid(), "it had finished")
    assert read(tmp_path)["state"] == "finished"
