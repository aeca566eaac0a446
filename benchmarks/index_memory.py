"""Searches an index and tells what memory that took (started by test_index.py).

Usage: index_memory.py FOLDER QUERIES.npy K
"""

import json
import sys
import threading
from pathlib import Path

import numpy as np

from abe_jax import index


def memory_used() -> dict[str, int]:
    """Bytes in memory: the process's own, and with the pages of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    told = {line.split()[0]: 1024 * int(line.split()[1]) for line in lines if " kB" in line}
    return {"own": told["RssAnon:"], "all": told["VmRSS:"]}


def main(folder: Path, queries: np.ndarray, k: int) -> dict[str, int]:
    """The most memory that was used, and what was used before the search."""
    before = most = memory_used()
    over = threading.Event()

    def follow() -> None:
        nonlocal most
        while not over.wait(0.002):
            most = {name: max(most[name], now) for name, now in memory_used().items()}

    watcher = threading.Thread(target=follow)
    watcher.start()
    index.nearest_rows(index.read(folder), queries, k)
    over.set()
    watcher.join()
    return {"before": before["own"], **most}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), np.load(sys.argv[2]), int(sys.argv[3]))))
