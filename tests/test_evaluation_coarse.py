"""A first pass's bounds where they are hardest to hold, and neighbours that stay exact there."""

import jax
import numpy as np
import pytest

from abe_jax.evaluation import coarse, frame, order, pruned
from abe_jax.evaluation.chunks import Numbers
from abe_jax.evaluation.coarse import Side
from abe_jax.evaluation.frame import Frame
from abe_jax.evaluation.knn import knn

KINDS = (coarse.BFLOAT16, np.dtype(np.float32))
ROWS = 300

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="a CPU's way")


def beside_the_middle(x, steps):
    """Numbers midway between two of bfloat16, or float32 steps away: rounding errs most."""
    bits = x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000) | np.uint32(0x8000)
    return (bits.astype(np.int64) + steps).astype(np.uint32).view(np.float32)


def of_sizes(x, exponents):
    return np.ldexp(x, np.random.default_rng(1).integers(exponents[0], exponents[1], (len(x), 1)))


def every(step, x, value):
    x = x.copy()
    x[::step] = value
    return x


def nearly_copies(x):
    """Fours: a row, its copy, one a float32 step away, and its opposite."""
    x = np.repeat(x[: len(x) // 4], 4, axis=0).astype(np.float32)
    x[2::4] = np.nextafter(x[2::4], np.float32(np.inf))
    x[3::4] *= -1
    return x


HARD = {
    "midway, of one sign": lambda x: beside_the_middle(np.abs(x), 0),  # errors add up
    "just below midway": lambda x: beside_the_middle(np.abs(x), -1),
    "just above midway": lambda x: beside_the_middle(np.abs(x), 1),
    "midway": lambda x: beside_the_middle(x, 0),
    "of many lengths": lambda x: of_sizes(x, (-60, 60)),
    "some nearly infinite": lambda x: of_sizes(x, (-149, 124)),
    "huge": lambda x: x * 2.0**120,
    "smaller than normal": lambda x: x * 2.0**-130,
    "products smaller than normal": lambda x: x * 2.0**-63,
    "some zero": lambda x: every(3, x, 0.0),
    "all but one in ten tiny": lambda x: every(10, x * 2.0**-126, x[::10]),
    "nearly copies": nearly_copies,
}
hard = pytest.mark.parametrize("move", HARD.values(), ids=HARD)
kinds = pytest.mark.parametrize("kind", KINDS, ids=str)


def drawn(move, dim):
    return move(np.random.default_rng(dim).normal(size=(ROWS, dim))).astype(np.float32)


def side(rows, group):
    """All rows, of one group; numbers that no other side has."""
    ids = np.arange(len(rows.numbers), dtype=np.int32) + 1000 * group
    return Side(rows, Numbers(ids, np.full(len(ids), group, np.int32)))


@kinds
@pytest.mark.parametrize("still", [True, False])
@pytest.mark.parametrize("dim", [1, 16, 511])
@hard
def test_bounds_hold(move, dim, still, kind):
    x = drawn(move, dim)[None]
    fixed = Frame(None, 0, 0) if still else frame.frame(x, x)  # any frame is right
    pairs = np.divmod(np.arange(ROWS**2), ROWS)
    exact = order.pairwise(x, x, fixed.power, False)(*pairs).reshape(ROWS, ROWS)
    own = fixed.moved(x)
    rows = coarse.rounded(own[0], frame.lengths(own), kind)
    least, most = map(np.asarray, coarse.bounds(side(rows, 1), side(rows, 2), length=1))
    assert (least <= exact).all() and (exact <= most).all()


@kinds
@pytest.mark.parametrize("dim", [1, 16])
@hard
def test_neighbours_are_those_without_a_first_pass(move, dim, kind, monkeypatch):
    x = drawn(move, dim)
    monkeypatch.setattr(coarse, "fastest_kind", lambda: kind)
    monkeypatch.setattr(pruned, "TILE", 128)
    expected = [knn(x[:64], x, k) for k in (1, 13)]
    monkeypatch.setattr(pruned, "WORTH", 0)
    monkeypatch.setattr(pruned, "ROWS_FOR_FEW_BITS", 0)
    monkeypatch.setattr(pruned, "MOST", ROWS)  # taken however much is left open
    monkeypatch.setattr("abe_jax.evaluation.neighbours.blocks", None)  # what would be without it
    for k, (distances, indices) in zip((1, 13), expected, strict=True):
        found = knn(x[:64], x, k)
        np.testing.assert_array_equal(found[1], indices)
        np.testing.assert_array_equal(found[0], distances)
