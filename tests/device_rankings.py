"""Ranks some vectors on this process's devices and writes down what came of it (not a test).

python device_rankings.py TARGET               alone
python device_rankings.py TARGET ADDRESS I     as host I of two, which divide the metrics' queries
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from abe_jax import evaluation
from abe_jax.errors import UserError
from abe_jax.evaluation import Ranking, knn, metrics, neighbours, search
from abe_jax.evaluation.binary_codes import HAMMING
from abe_jax.evaluation.ranks import ranks

BLOCK, KS = 16, (1, 4)
Written = dict[str, np.ndarray]


def sets() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Names, vectors [n, m, d] and labels."""
    yield "fewer rows than devices", *clusters(5, 2)
    x, labels = clusters(1031, 40)  # eight tiles of 128 rows and a piece of a ninth
    x[1000], x[517:523] = x[3], x[0]  # equal rows, in tiles of different devices too
    yield "a remainder", x, labels
    x, labels = clusters(300, 20)
    yield "nearly equal", (0.04 + 2e-9 * np.rint(x)).astype(np.float32), labels
    yield "large classes", *clusters(600, 3)


def clusters(n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of two learners in classes that overlap."""
    rng = np.random.default_rng(n)
    labels = rng.permutation(np.arange(n) % classes)
    x = rng.normal(size=(classes, 2, 6))[labels] + rng.normal(size=(n, 2, 6))
    return x.astype(np.float32), labels


def groups(n: int) -> np.ndarray:
    """A group for each row; rows of one group are not each other's neighbours."""
    return np.arange(n) % 7


def depth(n: int) -> int:
    """How many neighbours are written down."""
    return min(20, n - 1)


def ranked(x: np.ndarray, labels: np.ndarray) -> Written:
    """Neighbours and the values of every query, by each distance."""
    codes, own = evaluation.pack(x), (groups(len(x)), groups(len(x)))
    written = {"spread": spread(x)}
    every, hosts = np.arange(len(x)), jax.process_count()
    targets = (every[:, None] + np.array([1, 2, len(x) // 2])) % len(x)
    written["ranks"] = ranks(x, x, targets, rows=every, block=BLOCK, divided=hosts > 1)
    for ensemble in (*knn.ENSEMBLES, HAMMING):
        ranking = Ranking(ensemble=ensemble, block=BLOCK, divided=hosts > 1)
        rows = codes if ensemble == HAMMING else x
        if ensemble == HAMMING:
            found = evaluation.hamming_nearest(
                codes, codes, depth(len(x)), exclude_self=True, block=BLOCK
            )
        else:
            found = knn.knn(x, x, depth(len(x)), exclude_self=True, groups=own, ranking=ranking)
        scores = evaluation.scores(rows, labels, KS, ranking=ranking)
        values = dict(zip(("distances", "indices"), found, strict=True))
        values |= {"rows": scores.rows, "r_precision": scores.r_precision}
        values |= {f"recall@{k}": hits for k, hits in scores.recall.items()}
        values["average_precision"] = scores.average_precision
        written |= {f"{ensemble}: {name}": np.asarray(value) for name, value in values.items()}
    return written


def spread(x: np.ndarray) -> np.ndarray:
    """On how many devices the gallery lies."""
    made = knn.prepare(x, x, exclude_self=True, groups=None, ranking=Ranking(block=BLOCK))
    lies = {device for chunk in made.gallery for device in jnp.asarray(chunk.ids).devices()}
    return np.array(len(lies))


def deeper_than_a_share() -> Written:
    """More neighbours than a device, or a chunk, has rows, merged as short lists are."""
    x, _ = clusters(300, 20)
    x[7], x[290] = x[150], x[150]
    codes = evaluation.pack(x)
    with mock.patch.object(neighbours, "DEEP", 10**9):
        vectors = knn.knn(x, x, 290, exclude_self=True, ranking=Ranking(block=BLOCK))
        bits = evaluation.hamming_nearest(codes, codes, 290, exclude_self=True, block=BLOCK)
    return {"deeper: vectors": np.array(vectors), "deeper: codes": np.array(bits)}


def named() -> np.ndarray:
    """Whether a gallery lies where the user says, and there alone."""
    x, last = clusters(300, 20)[0], jax.local_devices()[-1]
    with jax.default_device(last):
        made = knn.prepare(x, x, exclude_self=True, groups=None, ranking=Ranking(block=BLOCK))
    lies = {device for chunk in made.gallery for device in jnp.asarray(chunk.ids).devices()}
    return np.array(lies == {last} and made.devices == (last,))


def refused() -> np.ndarray:
    """What this host says of metrics whose vectors the second host finds damaged."""
    x, labels = clusters(300, 20)
    if jax.process_index() == 1:
        x[5] = np.inf
    said = []
    for of in (
        lambda: evaluation.scores(x, labels, KS, ranking=Ranking(divided=True)),
        lambda: ranks(x, x, np.ones((300, 1), int), rows=np.arange(300), divided=True),
    ):
        try:
            of()
        except UserError as error:
            said.append(str(error))
    return np.array(said)


def in_small_chunks() -> Written:
    """What is found in all sets, the gallery in chunks of one tile each."""
    written = {}
    with (
        mock.patch.object(search, "DISTANCES_AT_ONCE", BLOCK * search.GALLERY_TILE),
        mock.patch.object(metrics, "nearest", wraps=metrics.nearest) as counted,
    ):
        for name, x, labels in sets():
            written |= {f"{name}: {key}": value for key, value in ranked(x, labels).items()}
        written |= deeper_than_a_share()
    written["calls"] = np.array(counted.call_count)  # blocks of queries that this host ranked
    return written


def main(target: Path, *host: str) -> None:
    """Writes what is found in all sets.

    `host`: where the first host listens, and this one's number.
    """
    if host:
        jax.distributed.initialize(host[0], 2, int(host[1]))
    written = {"devices": np.array(jax.device_count()), "named": named(), **in_small_chunks()}
    if host:
        written["refused"] = refused()
    np.savez(target, **written)  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
