"""Asks this package's commands about the old files in the current folder, where they are unpacked.

    cd FOLDER && python .../tests/old_files/ask.py

What they answer goes to answers.json there, and vectors.npy are those that the old run's network
has for the images now. All commands run in one process, which saves their start; each is called as
`python -m abe_jax.COMMAND ARGUMENTS` would.
"""

import contextlib
import io
import json
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

SPLITS = {"abe": ("val", "test"), "multigrain": ("held",), "metabin": ("test",)}
QUERIES = ("images/query.png", "images/c/3.png", "images/g/7.png")


def command(module: str, *arguments: str) -> str:
    """What a command prints."""
    said, before = io.StringIO(), sys.argv
    sys.argv = [module, *arguments]
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_module(f"abe_jax.{module}", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        sys.argv = before
    return said.getvalue()


def answers() -> dict[str, Any]:
    """Of every old file what its commands say; leaves the files as they were."""
    found: dict[str, Any] = {"complexity": command("complexity", "--config", "every_name.py")}
    for run, splits in SPLITS.items():
        shutil.copytree(run, f"{run}.copy")
        for split in splits:
            command("evaluate", "--workdir", f"{run}.copy", "--split", split)
        evaluation = json.loads(Path(f"{run}.copy", "evaluation.json").read_text())
        found[run] = {split: plain(evaluation[split]) for split in splits}
    found["index"] = {
        name: {
            "info": json.loads(command("index", "info", "--index", name, "--json", "--verify")),
            "search": json.loads(
                command("search", "--index", name, *QUERIES, "--k", "6", "--all", "--json")
            ),
        }
        for name in ("plain.index", "binary.index")
    }
    return found


def plain(found: Any) -> Any:
    """Without histograms, in which a rounding moves a count from one bin to the next."""
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items() if name != "histogram"}
    return found


def resumed() -> str:
    """metrics.csv of the run whose last checkpoint is at step 4 of 6, brought to its end."""
    command("train", "--config", "abe.py", "--workdir", "abe.copy")
    return Path("abe.copy", "metrics.csv").read_text()


def embedded() -> np.ndarray:
    """The vectors of an index built now of the old run."""
    command("index", "build", "--workdir", "abe", "--images", "images/images.csv", "--out", "new")
    manifest = json.loads(Path("new", "index.json").read_text())
    Path("fingerprint.txt").write_text(manifest["fingerprint"])
    (file,) = Path("new", "segments").glob("*.vectors.npy")
    return np.load(file)


if __name__ == "__main__":
    found = answers()
    np.save("vectors.npy", embedded())
    found["fingerprint"] = Path("fingerprint.txt").read_text()
    if "--resume" in sys.argv:
        found["metrics"] = resumed()
    Path("answers.json").write_text(json.dumps(found, indent=1) + "\n")
