"""An index as a file that faiss reads."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from abe_jax.errors import UserError
from abe_jax.index import row_numbers
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
    made = _filled(faiss, snapshot)
    part = path.with_name(f".{path.name}.part")
    binary = snapshot.spec.storage == "binary"
    try:
        (faiss.write_index_binary if binary else faiss.write_index)(made, str(part))
        os.replace(part, path)
    except (OSError, RuntimeError) as error:  # faiss raises RuntimeError where it cannot write
        why = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be written: {why}") from error
    finally:
        part.unlink(missing_ok=True)


def _filled(faiss: Any, snapshot: Snapshot) -> Any:
    width = snapshot.spec.width
    if snapshot.spec.storage == "binary":
        flat, kind = faiss.IndexBinaryFlat(8 * width), np.uint8
        made = faiss.IndexBinaryIDMap2(flat)
    else:
        flat, kind = faiss.IndexFlatL2(width), np.float32
        made = faiss.IndexIDMap2(flat)
    for _, at in row_numbers.chunks(snapshot, BLOCK):
        stored, ids = row_numbers.gathered(snapshot, at[at != row_numbers.NOBODY])
        made.add_with_ids(np.ascontiguousarray(stored, kind), ids)
    return made
