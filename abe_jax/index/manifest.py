"""index.json: the one file that says which files are the index, replaced entirely or not at all."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from abe_jax import files
from abe_jax.bounds import Amount, Count
from abe_jax.errors import ArgumentError, UserError, require
from abe_jax.index import fields
from abe_jax.index.fields import Pattern
from abe_jax.index.own_file import opened, require_own_folder

NAME, FORMAT = "index.json", 1
LONGEST = 2**26  # bytes of index.json: some hundred thousand segments
LEFTOVERS = (".index.json.*.partial", ".index.json.new")  # of a writer that was killed
FOLDER = "segments"
STORAGES = {"float32": "<f4", "float16": "<f2", "binary": "|u1"}  # with the type in the files
REMOVED = "removed.npy"
ENDINGS = ("vectors.npy", "ids.npy", "rows.jsonl")
BUILD = "`python -m abe_jax.index build` makes one"

# What index.json is checked by when it is read: the types below.
FileName = Annotated[
    str, Pattern(r"[0-9A-Za-z][0-9A-Za-z._-]{0,250}", "the name of a file in segments/, no path")
]
Sha256 = Annotated[str, Pattern(r"[0-9a-f]{64}", "64 hexadecimal digits")]
Positive = Annotated[int, 1, 2**63 - 1]
Id = Annotated[int, 0, 2**63 - 1]


@dataclasses.dataclass(frozen=True)
class VectorSpec:
    """The vectors of an index: the network that makes them, their shape, and how they are stored.

    `fingerprint` identifies the network; a vector is `learners` vectors of `dim` numbers each, one
    after the other, whose squared lengths sum to `learners`, and zeros behind what is smaller than
    the largest; `storage` is float32, float16 or binary (the bits x > 0, packed as by
    `abe_jax.evaluation.pack`).
    """

    fingerprint: str
    learners: Count
    dim: Count
    storage: Annotated[str, tuple(STORAGES)] = "float32"

    @property
    def width(self) -> int:
        """The columns of a file of vectors: numbers, or bytes of a binary code."""
        numbers = self.learners * self.dim
        return -(-numbers // 8) if self.storage == "binary" else numbers


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The largest distance that counts as a match, what was asked for, and the rates measured."""

    distance: Amount
    wish: str
    measured: Mapping[str, float | int | str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """A file of the index: its name in segments/, its length and its SHA-256."""

    name: FileName
    bytes: Positive
    sha256: Sha256


@dataclasses.dataclass(frozen=True)
class SegmentFiles:
    """The three files of a segment, with one row for each of `count` images, ids rising."""

    count: Count
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
    generation: Positive = 1
    next_id: Id = 0
    segments: tuple[SegmentFiles, ...] = ()
    removed: StoredFile | None = None
    threshold: Threshold | None = None

    def files(self) -> tuple[StoredFile, ...]:
        """Every file of this state."""
        three = tuple(file for segment in self.segments for file in segment.all())
        return three if self.removed is None else (*three, self.removed)


_SIGNED = {"format": int, "sha256": Sha256}


def check(spec: VectorSpec) -> None:
    """Raises ArgumentError for an unknown storage, UserError where a vector has no numbers."""
    require("storage", spec.storage, STORAGES)
    if spec.learners < 1 or spec.dim < 1:
        raise UserError(f"an index of {spec.learners} learners of {spec.dim} dimensions is empty")


def load(folder: Path) -> Manifest:
    """The state that index.json names, each field of the type and in the range it should be.

    Raises UserError where there is none or it is damaged.
    """
    path = folder / NAME
    try:
        with opened(folder, NAME) as file:
            text = file.read(LONGEST + 1)
    except FileNotFoundError as error:
        raise UserError(f"{folder} is no index (no {NAME} in it): {BUILD}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    require_own_folder(folder, FOLDER)
    content = _parsed(path, text)
    if "format" in content and content["format"] != FORMAT:
        told = repr(content["format"])[:20]
        raise UserError(f"{path} has format {told}, this version reads {FORMAT}: update it")
    own = {name: content[name] for name in content if name not in ("format", "sha256")}
    try:
        checksum = fields.checked(_SIGNED, {n: content[n] for n in content if n not in own})
        if checksum["sha256"] != _digest(own):
            raise UserError(f"{path} is damaged: its own checksum does not fit")
        return _from_json(own)
    except ArgumentError as error:
        raise UserError(f"{path} is damaged: {error.argument} {error.text}") from None


def write(folder: Path, manifest: Manifest) -> None:
    """Makes `manifest` the state of the index: by the rename, once every byte of it is on disk.

    The files that it names must be on disk already (`files.sync`). Raises UserError, and changes
    nothing, where it could not be read again, as a threshold of no number.
    """
    content = _to_json(manifest)
    try:
        _from_json(json.loads(json.dumps(content)))
    except ArgumentError as error:
        why = f"{error.argument} {error.text}"
        raise UserError(f"{folder} cannot hold this ({why}): the index is as it was") from None
    signed = {"format": FORMAT, **content, "sha256": _digest(content)}
    files.write(folder / NAME, json.dumps(signed, indent=1) + "\n")


def _parsed(path: Path, text: bytes) -> dict[str, Any]:
    """The JSON object. Raises UserError where it is none, too long or names a thing twice."""
    try:
        if len(text) > LONGEST:
            raise ValueError(f"longer than {LONGEST:,} bytes")
        content = json.loads(text, object_pairs_hook=_once)
        json.dumps(content)  # whatever is nested too deeply to be written, too
    except RecursionError:
        raise UserError(f"{path} is damaged: it is nested too deeply") from None
    except ValueError as error:
        why = str(error).splitlines()[0][:100]
        raise UserError(f"{path} is damaged: not what was written ({why})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it must be an object")
    return content


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names all differ."""
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return named


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
    """Raises ArgumentError for a field that is missing, of another type or out of its range."""
    of_spec, of_state = fields.hints(VectorSpec), dict(fields.hints(Manifest))
    del of_state["spec"]  # whose fields stand beside the others
    values = fields.checked({**of_spec, **of_state}, content)
    spec = VectorSpec(**{name: values.pop(name) for name in of_spec})
    state = Manifest(spec=spec, **values)
    rows = sum(segment.count for segment in state.segments)
    if state.next_id < rows:
        raise ArgumentError("next_id", f"must be {rows} at least, the number of rows")
    return state
