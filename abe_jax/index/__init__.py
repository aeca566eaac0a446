"""An index of images: the network it is made with, its vectors on disk, and search in it."""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
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
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Answer": "abe_jax.index.answers",
            "Neighbour": "abe_jax.index.answers",
            "export_faiss": "abe_jax.index.export",
            "Index": "abe_jax.index.index",
            "IngestResult": "abe_jax.index.ingest",
            "STORAGES": "abe_jax.index.manifest",
            "Threshold": "abe_jax.index.manifest",
            "VectorSpec": "abe_jax.index.manifest",
            "NearestRows": "abe_jax.index.search",
            "nearest_rows": "abe_jax.index.search",
            "ImageRow": "abe_jax.index.segments",
            "Snapshot": "abe_jax.index.snapshot",
            "read": "abe_jax.index.snapshot",
            "verify": "abe_jax.index.snapshot",
            "Transaction": "abe_jax.index.store",
            "add": "abe_jax.index.store",
            "create": "abe_jax.index.store",
            "remove": "abe_jax.index.store",
            "set_threshold": "abe_jax.index.store",
            "transaction": "abe_jax.index.store",
            "SyncResult": "abe_jax.index.sync",
        },
    )

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
