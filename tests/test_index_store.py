"""An index's states: what is added, removed and merged, what is refused, and files as they are."""

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from index_examples import MODEL, built, drawn, named

from abe_jax import index
from abe_jax.errors import UserError
from abe_jax.evaluation import pack
from abe_jax.index import ImageRow, Threshold, VectorSpec, compaction, manifest

STORAGES = tuple(index.STORAGES)


def files(folder: Path) -> set[str]:
    return set(os.listdir(folder / "segments"))


def state(folder: Path) -> tuple:
    """All that a reader sees."""
    now = index.read(folder)
    return now.ids().tolist(), now.vectors(now.ids()).tolist(), list(now.rows()), now.threshold


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("pieces", [1, 7])
def test_what_was_added_is_read(tmp_path, storage, pieces):
    x = drawn(40)
    now = index.read(built(tmp_path / "index", x, storage, pieces))
    assert now.count == 40 and now.ids().tolist() == list(range(40)) and now.threshold is None
    assert now.spec == VectorSpec(MODEL, 2, 9, storage)
    assert list(now.rows()) == list(enumerate(named(range(40))))
    asked = np.array([31, 4, 4, 39])
    expected = {
        "float32": x[asked],
        "float16": x[asked].astype(np.float16).astype(np.float32),
        "binary": np.where(x[asked] > 0, 1, -1).astype(np.float32),
    }[storage]
    got = now.vectors(asked)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == np.float32 and now.row(31) == named([31])[0]
    index.verify(now)


def test_removed_rows_are_gone_and_their_ids_too(tmp_path):
    x = drawn(30)
    folder = built(tmp_path / "index", x, pieces=5)
    before = index.read(folder)
    assert index.remove(folder, np.array([3, 29, 3, 77])) == 2
    assert index.remove(folder, np.array([3])) == 0
    now = index.read(folder)
    left = [i for i in range(30) if i not in (3, 29)]
    assert now.ids().tolist() == left and now.count == 28
    assert [row.label for _, row in now.rows()] == [str(i) for i in left]
    for gone in (3, 29, 30, -1):
        with pytest.raises(UserError, match=f"no row with the id {gone}"):
            now.vectors(np.array([4, gone]))
        with pytest.raises(UserError, match=f"no row with the id {gone}"):
            now.row(gone)
    assert index.add(folder, x[:2], named("ab"), MODEL).tolist() == [30, 31]
    assert index.read(folder).row(31) == named("b")[0]
    assert before.count == 30 and before.row(3).label == "3"  # a state read stays as it is
    index.verify(index.read(folder))


def test_an_emptied_index_is_an_index(tmp_path):
    folder = built(tmp_path / "index", drawn(9), pieces=3)
    assert index.remove(folder, np.arange(9)) == 9
    now = index.read(folder)
    assert now.count == 0 and now.ids().shape == (0,) and list(now.rows()) == []
    assert files(folder) == set()
    assert index.add(folder, drawn(1), named("z"), MODEL).tolist() == [9]


def test_few_segments_remain_and_no_file_that_nobody_names(tmp_path):
    folder = tmp_path / "index"
    x = drawn(200, 1, 4)
    index.create(folder, VectorSpec(MODEL, 1, 4))
    for at in range(200):
        index.add(folder, x[at : at + 1], named([at]), MODEL)
        now = index.read(folder)
        counts = [part.size for part in now.segments]
        assert len(counts) <= 1 + np.log2(at + 1) and sum(counts) == at + 1
        assert files(folder) == {file.name for file in now.manifest.files()}
    np.testing.assert_array_equal(now.vectors(now.ids()), x)
    index.remove(folder, np.arange(0, 200, 3))
    index.remove(folder, np.arange(1, 200, 3))
    now = index.read(folder)
    assert now.ids().tolist() == list(range(2, 200, 3))
    for part in now.segments:  # at least half of what lies there counts
        assert 2 * part.count >= part.size
    np.testing.assert_array_equal(now.vectors(now.ids()), x[2::3])
    assert files(folder) == {file.name for file in now.manifest.files()}
    index.verify(now)


def test_a_large_segment_is_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "LARGE", 20)
    folder = built(tmp_path / "index", drawn(25), pieces=1)
    (first,) = index.read(folder).manifest.segments
    index.add(folder, drawn(19), named(range(19)), MODEL)
    index.add(folder, drawn(30), named(range(30)), MODEL)
    assert [s.count for s in index.read(folder).manifest.segments] == [25, 19, 30]
    assert index.read(folder).manifest.segments[0] == first


def test_pieces_are_added_all_or_none(tmp_path):
    x = drawn(12)
    folder = built(tmp_path / "index", x[:4])
    before, old = state(folder), files(folder)
    with pytest.raises(ZeroDivisionError), index.transaction(folder, MODEL) as new:
        new.append(x[4:8], named(range(4, 8)))
        assert state(folder) == before
        raise ZeroDivisionError
    assert state(folder) == before and files(folder) == old
    with index.transaction(folder, MODEL) as new:
        assert new.append(x[4:8], named(range(4, 8))).tolist() == [4, 5, 6, 7]
        assert new.append(x[:0], []).tolist() == []
        assert new.append(x[8:], named(range(8, 12))).tolist() == [8, 9, 10, 11]
    now = index.read(folder)
    np.testing.assert_array_equal(now.vectors(np.arange(12)), x)
    assert list(now.rows()) == list(enumerate(named(range(12))))
    with index.transaction(folder, MODEL):
        pass
    assert index.read(folder).generation == now.generation


def test_rows_are_described_anew_and_keep_their_ids_and_vectors(tmp_path):
    folder = built(tmp_path / "index", drawn(60), pieces=4)
    before = index.read(folder)
    rows, vectors = dict(before.rows()), before.vectors(before.ids()).copy()
    moved = {3: ImageRow("a/3.png", "a"), 59: ImageRow("b.png", "", {"shelf": "top"})}
    with index.transaction(folder, MODEL) as changes:
        changes.describe(moved | {1000: ImageRow("nothing has this id")})
    now = index.read(folder)
    index.verify(now)
    assert dict(now.rows()) == rows | moved and dict(before.rows()) == rows
    np.testing.assert_array_equal(now.vectors(now.ids()), vectors)
    kept = [s.vectors for s in before.manifest.segments]
    assert [s.vectors for s in now.manifest.segments] == kept  # no vector was written
    assert files(folder) == {file.name for file in now.manifest.files()}
    with index.transaction(folder, MODEL) as changes:  # with all else, and merged
        changes.describe({id_: ImageRow(f"{id_}", "all") for id_ in rows})
        changes.discard(np.arange(40))
        changes.append(drawn(1), named("z"))
    now = index.read(folder)
    index.verify(now)
    assert [row.path for _, row in now.rows()] == [*map(str, range(40, 60)), "z.png"]
    assert files(folder) == {file.name for file in now.manifest.files()}
    with pytest.raises(InterruptedError), index.transaction(folder, MODEL) as changes:
        changes.describe({45: ImageRow("no")})
        raise InterruptedError
    assert index.read(folder).manifest == now.manifest


def refused(folder: Path, says: str, vectors=None, rows=None, model: str = MODEL) -> None:
    before = state(folder)
    vectors = drawn(3) if vectors is None else vectors
    with pytest.raises(UserError, match=re.escape(says)) as error:
        index.add(folder, vectors, named("abc") if rows is None else rows, model)
    assert "\n" not in str(error.value)
    assert state(folder) == before


def test_vectors_that_do_not_belong_are_refused_and_nothing_is_lost(tmp_path):
    folder = built(tmp_path / "index", drawn(5), "float16")
    refused(folder, f"model {MODEL}, these are of another", model="another")
    refused(folder, "[n, 2, 9]", drawn(3, 1, 18))
    refused(folder, "[n, 2, 9]", drawn(3, 2, 8))
    refused(folder, "3 vectors came with 2 rows", rows=named("ab"))
    for value, says in (
        (np.nan, "not finite, first in row 1"),
        (np.inf, "not finite, first in row 1"),
        (1e16, "overflow"),
        (7e4, "beyond float16"),
    ):
        wrong = drawn(3)
        wrong[1, 1, 2] = value
        refused(folder, says, wrong)


def test_an_index_is_made_once_and_of_something(tmp_path):
    folder = built(tmp_path / "index", drawn(2))
    with pytest.raises(UserError, match="is an index already"):
        index.create(folder, VectorSpec(MODEL, 2, 9))
    with pytest.raises(UserError, match="did you mean 'float16'"):
        index.create(tmp_path / "b", VectorSpec(MODEL, 2, 9, "float15"))
    with pytest.raises(UserError, match="empty"):
        index.create(tmp_path / "b", VectorSpec(MODEL, 0, 9))
    for call in (index.read, lambda at: index.remove(at, np.arange(1))):
        with pytest.raises(UserError, match=r"no index.*index build"):
            call(tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_threshold_stays_through_changes(tmp_path):
    folder = built(tmp_path / "index", drawn(5))
    threshold = Threshold(0.1 + 0.2, "precision 0.99", {"precision": 0.991, "pairs": 12})
    index.set_threshold(folder, threshold)
    index.add(folder, drawn(3), named("abc"), MODEL)
    index.remove(folder, np.array([1]))
    assert index.read(folder).threshold == threshold
    index.set_threshold(folder, None)
    assert index.read(folder).threshold is None


def test_names_in_any_script_and_bytes_that_are_none_come_back(tmp_path):
    paths = ["写真/あ.png", "ёлка \u2028 x.jpg", "a\nb\tc", os.fsdecode(b"\xff\xfe.jpg"), '"\\', ""]
    rows = [ImageRow(path, label=path, metadata={path: path, "": "x"}) for path in paths]
    folder = built(tmp_path / "index", drawn(1))
    ids = index.add(folder, drawn(len(rows)), rows, MODEL)
    now = index.read(folder)
    assert [now.row(int(id_)) for id_ in ids] == rows
    assert os.fsencode(now.row(int(ids[3])).path) == b"\xff\xfe.jpg"


def test_an_index_is_moved_as_a_folder(tmp_path):
    folder = built(tmp_path / "index", drawn(5), pieces=2)
    before = state(folder)
    folder.rename(tmp_path / "moved")
    assert state(tmp_path / "moved") == before


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(content[:-2])
    elif how == "gone":
        path.unlink()
    elif how == "header":
        path.write_bytes(b"\0" * 128 + content[128:])
    else:
        content[-20] ^= 1
        path.write_bytes(content)


@pytest.mark.parametrize("ending", ["vectors.npy", "ids.npy", "rows.jsonl", "removed.npy", "json"])
@pytest.mark.parametrize("how", ["cut", "gone", "header", "bit"])
def test_damage_is_one_line_that_names_the_file(tmp_path, ending, how):
    folder = built(tmp_path / "index", drawn(9))
    index.remove(folder, np.array([2, 3]))
    (path,) = folder.rglob(f"*{ending}")
    damage(path, how)
    with pytest.raises(UserError, match=re.escape(path.name)) as error:
        index.verify(index.read(folder))
    assert "\n" not in str(error.value)
    if (ending != "rows.jsonl" and how != "bit") or how in ("cut", "gone"):
        with pytest.raises(UserError, match=re.escape(path.name)):
            index.read(folder)


def test_rows_that_are_damaged_are_named_when_they_are_asked_for(tmp_path):
    folder = built(tmp_path / "index", drawn(9))
    (path,) = folder.rglob("*.rows.jsonl")
    for new in (b'{"id": 5', b'{"id": 7'), (b'{"id": 5', b'["id": 5'), (b"\n", b" "):
        complete = path.read_bytes()
        path.write_bytes(complete.replace(*new))
        with pytest.raises(UserError, match=path.name):
            index.read(folder).row(5)
        path.write_bytes(complete)
    assert index.read(folder).row(5) == named([5])[0]


def test_the_next_writer_sweeps_what_no_state_names_and_nothing_else(tmp_path):
    folder = built(tmp_path / "index", drawn(5))
    kept = files(folder) | {"notes.txt"}
    for name in ("notes.txt", "00000009.vectors.npy", "00000009-1.rows.jsonl", "7.removed.npy"):
        (folder / "segments" / name).write_text("x")
    for name in (".index.json.77.partial", ".index.json.new"):
        (folder / name).write_text("{")
    index.set_threshold(folder, None)
    assert files(folder) == kept
    assert not list(folder.glob(".index.json*"))


def test_codes_are_those_of_pack(tmp_path):
    x = drawn(7)
    folder = built(tmp_path / "index", x, "binary")
    (path,) = folder.rglob("*.vectors.npy")
    np.testing.assert_array_equal(np.load(path), pack(x))


@pytest.mark.parametrize("storage", STORAGES)
def test_the_page_reads_an_index_with_numpy_alone(tmp_path, storage):
    folder = built(tmp_path / "index", drawn(40), storage, pieces=6)
    index.remove(folder, np.array([0, 17, 39]))
    now = index.read(folder)
    assert now.manifest.removed is not None and len(now.segments) > 1
    page = (Path(__file__).parent.parent / "docs" / "INDEX.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    page_reads: dict = {}
    exec(code, page_reads)
    ids, vectors, rows = page_reads["read"](folder)
    np.testing.assert_array_equal(ids, now.ids())
    if storage == "binary":
        vectors = 2.0 * np.unpackbits(vectors, axis=1, count=18) - 1
    expected = now.vectors(now.ids()).reshape(37, 18)
    np.testing.assert_array_equal(vectors.astype(np.float32), expected)
    told = [(row.pop("id"), ImageRow(**row)) for row in rows]
    assert told == list(now.rows())


def test_the_page_names_what_index_json_holds_and_how_it_is_summed(tmp_path):
    folder = built(tmp_path / "index", drawn(4))
    content = json.loads((folder / manifest.NAME).read_text())
    page = (Path(__file__).parent.parent / "docs" / "INDEX.md").read_text()
    table = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    assert re.findall(r"`(\w+)`", " ".join(table)) == list(content)
    told = content.pop("sha256")
    del content["format"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == told
    for part in ("vectors", "ids", "rows"):
        file = content["segments"][0][part]
        complete = (folder / "segments" / file["name"]).read_bytes()
        assert (len(complete), hashlib.sha256(complete).hexdigest()) == (
            file["bytes"],
            file["sha256"],
        )
