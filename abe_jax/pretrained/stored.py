"""Our own file of weights: one .npz of arrays by their path, and JSON that says what they are."""

import dataclasses
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from abe_jax import files
from abe_jax.errors import UserError
from abe_jax.pretrained.archive import Archive
from abe_jax.pretrained.damage import one_line, told

FORMAT = 1
_ABOUT = "about"  # the name of the JSON among the arrays
_COLLECTIONS = ("params", "batch_stats")
_MOST_ABOUT = 2**16  # bytes of it
# An .npz is not compressed as we write it. Weights hardly can be: a file that unpacks to so many
# times its size, and a mebibyte, holds none.
_TIMES, _MORE = 16, 2**20

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
    notes: tuple[str, ...] = ()  # what was noticed when a foreign file was read, in a line each


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
    archive, about = _opened(path)
    arrays = {}
    with told(str(path), ".npz of weights"):
        for name in archive.names:
            if name != f"{_ABOUT}.npy":
                key = name.removesuffix(".npy")
                arrays[key] = _array(archive.read(name))
                if arrays[key].dtype.kind != "f" or "" in key.split("/"):
                    raise UserError(f"holds {key!r}, which is no array of weights")
                if key.split("/")[0] not in _COLLECTIONS or key.count("/") < 2:
                    raise UserError(f"holds an array {key!r}, which no stage has")
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
    return _opened(path)[1]


def _opened(path: Path) -> tuple[Archive, About]:
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: no file")
    with told(str(path), ".npz of weights"):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise UserError("no such file") from None
        archive = Archive(data, _TIMES * len(data) + _MORE)
    if f"{_ABOUT}.npy" not in archive.names:
        raise _foreign(path)
    with told(str(path), ".npz of weights"):
        about = archive.read(f"{_ABOUT}.npy")
        if len(about) > _MOST_ABOUT:
            raise UserError("its description is longer than weights need")
        text = str(_array(about))
    return archive, _about(text, path)


def _array(data: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)


def _about(text: str, path: Path) -> About:
    try:
        about = json.loads(text)
        kept = about.pop("format")
        if kept != FORMAT:
            kept = one_line(str(kept))
            raise UserError(f"{path}: weights of format {kept}; this version reads {FORMAT}")
        texts = {name: _text(about.pop(name)) for name in ("backbone", "norm", "source")}
        mean, std = (_numbers(about.pop(name)) for name in ("mean", "std"))
        if about or len(mean) != len(std) or len(mean) not in (1, 3) or min(std) <= 0:
            raise _foreign(path)
        return About(**texts, mean=mean, std=std)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _foreign(path) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name is text")
    return value


def _numbers(values: Any) -> tuple[float, ...]:
    if not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        raise TypeError("a mean or a deviation is a number")
    return tuple(map(float, values))


def _foreign(path: Path) -> UserError:
    return UserError(f"{path}: an .npz, but not one of python -m abe_jax.convert")
