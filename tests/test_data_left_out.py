"""Which files of a folder are images, and what is said of those that are left out."""

import os
import re
import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pixel_forms
import pytest

from abe_jax.data.images import decoding
from abe_jax.data.sources import image_files, image_kinds
from abe_jax.data.sources.listing import listing
from abe_jax.data.sources.walking import LeftOut, below
from abe_jax.errors import UserError
from abe_jax.index.image_list import list_images


def encoded(ending: str, value: int = 9) -> bytes:
    return cv2.imencode(ending, np.full((8, 8, 3), value, np.uint8))[1].tobytes()


def media(*brands: bytes) -> bytes:
    """The start of an ISO media file: a photograph or a video, by its brands."""
    others = b"".join(brands[1:])
    return struct.pack(">I4s4s4x", 16 + len(others), b"ftyp", brands[0]) + others + bytes(80)


BLANKS = 25  # of which a search that tries every way needs seconds, and of 50 years
HEIC, MOV = media(b"heic", b"mif1", b"heic"), media(b"qt  ", b"qt  ")


def write(base: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(content)
    return base


def files_and_notes(base: Path) -> tuple[list[str], list[str]]:
    found = listing(str(base), "label")
    return [image.path for image in found.images], list(found.notes)


@pytest.fixture
def without_heic(monkeypatch):
    monkeypatch.setattr(image_kinds, "reads_heic", lambda: False)


@pytest.mark.parametrize(
    "name",
    [
        "1.jfif",
        "noending",
        "x.jpg?size=large",
        "x.jpg&w=640",
        "photo.pjpeg",
        "IMG_2021.05.01 12h30",
        "x.jpg.1",
        "x.bin",
        "x.",
    ],
)
@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_an_image_is_listed_whatever_its_name(tmp_path, name, ending):
    write(tmp_path, {f"a/{name}": encoded(ending), "a/plain.jpg": encoded(".jpg")})
    assert files_and_notes(tmp_path) == (sorted([f"a/{name}", "a/plain.jpg"]), [])
    assert [Path(row.path).name for row in list_images(tmp_path).rows] == sorted(
        [name, "plain.jpg"]
    )
    assert list_images(tmp_path / "a" / name).rows[0].path == str(tmp_path / "a" / name)


@pytest.mark.parametrize(
    "ending", [".jpg", ".png", ".bmp", ".webp", ".tiff", ".gif", ".jp2", ".avif", ".ppm", ".pgm"]
)
def test_first_bytes_tell_every_form_that_is_read(ending):
    image = np.full((64, 64, 3)[: 2 if ending == ".pgm" else 3], 9, np.uint8)
    file = cv2.imencode(ending, image)[1].tobytes()
    assert decoding.pixels(file).shape == (64, 64, 3)
    assert image_kinds.kind_of_bytes(file[: image_kinds.FIRST_BYTES]) == "image"


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"BMW, and how to drive it: a text without ending\n",
        b"P1 is the first point of the plan\n",
        b"P5\nnot a number",
        b"<!doctype html><title>404</title>",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"GIF9",
        b"\x89PNG",
        MOV,
        media(b"isom", b"mp42"),
        media(b"crx ", b"isom"),
        b"8BPS\0\1",
    ],
)
def test_first_bytes_tell_what_is_no_image(first):
    assert image_kinds.kind_of_bytes(first) == "other"


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (HEIC, "heic"),
        (media(b"mif1", b"heic"), "heic"),
        (media(b"msf1", b"hevc"), "heic"),
        (media(b"mif1", b"avif"), "image"),
        (media(b"avis", b"avif"), "image"),
    ],
)
def test_brands_tell_heic_from_avif(file, kind, monkeypatch):
    monkeypatch.setattr(image_kinds, "reads_heic", lambda: False)
    assert image_kinds.kind_of_bytes(file) == kind
    monkeypatch.setattr(image_kinds, "reads_heic", lambda: True)
    assert image_kinds.kind_of_bytes(file) == "image"


def test_comments_stand_in_the_head_of_a_pnm():
    assert image_kinds.kind_of_bytes(b"P6\n# made by hand\n8 # wide\n8\n255\n") == "image"
    assert image_kinds.kind_of_bytes(b"P4# made by hand\n\n #\n 8\t8\n") == "image"


@pytest.mark.parametrize(
    "first",
    [b"P1" + b" " * BLANKS, b"P2 1" + b"\n" * BLANKS, b"P3" + b" \n#\n" * BLANKS],
    ids=["spaces", "lines", "comments"],
)
def test_a_file_of_blanks_is_told_at_once(first):
    began = time.process_time()
    assert image_kinds.kind_of_bytes(first + b"x") == "other"
    assert time.process_time() - began < 0.5


def test_every_form_that_has_a_reader_is_an_image_by_its_first_bytes():
    read = [form for form in pixel_forms.forms() if form.shown is not None]
    kinds = {f.name: image_kinds.kind_of_bytes(f.encoded[: image_kinds.FIRST_BYTES]) for f in read}
    assert not [name for name, kind in kinds.items() if kind != "image"]
    assert image_kinds.kind_of_bytes(b"P7\n# by hand\nHEIGHT 8\nWIDTH 8\n") == "image"
    assert image_kinds.kind_of_bytes(b"P7\nis the last point of the plan\n") == "other"


def test_what_is_left_out_is_counted_by_ending_in_one_line(tmp_path, without_heic):
    write(tmp_path, {f"a/{i}.HEIC": HEIC for i in range(12)})
    write(tmp_path, {f"a/{i}.mov": MOV for i in range(3)})
    write(tmp_path, {"a/1.jpg": encoded(".jpg"), "b/2.jpg": encoded(".jpg"), "b/README": b"text"})
    assert files_and_notes(tmp_path) == (
        ["a/1.jpg", "b/2.jpg"],
        [
            "left out: 12 .heic, 3 .mov, 1 without ending; 12 of them are HEIC, which the package "
            "pillow-heif reads"
        ],
    )
    assert list(list_images(tmp_path).notes) == files_and_notes(tmp_path)[1]


def test_heic_is_an_image_where_its_package_is(tmp_path, monkeypatch):
    write(tmp_path, {"a/1.jpg": encoded(".jpg"), "b/1.heic": HEIC, "b/bare": HEIC})
    monkeypatch.setattr(image_kinds, "reads_heic", lambda: True)
    assert files_and_notes(tmp_path) == (["a/1.jpg", "b/1.heic", "b/bare"], [])


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"b/1.heic": HEIC}, "1 .heic; one of them is HEIC, .*; no image is left of class 'b'$"),
        ({"b/1.mov": MOV, "b/2021/2.MOV": MOV}, "2 .mov; no image is left of class 'b'$"),
        ({"b/1.dng": b"II*\0" * 9}, "1 .dng; no image is left of class 'b'$"),
        (
            {"b/1.mov": MOV, "c/1.mov": MOV, "d/1.psd": b"8BPS"},
            "2 .mov, 1 .psd; no image is left of class 'b' and of 2 other classes$",
        ),
        ({"b/1.mov": MOV, "b/1.png": encoded(".png")}, "left out: 1 .mov$"),
    ],
)
def test_a_class_of_which_nothing_is_left_is_named(tmp_path, without_heic, files, says):
    write(tmp_path, {"a/1.jpg": encoded(".jpg"), **files})
    for found in (listing(str(tmp_path), "label"), list_images(tmp_path)):
        (note,) = found.notes
        assert re.search(says, note), note


def test_a_class_that_vanishes_below_a_split_is_named(tmp_path):
    write(tmp_path, {"train/a/1.jpg": encoded(".jpg"), "test/b/1.mov": MOV})
    write(tmp_path, {"test/c/1.jpg": encoded(".jpg")})
    for found in (listing(str(tmp_path), "label"), list_images(tmp_path)):
        assert list(found.notes) == ["left out: 1 .mov; no image is left of class 'b'"]


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "labels.json", "Thumbs.db", ".DS_Store", ".hidden.mov", "desktop.ini", "1.XMP"],
)
def test_what_nobody_takes_for_an_image_is_left_out_without_a_word(tmp_path, name):
    write(tmp_path, {"a/1.jpg": encoded(".jpg"), f"a/{name}": encoded(".jpg"), f"b/{name}": b"x"})
    assert files_and_notes(tmp_path) == (["a/1.jpg"], [])
    assert list(list_images(tmp_path).notes) == []


def test_raw_photographs_are_not_taken_for_tiff(tmp_path):
    tiff = encoded(".tiff")
    raw = {f"a/1{ending}": tiff for ending in (".dng", ".NEF", ".cr2", ".arw")}
    write(tmp_path, {"a/1.tif": tiff, **raw})
    paths, notes = files_and_notes(tmp_path)
    assert paths == ["a/1.tif"] and "1 .dng" in notes[0] and "1 .nef" in notes[0]


def test_the_line_stays_short(tmp_path):
    write(tmp_path, {f"a/{i}.x{i}": b"x" for i in range(20)})
    write(tmp_path, {"a/1.jpg": encoded(".jpg"), "a/2.x3": b"x", "a/long." + "y" * 40: b"x"})
    (note,) = files_and_notes(tmp_path)[1]
    assert note.startswith("left out: 2 .x3, 1 .x") and note.endswith(
        ", 12 of 12 other endings, 1 without ending"
    )


def test_images_above_the_class_folders_are_counted(tmp_path):
    write(tmp_path, {"a/1.jpg": encoded(".jpg"), "0.jpg": encoded(".jpg"), "bare": encoded(".png")})
    assert files_and_notes(tmp_path) == (
        ["a/1.jpg"],
        ["left out: 2 images outside of the class folders"],
    )
    write(tmp_path / "parted", {"train/a/1.jpg": b"", "test/b/1.jpg": b"", "test/0.jpg": b""})
    assert files_and_notes(tmp_path / "parted")[1] == [
        "left out: 1 image outside of the class folders"
    ]
    assert len(list_images(tmp_path).rows) == 6  # an index has use for them


def test_where_nothing_is_left_the_error_says_why(tmp_path, without_heic):
    write(tmp_path, {"a/1.heic": HEIC, "b/1.heic": HEIC})
    for find in (lambda: listing(str(tmp_path), "label"), lambda: list_images(tmp_path)):
        with pytest.raises(UserError, match=r"left out: 2 \.heic; 2 of them are HEIC") as caught:
            find()
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no image; it is HEIC, which the package pillow-heif"):
        list_images(tmp_path / "a" / "1.heic")


def test_a_file_with_the_ending_of_an_image_is_not_opened(tmp_path, monkeypatch):
    write(tmp_path, {f"a/{i}.jpg": b"" for i in range(50)} | {"a/x.JFIF": b"", "a/note.txt": b""})
    opened = []
    monkeypatch.setattr(image_kinds, "first_bytes", lambda path, count: opened.append(path) or b"")
    assert len(listing(str(tmp_path), "label").images) == len(list_images(tmp_path).rows) == 51
    assert opened == []
    write(tmp_path, {"a/bare": b""})
    listing(str(tmp_path), "label")
    assert opened == [str(tmp_path / "a" / "bare")]


def test_looking_at_a_pipe_does_not_wait(tmp_path):
    (tmp_path / "a").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe")
    (tmp_path / "a" / "link").symlink_to("nowhere")
    (tmp_path / "a" / "zero").symlink_to("/dev/zero")
    assert image_files.first_bytes(str(tmp_path / "a" / "pipe"), 9) == b""
    left_out = LeftOut()
    assert list(below(tmp_path, left_out)) == []
    assert left_out.lines() == ("left out: 3 without ending",)


SYSTEM = (
    "@eaDir",
    "lost+found",
    "#recycle",
    "$RECYCLE.BIN",
    ".Trash-1000",
    ".thumbnails",
    "System Volume Information",
    "__MACOSX",
    "@Recycle",
    ".Trashes",
    "#snapshot",
    ".@__thumb",
)


@pytest.mark.parametrize("name", SYSTEM)
def test_folders_of_systems_are_no_classes_and_hold_no_images(tmp_path, name):
    write(tmp_path, {"a/1.jpg": encoded(".jpg"), f"{name}/x/1.jpg": encoded(".jpg")})
    write(tmp_path, {f"a/deep/{name}/1.jpg": encoded(".jpg"), f"a/{name}/2.mov": MOV})
    said = [f"left out: folders of the system and its trash: 3 {name}"]
    assert files_and_notes(tmp_path) == (["a/1.jpg"], said)
    images = list_images(tmp_path)
    assert ([row.label for row in images.rows], list(images.notes)) == (["a"], said)
    # Asked for by its own name it is a folder as any other.
    assert [row.label for row in list_images(tmp_path / name).rows] == ["x"]


def test_a_system_folder_beside_splits_is_no_class_either(tmp_path):
    write(tmp_path, {"train/a/1.jpg": b"", "test/b/1.jpg": b"", "@eaDir/c/1.jpg": b""})
    write(tmp_path, {"train/@eaDir/1.jpg": b"", "lost+found": b"a file"})
    assert files_and_notes(tmp_path) == (
        ["test/b/1.jpg", "train/a/1.jpg"],
        ["left out: folders of the system and its trash: 2 @eaDir"],
    )


def test_names_that_only_look_alike_are_classes(tmp_path):
    names = ("recycle", "thumbnails", "eaDir", "Trash", "lost and found")
    write(tmp_path, {f"{name}/1.jpg": b"" for name in names})
    assert {image.label for image in listing(str(tmp_path), "label").images} == set(names)
