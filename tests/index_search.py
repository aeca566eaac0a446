"""Searches an index on this process's devices and writes down what was found (not a test)."""

import importlib
import sys
from pathlib import Path

import jax
import numpy as np

from abe_jax import index

if __name__ == "__main__":
    queries, target, *folders = map(Path, sys.argv[1:])
    module = importlib.import_module("abe_jax.index.search")
    # Several chunks on each device.
    module.CHUNK = module.LEAST = 2**12  # pyright: ignore[reportAttributeAccessIssue]
    written = {"devices": np.array(jax.device_count())}
    for folder in folders:
        found = index.nearest(index.read(folder), np.load(queries), 12)
        written |= {f"{folder.name} {name}": part for name, part in found._asdict().items()}
    np.savez(target, **written)  # pyright: ignore[reportArgumentType]
