"""Files and folders that a config names beside its images, by what they hold: hosts compare it."""

import hashlib
from pathlib import Path

from abe_jax.config.schema import Config
from abe_jax.files import expanded
from abe_jax.training.run_folder import RunFolder


def contents(config: Config, *, begun: bool) -> dict[str, str]:
    """What is in each of them, in a few digits, by its name in the config.

    What is no file and no folder here has none: a name of weights, or what this host lacks.

    Args:
        config: the configuration.
        begun: its run has checkpoints, and no longer reads the weights that it started from.

    Raises:
        UserError: a path in the home folder of an unknown user.
        OSError: something that cannot be read.
    """
    data, measured = config.data, config.evaluate
    named = {
        "data.points_path": data.points_path,
        "data.rotations": data.rotations,
        "model.weights": "" if begun else config.model.weights,
        "evaluate.whiten_path": measured.whiten_path,
        "evaluate.near_weights": measured.near_weights if measured.near_duplicates else "",
    }
    there = {name: expanded(path) for name, path in named.items() if path}
    return {
        f"what config.{name} holds": _digest(path) for name, path in there.items() if path.exists()
    }


def _digest(path: Path) -> str:
    """Of a file by its bytes; of a folder, or a run's best checkpoint, by names and sizes."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:8]
    best = RunFolder(path).best
    root, hashed = best if best.is_dir() else path, hashlib.sha256()
    for inside in sorted(root.rglob("*")):
        if inside.is_file():
            name = f"{inside.relative_to(root).as_posix()}\0{inside.stat().st_size}\n"
            hashed.update(name.encode(errors="surrogateescape"))
    return hashed.hexdigest()[:8]
