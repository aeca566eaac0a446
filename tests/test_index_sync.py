"""index sync: files followed by content, what is new embedded, all of it or nothing."""

import errno
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import serving_examples
from index_runs import noise
from test_index_store_processes import ended, started

from abe_jax.cli import index as cli
from abe_jax.cli import index_commands
from abe_jax.data.sources import image_files, image_kinds
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index import (
    ImageRow,
    Index,
    Snapshot,
    SyncResult,
    VectorSpec,
    contents,
    ingest,
    model_files,
    snapshot,
    store,
)
from abe_jax.index.image_list import DIGEST


@pytest.fixture(scope="module")
def network() -> Embedder:
    """One image a batch: every vector has the bits of a fresh index on any processor."""
    return serving_examples.model("evaluate.batch=1")


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images were embedded at once, each time."""
    embed, counts = Embedder.embed, list[int]()

    def counted(self: Embedder, images: Any, **options: Any) -> Any:
        counts.append(len(images))
        return embed(self, images, **options)

    monkeypatch.setattr(Embedder, "embed", counted)
    return counts


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read to be compared."""
    names, real = list[str](), contents.digests

    def noted(paths: Sequence[str]) -> dict[str, str]:
        names.extend(os.path.basename(path) for path in paths)
        return real(paths)

    monkeypatch.setattr(contents, "digests", noted)
    return names


def write(photos: Path, names: Mapping[str, int]) -> Path:
    """Pictures by their name below a folder, each drawn by its number."""
    for name, number in names.items():
        path = photos / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(number))
    return photos


def state(now: Snapshot, metadata: bool = True) -> dict[str, tuple]:
    """All that is known of each image, by its path."""
    rows = list(now.rows())
    found = {
        row.path: (
            row.label,
            dict(row.metadata) if metadata else {},
            now.vectors(np.array([id_])).tobytes(),
        )
        for id_, row in rows
    }
    assert len(found) == len(rows)
    return found


def ids(now: Snapshot) -> dict[str, int]:
    return {row.path: id_ for id_, row in now.rows()}


def content(folder: Path) -> dict[Path, tuple[bytes, int]]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def counts(result: Any) -> tuple[int, ...]:
    """added, removed, moved, changed, as they were."""
    return result.added, result.removed, result.moved, result.changed, result.unchanged


def assert_fresh(index: Index, photos: Path, path: Path) -> None:
    """An index is what one built anew would be: to the bit, stamps and digests included."""
    fresh = Index.build(path, index.embedder, photos, storage=index.snapshot.spec.storage)
    assert state(index.snapshot) == state(fresh.snapshot)
    snapshot.verify(index.snapshot)


def shuffled(photos: Path, total: int, moved: int) -> None:
    """10 added, 10 removed, so many moved (half of them renamed too) and 5 changed, of `total`."""
    old = sorted(photos.rglob("*.png"))
    assert len(old) == total
    order = [old[i] for i in np.random.default_rng(0).permutation(total)]
    for path in order[:10]:
        path.unlink()
    for i, path in enumerate(order[10:15]):
        path.write_bytes(noise(10**6 + i))
    for i, path in enumerate(order[15 : 15 + moved]):
        target = photos / f"moved {i % 3}" / (f"renamed {i}.png" if i % 2 else path.name)
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    for i in range(10):
        write(photos, {f"class {i % 4}/added {i}.png": 2 * 10**6 + i})


@pytest.mark.parametrize(
    ("total", "moved"), [(60, 20), pytest.param(5000, 500, marks=pytest.mark.slow)]
)
def test_a_folder_is_followed_and_only_what_is_new_or_changed_is_embedded(
    network: Embedder, tmp_path: Path, embedded: list[int], total: int, moved: int
) -> None:
    photos = write(tmp_path / "photos", {f"class {i % 7}/{i}.png": i for i in range(total)})
    index = Index.build(tmp_path / "x.index", network, photos)
    before = index.snapshot
    shuffled(photos, total, moved)
    embedded.clear()
    told = index.sync(photos, dry_run=True)
    assert not embedded and index.snapshot is before
    result = index.sync(photos)
    assert sum(embedded) == result.embedded == 15
    assert counts(result) == (10, 10, moved, 5, total - 15 - moved)
    assert len(index) == result.images == total and told == result
    assert index.snapshot.generation == before.generation + 1
    stay = set(before.ids().tolist()) & set(index.snapshot.ids().tolist())
    assert len(stay) == total - 15  # a moved image keeps its id
    fresh = Index.build(tmp_path / "fresh", network, photos)
    assert state(index.snapshot) == state(fresh.snapshot)
    queries = sorted(photos.rglob("*.png"))[:: total // 20]
    answers = [[(n.row.path, n.distance) for n in a.neighbours] for a in index.search(queries)]
    assert answers == [
        [(n.row.path, n.distance) for n in a.neighbours] for a in fresh.search(queries)
    ]
    embedded.clear()
    assert counts(index.sync(photos)) == (0, 0, 0, 0, total)
    assert not embedded and index.snapshot.generation == before.generation + 1
    snapshot.verify(index.snapshot)


def test_a_dry_run_writes_nothing(network: Embedder, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {f"{i}.png": i for i in range(4)})
    index = Index.build(tmp_path / "x.index", network, photos)
    (photos / "0.png").rename(photos / "9.png")
    (photos / "1.png").write_bytes(noise(7))
    (photos / "2.png").unlink()
    (photos / "bad.png").write_bytes(b"?")
    before = content(index.folder)
    assert counts(index.sync(photos, dry_run=True)) == (1, 1, 1, 1, 1)  # bad.png is not decoded
    assert content(index.folder) == before


MOVES: dict[str, tuple[Mapping[str, int], tuple[int, ...], int]] = {
    # What the folder of a/1, a/2, b/3 and b/4 becomes; what is said; how many are embedded.
    "swapped": ({"a/1": 2, "a/2": 1, "b/3": 3, "b/4": 4}, (0, 0, 2, 0, 2), 0),
    "in a circle": ({"a/1": 4, "a/2": 1, "b/3": 2, "b/4": 3}, (0, 0, 4, 0, 0), 0),
    "to another class": ({"a/1": 1, "b/2": 2, "b/3": 3, "b/4": 4}, (0, 0, 1, 0, 3), 0),
    "to the top": ({"1": 1, "a/2": 2, "b/3": 3, "b/4": 4}, (0, 0, 1, 0, 3), 0),
    "a class renamed": ({"c/1": 1, "c/2": 2, "b/3": 3, "b/4": 4}, (0, 0, 2, 0, 2), 0),
    "copied": ({"a/1": 1, "a/2": 2, "b/3": 3, "b/4": 4, "b/1": 1}, (1, 0, 0, 0, 4), 0),
    "moved and copied": ({"c/1": 1, "d/1": 1, "a/2": 2, "b/3": 3, "b/4": 4}, (1, 0, 1, 0, 3), 0),
    "overwritten by a copy": ({"a/1": 2, "a/2": 2, "b/3": 3, "b/4": 4}, (0, 0, 0, 1, 3), 0),
    "overwritten by a move": ({"a/1": 2, "b/3": 3, "b/4": 4}, (0, 1, 1, 0, 2), 0),
    "edited, original kept": (
        {"a/1": 9, "a/1 original": 1, "a/2": 2, "b/3": 3, "b/4": 4}, (1, 0, 1, 0, 3), 1,
    ),
    "two new ones that are equal": (
        {"a/1": 1, "a/2": 2, "b/3": 3, "b/4": 4, "c/5": 5, "c/6": 5}, (2, 0, 0, 0, 4), 2,
    ),
    "all but one removed": ({"b/3": 3}, (0, 3, 0, 0, 1), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_files_are_followed_by_content(
    network: Embedder, tmp_path: Path, embedded: list[int], name: str
) -> None:
    now, says, new = MOVES[name]
    photos = write(tmp_path / "photos", {"a/1.png": 1, "a/2.png": 2, "b/3.png": 3, "b/4.png": 4})
    index = Index.build(tmp_path / "x.index", network, photos)
    shutil.rmtree(photos)
    write(photos, {f"{path}.png": number for path, number in now.items()})
    embedded.clear()
    assert counts(index.sync(photos, dry_run=True)) == says
    assert counts(index.sync(photos)) == says
    assert sum(embedded) == new
    assert_fresh(index, photos, tmp_path / "fresh")


@pytest.mark.parametrize("storage", ["float16", "binary"])
def test_other_storages_are_followed_to_the_bit(
    network: Embedder, tmp_path: Path, embedded: list[int], storage: str
) -> None:
    photos = write(tmp_path / "photos", {f"a/{i}.png": i for i in range(9)})
    index = Index.build(tmp_path / "x.index", network, photos, storage=storage)
    (photos / "a").rename(photos / "b")
    shutil.copy(photos / "b" / "3.png", photos / "copy.png")
    write(photos, {"b/4.png": 44, "new.png": 55})  # moved and changed: one more, and one gone
    embedded.clear()
    assert counts(index.sync(photos)) == (3, 1, 8, 0, 0)
    assert sum(embedded) == 2
    assert_fresh(index, photos, tmp_path / "fresh")


def test_equal_files_are_as_many_images_and_each_is_followed_by_its_name(
    network: Embedder, tmp_path: Path, embedded: list[int]
) -> None:
    names = {"a/x.png": 1, "a/y.png": 1, "b/x.png": 1, "c/z.png": 2}
    photos = write(tmp_path / "photos", names)
    index = Index.build(tmp_path / "x.index", network, photos)
    before = ids(index.snapshot)
    (photos / "a" / "x.png").unlink()
    (photos / "a").rename(photos / "d")
    embedded.clear()
    assert counts(index.sync(photos)) == (0, 1, 1, 0, 2) and not embedded
    after = ids(index.snapshot)
    assert after[str(photos / "d" / "y.png")] == before[str(photos / "a" / "y.png")]
    (photos / "d" / "y.png").unlink()
    assert counts(index.sync(photos)) == (0, 1, 0, 0, 2)
    assert_fresh(index, photos, tmp_path / "fresh")


def test_only_files_that_may_be_others_are_read(
    network: Embedder, tmp_path: Path, embedded: list[int], read: list[str]
) -> None:
    photos = write(tmp_path / "photos", {f"{i}.png": i for i in range(5)})
    index = Index.build(tmp_path / "x.index", network, photos)
    os.utime(photos / "2.png", ns=(1, 1))  # touched
    (photos / "3.png").rename(photos / "33.png")
    write(photos, {"new.png": 7})
    with (photos / "new.png").open("ab") as file:
        file.write(bytes(5000))  # of a size that no other has
    embedded.clear()
    assert counts(index.sync(photos)) == (1, 0, 1, 0, 4)
    assert sum(embedded) == 1 and read == ["2.png", "33.png"]
    read.clear()
    assert counts(index.sync(photos)) == (0, 0, 0, 0, 6) and read == []
    assert_fresh(index, photos, tmp_path / "fresh")


def test_a_change_that_size_and_time_hide_is_found_when_all_is_read(
    network: Embedder, tmp_path: Path, embedded: list[int]
) -> None:
    photos, pixels = tmp_path / "photos", np.random.default_rng(0)
    photos.mkdir()
    for name in ("a.bmp", "b.bmp"):
        drawn = pixels.integers(0, 256, (32, 32, 3), np.uint8)
        (photos / name).write_bytes(cv2.imencode(".bmp", drawn)[1].tobytes())
        os.utime(photos / name, ns=(10**18, 10**18))
    index = Index.build(tmp_path / "x.index", network, photos)
    (photos / "a.bmp").write_bytes((photos / "b.bmp").read_bytes()[:-1] + b"\x07")
    os.utime(photos / "a.bmp", ns=(10**18, 10**18))
    embedded.clear()
    assert counts(index.sync(photos)) == (0, 0, 0, 0, 2) and not embedded
    assert counts(index.sync(photos, verify_content=True, dry_run=True)) == (0, 0, 0, 1, 1)
    assert counts(index.sync(photos, verify_content=True)) == (0, 0, 0, 1, 1)
    assert sum(embedded) == 1
    assert_fresh(index, photos, tmp_path / "fresh")


def without(index: Index, *names: str) -> None:
    """Takes metadata out of an index's rows: an earlier program did not note them."""
    with store.transaction(index.folder, index.embedder.fingerprint) as changes:
        rows = {
            id_: row._replace(metadata={k: v for k, v in row.metadata.items() if k not in names})
            for id_, row in changes.now.rows()
        }
        changes.describe(rows)


def test_an_index_without_digests_gets_them_at_the_first_sync(
    network: Embedder, tmp_path: Path, embedded: list[int]
) -> None:
    photos = write(tmp_path / "photos", {f"a/{i}.png": i for i in range(6)})
    index = Index.build(tmp_path / "x.index", network, photos)
    without(index, DIGEST)
    assert not any(DIGEST in row.metadata for _, row in index.snapshot.rows())
    (photos / "a" / "0.png").rename(photos / "a" / "moved.png")  # cannot be followed yet
    os.utime(photos / "a" / "1.png", ns=(1, 1))  # nor can its content be compared
    embedded.clear()
    assert counts(index.sync(photos)) == (1, 1, 0, 1, 4)
    assert sum(embedded) == 2
    (photos / "a").rename(photos / "b")
    assert counts(index.sync(photos)) == (0, 0, 6, 0, 0)
    assert sum(embedded) == 2
    assert_fresh(index, photos, tmp_path / "fresh")
    embedded.clear()
    without(index, DIGEST)
    assert counts(index.sync(photos, verify_content=True)) == (0, 0, 0, 6, 0)
    assert sum(embedded) == 6  # nothing is known that could be verified
    without(index, DIGEST, "file_bytes", "file_changed_ns")
    assert counts(index.sync(photos)) == (0, 0, 0, 6, 0)
    assert_fresh(index, photos, tmp_path / "fresh2")


def test_a_file_that_is_no_image_any_more_goes_and_one_that_cannot_be_opened_stays(
    network: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"a/0.png": 0, "a/1.png": 1, "a/2.png": 2, "a/3.png": 3, "b/4.png": 4, "b/5.png": 5}
    photos = write(tmp_path / "photos", names)
    index = Index.build(tmp_path / "x.index", network, photos)
    (photos / "a" / "0.png").write_bytes(noise(0)[:80])
    (photos / "a" / "1.png").write_bytes(b"")
    write(photos, {"a/2.png": 22})
    (photos / "a" / "3.png").unlink()
    (photos / "a" / "3.png").symlink_to("nowhere")
    (photos / "new.png").write_bytes(b"new, and no image")
    real, scandir = image_files.read, os.scandir

    def refused(path: Path) -> bytes:
        return b"" if path.name == "2.png" else real(path)

    def closed(folder: Any) -> Any:
        if os.fspath(folder).endswith("/b"):
            raise PermissionError
        return scandir(folder)

    monkeypatch.setattr(image_files, "read", refused)
    monkeypatch.setattr(os, "scandir", closed)
    result = index.sync(photos)
    assert counts(result) == (0, 2, 0, 0, 4) and result.embedded == 0
    left = {os.path.relpath(path, photos) for path in ids(index.snapshot)}
    assert left == {"a/2.png", "a/3.png", "b/4.png", "b/5.png"}
    unreadable = ["a/0.png", "a/1.png", "a/2.png", "a/3.png", "b", "new.png"]
    assert set(result.unreadable) == {str(photos / name) for name in unreadable}
    assert set(ingest.read_unreadable(index.folder)) == set(result.unreadable)
    monkeypatch.undo()
    (photos / "a" / "3.png").unlink()
    (photos / "new.png").unlink()
    write(photos, {"a/0.png": 0, "a/1.png": 1})
    assert counts(index.sync(photos)) == (2, 1, 0, 1, 2)
    assert not (index.folder / "unreadable.txt").read_text()
    assert_fresh(index, photos, tmp_path / "fresh")


def test_nothing_is_lost_where_nothing_can_be_read(network: Embedder, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a/0.png": 0, "a/1.png": 1})
    index = Index.build(tmp_path / "x.index", network, photos)
    before = content(index.folder)
    with pytest.raises(ArgumentError, match=r"0\.png is one image; name its folder, or use `add`"):
        index.sync(photos / "a" / "0.png")
    for name in ("0.png", "1.png"):
        (photos / "a" / name).write_bytes(b"?")
    with pytest.raises(UserError, match="none of 2 images can be read"):
        index.sync(photos)
    shutil.rmtree(photos / "a")
    with pytest.raises(UserError, match="no image is named or lies there"):
        index.sync(photos)
    with pytest.raises(UserError, match="no such folder"):
        index.sync(tmp_path / "unmounted")
    assert content(index.folder) == before and len(index) == 2


def test_images_of_other_folders_stay_unless_they_moved_into_this_one(
    network: Embedder, tmp_path: Path, embedded: list[int]
) -> None:
    first = write(tmp_path / "first", {"a/1.png": 1, "a/2.png": 2, "a/3.png": 3})
    second = write(tmp_path / "second", {"b/4.png": 4})
    index = Index.build(tmp_path / "x.index", network, first)
    index.add(second)
    (first / "a" / "1.png").rename(second / "b" / "1.png")
    shutil.copy(first / "a" / "2.png", second / "b" / "2.png")
    embedded.clear()
    result = index.sync(second)
    assert counts(result) == (1, 0, 1, 0, 1) and result.outside == 2 and not embedded
    assert result.images == len(index) == 5
    first.rename(tmp_path / "third")
    result = index.sync(tmp_path / "third")
    assert counts(result) == (0, 0, 2, 0, 0) and result.outside == 3 and not embedded
    complete = index.sync(tmp_path)  # labels are paths below the folder that is named
    assert counts(complete) == (0, 0, 0, 0, 0) and complete.relabelled == 5 and not embedded


def test_a_folder_that_is_named_by_another_path_is_the_same_folder(
    network: Embedder, tmp_path: Path, embedded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    photos = write(disk / "photos", {"a/1.png": 1, "a/b/2.png": 2, "3.png": 3})
    (tmp_path / "home").symlink_to(disk)
    index = Index.build(tmp_path / "x.index", network, tmp_path / "home" / "photos")
    before = ids(index.snapshot)
    monkeypatch.chdir(tmp_path / "home" / "photos")  # of which the system says the other path
    embedded.clear()
    again = index.add(Path())
    assert (again.added, again.unchanged) == (0, 3) and ids(index.snapshot) == before
    result = index.sync(Path())
    assert counts(result) == (0, 0, 0, 0, 3) and result.images == 3 and not embedded
    after = {os.path.relpath(path, photos): id_ for path, id_ in ids(index.snapshot).items()}
    named = {os.path.relpath(path, tmp_path / "home" / "photos"): i for path, i in before.items()}
    assert after == named
    assert_fresh(index, photos, tmp_path / "fresh")
    (photos / "a").rename(photos / "c")
    embedded.clear()
    assert counts(index.sync(tmp_path / "home" / "photos")) == (0, 0, 2, 0, 1) and not embedded
    complete = index.sync(tmp_path / "home")  # labels are paths below the folder that is named
    assert counts(complete) == (0, 0, 0, 0, 0) and complete.relabelled == len(index) == 3


def test_a_link_to_a_folder_beside_it_is_an_image_of_its_own(
    network: Embedder, tmp_path: Path
) -> None:
    photos = write(tmp_path / "photos", {"a/1.png": 1})
    (photos / "b").symlink_to(photos / "a")
    index = Index.build(tmp_path / "x.index", network, photos)
    result = index.sync(photos / "a")
    assert (result.unchanged, result.outside, result.images) == (1, 1, 2)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(80)


def test_what_cannot_be_told_to_be_an_image_for_now_stays(
    network: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write(tmp_path / "photos", {"a/1.png": 1, "a/phone.heic": 2, "a/noending": 3})
    index = Index.build(tmp_path / "x.index", network, photos)
    (photos / "a" / "phone.heic").write_bytes(HEIC)
    real = image_files.first_bytes

    def refused(path: str, count: int) -> bytes:
        return b"" if path.endswith("noending") else real(path, count)

    monkeypatch.setattr(image_kinds, "reads_heic", lambda: False)
    for module in (image_files, image_kinds):
        monkeypatch.setattr(module, "first_bytes", refused)
    result = index.sync(photos)
    assert counts(result) == (0, 0, 0, 0, 3) and result.images == len(index) == 3
    for module in (image_files, image_kinds):
        monkeypatch.setattr(module, "first_bytes", real)
    (photos / "a" / "noending").write_bytes(b"a text by now")
    assert counts(index.sync(photos)) == (0, 1, 0, 0, 2)
    (photos / "a" / "phone.heic").unlink()
    assert counts(index.sync(photos)) == (0, 1, 0, 0, 1)
    table = written(photos / "table.csv", ["path", "a/1.png"])
    write(photos, {"a/noending": 3})
    index.sync(photos)
    (photos / "a" / "noending").write_bytes(HEIC)
    assert counts(index.sync(table)) == (0, 1, 0, 0, 1)  # it says which are to be there


def written(table: Path, lines: Sequence[str]) -> Path:
    table.write_text("\n".join(lines) + "\n")
    return table


def test_a_table_says_labels_and_a_folder_leaves_those_it_does_not_give(
    network: Embedder, tmp_path: Path, embedded: list[int]
) -> None:
    photos = write(tmp_path / "photos", {"1.png": 1, "2.png": 2, "3.png": 3})
    lines = ["path,label,shelf", "1.png,x,top", "2.png,y,low", "3.png,y,low"]
    table = written(photos / "list.csv", lines)
    index = Index.build(tmp_path / "x.index", network, table)
    (photos / "1.png").rename(photos / "11.png")
    write(photos, {"2.png": 22})
    embedded.clear()
    assert counts(index.sync(photos)) == (0, 0, 1, 1, 1) and sum(embedded) == 1
    rows = {os.path.basename(row.path): row for _, row in index.snapshot.rows()}
    told = {name: (row.label, row.metadata["shelf"]) for name, row in rows.items()}
    assert told == {"11.png": ("x", "top"), "2.png": ("y", "low"), "3.png": ("y", "low")}
    written(table, ["path,kind", "11.png,z", "2.png,y", "gone.png,y"])
    result = index.sync(table, label_column="kind")
    assert (result.removed, result.relabelled, result.unchanged) == (1, 2, 0)
    rows = {os.path.basename(row.path): row for _, row in index.snapshot.rows()}
    assert {name: row.label for name, row in rows.items()} == {"11.png": "z", "2.png": "y"}
    assert "shelf" not in rows["2.png"].metadata and sum(embedded) == 1


@pytest.mark.parametrize(
    ("old", "label", "new", "kept"),
    [
        ("/p/cats/1.png", "cats", "/p/1.png", ""),
        ("/p/cats/1.png", "cats", "/p/cats/2.png", "cats"),  # `cats` itself is synced
        ("/p/cats/old/1.png", "cats/old", "/p/1.png", ""),
        ("/p/1.png", "from a table", "/p/2.png", "from a table"),
        ("/p/cats/1.png", "cat", "/p/1.png", "cat"),
        ("/p/1.png", "", "/p/2.png", ""),
        ("/p/cafe\u0301/1.png", "caf\u00e9", "/p/1.png", ""),  # in two Unicode forms
    ],
)
def test_a_label_from_a_folder_goes_with_the_folder(
    network: Embedder, tmp_path: Path, old: str, label: str, new: str, kept: str
) -> None:
    before, after = (tmp_path / path.removeprefix("/") for path in (old, new))
    write(tmp_path, {old.removeprefix("/"): 1})
    index = Index.build(tmp_path / "x.index", network, before)
    ((id_, row),) = index.snapshot.rows()
    with store.transaction(index.folder, network.fingerprint) as changes:
        changes.describe({id_: row._replace(label=label)})
    before.rename(after)
    index.sync(after.parent)
    assert [row for _, row in index.snapshot.rows()] == [
        ImageRow(str(after), kept, dict(row.metadata))
    ]


def test_add_takes_no_notice_of_digests(network: Embedder, tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", {"a/1.png": 1, "a/2.png": 2})
    index = Index.build(tmp_path / "x.index", network, photos)
    assert index.add(photos).unchanged == 2
    without(index, DIGEST)
    assert index.add(photos).unchanged == 2
    (tmp_path / "list.csv").write_text("path,file_blake2b\nphotos/a/1.png,1\n")
    with pytest.raises(UserError, match="a column may not be called 'file_blake2b'"):
        index.add(tmp_path / "list.csv")


def test_a_digest_is_of_the_bytes_that_were_embedded(
    network: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = write(tmp_path / "photos", {"1.png": 1})
    monkeypatch.setattr(image_files, "read", lambda path: noise(2))  # replaced meanwhile
    index = Index.build(tmp_path / "x.index", network, photos)
    ((_, row),) = index.snapshot.rows()
    assert row.metadata[DIGEST] == contents.digest(noise(2))


@pytest.mark.slow
def test_uncropped_images_are_followed(tmp_path: Path, embedded: list[int]) -> None:
    network = serving_examples.model("evaluate.longest=32", "evaluate.batch=4")
    photos = write(tmp_path / "photos", {"a/1.png": 1, "a/2.png": 2})
    index = Index.build(tmp_path / "x.index", network, photos)
    (photos / "a").rename(photos / "b")
    embedded.clear()
    assert counts(index.sync(photos)) == (0, 0, 2, 0, 0) and not embedded


def test_the_command_says_what_it_did_in_a_line(
    network: Embedder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write(tmp_path / "photos", {f"a/{i}.png": i for i in range(9)})
    folder = Index.build(tmp_path / "x.index", network, photos).folder
    words = ["sync", "--index", str(folder), "--images", str(photos)]
    (photos / "a" / "0.png").unlink()
    (photos / "a" / "1.png").rename(photos / "b.png")
    write(photos, {"a/2.png": 22, "a/new.png": 33})
    (photos / "bad.png").write_bytes(b"?")
    capsys.readouterr()
    cli.main([*words, "--dry-run"])
    said = "{} added, 1 removed, 1 moved, 1 changed, 6 as they were; {} images"
    assert capsys.readouterr().out == f"{folder}: would be {said.format(2, 10)}\n"
    cli.main(words)
    noted = f"warning: 1 files cannot be read, named in {folder / 'unreadable.txt'}"
    assert capsys.readouterr().out == f"{folder}: {said.format(1, 9)}\n{noted}\n"
    cli.main([*words[:-1], str(photos / "a"), "--verify-content"])
    out = capsys.readouterr().out
    assert "0 added, 0 removed, 0 moved, 0 changed, 8 as they were, 1 outside of the folder;" in out
    many = index_commands.summary(SyncResult(10, 10, 500, 5, 2, 4475, 1000, 15, {}))
    assert many == (
        "10 added, 10 removed, 500 moved, 5 changed, 4,475 as they were, 2 relabelled, "
        "1,000 outside of the folder; 5,992 images"
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--images", "{photos}/0.png"], "--images {photos}/0.png is one image; name its folder"),
        (["--images", "{photos}/none"], "{photos}/none: no such folder or file"),
        (["--images", "{photos}", "--dryrun"], "did you mean '--dry-run'"),
        (["--images", "{photos}", "--label-column", "x"], "--label-column needs a CSV file"),
        ([], "the following arguments are required: --images"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, words: list[str], says: str) -> None:
    photos = write(tmp_path / "photos", {"0.png": 1})
    store.create(tmp_path / "index", VectorSpec("a network", 1, 4, "float32"))
    given = [word.format(photos=photos) for word in words]
    with pytest.raises(UserError) as caught:
        cli.main(["sync", "--index", str(tmp_path / "index"), *given])
    assert says.format(photos=photos) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="none is no index"):
        cli.main(["sync", "--index", str(tmp_path / "none"), "--images", str(photos), "--dry-run"])


@pytest.mark.parametrize("points", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_anywhere_the_old_or_the_new_state_is_left(tmp_path: Path, points: int) -> None:
    left = json.loads(ended(started("index_sync_killed.py", tmp_path, points), 300))
    assert left["old"] + left["new"] == points and left["events"] > 100
    assert left["old"] and left["new"]


def test_an_index_that_cannot_be_written_is_named(
    network: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))  # of a write, which names no file

    monkeypatch.setattr(model_files, "save", full)
    photos = write(tmp_path / "photos", {"a/1.png": 1})
    with pytest.raises(
        UserError, match=r"x\.index cannot be written \(File too large\): none is left"
    ):
        Index.build(tmp_path / "x.index", network, photos)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
