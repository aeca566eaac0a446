"""What a search by blocks is made of, each part alone: products by type, selections, counting bits.

pytest benchmarks/test_search_parts.py
pytest benchmarks/test_search_parts.py --full    512 dimensions, 16,384 rows at once

Says which first pass a machine is fast at (`evaluation/coarse.py`), and what is left to gain.
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from results import Table, number

from abe_jax import evaluation
from abe_jax.comparison import timing
from abe_jax.evaluation import binary_codes, coarse, top_k
from abe_jax.evaluation.chunks import Numbers

QUERIES = 256
SIZES = {False: (4096, 256), True: (16_384, 512)}  # by --full: rows, dimensions


def products(q: np.ndarray, g: np.ndarray) -> dict[str, Callable[[], Any]]:
    """One product of queries and rows, by library and type."""
    out = np.empty((len(q), len(g)), np.float32)
    calls: dict[str, Callable[[], Any]] = {
        "float32, NumPy's BLAS": partial(np.matmul, q, g.T, out=out)
    }
    for kind in (np.float32, jnp.bfloat16, np.int8):
        scale = 127 if kind is np.int8 else 1
        own = [jax.device_put(jnp.asarray(scale * x).astype(kind)) for x in (q, g)]
        calls[f"{jnp.dtype(kind).name}, XLA"] = partial(product(kind), *own)
    return calls


def product(kind: Any) -> Callable[..., jax.Array]:
    """A compiled product of two arrays of a type, summed in int32 or float32."""
    total = jnp.int32 if kind is np.int8 else jnp.float32
    return jax.jit(
        lambda q, g: lax.dot_general(q, g, (((1,), (1,)), ((), ())), preferred_element_type=total)
    )


def test_products(full: bool, rounds: int, tables: list[Table]) -> None:
    n, dim = SIZES[full]
    x = np.random.default_rng(n).uniform(-1, 1, (QUERIES + n, dim)).astype(np.float32)
    q, g = x[:QUERIES], x[QUERIES:]
    calls = products(q, g)
    for name, call in calls.items():
        scale, bound = (127**2, 4 * dim * 127) if "int8" in name else (1, 0.02 * dim)
        np.testing.assert_allclose(np.asarray(call(), np.float64), scale * (q @ g.T), atol=bound)
    seconds = timing.interleaved(calls, rounds)
    base = statistics.median(seconds["float32, XLA"])
    rows = []
    for name, times in seconds.items():
        time = statistics.median(times)
        speed = number(2 * QUERIES * n * dim / time / 1e9)
        rows.append((name, number(1e3 * time), f"{time / base:.2f}", speed))
    title = f"Products of {QUERIES} x {dim} and {n:,} x {dim} numbers"
    note = f"Medians over {rounds} interleaved rounds, XLA's arguments on the device."
    head = ("type", "ms", "time / float32, XLA", "GFLOP/s")
    tables.append(Table(title=title, note=note, head=head, rows=rows))


def selections(values: np.ndarray, k: int) -> dict[str, Callable[[], Any]]:
    """The k smallest of rows, each way with its columns."""
    own = jax.device_put(values)
    complete = jax.jit(lambda x: lax.top_k(-x, k))
    groups = jax.jit(partial(top_k.smallest, k=k))
    return {
        "lax.top_k": partial(complete, own),
        "top_k.smallest": partial(groups, own),
        "the minima alone": partial(
            jax.jit(partial(top_k.group_minima, length=top_k.group_length(values.shape[1], k))), own
        ),
        "numpy.argpartition": lambda: np.argpartition(values, k - 1, axis=1)[:, :k],
    }


def test_selections(full: bool, rounds: int, tables: list[Table]) -> None:
    n, rows = SIZES[full][0], []
    values = np.random.default_rng(n).standard_normal((QUERIES, n), np.float32)
    for k in (16, 128, 1024):
        calls = selections(values, k)
        for one, other in zip(calls["top_k.smallest"](), calls["lax.top_k"](), strict=True):
            np.testing.assert_array_equal(np.abs(one), np.abs(other))
        for name, times in timing.interleaved(calls, rounds).items():
            time = statistics.median(times)
            rows.append((str(k), name, number(1e3 * time), f"{1e9 * time / values.size:.3f}"))
    title = f"The k smallest of {QUERIES} rows of {n:,} numbers"
    note = f"Medians over {rounds} interleaved rounds; the minima alone select nothing."
    head = ("k", "by", "ms", "ns a number")
    tables.append(Table(title=title, note=note, head=head, rows=rows))


def test_counting(full: bool, rounds: int, tables: list[Table]) -> None:
    n, rows = SIZES[full][0], []
    distances = jax.jit(binary_codes.hamming)
    minima = jax.jit(lambda q, g: top_k.group_minima(binary_codes.hamming(q, g), 64))
    for dim in (128, 512, 2048):
        x = np.random.default_rng(dim).standard_normal((n, dim), np.float32)
        codes = evaluation.pack(x)
        own = [jax.device_put(binary_codes.words(c, "codes")) for c in (codes[:QUERIES], codes)]
        np.testing.assert_array_equal(minima(*own)[:, 0], distances(*own)[:, :64].min(axis=1))
        calls = {"kept": partial(distances, *own), "minima of 64 rows": partial(minima, *own)}
        wide = np.asarray(codes).view(np.uint64)
        if dim == 128:  # NumPy goes through memory for every word: the shortest says enough
            calls["NumPy, kept"] = partial(by_numpy, wide[:QUERIES], wide)
        for name, times in timing.interleaved(calls, rounds).items():
            time = statistics.median(times)
            rows.append((str(dim), name, number(1e3 * time), f"{1e9 * time / QUERIES / n:.3f}"))
    title = f"Counting the bits that differ: {QUERIES} x {n:,} codes"
    note = f"Medians over {rounds} interleaved rounds."
    head = ("bits", "distances", "ms", "ns a pair")
    tables.append(Table(title=title, note=note, head=head, rows=rows))


def by_numpy(q: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Distances [q, n] from words of 64 bits."""
    total = np.zeros((len(q), len(g)), np.uint16)
    for i in range(q.shape[1]):
        total += np.bitwise_count(q[:, i, None] ^ g[None, :, i])
    return total


def side(rows: coarse.Rounded, at: slice, group: int) -> coarse.Side:
    """Some rows, all of one group and none of them the other side's."""
    ids = np.arange(len(rows.numbers), dtype=np.int32)[at]
    numbers = Numbers(ids, np.full(len(ids), group, np.int32))
    return coarse.Side(coarse.Rounded(*(part[at] for part in rows)), numbers)


def test_bounds(full: bool, rounds: int, tables: list[Table]) -> None:
    """The whole device program of a first pass, beside the product in it."""
    n, dim = SIZES[full]
    x = np.random.default_rng(n).standard_normal((QUERIES + n, dim), np.float32)
    rows = []
    for kind in (np.dtype(np.float32), coarse.BFLOAT16):
        made = coarse.rounded(x, (x.astype(np.float64) ** 2).sum(axis=1), kind)
        sides = [
            jax.device_put(side(made, slice(QUERIES), -1)),
            jax.device_put(side(made, slice(QUERIES, None), 0)),
        ]
        calls = {
            "product": partial(product(kind), sides[0].rows.numbers, sides[1].rows.numbers),
            "bounds": partial(coarse.bounds, *sides, length=64),
        }
        for name, times in timing.interleaved(calls, rounds).items():
            rows.append((kind.name, name, number(1e3 * statistics.median(times))))
    title = f"A first pass of {QUERIES} queries over {n:,} rows of {dim} numbers"
    note = f"Medians over {rounds} interleaved rounds; bounds: with the minima of 64 rows."
    tables.append(Table(title=title, note=note, head=("type", "part", "ms"), rows=rows))
