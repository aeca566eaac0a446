"""Binary codes: the signs of vectors, packed, and exact search by Hamming distance."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Shaped, UInt8, UInt32

from abe_jax.errors import UserError
from abe_jax.evaluation.arguments import Groups, one_k
from abe_jax.evaluation.knn import Vectors, check_finite
from abe_jax.evaluation.neighbours import all_nearest
from abe_jax.evaluation.search import BLOCK, Search, check_k, prepared_search

HAMMING = "hamming"  # the ensemble of a `Ranking` of packed codes
# Words of 32 bits whose counts one loop over gallery rows adds up, each written out: several rows
# stand in one register and no count is kept. Longer codes take several such loops, between which
# the sums so far are in memory. As a reduction over an axis 256 x 8,192 distances of 512 bits took
# 2.5 ms on two CPU cores (loops of 8 words), those of 2,048 bits 4.5, or 31 in one loop of 64; of
# 512 bits as a product of signs 11 ms in float32 and 11 with NumPy's bitwise_count, which goes
# through memory for every word.
WORDS_AT_ONCE = 64

Packed = UInt8[np.ndarray | Array, "_ _"]  # [n, bytes]


def pack(vectors: Vectors) -> UInt8[np.ndarray | Array, "n bytes"]:
    """The code of each vector: its bits x > 0, eight to a byte, uint8 [n, ceil(d / 8)].

    `vectors` [n, d], or [n, m, d] of m learners, whose concatenation [n, m * d] is coded. Bit j
    stands in byte j // 8 with the value 2^(7 - j % 8), the order of `np.packbits`; bits after the
    last are 0, and so is the bit of a zero. NumPy gives NumPy, JAX gives JAX, also under `jit`;
    only there is a NaN let through, as 0.
    Raises UserError where a vector is not finite or the shape is neither.
    Source: Zhai and Wu, Classification is a Strong Baseline for Deep Metric Learning, 2019.
    """
    if vectors.ndim not in (2, 3) or 0 in vectors.shape:
        raise UserError(f"vectors must be [n, d] or [n, m, d], not of shape {vectors.shape}")
    if not isinstance(vectors, Tracer):
        check_finite(np.asarray(vectors), "vectors")
    positive = (vectors > 0).reshape(len(vectors), -1)
    if isinstance(vectors, jax.Array):
        return jnp.packbits(jnp.asarray(positive), axis=1)
    return np.packbits(np.asarray(positive, np.uint8), axis=1)


def one_sided(vectors: Vectors) -> bool:
    """Whether no number is below 0, so that codes, which keep signs, say little or nothing."""
    return bool(np.min(np.asarray(vectors), initial=np.inf) >= 0)


def hamming_nearest(
    queries: Packed,
    gallery: Packed,
    k: int | np.integer,
    *,
    exclude_self: bool = False,
    block: int = BLOCK,
) -> tuple[Int[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
    """The k gallery codes that differ in the fewest bits: distances and indices [q, k], int32.

    `queries` [q, bytes] and `gallery` [n, bytes] from `pack`, nearest first. Distances are whole
    numbers from 0 to the number of bits, so ties are the rule: equal distances rank by gallery
    index, as in `knn`. `exclude_self`: row i of the queries is row i of the gallery and not
    its own neighbour; its duplicates are.

    Exact: every distance is counted (XOR, then the bits set), as many at once as in `knn`.
    Raises UserError where shapes do not fit, k exceeds the gallery, or these are no codes.
    """
    k = one_k(k)
    search = prepare(queries, gallery, exclude_self=exclude_self, groups=None, block=block)
    check_k(k, len(gallery) - exclude_self)
    best = all_nearest(search, k)
    return np.asarray(best.distances, np.int32), np.asarray(best.indices)


def prepare(
    queries: Shaped[np.ndarray | Array, "..."],
    gallery: Shaped[np.ndarray | Array, "..."],
    *,
    exclude_self: bool,
    groups: Groups | None,
    block: int,
) -> Search:
    """A search of codes, as `search.prepared_search` has it of vectors."""
    q = words(queries, "queries")
    g = q if gallery is queries else words(gallery, "gallery")
    if np.shape(queries)[1] != np.shape(gallery)[1]:
        raise UserError(
            f"queries {np.shape(queries)} and gallery {np.shape(gallery)} differ in their bytes"
        )
    search = prepared_search(q, g, hamming, exclude_self=exclude_self, groups=groups, block=block)
    return dataclasses.replace(search, light=True)


def words(codes: Shaped[np.ndarray | Array, "..."], what: str) -> UInt32[np.ndarray, "w n 1"]:
    """Codes as words of 32 bits, filled up with zeros to as many words in every loop."""
    x = np.asarray(codes)
    if x.dtype != np.uint8 or x.ndim != 2 or 0 in x.shape:
        raise UserError(
            f"{what} must be codes, uint8 [n, bytes], not {x.dtype} of shape {x.shape}; "
            "evaluation.pack makes them of vectors"
        )
    number = -(-x.shape[1] // 4)
    number = -(-number // _loops(number)) * _loops(number)  # as many words in every loop
    if x.shape[1] == 4 * number and x.flags.c_contiguous:
        filled = x
    else:  # np.pad keeps an order by columns, in which no four bytes of a row lie side by side
        filled = np.ascontiguousarray(np.pad(x, ((0, 0), (0, 4 * number - x.shape[1]))))
    return np.ascontiguousarray(filled.view(np.uint32).T)[:, :, None]


def hamming(
    queries: UInt32[Array, "w q 1"], gallery: UInt32[Array, "w n 1"]
) -> Float[Array, "q n"]:
    """How many bits differ between every query and every gallery row, from `words` of both."""
    loops = _loops(len(queries))
    q, g = (x.reshape(loops, -1, x.shape[1]) for x in (queries, gallery))
    if loops == 1:
        total = _differing(q[0], g[0])
    else:
        zero = jnp.zeros((q.shape[2], g.shape[2]), jnp.int32)
        total, _ = lax.scan(lambda sum_, pair: (sum_ + _differing(*pair), None), zero, (q, g))
    # exact; top_k is fast in float32 alone
    return total.astype(jnp.float32)


def _loops(number: int) -> int:
    return -(-number // WORDS_AT_ONCE)


def _differing(queries: UInt32[Array, "w q"], gallery: UInt32[Array, "w n"]) -> Int[Array, "q n"]:
    """How many bits differ, one term for each word: a sum over an axis would be a loop inside."""
    counts = (
        lax.population_count(queries[i][:, None] ^ gallery[i][None]) for i in range(len(queries))
    )
    return functools.reduce(jnp.add, counts).astype(jnp.int32)
