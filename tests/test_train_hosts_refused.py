"""Two hosts of one training that differ are refused at the start, with a line each, and by whom."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import ROOT, TINY, command, environment, port

pytestmark = pytest.mark.slow

DIFFERENT = "error: the hosts were started differently: "
FOLDER = (
    *("--config.data.name=folder", "--config.data.resize=16", "--config.data.size=16"),
    "--config.train.batch=12",
)


def ended(
    workdir: Path,
    arguments: Sequence[Sequence[object]],
    roots: Sequence[Path] = (ROOT, ROOT),
    does: Sequence[object] = ("train", "--config", TINY),
    data: Path | None = None,
) -> list[list[str]]:
    """What two hosts say on their error streams, which both end with 2.

    Args:
        workdir: the run's folder.
        arguments: those of each host.
        roots: where each has its abe_jax.
        does: the command, as each is told it.
        data: the folder of prepared images; None: that of the run's, in which there are none.
    """
    job = ("--coordinator", f"127.0.0.1:{port()}", "--processes", 2, "--process")
    verb, *given = (*does, "--workdir", workdir)
    hosts = [
        subprocess.Popen(
            command(str(verb), *given, *own, *job, number),
            cwd=root,
            env={**environment(data or workdir.parent), "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, (own, root) in enumerate(zip(arguments, roots, strict=True))
    ]
    try:
        said = [host.communicate(timeout=200)[1].splitlines() for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    assert [host.returncode for host in hosts] == [2, 2], said
    assert not list(workdir.glob("checkpoints/*/*"))
    return said


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight classes of six photographs."""
    drawn = np.random.default_rng(0)
    for name in "abcdefgh":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(6):
            pixels = drawn.integers(0, 256, (20, 20), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


def test_of_another_config(tmp_path: Path) -> None:
    first, second = ended(tmp_path / "run", [["--config.seed=3"], ["--config.seed=4"]])
    assert first == second == [f"{DIFFERENT}config.seed: 3 on host 0, 4 on host 1"]


def test_of_other_code(tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(
        ROOT / "abe_jax", other / "abe_jax", ignore=shutil.ignore_patterns("__pycache__")
    )
    with (other / "abe_jax" / "losses" / "contrastive.py").open("a") as file:
        file.write("# a line more\n")
    first, second = ended(tmp_path / "run", [[], []], [ROOT, other])
    assert first == second
    (line,) = first
    digest = "[0-9a-f]{12}"
    said = f"code of abe_jax: {digest} on host 0, {digest} on host 1"
    assert re.fullmatch(re.escape(DIFFERENT) + said, line)


def test_of_other_images(photos: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    shutil.copytree(photos, more)
    shutil.copy(photos / "a" / "0.png", more / "a" / "9.png")
    paths = [[*FOLDER, f"--config.data.path={path}"] for path in (photos, more)]
    first, second = ended(tmp_path / "run", paths)
    assert first == second
    (line,) = first
    images = r"(\d+) of \d classes \(listing \w{8}\) on host"
    said = re.fullmatch(rf"{re.escape(DIFFERENT)}the \w+ images: {images} 0, {images} 1", line)
    assert said and int(said[2]) == int(said[1]) + 1, line


def test_of_which_one_has_no_images(photos: Path, tmp_path: Path) -> None:
    paths = [[*FOLDER, f"--config.data.path={path}"] for path in (photos, tmp_path / "away")]
    first, second = ended(tmp_path / "run", paths)
    assert first == ["error: host 1 stopped; what it printed says why"]
    (line,) = second
    assert line.startswith("error: ") and str(tmp_path / "away") in line


def test_of_another_work_folder(tmp_path: Path, tiny_data: Path) -> None:
    own = [[], ["--workdir", tmp_path / "own"]]
    first, second = ended(tmp_path / "run", own, data=tiny_data)
    assert first == second
    (line,) = first
    said = r"config\.json in the work folder: [0-9a-f]{8} on host 0, none on host 1"
    assert re.fullmatch(re.escape(DIFFERENT) + said, line)


def test_of_another_evaluation(tmp_path: Path) -> None:
    asked = [["--size", "32"], ["--size", "16"]]
    first, second = ended(tmp_path / "run", asked, does=("evaluate",))
    assert first == second == [f"{DIFFERENT}--size: 32 on host 0, 16 on host 1"]


def test_of_another_file_under_one_name(tmp_path: Path) -> None:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        copied = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "abe_jax", root / "abe_jax", ignore=copied)
        (root / "points.csv").write_text(f"path,points\n{root.name}.jpg,1 1\n")
    given = ["--config.data.points_path=points.csv"]  # of the folder in which each was started
    first, second = ended(tmp_path / "run", [given, given], roots)
    assert first == second
    (line,) = first
    said = "what config.data.points_path holds: [0-9a-f]{8} on host 0, [0-9a-f]{8} on host 1"
    assert re.fullmatch(re.escape(DIFFERENT) + said, line)
