"""An index as a file that faiss reads."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from abe_jax import files
from abe_jax.errors import UserError
from abe_jax.evaluation.search import NO_ROW
from abe_jax.index import gallery
from abe_jax.index.snapshot import Snapshot

BLOCK = 65_536  # rows handed over at once


def export_faiss(snapshot: Snapshot, path: Path) -> None:
    """Writes the rows with their ids for `faiss.read_index`, or of codes `read_index_binary`.

    An IndexIDMap2 over IndexFlatL2, which ranks by the squared Euclidean distance in float32 (rows
    stored in float16 become float32), or an IndexBinaryIDMap2 over IndexBinaryFlat. faiss holds all
    of it in memory. Raises UserError where faiss is not installed, there is something at `path` or
    it cannot be written.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError("faiss is not installed: pip install faiss-cpu") from error
    if path.exists():
        raise UserError(f"{path} exists already; name a new file")
    filled = _filled(faiss, snapshot)
    partial = path.with_name(f".{path.name}.part")  # faiss writes by name, not to an open file
    binary = snapshot.spec.storage == "binary"
    try:
        (faiss.write_index_binary if binary else faiss.write_index)(filled, str(partial))
        files.sync(partial)
        os.replace(partial, path)
        files.sync(path.parent)
    except (OSError, RuntimeError) as error:  # faiss raises RuntimeError where it cannot write
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be written: {reason}") from error
    finally:
        partial.unlink(missing_ok=True)


def _filled(faiss: Any, snapshot: Snapshot) -> Any:
    width = snapshot.spec.width
    if snapshot.spec.storage == "binary":
        flat, kind = faiss.IndexBinaryFlat(8 * width), np.uint8
        filled = faiss.IndexBinaryIDMap2(flat)
    else:
        flat, kind = faiss.IndexFlatL2(width), np.float32
        filled = faiss.IndexIDMap2(flat)
    for _, numbers in gallery.chunks(snapshot, BLOCK):
        stored, ids = gallery.gather(snapshot, numbers[numbers != NO_ROW])
        filled.add_with_ids(np.ascontiguousarray(stored, kind), ids)
    return filled
