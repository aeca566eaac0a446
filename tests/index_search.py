"""Writes the nearest rows that this process's devices find in an index (not a test)."""

import sys
from pathlib import Path

import jax
import numpy as np

from abe_jax import index
from abe_jax.index import search

if __name__ == "__main__":
    queries, target, *folders = map(Path, sys.argv[1:])
    # Several chunks on each device.
    search.CHUNK_BYTES = search.LEAST_ROWS = 2**12
    written = {"devices": np.array(jax.device_count())}
    for folder in folders:
        nearest = index.nearest_rows(index.read(folder), np.load(queries), 12)
        written |= {f"{folder.name} {name}": part for name, part in nearest._asdict().items()}
    np.savez(target, **written)  # pyright: ignore[reportArgumentType]
