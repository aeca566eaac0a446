"""A process that uses a state of an index whose files are cut under its maps; argument: a folder.

Touching a map behind its file's end kills the process, so it is not the process of the tests.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from index_examples import built, drawn

from abe_jax import index
from abe_jax.errors import UserError
from abe_jax.index import Snapshot, duplicates

USES: dict[str, Callable[[Snapshot], object]] = {
    "ids": lambda now: now.ids(),
    "vectors": lambda now: now.vectors(np.array([0, 2999])),
    "row": lambda now: now.row(2999),
    "rows": lambda now: list(now.rows()),
    "search": lambda now: index.nearest_rows(now, drawn(2), 3),
    "duplicates": lambda now: duplicates.duplicate_groups(now, 0.0),
    "verify": index.verify,
}
TOUCHED = {  # by file: what cannot be had without it
    "vectors.npy": {"vectors", "search", "duplicates", "verify"},
    "ids.npy": set(USES),
    "rows.jsonl": {"row", "rows", "verify"},
}


def main(folder: Path) -> None:
    """Prints a line for each file: the uses that were refused with a line that names it."""
    built(folder, drawn(3000), pieces=1)
    for ending in TOUCHED:
        (path,) = folder.rglob(f"*.{ending}")
        complete, refused = path.read_bytes(), []
        for size in (0, 4096):
            for name, use in USES.items():
                now = index.read(folder)
                os.truncate(path, size)
                try:
                    use(now)
                except UserError as error:
                    assert str(error) == f"{path} is damaged: {size} bytes of {len(complete)}"
                    refused.append(name)
                path.write_bytes(complete)
        print(ending, *sorted(refused), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
