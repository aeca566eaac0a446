"""index.json: the one file that says which files are the index, replaced whole or not at all."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from abe_jax.errors import UserError, nearest

NAME, NEW, FORMAT = "index.json", ".index.json.new", 1
FOLDER = "segments"
STORAGES = {"float32": "<f4", "float16": "<f2", "binary": "|u1"}  # and what a file holds of each
REMOVED = "removed.npy"
ENDINGS = ("vectors.npy", "ids.npy", "rows.jsonl")
BUILD = "`python -m abe_jax.index build` makes one"


@dataclasses.dataclass(frozen=True)
class Spec:
    """What the vectors of an index are: whose, how many numbers, and how these are stored.

    `fingerprint` names the model; a vector is `learners` unit vectors of `dim` numbers each, one
    after the other; `storage` is float32, float16 or binary (the bits x > 0, as `codes.pack`).
    """

    fingerprint: str
    learners: int
    dim: int
    storage: str = "float32"

    @property
    def width(self) -> int:
        """The columns of a file of vectors: numbers, or bytes of code."""
        numbers = self.learners * self.dim
        return -(-numbers // 8) if self.storage == "binary" else numbers


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The largest distance that counts as a match, what was wished for, and what was measured."""

    distance: float
    wish: str
    measured: Mapping[str, float | int | str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class File:
    """A file of the index: its name in segments/, its length and its SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Segment:
    """Three files with one row for each of `count` images, ids rising."""

    count: int
    vectors: File
    ids: File
    rows: File

    def files(self) -> tuple[File, ...]:
        """The three files."""
        return self.vectors, self.ids, self.rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """One whole state of an index; `removed` names the rows of segments that count no more."""

    spec: Spec
    generation: int = 1
    next_id: int = 0
    segments: tuple[Segment, ...] = ()
    removed: File | None = None
    threshold: Threshold | None = None

    def files(self) -> tuple[File, ...]:
        """Every file of this state."""
        own = tuple(file for segment in self.segments for file in segment.files())
        return own if self.removed is None else (*own, self.removed)


def checked(spec: Spec) -> Spec:
    """The spec. Raises UserError where it describes no vectors."""
    if spec.storage not in STORAGES:
        raise UserError(f"storage {spec.storage!r}: {nearest(spec.storage, STORAGES)}")
    if spec.learners < 1 or spec.dim < 1:
        raise UserError(f"an index of {spec.learners} learners of {spec.dim} dimensions is empty")
    return spec


def load(folder: Path) -> Manifest:
    """The state that index.json names. Raises UserError where there is none or it is damaged."""
    path = folder / NAME
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder} is no index (no {NAME} in it): {BUILD}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        content = json.loads(text)
        written, format_ = content.pop("sha256"), content.pop("format")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path} is damaged: not what was written ({error})") from error
    if format_ != FORMAT:
        raise UserError(f"{path} has format {format_!r}, this version reads {FORMAT}: update it")
    if written != _digest(content):
        raise UserError(f"{path} is damaged: its own checksum does not fit")
    return _from(content)


def write(folder: Path, manifest: Manifest) -> None:
    """Makes `manifest` the state of the index: by the rename, once every byte of it is on disk.

    The files that it names must be on disk already (`synced`).
    """
    content = _mapping(manifest)
    whole = {"format": FORMAT, **content, "sha256": _digest(content)}
    with (folder / NEW).open("wb") as file:
        file.write(json.dumps(whole, indent=1).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(folder / NEW, folder / NAME)
    synced(folder)


def synced(path: Path) -> None:
    """Waits until a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _mapping(manifest: Manifest) -> dict[str, Any]:
    spec, threshold, removed = manifest.spec, manifest.threshold, manifest.removed
    return {
        "generation": manifest.generation,
        **dataclasses.asdict(spec),
        "next_id": manifest.next_id,
        "segments": [dataclasses.asdict(segment) for segment in manifest.segments],
        "removed": removed and dataclasses.asdict(removed),
        "threshold": threshold
        and {**dataclasses.asdict(threshold), "measured": dict(threshold.measured)},
    }


def _from(content: Mapping[str, Any]) -> Manifest:
    removed, threshold = content["removed"], content["threshold"]
    return Manifest(
        spec=Spec(*(content[f.name] for f in dataclasses.fields(Spec))),
        generation=content["generation"],
        next_id=content["next_id"],
        segments=tuple(map(_segment, content["segments"])),
        removed=removed and File(**removed),
        threshold=threshold and Threshold(**threshold),
    )


def _segment(content: Mapping[str, Any]) -> Segment:
    files: Sequence[File] = [File(**content[part]) for part in ("vectors", "ids", "rows")]
    return Segment(content["count"], *files)
