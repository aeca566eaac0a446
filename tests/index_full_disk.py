"""Adds to an index until its disk is full (not a test). Usage: index_full_disk.py FOLDER"""

import sys
from pathlib import Path

import numpy as np
from index_examples import MODEL, built, drawn, named

from abe_jax import index
from abe_jax.errors import UserError

if __name__ == "__main__":
    folder = built(Path(sys.argv[1]) / "index", drawn(50))
    (folder / "other").write_bytes(bytes(100_000))
    for size in (100, 10, 1, 5000):  # the disk is fuller each time
        while True:
            before = index.read(folder)
            try:
                index.add(folder, drawn(size), named(range(size)), MODEL)
            except UserError as error:
                print(error)
                break
        now = index.read(folder)
        index.verify(now)
        assert now.manifest == before.manifest
    (folder / "other").unlink()
    index.remove(folder, np.arange(50, now.count))
    index.add(folder, drawn(5), named("abcde"), MODEL)
    assert index.read(folder).count == 55
