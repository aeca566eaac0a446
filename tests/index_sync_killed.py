"""Kills an index that follows a folder at every call of the system that it makes (not a test).

Usage: index_sync_killed.py FOLDER POINTS. As index_killed.py: what is left must be the old or the
new state, and the same sync must then end in the new one. Prints how often which was left, as JSON.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from index_examples import MODEL
from index_killed import events, state, stopped

from abe_jax import index
from abe_jax.evaluation.network import Embedded
from abe_jax.index import VectorSpec, ingest, store, sync


class Drawing:
    """In the place of an embedder: a vector drawn from an image's bytes, without any JAX."""

    fingerprint, network = MODEL, SimpleNamespace(batch=1)

    def embed(self, images, told=None):
        """Vectors [n, 2, 4]."""
        seeds = [int.from_bytes(hashlib.sha256(image).digest()[:8]) for image in images]
        vectors = [np.random.default_rng(seed).standard_normal((2, 4)) for seed in seeds]
        every = np.arange(len(seeds))
        return Embedded(np.array(vectors, np.float32), every, every[:0])


DRAWING: Any = Drawing()


def followed(folder: Path) -> None:
    """The change: the photographs lie beside the index."""
    sync.sync(folder, DRAWING, sync.listed(folder.parent / "photos"))


def main(folder: Path, points: int) -> dict[str, int]:
    """What was left behind at so many points, spread evenly over all there are."""
    base, photos = folder / "base", folder / "photos"
    photos.mkdir()
    for i in range(60):
        (photos / f"{i:02}.png").write_bytes(b"photograph %d" % i)
    store.create(base, VectorSpec(MODEL, 2, 4))
    ingest.add(base, DRAWING, sync.listed(photos).images)
    (photos / "new").mkdir()
    for i in range(60):
        path = photos / f"{i:02}.png"
        if i < 5:
            path.unlink()
        elif i < 30:
            path.rename(photos / "new" / path.name)
        elif i < 33:
            path.write_bytes(b"changed %d" % i)
    for i in range(60, 65):
        (photos / "new" / f"{i}.png").write_bytes(b"photograph %d" % i)
    finished = Path(shutil.copytree(base, folder / "finished"))
    followed(finished)
    old, new, ends = state(base), state(finished), events(followed, base, folder / "tried")
    assert old != new
    left = {"old": 0, "new": 0, "events": ends}
    for at in sorted({int(p) for p in np.linspace(0, ends - 1, points)}):
        tried = Path(shutil.copytree(base, folder / f"killed-{at}"))
        assert stopped(followed, tried, at)
        after = state(tried)
        assert after in (old, new), f"killed at {at}: neither state"
        left["new" if after == new else "old"] += 1
        followed(tried)
        assert state(tried) == new
        files = {file.name for file in index.read(tried).manifest.files()}
        assert set(os.listdir(tried / "segments")) == files
        shutil.rmtree(tried)
    return left


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
