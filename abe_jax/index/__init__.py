"""An index of images: the network it is made with, its vectors on disk, and search in it."""

from abe_jax.index.answers import Answer, Neighbour
from abe_jax.index.export import export_faiss
from abe_jax.index.index import Index
from abe_jax.index.ingest import IngestResult
from abe_jax.index.manifest import STORAGES, Threshold, VectorSpec
from abe_jax.index.search import NearestRows, nearest_rows
from abe_jax.index.segments import ImageRow
from abe_jax.index.snapshot import Snapshot, read, verify
from abe_jax.index.store import Transaction, add, create, remove, set_threshold, transaction
from abe_jax.index.sync import SyncResult

__all__ = [
    "STORAGES",
    "Answer",
    "ImageRow",
    "Index",
    "IngestResult",
    "NearestRows",
    "Neighbour",
    "Snapshot",
    "SyncResult",
    "Threshold",
    "Transaction",
    "VectorSpec",
    "add",
    "create",
    "export_faiss",
    "nearest_rows",
    "read",
    "remove",
    "set_threshold",
    "transaction",
    "verify",
]
