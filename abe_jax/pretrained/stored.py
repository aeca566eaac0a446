"""Our own file of weights: one .npz of arrays by their path, and JSON that says what they are."""

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from abe_jax import files
from abe_jax.errors import UserError

FORMAT = 1
_ABOUT = "about"  # the name of the JSON among the arrays
_COLLECTIONS = ("params", "batch_stats")

StageTrees = dict[str, Any]  # stage -> tree of arrays


@dataclasses.dataclass(frozen=True, kw_only=True)
class About:
    """What weights are for, and what images they were trained on."""

    backbone: str  # a name in models.BACKBONES
    norm: str  # one of the backbone's normalisations
    mean: tuple[float, ...]  # per channel (red, green, blue), in units of 0..255
    std: tuple[float, ...]
    source: str  # where they come from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights(About):
    """The parameters and running statistics of every stage of a backbone."""

    params: StageTrees
    batch_stats: StageTrees


def write(weights: Weights, path: Path) -> None:
    """Writes weights, whole or not at all, under exactly the name `path`."""
    about = {f.name: getattr(weights, f.name) for f in dataclasses.fields(About)}
    trees = {name: getattr(weights, name) for name in _COLLECTIONS}
    arrays = {key: np.asarray(value) for key, value in flatten_dict(trees, sep="/").items()}
    arrays[_ABOUT] = np.array(json.dumps({"format": FORMAT, **about}))
    with files.writing(path) as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]: arrays by name


def read(path: Path) -> Weights:
    """The weights in a file that `write` made.

    Raises:
        UserError: no such file, a damaged one, or one of another kind.
    """
    arrays = _read(path, arrays=True)
    about = _about(arrays.pop(_ABOUT, np.array("")), path)
    for key in arrays:
        if key.split("/")[0] not in _COLLECTIONS or key.count("/") < 2:
            raise UserError(f"{path}: holds an array {key!r}, which no stage has")
    return weights(about, unflatten_dict(arrays, sep="/"))


def weights(about: About, trees: Mapping[str, StageTrees]) -> Weights:
    """The weights in trees `params` and `batch_stats`; a backbone may have no statistics."""
    return Weights(
        backbone=about.backbone,
        norm=about.norm,
        mean=about.mean,
        std=about.std,
        source=about.source,
        params=trees.get("params", {}),
        batch_stats=trees.get("batch_stats", {}),
    )


def describe(path: Path) -> About:
    """What `read` would say of the weights, without reading the arrays."""
    return _about(_read(path, arrays=False)[_ABOUT], path)


def _read(path: Path, arrays: bool) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in (stored.files if arrays else [_ABOUT])}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except KeyError:
        raise _foreign(path) from None
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: no .npz of weights, or a damaged one ({reason})") from None


def _about(stored: np.ndarray, path: Path) -> About:
    try:
        about = json.loads(str(stored))
        kept = about.pop("format")
        if kept != FORMAT:
            raise UserError(f"{path}: weights of format {kept}; this version reads {FORMAT}")
        return About(**{**about, "mean": tuple(about["mean"]), "std": tuple(about["std"])})
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _foreign(path) from None


def _foreign(path: Path) -> UserError:
    return UserError(f"{path}: an .npz, but not one of python -m abe_jax.convert")
