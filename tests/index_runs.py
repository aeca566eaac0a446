"""Runs that nobody trained, and folders of pictures, for tests of the index."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import jax
import numpy as np
from processes import TINY

from abe_jax import config
from abe_jax.config import Config, build, write_json
from abe_jax.data import Split
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder


def tiny(data: Path, *overrides: str) -> Config:
    return config.load(TINY, (f"data.root={data}", "data.classes=30", *overrides))


def split_of(chosen: Config, name: str) -> Split:
    """A split of a config's data set."""
    return build.dataset(chosen.data).split(name)


def as_run(path: Path, chosen: Config, seed: int = 0) -> Path:
    """The folder of a run whose best checkpoint is the state of a seed."""
    folder = RunFolder(path)
    path.mkdir(parents=True)
    write_json(chosen, folder.config)
    initial = build.recipe(dataclasses.replace(chosen, seed=seed)).create()
    best = Checkpoints(folder.best, 1)
    best.save(jax.tree.map(np.asarray, initial), {"value": 0.5})
    best.close()
    return path


def written(folder: Path, split: Split, rows: Sequence[int]) -> list[Path]:
    """Images of a split as files, in a folder for each class."""
    paths = []
    for row in rows:
        path = folder / split.class_names[split.labels[row]].replace("/", "slash") / f"{row:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(split.records[row])
        paths.append(path)
    return paths


def noise(seed: int, height: int = 32, width: int = 32) -> bytes:
    """A picture that looks like none of another seed."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 256, (5, 5, 3), np.uint8), (width, height))
    return cv2.imencode(".png", coarse)[1].tobytes()
