"""A run that was stopped goes on with other numbers of hosts and devices, to the same end.

To the same end but for rounding, whose bound is stated in docs/CLUSTER.md. On the same number it is
to the bit: test_train_resume.py, test_train_host_dies.py.
"""

import csv
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from processes import ROOT, TINY, command, environment, port

from abe_jax import config
from abe_jax.config import build
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder

pytestmark = pytest.mark.slow

STEPS = 24
JOBS = ((2, 1), (1, 4), (3, 1))  # hosts, and devices of each
# Both levels of MetaBIN, whose rows lie on few devices; classes and crops drawn at random; moments.
# A batch of 48 divides over 1, 2, 3 and 4 devices, that of an evaluation, 64, not over 3.
OWN = (
    "model.kind=single",
    "model.learners=1",
    "model.norm=bin",
    "model.width=4",
    "data.resize=16",
    "data.size=16",
    "data.sampler=domains",
    "data.domains_per_batch=4",
    "meta.domains=2",
    "meta.inner_rate=0.3",
    "meta.outer_rate=0.1",
    f"objective={[{'name': 'norm_softmax', 'subsample': 16}, {'name': 'triplet', 'soft': True}]}",
    "optimizer.name=sgd",
    "optimizer.rate=0.01",
    "optimizer.momentum=0.9",
    f"train.steps={STEPS}",
    "train.batch=48",
    "train.log_every=1",
    "train.evaluate_every=0",  # at the end: of two checkpoints that do alike rounding would choose
    "train.checkpoint_every=1",
)
# Beside the greatest value of an array of parameters or of a column of metrics.csv; and of what is
# found of images, in a near tie of whose distances rounding decides.
ROUNDING, FOUND = 1e-3, 0.03
Job = list["subprocess.Popen[str]"]


def start(workdir: Path, data: Path, hosts: int, devices: int) -> Job:
    """The hosts of a job, each with so many devices."""
    own = dict(environment(data, devices=devices, quick=True))
    own["JAX_COMPILATION_CACHE_DIR"] = os.environ["ABE_JAX_TESTS_COMPILED"]
    overrides = [f"--config.{override}" for override in OWN]
    given = command("train", "--config", TINY, "--workdir", workdir, *overrides)
    job = ["--coordinator", f"127.0.0.1:{port()}", "--processes", str(hosts), "--process"]
    return [
        subprocess.Popen(
            given + ([*job, str(host)] if hosts > 1 else []),
            cwd=ROOT,
            env=own,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host in range(hosts)
    ]


def finish(job: Job) -> list[tuple[int, str, str]]:
    """Status, output and errors of each host."""
    try:
        said = [host.communicate(timeout=1200) for host in job]
    finally:
        for host in job:
            host.kill()
    return [(host.returncode, *own) for host, own in zip(job, said, strict=True)]


def complete(workdir: Path, data: Path, hosts: int, devices: int) -> str:
    """Trains to the end; what the first host says."""
    ended = finish(start(workdir, data, hosts, devices))
    assert [status for status, *_ in ended] == [0] * hosts, ended
    return ended[0][1]


def killed(workdir: Path, data: Path, hosts: int, devices: int) -> None:
    """Kills a job as soon as it has saved more than there was."""
    before, job = steps_saved(workdir), start(workdir, data, hosts, devices)
    try:
        while steps_saved(workdir)[-1:] == before[-1:]:
            assert job[0].poll() is None, job[0].communicate()
            time.sleep(0.005)
    finally:
        for host in job:
            host.kill()
            host.communicate()


@pytest.fixture(scope="module")
def passed_on(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """A run that each of several jobs went on with for some steps, until it was killed."""
    workdir = tmp_path_factory.mktemp("passed") / "run"
    for hosts, devices in JOBS:
        killed(workdir, tiny_data, hosts, devices)
    return workdir


def steps_saved(workdir: Path) -> list[int]:
    return Checkpoints.steps_in(RunFolder(workdir).latest)


def figures(workdir: Path) -> dict[str, np.ndarray]:
    """All numbers that a run ends with, by name."""
    folder = RunFolder(workdir)
    with folder.metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {
        f"metrics.csv: {name}": np.array([float(row[name]) for row in rows if row[name]])
        for name in rows[0]
    }
    measured = json.loads(folder.evaluation.read_text())["test"]
    for path, value in jax.tree_util.tree_leaves_with_path(measured):
        if not isinstance(value, str):
            found[f"evaluation.json: {jax.tree_util.keystr(path)}"] = np.array(value)
    like = build.recipe(config.read_json(folder.config)).abstract()
    for part in (folder.latest, folder.best):
        kept = Checkpoints(part, 2)
        for path, leaf in jax.tree_util.tree_leaves_with_path(kept.restore(like)[0]):
            found[f"{part.name}: {jax.tree_util.keystr(path)}"] = leaf
        kept.close()
    return found


def assert_same_end(workdir: Path, other: Path) -> None:
    """Equal but for rounding."""
    one, two = figures(workdir), figures(other)
    assert one.keys() == two.keys()
    for name, value in two.items():
        found = name.startswith(("metrics.csv: val_", "evaluation.json: "))
        bound = FOUND if found else ROUNDING * max(1e-3, np.abs(value).max(initial=0.0))
        np.testing.assert_allclose(one[name], value, rtol=0, atol=bound, err_msg=name)


def test_a_run_goes_on_with_other_numbers_to_the_end_of_one_never_stopped(
    passed_on: Path, tmp_path: Path, tiny_data: Path
) -> None:
    complete(tmp_path / "whole", tiny_data, 1, 2)
    shutil.copytree(passed_on, tmp_path / "run")
    went_on = steps_saved(passed_on)[-1]
    assert went_on < STEPS - 2
    assert f"going on from step {went_on}" in complete(tmp_path / "run", tiny_data, 1, 1)
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_a_number_that_does_not_divide_the_batch_is_refused_and_nothing_is_lost(
    passed_on: Path, tmp_path: Path, tiny_data: Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(passed_on, workdir)
    before = contents(workdir)
    ((status, said, errors),) = finish(start(workdir, tiny_data, 1, 5))
    assert (status, said) == (2, "")
    assert errors == (
        "error: config.train.batch: 24 meta-train rows of 48 do not divide over 5 devices; "
        "this run goes on with 4 or 6 devices\n"
    )
    assert contents(workdir) == before


def contents(workdir: Path) -> dict[str, bytes]:
    """Every file of a run but what says how its last job ended."""
    files = (path for path in workdir.rglob("*") if path.is_file())
    own = {path.relative_to(workdir).as_posix(): path.read_bytes() for path in files}
    return {name: content for name, content in own.items() if name != "status.json"}
