"""Neighbours in an index are those of the definition in float64, whatever lies in their way."""

import subprocess
import sys

import numpy as np
import pytest
from index_examples import MODEL, built, definition, drawn, named
from processes import ROOT, environment

from abe_jax import index
from abe_jax.errors import UserError
from abe_jax.index import VectorSpec, search

STORAGES = tuple(index.STORAGES)


def agrees(snapshot, queries, k) -> None:
    distances, ids = definition(snapshot, queries, k)
    nearest = index.nearest_rows(snapshot, queries, k)
    np.testing.assert_array_equal(nearest.ids, ids)
    np.testing.assert_allclose(nearest.distances, distances, rtol=1e-12, atol=0)


@pytest.fixture
def small(monkeypatch):
    """Many chunks, of one compiled program, and several blocks of queries."""
    monkeypatch.setattr(search, "CHUNK_BYTES", 2**12)
    monkeypatch.setattr(search, "LEAST_ROWS", 128)
    monkeypatch.setattr(search, "QUERIES_AT_ONCE", 13)
    monkeypatch.setattr(search, "ROWS_ON_HOST", 31)


@pytest.mark.parametrize("storage", STORAGES)
def test_neighbours_are_the_definitions(tmp_path, storage, small):
    x = drawn(700)
    x[500:520] = x[20:40]  # copies in other chunks: the lower id is first
    folder = built(tmp_path / "index", x, storage, pieces=9)
    queries = np.concatenate([x[:30], drawn(10, seed=1)])
    agrees(index.read(folder), queries, 12)
    gone = np.concatenate([np.arange(0, 700, 5), np.arange(300, 380)])
    index.remove(folder, gone)
    now = index.read(folder)
    assert len(now.segments) > 1 and any(part.alive is not None for part in now.segments)
    agrees(now, queries, 12)
    assert not np.isin(index.nearest_rows(now, queries, 12).ids, gone).any()


def test_a_copy_is_at_no_distance_and_copies_rank_by_id(tmp_path, small):
    x = drawn(400, 3, 7)
    x[10:290:2] = x[11]  # more than there are candidates
    folder = built(tmp_path / "index", x)
    nearest = index.nearest_rows(index.read(folder), x, 5)
    np.testing.assert_array_equal(nearest.distances[:, 0], 0)
    copies = [*range(10, 12), *range(12, 290, 2)]
    for i in range(400):
        assert nearest.ids[i].tolist()[:1] == [10 if i in copies else i]
    assert nearest.ids[11].tolist() == copies[:5] and not nearest.distances[11].any()
    index.remove(folder, np.array([10, 12, 30]))
    now = index.read(folder)
    assert now.segments[0].alive is not None  # the removed ones still lie among the others
    agrees(now, np.float32(0.1) * x[11:12], 5)


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_what_float32_cannot_tell_apart_float64_does(tmp_path, storage, small):
    # A hundred units from the origin |q|^2 + |g|^2 - 2 q.g errs by more than these differ.
    far = 100 + np.float32(0.01) * drawn(600, 1, 16)
    folder = built(tmp_path / "index", far, storage, pieces=2)
    queries = far[:20] + np.float32(0.003)
    agrees(index.read(folder), queries, 5)
    index.remove(folder, np.arange(0, 600, 4))
    now = index.read(folder)
    assert any(part.alive is not None for part in now.segments)
    agrees(now, queries, 5)


def test_vectors_of_any_length_are_found(tmp_path, small):
    x = drawn(300, 1, 16) * np.logspace(-20, 14, 300, dtype=np.float32)[:, None, None]
    now = index.read(built(tmp_path / "index", x))
    agrees(now, x[::20], 4)


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize(("offset", "scale"), [(1e3, 1.0), (0, 1e-6), (30.0, 1e-4), (0, 1e3)])
def test_an_offset_and_a_size_leave_the_fast_way_fast(
    tmp_path, storage, offset, scale, small, monkeypatch
):
    x = (scale * (drawn(600, 1, 64) + offset)).astype(np.float32)
    folder = built(tmp_path / "index", x, storage, pieces=2)
    monkeypatch.setattr(search.order, "within", None)  # no query is compared with all on the host
    agrees(index.read(folder), x[:20] + np.float32(0.05 * scale), 5)


@pytest.mark.parametrize(
    ("offset", "scale"), [(1e4, 1), (1e6, 1), (0, 1e-20), (0, 1e14), (1e4, 1e-20), (1e4, 1e10)]
)
def test_rows_rank_as_float64_ranks_them(tmp_path, offset, scale, small):
    x = (scale * (drawn(600, 2, 16) + offset)).astype(np.float32)
    now = index.read(built(tmp_path / "index", x, pieces=2))
    agrees(now, x[::10], 8)


def test_where_rows_are_fewer_than_k_the_rest_is_empty(tmp_path):
    folder = tmp_path / "index"
    index.create(folder, VectorSpec(MODEL, 2, 9))
    nearest = index.nearest_rows(index.read(folder), drawn(3), 2)
    assert (nearest.ids == -1).all() and np.isinf(nearest.distances).all()
    index.add(folder, drawn(4), named("abcd"), MODEL)
    index.remove(folder, np.array([2]))
    nearest = index.nearest_rows(index.read(folder), drawn(4), 5)
    assert (nearest.ids[:, 3:] == -1).all() and np.isinf(nearest.distances[:, 3:]).all()
    assert np.sort(nearest.ids[:, :3]).tolist() == [[0, 1, 3]] * 4
    assert nearest.ids.dtype == np.int64 and nearest.distances.dtype == np.float64
    assert index.nearest_rows(index.read(folder), drawn(4)[:0], 5).ids.shape == (0, 5)


def test_questions_that_do_not_fit_are_refused(tmp_path):
    now = index.read(built(tmp_path / "index", drawn(4)))
    for queries, k, says in (
        (drawn(2), 0, "k: must be 1 neighbour or more, not 0"),
        (drawn(2, 1, 18), 1, "do not fit an index of 2 learners of 9"),
        (drawn(2) * np.float32(np.inf), 1, "queries hold a value that is not finite"),
    ):
        with np.errstate(invalid="ignore"), pytest.raises(UserError, match=says):
            index.nearest_rows(now, queries, k)


def test_eight_devices_find_what_one_finds(tmp_path):
    x = drawn(2500)  # 20 chunks: some devices get a third one
    x[1100:1120] = x[
        420:440
    ]  # of equals the first is on the fourth device, the second on the first
    storages = ("float16", "binary")  # 8 devices compile 8 programs for each
    folders = [built(tmp_path / storage, x, storage, pieces=7) for storage in storages]
    np.save(tmp_path / "queries.npy", x[400:450])
    results = {}
    for devices in (1, 8):
        target = tmp_path / f"{devices}.npz"
        script = ROOT / "tests" / "index_search.py"
        command = [sys.executable, script, tmp_path / "queries.npy", target, *folders]
        env = {**environment(tmp_path, devices=devices), "PYTHONPATH": str(ROOT)}
        subprocess.run(command, env=env, check=True, timeout=300)
        results[devices] = dict(np.load(target))
        assert int(results[devices].pop("devices")) == devices
    for name, one in results[1].items():
        np.testing.assert_array_equal(one, results[8][name])
    for folder in folders:
        distances, ids = definition(index.read(folder), x[400:450], 12)
        np.testing.assert_array_equal(results[8][f"{folder.name} ids"], ids)
        np.testing.assert_allclose(results[8][f"{folder.name} distances"], distances, rtol=1e-12)


@pytest.mark.parametrize("storage", STORAGES)
def test_faiss_finds_the_same_in_its_file(tmp_path, storage):
    faiss = pytest.importorskip("faiss")
    x = drawn(300)
    folder = built(tmp_path / "index", x, storage, pieces=3)
    index.remove(folder, np.arange(0, 300, 7))
    now = index.read(folder)
    path = tmp_path / "index.faiss"
    index.export_faiss(now, path)
    ours = index.nearest_rows(now, x[:40], 8)
    if storage == "binary":
        theirs = faiss.read_index_binary(str(path))
        distances, ids = theirs.search(np.packbits(x[:40].reshape(40, -1) > 0, axis=1), 8)
        np.testing.assert_array_equal(distances, ours.distances)
        expected = definition(now, x[:40], 300 - 43)
        for row, row_ids in enumerate(ids):  # faiss orders equal distances otherwise
            own = dict(zip(expected[1][row].tolist(), expected[0][row].tolist(), strict=True))
            np.testing.assert_array_equal([own[i] for i in row_ids.tolist()], distances[row])
    else:
        theirs = faiss.read_index(str(path))
        distances, ids = theirs.search(x[:40].reshape(40, -1), 8)
        np.testing.assert_array_equal(ids, ours.ids)
        np.testing.assert_allclose(distances, ours.distances, atol=1e-5)
    assert theirs.ntotal == now.count


def test_without_faiss_a_line_says_how_to_get_it(tmp_path, monkeypatch):
    now = index.read(built(tmp_path / "index", drawn(4)))
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(UserError, match="pip install faiss-cpu"):
        index.export_faiss(now, tmp_path / "index.faiss")
    assert not (tmp_path / "index.faiss").exists()


def test_a_faiss_file_that_cannot_be_written_is_a_line(tmp_path):
    pytest.importorskip("faiss")
    now = index.read(built(tmp_path / "index", drawn(4)))
    with pytest.raises(UserError, match="cannot be written") as error:
        index.export_faiss(now, tmp_path / "nowhere" / "index.faiss")
    assert "\n" not in str(error.value)
