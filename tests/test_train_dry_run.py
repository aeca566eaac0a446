"""`train --dry-run`: what it says is what then happens, and leaves no trace in the run's folder."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from processes import ROOT, TINY, command, environment, port, run

from abe_jax.training.run_folder import RunFolder

pytestmark = pytest.mark.slow


def said(workdir: Path, data: Path, *overrides: object, devices: int = 1) -> str:
    arguments = ("train", "--config", TINY, "--workdir", workdir, "--dry-run", *overrides)
    done = run(*arguments, data=data, devices=devices)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(workdir: Path, data: Path, *overrides: object) -> str:
    arguments = ("train", "--config", TINY, "--workdir", workdir, "--dry-run", *overrides)
    done = run(*arguments, data=data)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    return done.stderr


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found, text
    return float(found[1].replace(",", ""))


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All that lies in a folder, with the times of change."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (folder, *folder.rglob("*"))
    }


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


WIDE = ("--config.model.width=32", "--config.train.steps=200", "--config.train.evaluate_every=100")


def test_what_it_says_is_what_the_training_then_does(tmp_path: Path, tiny_data: Path) -> None:
    workdir = tmp_path / "new" / "run"
    before = said(workdir, tiny_data, *WIDE)
    assert not (tmp_path / "new").exists()
    assert "begins anew" in before and "attention, 2 x 8 dimensions, convnet" in before
    assert "loss          contrastive + divergence, by adam" in before
    done = run("train", "--config", TINY, "--workdir", workdir, *WIDE, data=tiny_data)
    assert done.returncode == 0, done.stderr
    evaluation = json.loads((workdir / "evaluation.json").read_text())["test"]
    assert f"{evaluation['images']:,} of {evaluation['classes']:,} classes for the test" in before
    status = json.loads((workdir / "status.json").read_text())
    step = number(r"steps .*?, ([\d.e-]+) s each", before)
    assert status["seconds_per_step"] / 4 < step < 4 * status["seconds_per_step"]
    checkpoint = number(r"disk +([\d.]+) MiB", before) * 2**20
    taken = size(RunFolder(workdir).latest / "200")
    assert 0.75 * checkpoint < taken < checkpoint + 60_000  # Orbax's own descriptions beside it
    # Adam keeps two numbers for each parameter, and XLA counts what a step is given.
    parameters = number(r"([\d,]+) parameters", before)
    assert number(r"parameters ([\d.]+) MiB", before) == pytest.approx(parameters / 2**18, abs=0.05)
    assert number(r"optimiser ([\d.]+) MiB", before) == pytest.approx(parameters / 2**17, abs=0.05)
    kept = everything(workdir)
    after = said(workdir, tiny_data, *WIDE)
    assert "goes on from step 200" in after and "all steps are taken; nothing is left" in after
    assert everything(workdir) == kept


def test_memory_follows_the_batch_and_is_divided_over_devices(
    tmp_path: Path, tiny_data: Path
) -> None:
    one = said(tmp_path / "run", tiny_data, *WIDE)
    two = said(tmp_path / "run", tiny_data, *WIDE, devices=2)
    double = said(tmp_path / "run", tiny_data, *WIDE, "--config.train.batch=64")
    sizes = [number(r"holds ([\d.]+) MiB", text) for text in (two, one, double)]
    assert 1.6 < sizes[1] / sizes[0] < 2.2 and 1.6 < sizes[2] / sizes[1] < 2.2
    assert "2 x cpu" in two and "16 images of a batch on each" in two


def test_what_refuses_the_training_refuses_its_rehearsal(tmp_path: Path, tiny_data: Path) -> None:
    assert "did you mean 'sgd'" in refused(tmp_path, tiny_data, "--config.optimizer.name=sdg")
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(tmp_path / "file", tiny_data)
    steps = ("--config.train.steps=4000", "--config.train.evaluate_every=0")
    process = subprocess.Popen(
        command("train", "--config", TINY, "--workdir", tmp_path / "run", *steps),
        cwd=ROOT,
        env=environment(tiny_data),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "step    6/" in line:
                break
        assert "another training runs here" in refused(tmp_path / "run", tiny_data, *steps)
    finally:
        process.kill()
        process.communicate()
    kept = everything(tmp_path / "run")
    assert "holds a run of another config" in refused(tmp_path / "run", tiny_data)
    assert "goes on from step" in said(tmp_path / "run", tiny_data, *steps)
    assert everything(tmp_path / "run") == kept


def test_two_hosts_rehearse_together(tmp_path: Path, tiny_data: Path) -> None:
    hosts = ["--coordinator", f"127.0.0.1:{port()}", "--processes", 2, "--process"]
    arguments = ("--config", TINY, "--workdir", tmp_path / "run", "--dry-run")
    processes = [
        subprocess.Popen(
            command("train", *arguments, *hosts, i),
            cwd=ROOT,
            env=environment(tiny_data),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    ended = [(*process.communicate(timeout=200), process.returncode) for process in processes]
    assert [status for *_, status in ended] == [0, 0], ended
    assert "2 x cpu of 2 hosts" in ended[0][0] and "s each (measured" in ended[0][0]
    assert "measured" not in ended[1][0]
    assert not (tmp_path / "run").exists()
