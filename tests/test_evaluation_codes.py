"""Binary codes: their bits, exact search among many ties, and how they do in the metrics."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from abe_jax import evaluation
from abe_jax.config import load
from abe_jax.errors import UserError
from abe_jax.evaluation import (
    LabelledGallery,
    Measures,
    Ranking,
    binary_codes,
    metrics,
    neighbours,
    search,
)
from abe_jax.report import result_tables, tables

KS = (1, 3)
HAMMING = Ranking(ensemble="hamming")
BINARY = Measures(ks=KS, binary=True)


def vectors(n=40, d=6, seed=0):
    """Random vectors, every fifth a copy of the first."""
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    x[::5] = x[0]
    return x


def classes(spread, n=160, m=2, d=64):
    """Unit vectors [n, m, d] of 16 classes in turn, `spread` about their class's centre."""
    rng = np.random.default_rng(5)
    y = np.arange(n) % 16
    x = rng.normal(size=(16, m, d))[y] + spread * rng.normal(size=(n, m, d))
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32), y


def bits(x):
    """Bits as numbers 0 and 1, whose squared distance is the Hamming distance."""
    return (np.asarray(x) > 0).reshape(len(x), -1).astype(np.float32)


def by_definition(x, own=True):
    """Distances and indices of every row among all others (or all), ties by index."""
    signs = [[value > 0 for value in row] for row in x.tolist()]
    rows = []
    for i, query in enumerate(signs):
        difference = [sum(a != b for a, b in zip(query, row, strict=True)) for row in signs]
        rows.append(sorted((far, j) for j, far in enumerate(difference) if own or j != i))
    return [[far for far, _ in row] for row in rows], [[j for _, j in row] for row in rows]


def test_bits_by_hand():
    row = [0.5, -1, 0, -0.0, 2, -3, -4, 1e-30, -1, 7]  # 1000 1001 01, then six zeros
    packed = evaluation.pack(np.array([row], np.float32))
    assert packed.dtype == np.uint8 and packed.tolist() == [[0b10001001, 0b01000000]]
    assert np.unpackbits(packed, axis=1)[0, :10].tolist() == [value > 0 for value in row]


def test_code_of_learners_is_that_of_their_concatenation():
    x = np.random.default_rng(0).normal(size=(7, 3, 5)).astype(np.float32)
    packed = evaluation.pack(x)
    assert packed.shape == (7, 2)  # 15 bits, and not 3 times 5
    assert (packed == evaluation.pack(x.reshape(7, 15))).all()


@pytest.mark.parametrize("form", [jnp.float32, jnp.bfloat16])
def test_jax_packs_alike_inside_jit_and_out(form):
    x = jnp.asarray(vectors(d=13)).astype(form)
    expected = evaluation.pack(np.asarray(x))
    assert isinstance(expected, np.ndarray)
    for found in (evaluation.pack(x), jax.jit(evaluation.pack)(x)):
        assert isinstance(found, jax.Array) and (np.asarray(found) == expected).all()


@pytest.mark.parametrize("d", [1, 3, 8, 33, 300])  # a bit, part of a byte, 2 words, 2 groups
def test_search_is_by_definition_with_its_ties(d):
    x = vectors(n=30, d=d)
    packed = evaluation.pack(x)
    for own in (True, False):
        distances, indices = by_definition(x, own)
        k = 30 if own else 29  # all there are
        found = evaluation.hamming_nearest(packed, packed, k, exclude_self=not own)
        assert (found[0].tolist(), found[1].tolist()) == (distances, indices)
        assert found[0].dtype == found[1].dtype == np.int32
    assert sum(a == b for row in distances for a, b in itertools.pairwise(row)) > 100


def counted(x, y):
    """How many signs differ, from a loop over the queries."""
    return np.array([((row > 0) != (y > 0)).sum(axis=1) for row in x])


@pytest.mark.parametrize("d", [4, 33, 512, 2049])  # 2,049 bits: two loops over words
@pytest.mark.parametrize("own", [True, False])
def test_search_of_many_rows_is_by_definition_with_its_ties(d, own, monkeypatch):
    """So many that groups of rows are passed over, in chunks of 1,024 rows."""
    x = np.random.default_rng(d).normal(size=(2500, d)).astype(np.float32)
    x[::7] = x[3]
    packed, difference = evaluation.pack(x), counted(x[:24], x).astype(float)
    if not own:
        difference[np.arange(24), np.arange(24)] = np.inf
    order = np.argsort(difference, axis=1, kind="stable")[:, :5]
    monkeypatch.setattr(search, "DISTANCES_AT_ONCE", 1024 * 256)
    queries = packed if not own else packed[:24]
    distances, indices = evaluation.hamming_nearest(queries, packed, 5, exclude_self=not own)
    np.testing.assert_array_equal(indices[:24], order)
    np.testing.assert_array_equal(distances[:24], np.take_along_axis(difference, order, axis=1))


def test_rows_of_the_own_group_leave_the_nearest_of_the_others():
    """Whole groups of neighbouring rows are out, and the nearest of all with them."""
    x = np.random.default_rng(2).normal(size=(2048, 16)).astype(np.float32)
    packed, families = evaluation.pack(x), np.arange(2048) // 256
    both = np.arange(24) % 8, families
    made = binary_codes.prepare(packed[:24], packed, exclude_self=False, groups=both, block=256)
    found = neighbours.all_nearest(made, 5)
    difference = np.where(both[0][:, None] == families[None], np.inf, counted(x[:24], x))
    order = np.argsort(difference, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_array_equal(found.distances, np.take_along_axis(difference, order, axis=1))


def test_an_order_by_columns_changes_nothing():
    x = vectors(n=30, d=40)
    packed = evaluation.pack(np.asfortranarray(x))
    assert (packed == evaluation.pack(x)).all()
    for own in (packed, np.asfortranarray(packed)):
        found = evaluation.hamming_nearest(own, own, 30)
        assert (found[0].tolist(), found[1].tolist()) == by_definition(x, own=True)


def test_blocks_and_chunks_change_nothing(monkeypatch):
    x = vectors(n=50, d=4)  # 16 codes for 50 rows
    packed = evaluation.pack(x)
    expected = [row[:20] for row in by_definition(x, own=False)[1]]

    def found(block):
        _, indices = evaluation.hamming_nearest(packed, packed, 20, exclude_self=True, block=block)
        return indices.tolist()

    assert found(1) == found(7) == found(16) == found(1000) == expected
    monkeypatch.setattr(search, "GALLERY_TILE", 4)
    monkeypatch.setattr(search, "DISTANCES_AT_ONCE", 16 * 12)  # chunks shorter than k
    assert found(16) == expected


def test_queries_of_another_set():
    x, y = vectors(n=3, seed=2), vectors(seed=1)
    queries, gallery = evaluation.pack(x), evaluation.pack(y)
    distances, indices = evaluation.hamming_nearest(jnp.asarray(queries), gallery, 40)
    difference = ((x > 0)[:, None] != (y > 0)[None]).sum(axis=-1)
    assert (indices == np.argsort(difference, axis=1, kind="stable")).all()
    assert (distances == np.sort(difference, axis=1)).all()


@pytest.mark.parametrize("words", [1, 8, 16, 256])
def test_memory_is_bounded_by_the_distances_and_not_by_the_bits(words):
    """Counts of single words held at once would be `words` times as much."""
    shapes = [jax.ShapeDtypeStruct((words, n, 1), jnp.uint32) for n in (256, 2048)]
    analysis = jax.jit(binary_codes.hamming).lower(*shapes).compile().memory_analysis()
    assert analysis is not None
    assert analysis.temp_size_in_bytes <= 2 * 256 * 2048 * 4


@pytest.mark.parametrize("grouped", [False, True])
def test_metrics_of_codes_are_the_oracles(grouped):
    x, y = classes(2.0, n=60, m=2, d=5)  # 10 bits: ties in every row
    groups = np.random.default_rng(3).integers(0, 4, 60) if grouped else None
    expected, queries = oracles.retrieval(bits(x), y, KS, groups=groups)
    for block in (7, 1000):
        ranking = Ranking(ensemble="hamming", block=block)
        found = metrics.scores(evaluation.pack(x), y, KS, groups=groups, ranking=ranking)
        assert found.means() == pytest.approx(expected, rel=1e-12)
        assert found.queries == queries
    assert all(0 < value < 1 for value in expected.values())


def test_every_metric_takes_codes_and_a_gallery():
    """A query 11 against 01 (b), 10 (a), 11 (a): distances 1 1 0, the tie to the lower index."""
    query, gallery = (
        evaluation.pack(np.array(x) - 0.5) for x in ([[1, 1]], [[0, 1], [1, 0], [1, 1]])
    )
    labels = {"gallery": LabelledGallery(gallery, np.array([1, 0, 0])), "ranking": HAMMING}
    y = np.array([0])
    assert evaluation.recall_at_k(query, y, (1, 2), **labels) == {1: 1.0, 2: 1.0}
    assert evaluation.r_precision(query, y, **labels) == 1 / 2
    assert evaluation.map_at_r(query, y, **labels) == 1 / 2


def test_evaluation_adds_the_code_of_the_concatenated_learners():
    x, y = classes(1.5)
    found = evaluation.evaluate(x, y, BINARY)
    flat = evaluation.pack(x.reshape(len(x), -1))
    assert found["metrics"]["binary"] == metrics.scores(flat, y, KS, ranking=HAMMING).means()
    bare = evaluation.evaluate(x, y, Measures(ks=KS))
    assert "binary" not in bare["metrics"]
    del found["metrics"]["binary"]
    assert found == bare


def test_codes_of_separate_classes_do_nearly_as_well_as_vectors():
    x, y = classes(0.7)
    found = evaluation.evaluate(x, y, Measures(ks=(1,), binary=True))["metrics"]
    assert found["ensemble"]["recall@1"] == found["ensemble"]["map@r"] == 1
    assert found["binary"]["recall@1"] >= 0.98 and found["binary"]["map@r"] >= 0.98
    x, y = classes(2.0)  # where classes overlap, signs lose some
    found = evaluation.evaluate(x, y, Measures(ks=(1,), binary=True))["metrics"]
    assert 0.4 < found["binary"]["recall@1"] < found["ensemble"]["recall@1"]


def test_a_code_of_one_sign_finds_nothing_but_row_0():
    """Everything ties, so row 0 is everybody's nearest (and row 1 is that of row 0)."""
    x, y = classes(0.1)
    found = evaluation.evaluate(np.abs(x), y, Measures(ks=(1, 16), binary=True))["metrics"]
    assert found["ensemble"]["recall@1"] > 0.9  # the vectors themselves still tell classes apart
    assert found["binary"]["recall@1"] == 9 / 160  # row 0's class of ten, less row 0
    assert found["binary"]["map@r"] < 0.03
    assert binary_codes.one_sided(np.abs(x)) and not binary_codes.one_sided(x)


def test_config_names_it_and_leaves_it_off():
    config = "configs/quickstart.py"
    assert load(config, ["evaluate.binary=True"]).evaluate.binary is True
    assert load(config, []).evaluate.binary is False


@pytest.mark.parametrize(
    ("learners", "names"),
    [
        (1, ["embedding", "embedding, binary codes"]),
        (2, ["ensemble, concatenation", "ensemble, mean distance", "ensemble, binary codes"]),
    ],
)
def test_table_has_them_below_the_vectors(learners, names):
    x, y = classes(1.5, m=learners)
    result = evaluation.evaluate(x, y, BINARY)
    rows = [row for row in tables.rows(result) if row.part == "ensemble"]
    assert [row.name for row in rows] == names
    assert rows[-1].values == result["metrics"]["binary"]
    assert f"\n{names[-1]} " in tables.evaluation_table(result, split="test")
    page = result_tables.section({"test": result})
    assert names[-1] in page and "how many bits differ" in page
    del result["metrics"]["binary"]
    assert "bits" not in result_tables.section({"test": result})


X, Y = vectors(6), np.array([0, 0, 1, 1, 2, 2])
PACKED = evaluation.pack(X)
BROKEN = np.where(np.arange(6)[:, None] == 4, np.float32(np.nan), X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluation.pack(BROKEN), "not finite, first in row 4"),
        (lambda: evaluation.pack(jnp.asarray(BROKEN)), "not finite, first in row 4"),
        (lambda: evaluation.pack(X[None, None]), "not of shape (1, 1, 6, 6)"),
        (lambda: evaluation.pack(X[:0]), "not of shape (0, 6)"),
        (lambda: evaluation.hamming_nearest(PACKED, PACKED, 7), "k = 7 neighbours asked"),
        (lambda: evaluation.hamming_nearest(PACKED, PACKED, 6, exclude_self=True), "holds 5"),
        (lambda: evaluation.hamming_nearest(PACKED, PACKED, 1, block=0), "block = 0"),
        (
            lambda: evaluation.hamming_nearest(PACKED[:2], PACKED, 1, exclude_self=True),
            "one for one",
        ),
        (
            lambda: evaluation.hamming_nearest(PACKED, np.tile(PACKED, 2), 1),
            "queries (6, 1) and gallery (6, 2) differ in their bytes",
        ),
        (lambda: metrics.scores(X, Y, ranking=HAMMING), "evaluation.pack makes them"),
        (lambda: metrics.scores(PACKED, Y), "rank them by ensemble 'hamming'"),
        (
            lambda: metrics.scores(X, Y, ranking=Ranking(ensemble="haming")),
            "'concatenation' or 'mean_distance'",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(UserError, match=re.escape(message)):
        call()
