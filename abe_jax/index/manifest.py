"""index.json: the one file that says which files are the index, replaced entirely or not at all."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from abe_jax import files
from abe_jax.errors import UserError, require

NAME, FORMAT = "index.json", 1
LEFTOVERS = (".index.json.*.partial", ".index.json.new")  # of a writer that was killed
FOLDER = "segments"
STORAGES = {"float32": "<f4", "float16": "<f2", "binary": "|u1"}  # with the type in the files
REMOVED = "removed.npy"
ENDINGS = ("vectors.npy", "ids.npy", "rows.jsonl")
_PARTS = ("vectors", "ids", "rows")
BUILD = "`python -m abe_jax.index build` makes one"


@dataclasses.dataclass(frozen=True)
class VectorSpec:
    """The vectors of an index: the network that makes them, their shape, and how they are stored.

    `fingerprint` identifies the network; a vector is `learners` unit vectors of `dim` numbers each,
    one after the other; `storage` is float32, float16 or binary (the bits x > 0, packed as by
    `abe_jax.evaluation.pack`).
    """

    fingerprint: str
    learners: int
    dim: int
    storage: str = "float32"

    @property
    def width(self) -> int:
        """The columns of a file of vectors: numbers, or bytes of a binary code."""
        numbers = self.learners * self.dim
        return -(-numbers // 8) if self.storage == "binary" else numbers


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The largest distance that counts as a match, what was asked for, and the rates measured."""

    distance: float
    wish: str
    measured: Mapping[str, float | int | str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """A file of the index: its name in segments/, its length and its SHA-256."""

    name: str
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class SegmentFiles:
    """The three files of a segment, with one row for each of `count` images, ids rising."""

    count: int
    vectors: StoredFile
    ids: StoredFile
    rows: StoredFile

    def all(self) -> tuple[StoredFile, ...]:
        """The three files: of vectors, of ids and of rows."""
        return self.vectors, self.ids, self.rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """One state of an index; `removed` is the file of removed ids that segments still hold."""

    spec: VectorSpec
    generation: int = 1
    next_id: int = 0
    segments: tuple[SegmentFiles, ...] = ()
    removed: StoredFile | None = None
    threshold: Threshold | None = None

    def files(self) -> tuple[StoredFile, ...]:
        """Every file of this state."""
        three = tuple(file for segment in self.segments for file in segment.all())
        return three if self.removed is None else (*three, self.removed)


def check(spec: VectorSpec) -> None:
    """Raises ArgumentError for an unknown storage, UserError where a vector has no numbers."""
    require("storage", spec.storage, STORAGES)
    if spec.learners < 1 or spec.dim < 1:
        raise UserError(f"an index of {spec.learners} learners of {spec.dim} dimensions is empty")


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
        checksum, format_ = content.pop("sha256"), content.pop("format")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path} is damaged: not what was written ({error})") from error
    if format_ != FORMAT:
        raise UserError(f"{path} has format {format_!r}, this version reads {FORMAT}: update it")
    if checksum != _digest(content):
        raise UserError(f"{path} is damaged: its own checksum does not fit")
    return _from_json(content)


def write(folder: Path, manifest: Manifest) -> None:
    """Makes `manifest` the state of the index: by the rename, once every byte of it is on disk.

    The files that it names must be on disk already (`files.sync`).
    """
    content = _to_json(manifest)
    signed = {"format": FORMAT, **content, "sha256": _digest(content)}
    files.write(folder / NAME, json.dumps(signed, indent=1) + "\n")


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _to_json(manifest: Manifest) -> dict[str, Any]:
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


def _from_json(content: Mapping[str, Any]) -> Manifest:
    removed, threshold = content["removed"], content["threshold"]
    return Manifest(
        spec=VectorSpec(*(content[f.name] for f in dataclasses.fields(VectorSpec))),
        generation=content["generation"],
        next_id=content["next_id"],
        segments=tuple(map(_segment_from_json, content["segments"])),
        removed=removed and StoredFile(**removed),
        threshold=threshold and Threshold(**threshold),
    )


def _segment_from_json(content: Mapping[str, Any]) -> SegmentFiles:
    three: Sequence[StoredFile] = [StoredFile(**content[part]) for part in _PARTS]
    return SegmentFiles(content["count"], *three)
