"""python -m abe_jax.index: what each command does, all of it or nothing, and what it refuses."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pytest
from index_runs import as_run, noise, split_of, tiny, written

from abe_jax import files
from abe_jax.cli import index, index_commands
from abe_jax.config import stored
from abe_jax.errors import UserError
from abe_jax.evaluation.network import ROUNDING
from abe_jax.index import Snapshot, Threshold, ingest, snapshot, store
from abe_jax.index.vectors import copy_distance


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    return as_run(tmp_path_factory.mktemp("runs") / "run", tiny(tiny_data, "evaluate.batch=16"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path, run: Path) -> Path:
    """Pictures of three classes and an index of them, side by side."""
    base = tmp_path_factory.mktemp("kept")
    split = split_of(tiny(tiny_data), "val")
    rows = [row for row in range(len(split.labels)) if split.labels[row] < 4]
    written(base / "pictures", split, rows[:40])
    (base / "pictures" / "top.png").write_bytes(noise(0))
    build(run, base / "pictures", base / "index")
    return base


def build(run: Path, images: Path, out: Path, *more: object) -> None:
    index.main(
        ["build", "--workdir", str(run), "--images", str(images), "--out", str(out)]
        + [str(word) for word in more]
    )


def command(name: str, folder: Path, *more: object) -> None:
    index.main([name, "--index", str(folder), *map(str, more)])


def labels(now: Snapshot) -> Mapping[str, str]:
    return {row.path: row.label for _, row in now.rows()}


def content(folder: Path) -> Mapping[Path, bytes]:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_whatever_takes_arguments_does_something() -> None:
    """Two tables: that of the arguments imports nothing heavy."""
    assert list(index.COMMANDS) == list(index_commands.RUN)


def test_a_folder_is_indexed_by_absolute_paths_with_their_folders_as_labels(kept: Path) -> None:
    now = snapshot.read(kept / "index")
    pictures = {p for p in (kept / "pictures").rglob("*.png")}
    assert set(labels(now)) == {str(path) for path in pictures} and now.count == 41
    for path, label in labels(now).items():
        assert label == ("" if path.endswith("top.png") else Path(path).parent.name)
    network = stored.embedder_of_index(kept / "index" / "model")
    assert network.fingerprint == now.spec.fingerprint
    path = sorted(pictures)[7]
    (id_,) = (i for i, row in now.rows() if row.path == str(path))
    alone = network.embed([path.read_bytes()]).vectors
    np.testing.assert_allclose(now.vectors(np.array([id_])), alone, rtol=0, atol=ROUNDING)
    assert not (kept / "index" / "unreadable.txt").exists()
    assert sorted(p.name for p in kept.iterdir()) == ["index", "pictures"]


def test_a_csv_file_brings_labels_and_everything_else_as_metadata(
    run: Path, kept: Path, tmp_path: Path
) -> None:
    shutil.copytree(kept / "pictures", tmp_path / "pictures")
    pictures = sorted((tmp_path / "pictures").rglob("*.png"))[:3]
    lines = [f"{p.relative_to(tmp_path)},{i},shelf {i}" for i, p in enumerate(pictures)]
    (tmp_path / "list.csv").write_text("path,kind,place\n" + "\n".join(lines) + "\n")
    build(run, tmp_path / "list.csv", tmp_path / "index", "--label-column", "kind")
    rows = [row for _, row in snapshot.read(tmp_path / "index").rows()]
    assert [row.path for row in rows] == [str(path) for path in pictures]
    assert [row.label for row in rows] == ["0", "1", "2"]
    assert [row.metadata["place"] for row in rows] == ["shelf 0", "shelf 1", "shelf 2"]
    with pytest.raises(
        UserError, match=r"--label-column .* has no column 'knid'; did you mean 'kind'"
    ):
        build(run, tmp_path / "list.csv", tmp_path / "other", "--label-column", "knid")
    with pytest.raises(UserError, match=r"needs a CSV file; .*pictures has no columns"):
        build(run, tmp_path / "pictures", tmp_path / "other", "--label-column", "kind")
    (tmp_path / "list.csv").write_text("path,file_bytes\n" + str(pictures[0].relative_to(tmp_path)))
    with pytest.raises(UserError, match="a column may not be called 'file_bytes'"):
        build(run, tmp_path / "list.csv", tmp_path / "other")


def test_unchanged_images_are_skipped_changed_ones_replaced_new_ones_added(
    run: Path, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, folder = tmp_path / "pictures", tmp_path / "index"
    shutil.copytree(kept / "pictures", pictures)
    build(run, pictures, folder)
    before = snapshot.read(folder)
    command("add", folder, "--images", pictures)
    assert "0 added, 41 unchanged; 41 images" in capsys.readouterr().out
    assert snapshot.read(folder).generation == before.generation  # nothing was written
    changed = sorted(pictures.rglob("*.png"))[3]
    changed.write_bytes(noise(3))
    (pictures / "new").mkdir()
    (pictures / "new" / "a.png").write_bytes(noise(4))
    command("add", folder, "--images", pictures)
    assert "1 added, 1 replaced, 40 unchanged; 42 images" in capsys.readouterr().out
    now = snapshot.read(folder)
    assert now.generation == before.generation + 1  # one change: both or neither
    ids = {row.path: id_ for id_, row in now.rows()}
    assert len(ids) == now.count == 42
    network = stored.embedder_of_index(folder / "model")
    for path in (changed, pictures / "new" / "a.png"):
        alone = network.embed([path.read_bytes()]).vectors
        vector = now.vectors(np.array([ids[str(path)]]))
        np.testing.assert_allclose(vector, alone, rtol=0, atol=ROUNDING)
    assert ids[str(changed)] not in before.ids()


def test_a_label_stays_where_none_is_given(
    run: Path, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, folder = tmp_path / "pictures", tmp_path / "index"
    shutil.copytree(kept / "pictures", pictures)
    build(run, pictures, folder)
    of_class = sorted(p for p in pictures.iterdir() if p.is_dir())[1]
    before = labels(snapshot.read(folder))
    command("add", folder, "--images", of_class)  # its images have no folder below it
    assert f"0 added, {len(list(of_class.iterdir()))} unchanged" in capsys.readouterr().out
    changed = sorted(of_class.iterdir())[0]
    changed.write_bytes(noise(3))
    command("add", folder, "--images", changed)
    assert "0 added, 1 replaced; 41 images" in capsys.readouterr().out
    assert labels(snapshot.read(folder)) == before


def test_an_add_that_fails_changes_nothing(
    run: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(kept / "index", folder)
    before = content(folder)
    for i in range(40):
        (tmp_path / f"{i}.png").write_bytes(noise(i))
    monkeypatch.setattr(ingest, "PIECE", 16)
    seen = []

    def stops(self: store.Transaction, vectors: object, rows: object) -> None:
        seen.append(rows)
        if len(seen) == 3:
            raise InterruptedError
        append(self, vectors, rows)

    append: Callable = store.Transaction.append
    monkeypatch.setattr(store.Transaction, "append", stops)
    with pytest.raises(InterruptedError):
        command("add", folder, "--images", tmp_path)
    assert len(seen) == 3 and content(folder) == before


def test_what_cannot_be_read_is_named_and_nothing_else_is_lost(
    run: Path, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, folder = tmp_path / "pictures", tmp_path / "index"
    shutil.copytree(kept / "pictures", pictures)
    (pictures / "bad\n.png").write_bytes(noise(1)[:60])
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "link.png").symlink_to("nowhere")
    os.mkfifo(pictures / "pipe.png")
    raw = os.fsencode(pictures) + b"/\xff.png"
    with open(raw, "wb") as file:
        file.write(noise(2))
    build(run, pictures, folder)
    assert "4 files cannot be read, named in" in capsys.readouterr().out
    now = snapshot.read(folder)
    assert now.count == 42 and os.fsdecode(raw) in labels(now)
    names = [line.split("\t")[0] for line in (folder / "unreadable.txt").read_text().splitlines()]
    unreadable = ["bad\\n.png", "empty.jpg", "link.png", "pipe.png"]
    assert names == [str(pictures / name) for name in unreadable]
    (pictures / "empty.jpg").write_bytes(noise(5))  # mended, and another one damaged
    damaged = sorted(pictures.rglob("0*.png"))[0]
    damaged.write_bytes(b"?")
    command("add", folder, "--images", pictures)
    assert "1 added, 41 unchanged" in capsys.readouterr().out
    lines = (folder / "unreadable.txt").read_text()
    assert str(damaged) in lines and "empty.jpg" not in lines and "bad" in lines
    assert str(damaged) in labels(snapshot.read(folder))  # its older vector stays
    (folder / "unreadable.txt").write_text(f"\na note\n{lines}")  # somebody wrote into it
    command("add", folder, "--images", pictures)
    noted = {line.split("\t")[0] for line in (folder / "unreadable.txt").read_text().splitlines()}
    assert noted == {"", "a note", *(line.split("\t")[0] for line in lines.splitlines())}


def test_nothing_readable_makes_no_index(run: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UserError, match="no image is named or lies there"):
        build(run, tmp_path / "pictures", tmp_path / "index")
    (tmp_path / "pictures" / "a.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"none of 1 images can be read, the first: .*a\.png"):
        build(run, tmp_path / "pictures", tmp_path / "index")
    assert [p.name for p in tmp_path.iterdir()] == ["pictures"]


def test_build_takes_no_folder_of_others_and_deletes_what_was_killed(
    run: Path, kept: Path, tmp_path: Path
) -> None:
    pictures = kept / "pictures"
    with pytest.raises(UserError, match=r"--out .* is an index already; `python -m abe_jax"):
        build(run, pictures, kept / "index")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine")
    with pytest.raises(UserError, match="exists and is no index"):
        build(run, pictures, tmp_path)
    assert (tmp_path / "model" / "mine").read_text() == "mine"
    out = tmp_path / "new" / "[x]"
    dead, alive = (out.parent / f".[x].building-{name}" for name in ("dead", "alive"))
    dead.mkdir(parents=True)
    (dead / "index.json").write_text("half")
    alive.mkdir()
    with files.lock(alive, patience=0):
        build(run, pictures, out)
    assert sorted(p.name for p in out.parent.iterdir()) == [alive.name, "[x]"]
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "link").symlink_to("empty")
    build(run, pictures, tmp_path / "link")
    assert snapshot.read(empty).count == 41 and (tmp_path / "link").is_symlink()


def test_an_index_has_the_rights_that_the_user_gives(
    run: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o077)
    try:
        build(run, kept / "pictures", tmp_path / "index")
    finally:
        os.umask(before)
    assert (tmp_path / "index").stat().st_mode & 0o777 == 0o700
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UserError, match=r"--out .*here is where this process runs; name a new"):
        build(run, kept / "pictures", Path())


def test_a_name_that_is_no_text_is_said(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    shutil.copytree(kept / "index", folder)
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")  # as of most terminals
    ended = processes.run("index", "info", "--index", folder, data=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{tmp_path}/\\udcff\nimages ")


@pytest.mark.parametrize("storage", ["float16", "binary"])
def test_other_storages(storage: str, run: Path, kept: Path, tmp_path: Path) -> None:
    build(run, kept / "pictures", tmp_path / "index", "--storage", storage)
    now = snapshot.read(tmp_path / "index")
    assert now.spec.storage == storage and now.count == 41


@pytest.mark.parametrize("storage", ["float16", "binary"])
def test_faiss_ranks_alike(storage: str, run: Path, kept: Path, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    build(run, kept / "pictures", tmp_path / "index", "--storage", storage)
    command("export", tmp_path / "index", "--faiss", tmp_path / "x.faiss")
    now = snapshot.read(tmp_path / "index")
    for there in (".", tmp_path / "x.faiss"):
        with pytest.raises(UserError, match="exists already; name a new file"):
            command("export", tmp_path / "index", "--faiss", there)
    read = faiss.read_index_binary if storage == "binary" else faiss.read_index
    assert read(str(tmp_path / "x.faiss")).ntotal == now.count == 41


def test_the_batch_is_kept_with_the_index(run: Path, kept: Path, tmp_path: Path) -> None:
    build(run, kept / "pictures", tmp_path / "index", "--batch", 8)
    network = stored.embedder_of_index(tmp_path / "index" / "model")
    assert network.network.batch == 8
    assert network.description["evaluate"]["batch"] == 8
    assert network.fingerprint == snapshot.read(kept / "index").spec.fingerprint


def test_images_are_removed_by_path_folder_and_id(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(kept / "index", folder)
    pictures = kept / "pictures"
    of_class = sorted(p for p in pictures.iterdir() if p.is_dir())[1]
    inside = len(list(of_class.iterdir()))
    command("remove", folder, of_class, pictures / "top.png", os.path.relpath(of_class))
    assert f"{inside + 1} removed; {40 - inside} images" in capsys.readouterr().out
    now = snapshot.read(folder)
    assert not any(Path(path).parent == of_class for path in labels(now))
    first = [int(id_) for id_ in now.ids()[:2]]
    command("remove", folder, "--ids", *first)
    assert set(snapshot.read(folder).ids()) == set(now.ids()) - set(first)
    before = content(folder)
    left = next(iter(labels(snapshot.read(folder))))
    for words, says in (
        ([left, of_class], "neither an image of"),
        (["--ids", now.ids()[5], first[0]], "is the id of no image"),
        ([left, "--ids", now.ids()[5]], "paths, or --ids and no paths"),
        ([], "paths, or --ids"),
        (["--ids", "x"], "invalid int value: 'x'"),
        (["--ids", now.ids()[5], 10**20], f"--ids {10**20} is the id of no image"),
    ):
        with pytest.raises(UserError, match=says):
            command("remove", folder, *words)
    assert content(folder) == before


def test_info_says_what_is_there_and_proves_it(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(kept / "index", folder)
    store.set_threshold(folder, Threshold(0.25, "precision 0.9", {"precision": 0.5, "queries": 4}))
    command("info", folder, "--json", "--verify")
    said = json.loads(capsys.readouterr().out)
    assert (said["images"], said["labels"], said["verified"]) == (41, 3, True)
    assert said["threshold"]["distance"] == 0.25 and said["storage"] == "float32"
    command("info", folder, "--verify")
    out = capsys.readouterr().out
    assert (
        "41, with 3 different labels" in out and "0.25 (squared distance), for precision 0.9" in out
    )
    assert "every file is what was written" in out
    weights = folder / "model" / "weights.npz"
    with np.load(weights) as read:
        arrays = dict(read)
    name = next(name for name in arrays if name.endswith("kernel"))
    arrays[name] = arrays[name] + np.float32(1e-3)
    np.savez(weights, **arrays)
    command("info", folder)
    with pytest.raises(UserError, match="its vectors were not made by this network"):
        command("info", folder, "--verify")
    with pytest.raises(UserError, match="not made by this network"):
        command("add", folder, "--images", kept / "pictures")
    shutil.copytree(kept / "index" / "model", folder / "model", dirs_exist_ok=True)
    (file,) = (folder / "segments").glob("*.vectors.npy")
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 1
    file.write_bytes(bytes(raw))
    with pytest.raises(UserError, match=r"vectors.npy is damaged: its checksum differs"):
        command("info", folder, "--verify")


def test_calibrate_keeps_what_was_measured(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(kept / "index", folder)
    labelled = tmp_path / "labelled"
    shutil.copytree(kept / "pictures", labelled)  # other paths: each finds its copy
    (labelled / "top.png").unlink()
    command("calibrate", folder, "--images", labelled, "--precision", 0.9)
    out = capsys.readouterr().out
    assert "for precision 0.9: precision 1.0000, recall 1.0000" in out
    assert "warning: 40 of the 40 labelled images have a copy in the index" in out
    now = snapshot.read(folder)
    assert now.threshold is not None and now.threshold.measured["indexed"] == 41
    assert now.threshold.distance <= copy_distance(now.spec)
    next(labelled.rglob("*.png")).write_bytes(b"no image")
    command("calibrate", folder, "--images", labelled, "--false-match-rate", 0.1)
    assert "1 of the labelled images cannot be read" in capsys.readouterr().out
    after = snapshot.read(folder).threshold
    assert after is not None and after.measured["queries"] == 39
    own = kept / "pictures"  # without the one that has no label
    names = [p for p in own.rglob("*.png") if p.name != "top.png"]
    lines = [f"{p.relative_to(own)},{p.parent.name}" for p in names]
    (own / "list.csv").write_text("path,label\n" + "\n".join(lines))
    command("calibrate", folder, "--images", own / "list.csv", "--false-match-rate", 0.9)
    assert "have a copy" not in capsys.readouterr().out
    (own / "list.csv").unlink()
    before = content(folder)
    for words, says in (
        (["--precision", 0.999], "needs 1000 labelled images"),
        (["--false-match-rate", 0.001], "needs 1000 labelled images"),
        (["--precision", 0.9, "--false-match-rate", 0.1], "not allowed with"),
    ):
        with pytest.raises(UserError, match=says):
            command("calibrate", folder, "--images", labelled, *words)
    assert content(folder) == before


def test_the_list_of_unreadable_files_is_written_while_others_wait(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(kept / "index", tmp_path / "index")
    note, seen = ingest.note_files, []

    def noted(path: Path, *rest: Any) -> None:
        with files.lock(path.parent / ".lock", patience=0) as free:
            seen.append((free, snapshot.read(path.parent).count))
        note(path, *rest)

    monkeypatch.setattr(ingest, "note_files", noted)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "new.png").write_bytes(noise(9))
    (tmp_path / "a" / "bad.png").write_bytes(b"")
    command("add", tmp_path / "index", "--images", tmp_path / "a")
    assert seen == [(False, 42)]
    assert "bad.png" in (tmp_path / "index" / "unreadable.txt").read_text()


def test_an_index_moves_with_its_network(kept: Path, tmp_path: Path) -> None:
    shutil.copytree(kept / "index", tmp_path / "copy")
    (tmp_path / "copy").rename(tmp_path / "moved")
    (tmp_path / "new.png").write_bytes(noise(9))
    command("add", tmp_path / "moved", "--images", tmp_path / "new.png")
    assert snapshot.read(tmp_path / "moved").count == 42


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["biuld"], "biuld: no such command; did you mean 'build'?"),
        (["info", "--index", "nowhere"], "nowhere is no index"),
        (["info"], "the following arguments are required: --index"),
        (["info", "--index", "x", "--verfiy"], "did you mean '--verify'"),
        (["info", "--index", "x", "--config.seed=3"], "an index is made as its network's config"),
        (["add", "--index", "nowhere", "--images", "."], "nowhere is no index"),
        (["build", "--images", ".", "--out", "x"], "one of the arguments --workdir --weights"),
        (
            ["build", "--weights", "a", "--workdir", "b", "--images", ".", "--out", "x"],
            "not allowed with",
        ),
        (
            ["build", "--weights", "efficientnet-lite7", "--images", __file__, "--out", "x"],
            "no .csv",
        ),
        (["build", "--weights", "x", "--images", "nowhere", "--out", "x"], "no such folder"),
        (
            ["build", "--weights", "x", "--images", ".", "--out", "x", "--storage", "float23"],
            "did you mean 'float32'",
        ),
        (
            ["build", "--weights", "x", "--images", ".", "--out", "x", "--batch", "0"],
            "--batch must be 1 image or more",
        ),
        (["export", "--index", "nowhere", "--faiss", "x"], "nowhere is no index"),
    ],
)
def test_mistakes_are_one_line(words: list[str], says: str) -> None:
    with pytest.raises(UserError) as caught:
        index.main(words)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        index.main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for name in index.COMMANDS:
        assert f"python -m abe_jax.index {name} " in out
        with pytest.raises(SystemExit):
            index.main([name, "--help"])
        assert f"python -m abe_jax.index {name}" in capsys.readouterr().out
