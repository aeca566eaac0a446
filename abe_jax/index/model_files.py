"""The network of an index as files: what it was built of, and its arrays."""

import io
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import jax
import numpy as np
from flax.traverse_util import unflatten_dict

from abe_jax import files
from abe_jax.errors import UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index.own_file import opened

FOLDER = "model"  # in the folder of the index
CONFIG, WEIGHTS = "config.json", "weights.npz"
LONGEST = 2**24  # bytes of the config
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    EOFError,
    OSError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
)


def save(embedder: Embedder, folder: Path) -> None:
    """Writes an embedder's description and arrays into `folder`, which appears when all is on disk.

    Raises:
        UserError: there is something at `folder`.
    """
    if folder.exists():
        raise UserError(f"{folder}: exists already")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process
    partial.mkdir(parents=True)
    files.write(partial / CONFIG, json.dumps(embedder.description, indent=2) + "\n")
    state = embedder.state
    trees = {"params": state.params["model"], "batch_stats": state.batch_stats}
    arrays: dict[str, Any] = dict(_named_leaves(trees))
    with files.writing(partial / WEIGHTS) as file:
        np.savez(file, **arrays)
    partial.rename(folder)
    files.sync(folder.parent)


def read_description(folder: Path) -> dict[str, Any]:
    """The description of the embedder that `save` wrote.

    Raises:
        UserError: it is missing or damaged.
    """
    path = folder / CONFIG
    try:
        with opened(folder.parent, folder.name, CONFIG) as file:
            description = json.loads(file.read(LONGEST).decode("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: not found; is {folder.parent} the folder of an index?") from None
    except RecursionError:
        raise UserError(f"{path}: damaged (nested too deeply)") from None
    except ValueError as error:  # no JSON, or no text at all
        raise UserError(f"{path}: damaged ({error})") from None
    if not isinstance(description, dict):
        raise UserError(f"{path}: damaged (no JSON object)")
    return description


def read_arrays(folder: Path, shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The trees `params` and `batch_stats` of NumPy arrays that `save` wrote.

    Args:
        folder: where.
        shapes: the trees with each array's shape and type, as `Network.shapes` gives them.

    Raises:
        UserError: the file is missing or damaged, or an array has another name, shape or type.
    """
    path = folder / WEIGHTS
    expected = {name: (leaf.shape, leaf.dtype) for name, leaf in _named_leaves(shapes)}
    try:
        with opened(folder.parent, folder.name, WEIGHTS) as file:
            if not zipfile.is_zipfile(file):
                raise UserError(f"{path}: damaged (no .npz)")
            stored = _read_npz(file, path, expected)
    except FileNotFoundError:
        raise UserError(f"{path}: not found; is it the folder of an index?") from None
    except _DAMAGE as error:
        raise UserError(f"{path}: damaged ({' '.join(str(error).split())})") from None
    leaves = [stored[name] for name, _ in _named_leaves(shapes)]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def own_arrays(folder: Path) -> dict[str, Any] | None:
    """The trees `params` and `batch_stats` as the file names and shapes them itself.

    For who can tell by a digest whether they are the right ones. Its own bytes bound what they
    take: None where any of it is packed, damaged or no number, of which `read_arrays` says what
    is wrong.
    """
    try:
        with (
            opened(folder.parent, folder.name, WEIGHTS) as file,
            zipfile.ZipFile(file) as archive,
        ):
            members = archive.infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if packed or sum(m.file_size for m in members) > os.fstat(file.fileno()).st_size:
                return None  # the second: members that share bytes
            named = {m.filename.removesuffix(".npy"): _array(archive.read(m)) for m in members}
        trees = unflatten_dict({tuple(name.split("/")): array for name, array in named.items()})
    except (*_DAMAGE, UserError, TypeError):
        return None
    return {"params": {}, "batch_stats": {}} | trees


def _array(content: bytes) -> np.ndarray:
    """The array that is an .npy file, without a copy of its numbers."""
    member = io.BytesIO(content)
    shape, first_fastest, kind = _header(member)
    if first_fastest:
        raise ValueError("not in the order of C")
    return np.frombuffer(content, kind, offset=member.tell()).reshape(shape)


def _read_npz(
    file: BinaryIO, path: Path, expected: Mapping[str, tuple[Any, Any]]
) -> dict[str, np.ndarray]:
    """The arrays, once the headers of all say that they are those expected, which is their size."""
    file.seek(0)
    with zipfile.ZipFile(file) as archive, np.load(file, allow_pickle=False) as stored:
        given = dict(_headers(archive))
        if expected != given:
            names = {**expected, **given}
            wrong = [name for name in names if expected.get(name) != given.get(name)]
            raise UserError(f"{path}: is not of the model in {CONFIG}: {min(wrong)}")
        return {name: stored[name] for name in expected}


def _headers(archive: zipfile.ZipFile) -> Iterator[tuple[str, tuple[tuple[int, ...], np.dtype]]]:
    """Each array's name, shape and type; no other byte of it is read."""
    for name in archive.namelist():
        with archive.open(name) as member:
            shape, _, kind = _header(member)
        yield name.removesuffix(".npy"), (shape, kind)


def _header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape, whether the first index runs fastest, and the type, of an open .npy file."""
    version = np.lib.format.read_magic(member)
    shape, first_fastest, kind = (
        np.lib.format.read_array_header_1_0(member)
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0(member)
    )
    if kind.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    return shape, first_fastest, kind


def _named_leaves(tree: Any) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield "/".join(key.key for key in path), leaf
