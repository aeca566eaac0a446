"""An index of images: the network it is made with, its vectors on disk, and search in it."""

from abe_jax.indexing.faiss_file import export_faiss
from abe_jax.indexing.manifest import STORAGES, Spec, Threshold
from abe_jax.indexing.nearest import Found, nearest
from abe_jax.indexing.segments import Row
from abe_jax.indexing.snapshot import Snapshot, read, verify
from abe_jax.indexing.store import Adding, add, adding, create, remove, set_threshold

__all__ = [
    "STORAGES",
    "Adding",
    "Found",
    "Row",
    "Snapshot",
    "Spec",
    "Threshold",
    "add",
    "adding",
    "create",
    "export_faiss",
    "nearest",
    "read",
    "remove",
    "set_threshold",
    "verify",
]
