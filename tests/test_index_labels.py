"""The labels of an index: those of training, and those that it has already."""

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from index_runs import as_run, noise, tiny

from abe_jax.cli import index
from abe_jax.errors import UserError
from abe_jax.index import calibration, snapshot, store
from abe_jax.index.image_list import ImageList, list_images
from abe_jax.index.known_labels import with_known_labels
from abe_jax.index.manifest import VectorSpec
from abe_jax.index.segments import ImageRow

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def command(name: str, folder: Path, images: Path, *more: object) -> None:
    index.main([name, "--index", str(folder), "--images", str(images), *map(str, more)])


def labels(folder: Path) -> list[str]:
    return sorted(row.label for _, row in snapshot.read(folder).rows())


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    """Twelve photographs of three classes, each twice: in one year and, copied, in the next."""
    base = tmp_path_factory.mktemp("photographs")
    for number in range(12):
        for year in ("2021", "2022"):
            path = base / "set" / "abc"[number % 3] / year / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(noise(number))
    (base / "set" / "a" / "film.mov").write_bytes(b"")
    run = as_run(base / "run", tiny(tiny_data))
    words = ("--workdir", run, "--images", base / "set", "--out", base / "index")
    index.main(["build", *map(str, words)])
    return base


def test_an_index_has_the_classes_of_training_and_calibrates_by_them(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(photographs / "index", folder)
    assert labels(folder) == ["a"] * 8 + ["b"] * 8 + ["c"] * 8
    # The nearest neighbour of each is its copy in the other year, which is of its class.
    command("calibrate", folder, photographs / "set", "--precision", 0.9)
    out = capsys.readouterr().out
    assert "precision 1.0000, recall 1.0000" in out
    assert out.count("warning: left out: 1 .mov") == 1


def test_what_is_left_out_is_said_once_by_build_and_add(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(photographs / "index", folder)
    command("add", folder, photographs / "set")
    assert capsys.readouterr().out == (
        f"{folder}: 0 added, 24 unchanged; 24 images\nwarning: left out: 1 .mov\n"
    )


def relabelled(photographs: Path, folder: Path, images: Path) -> None:
    """An index of the images as earlier programs made it, labelled by whole paths of folders."""
    old = snapshot.read(photographs / "index")
    ids = old.ids()
    store.create(folder, old.spec)
    shutil.copytree(photographs / "index" / "model", folder / "model")
    rows = [old.row(int(id_)) for id_ in ids]
    rows = [
        row._replace(label=str(Path(row.path).parent.relative_to(photographs / "set")))
        for row in rows
    ]
    vectors = old.vectors(ids).reshape(len(ids), old.spec.learners, old.spec.dim)
    store.add(folder, vectors, rows, old.spec.fingerprint)


def test_an_index_that_is_there_keeps_its_labels(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "index"
    relabelled(photographs, folder, photographs / "set")
    before = labels(folder)
    assert set(before) == {f"{name}/{year}" for name in "abc" for year in (2021, 2022)}
    command("add", folder, photographs / "set")
    out = capsys.readouterr().out
    assert f"{folder}: 0 added, 24 unchanged" in out and labels(folder) == before
    assert (
        "warning: the index labels 24 of these images by the path of their folder, as 'a/2021', "
        "where a new one has 'a'; `index sync` labels all by class" in out
    )
    with pytest.raises(UserError, match="cannot be reached"):  # as it was: by those labels
        command("calibrate", folder, photographs / "set", "--precision", 0.9)
    assert "`index sync` labels all" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "known", "given", "by_folder", "kept"),
    [
        ("/p/cat/2021/1.jpg", "cat/2021", "cat", True, "cat/2021"),
        ("/p/gallery/cat/1.jpg", "gallery/cat", "cat", True, "gallery/cat"),
        ("/p/cat/1.jpg", "cat", "", True, "cat"),
        ("/p/cat/1.jpg", NFD, NFC, True, NFD),
        ("/p/cat/2021/1.jpg", "cat/2021", "cat", False, "cat"),  # written down: the user's word
        ("/p/cat/1.jpg", "lion", "cat", True, "cat"),
        ("/p/cat/2021/1.jpg", "dog/2021", "cat", True, "cat"),  # it was moved
        ("/p/cat/1.jpg", "", "cat", True, "cat"),
    ],
)
def test_which_label_an_image_keeps(
    path: str, known: str, given: str, by_folder: bool, kept: str
) -> None:
    images = ImageList([ImageRow(path, given), ImageRow("/p/new.jpg", NFC)], {}, (), by_folder)
    found = with_known_labels(images, {path: known, "/p/other.jpg": NFD})
    assert [row.label for row in found.rows] == [kept, NFD]  # a new image: in the index's form
    assert bool(found.notes) == (kept == known and "/" in kept)


def test_an_image_has_the_path_of_the_index_where_a_link_leads_to_its_folder(
    tmp_path: Path,
) -> None:
    (tmp_path / "disk" / "photos").mkdir(parents=True)
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    linked, folder = f"{tmp_path}/home/photos", f"{tmp_path}/disk/photos"
    known = {f"{linked}/a/1.jpg": "a", f"{tmp_path}/other/2.jpg": "b", f"{folder}/3.jpg": "c"}
    rows = [ImageRow(f"{folder}/{name}") for name in ("a/1.jpg", "2.jpg", "3.jpg")]
    found = with_known_labels(ImageList(rows, {}, (), True, folder), known).rows
    assert [(row.path, row.label) for row in found] == [
        (f"{linked}/a/1.jpg", "a"),
        (f"{folder}/2.jpg", ""),
        (f"{folder}/3.jpg", "c"),
    ]
    nowhere = ImageList(rows, {}, (), True, f"{tmp_path}/gone")
    assert with_known_labels(nowhere, known).rows[0].path == f"{folder}/a/1.jpg"


def test_each_keeps_its_form_where_an_index_has_both() -> None:
    known = {"/p/1.jpg": NFC, "/p/2.jpg": NFD}
    for form in (NFC, NFD):
        images = ImageList([ImageRow(path, form) for path in known], {}, (), True)
        found = with_known_labels(images, known)
        assert {row.path: row.label for row in found.rows} == known


def test_calibration_takes_two_forms_of_a_label_for_one(tmp_path: Path) -> None:
    x = np.eye(4, dtype=np.float32)[:, None]
    store.create(tmp_path / "index", VectorSpec("f", 1, 4, "float32"))
    rows = [ImageRow(f"/{i}", label) for i, label in enumerate((NFD, NFD, NFC, "tea"))]
    store.add(tmp_path / "index", x, rows, "f")
    now = snapshot.read(tmp_path / "index")
    of = calibration.labelled_neighbours(now, x, [f"/new{i}" for i in range(4)], [NFC] * 3 + ["x"])
    assert of.right.tolist() == of.answerable.tolist() == [True, True, True, False]


def test_a_path_that_is_nearly_right_is_told_in_the_list_of_the_unreadable(
    photographs: Path, tmp_path: Path
) -> None:
    shutil.copytree(photographs / "set" / "a" / "2021", tmp_path / "a")
    table = tmp_path / "list.csv"
    table.write_text("path,label\na/0.png,a\nA/3.PNG,a\na/6.png ,a\na/none.png,a\nz\0.png,a\n")
    reasons = list_images(table).unreadable
    assert reasons == {
        f"{tmp_path}/A/3.PNG": "No such file or directory; did you mean 'a/3.png'?",
        f"{tmp_path}/a/6.png ": "No such file or directory; did you mean 'a/6.png'?",
        f"{tmp_path}/a/none.png": "No such file or directory",
        f"{tmp_path}/z\0.png": "no file",
    }
