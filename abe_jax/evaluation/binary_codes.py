"""Binary codes: the signs of vectors, packed, and exact search by Hamming distance."""

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
# Words of 32 bits counted in one fused loop. 256 x 8,192 distances on two CPU cores took 2.5 ms of
# 512 bits and 4.5 of 2,048 (their top_k 3.6); of 512 bits as a product of signs 11 ms in float32,
# 15 in bfloat16, 63 in int8, and with NumPy's bitwise_count 11. One loop over 64 words takes 31 ms,
# or holds the counts of every word at once, and DISTANCES_AT_ONCE would bound nothing.
WORDS_AT_ONCE = 8

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
    return prepared_search(q, g, hamming, exclude_self=exclude_self, groups=groups, block=block)


def words(codes: Shaped[np.ndarray | Array, "..."], what: str) -> UInt32[np.ndarray, "w n 1"]:
    """Codes as words of 32 bits, filled up with zeros to whole groups of WORDS_AT_ONCE words."""
    x = np.asarray(codes)
    if x.dtype != np.uint8 or x.ndim != 2 or 0 in x.shape:
        raise UserError(
            f"{what} must be codes, uint8 [n, bytes], not {x.dtype} of shape {x.shape}; "
            "evaluation.pack makes them of vectors"
        )
    number = -(-x.shape[1] // 4)
    if number > WORDS_AT_ONCE:
        number = -(-number // WORDS_AT_ONCE) * WORDS_AT_ONCE
    # np.pad keeps an order by columns, in which no four bytes of a row lie side by side.
    filled = np.ascontiguousarray(np.pad(x, ((0, 0), (0, 4 * number - x.shape[1]))))
    return np.ascontiguousarray(filled.view(np.uint32).T)[:, :, None]


def hamming(
    queries: UInt32[Array, "w q 1"], gallery: UInt32[Array, "w n 1"]
) -> Float[Array, "q n"]:
    """How many bits differ between every query and every gallery row, from `words` of both."""
    together = min(len(queries), WORDS_AT_ONCE)
    q = queries.reshape(-1, together, queries.shape[1], 1)
    g = gallery.reshape(-1, together, 1, gallery.shape[1])

    def add(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        differing = lax.population_count(pair[0] ^ pair[1])
        return total + jnp.sum(differing, axis=0, dtype=jnp.uint32), None

    zero = jnp.zeros((queries.shape[1], gallery.shape[1]), jnp.uint32)
    total, _ = lax.scan(add, zero, (q, g))
    return total.astype(jnp.float32)  # exact; top_k is fast in float32 alone
