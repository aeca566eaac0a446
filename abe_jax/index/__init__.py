"""An index of images: the network it is made with, its vectors on disk, and search in it."""

from abe_jax.index.export import export_faiss
from abe_jax.index.manifest import STORAGES, Spec, Threshold
from abe_jax.index.search import Found, nearest
from abe_jax.index.segments import Row
from abe_jax.index.snapshot import Snapshot, read, verify
from abe_jax.index.store import Adding, add, adding, create, remove, set_threshold

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
