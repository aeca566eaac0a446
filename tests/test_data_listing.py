"""What folders and CSV files name: at any depth, in any script, with anything in the way."""

import os
import socket
from pathlib import Path

import pytest

from abe_jax.data.sources import csv_file, image_files
from abe_jax.data.sources.listing import ListedImage, listing
from abe_jax.data.sources.walking import below
from abe_jax.errors import UserError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_below_gives_images_at_any_depth_in_rising_order(tmp_path):
    expected = ["a/b/c/1.JPG", "a/b/2.webp", "a/z.png", "ä/ﾊ/日本.bmp", "שלום.gif", "top.tiff"]
    for path in (*expected, "a/notes.txt", ".hidden/x.png", "a/.x.png", "png"):
        touch(tmp_path / path)
    assert sorted(expected) == sorted(below(tmp_path))
    found = list(below(tmp_path))
    assert found == sorted(found, key=lambda path: path.split("/"))


def test_below_has_no_greatest_depth(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a path from the root would be too long to make
    folders = ["/".join("d" * depth) for depth in range(1, 1200)]  # more than Python calls itself
    for path in folders:
        Path(path).mkdir()
    image = touch(Path(folders[-1]) / "x.png")
    try:
        assert list(below(Path())) == [str(image)]
    finally:  # what tidies up after tests calls itself
        image.unlink()
        for path in reversed(folders):
            Path(path).rmdir()


def test_links_are_followed_but_never_in_a_circle(tmp_path):
    touch(tmp_path / "set" / "one" / "1.png")
    touch(tmp_path / "else" / "2.png")
    (tmp_path / "set" / "two").symlink_to(tmp_path / "else")
    (tmp_path / "set" / "one" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "one" / "here").symlink_to(tmp_path / "set" / "one")
    (tmp_path / "else" / "back").symlink_to(tmp_path / "set" / "one")
    (tmp_path / "set" / "out").symlink_to(tmp_path.parent)
    (tmp_path / "else" / "set").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "self.png").symlink_to("self.png")
    (tmp_path / "set" / "self").symlink_to("self")
    (tmp_path / "set" / "gone.png").symlink_to("nowhere")
    found = list(below(tmp_path / "set"))
    assert found == ["gone.png", "one/1.png", "self.png", "two/2.png", "two/back/1.png"]
    for path in ("gone.png", "self.png"):
        assert image_files.read(tmp_path / "set" / path) == b""


def test_what_is_no_plain_file_reads_as_nothing_and_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the name of a socket has 107 bytes at most
        server.bind("socket.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "device.png").symlink_to("/dev/zero")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(image_files.MOST_BYTES + 1)  # a hole: it takes no room
    assert list(below(tmp_path)) == ["device.png", "huge.png", "pipe.png", "socket.png"]
    for path in tmp_path.iterdir():
        assert image_files.read(path) == b""
    touch(tmp_path / "plain.png")
    assert image_files.read(tmp_path / "plain.png") == b"x"


def test_no_descriptor_stays_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        image_files.read(tmp_path)
        image_files.read(tmp_path / "none")
        image_files.read(touch(tmp_path / "one"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path):
    for path in (tmp_path / "none", touch(tmp_path / "file")):
        with pytest.raises(UserError, match=f"cannot list {path}"):
            below(path)


def test_a_csv_file_without_labels_keeps_its_other_columns(tmp_path):
    path = table(tmp_path / "list.csv", "\ufeffpath,colour,Größe", " a/1.png ,red,7", "./b.png,,")
    assert csv_file.table(path) == [
        ("a/1.png ", "", {"colour": "red", "Größe": "7"}),
        ("b.png", "", {"colour": "", "Größe": ""}),
    ]
    assert csv_file.table(path, "colour")[0] == ("a/1.png ", "red", {"Größe": "7"})


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("file", "a.png"), "no column 'path'"),
        (("path",), "no rows"),
        (("path", "../a.png"), "outside of"),
        (("path,x", ",1"), "outside of"),
        (("path", "a.png", "b/../a.png"), "named before"),
        (("",), "is empty"),
        (("path;x", "a.png;1"), "parted by commas"),
        (("path,x,x", "a.png,1,2"), "two columns 'x'"),
        (("path,x", "a.png,Smith, John", "b.png,1,"), "a row with more than 2 cells.*Smith,John"),
        (("path,x", 'a.png,"1', "b.png,2"), "no CSV file.*unexpected end"),
    ],
)
def test_a_csv_file_that_names_no_images_is_refused(tmp_path, lines, says):
    with pytest.raises(UserError, match=says):
        csv_file.table(table(tmp_path / "list.csv", *lines))
    with pytest.raises(UserError, match=r"cannot read .*none"):
        csv_file.table(tmp_path / "none.csv")


def test_a_csv_file_as_spreadsheets_leave_it_is_read(tmp_path):
    path = table(tmp_path / "list.csv", " path , x ", "a.png,1,", ",,", "", 'b.png,"2, 3"', "c.png")
    assert csv_file.table(path, "x") == [
        ("a.png", "1", {}),
        ("b.png", "2, 3", {}),
        ("c.png", "", {}),
    ]


def test_paths_of_windows_are_told_from_missing_files(tmp_path):
    touch(tmp_path / "a" / "1.png")
    path = table(tmp_path / "list.csv", "path,label", r"a\1.png,x")
    with pytest.raises(UserError, match=r"not there \(folders are parted by '/'\)"):
        listing(str(path), "label")


def test_folders_of_splits_are_known_in_any_case(tmp_path):
    for path in ("Train/cat/1.png", "TEST/dog/2.png", "Valid/ant/3.png"):
        touch(tmp_path / path)
    assert [image[1:3] for image in listing(str(tmp_path), "label").images] == [
        ("dog", "test"),
        ("cat", "train"),
        ("ant", "val"),
    ]
    touch(tmp_path / "Other/cow/4.png")
    with pytest.raises(UserError, match="named as splits and also 'Other'"):
        listing(str(tmp_path), "label")


def test_instances_domains_and_sides_of_a_test_are_columns(tmp_path):
    for name in ("a", "b", "c"):
        touch(tmp_path / f"{name}.png")
    path = table(
        tmp_path / "list.csv",
        "path,label,split,thing,place",
        "a.png,1,Query,x,north",
        "b.png,1,gallery,,south",
        "c.png,2,train,y,north",
    )
    found = listing(str(path), "label", "place", "thing").images
    assert found == [
        ListedImage("a.png", "1", "query", "north", "x"),
        ListedImage("b.png", "1", "gallery", "south", ""),
        ListedImage("c.png", "2", "train", "north", "y"),
    ]
    assert {image.instance for image in listing(str(path), "label").images} == {""}


def test_query_and_gallery_are_folders_of_classes_too(tmp_path):
    for path in ("train/a/1.png", "query/b/1.png", "gallery/b/2.png", "gallery/c/3.png"):
        touch(tmp_path / path)
    assert [image[:3] for image in listing(str(tmp_path), "label").images] == [
        ("gallery/b/2.png", "b", "gallery"),
        ("gallery/c/3.png", "c", "gallery"),
        ("query/b/1.png", "b", "query"),
        ("train/a/1.png", "a", "train"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain caf\xc3\xa9 \xe6\x97\xa5", "plain caf\u00e9 \u65e5"),
        (b"caf\xe9", "caf\\xe9"),
        (b"two\nlines\t\x1b[31m", "two\\nlines\\t\\x1b[31m"),
        ("\u2028\u0085\u200c\u00a0".encode(), "\\u2028\\x85\u200c\u00a0"),
        (b"it's", "it's"),
    ],
)
def test_any_name_is_shown_as_one_line_of_text(name, text):
    assert csv_file.shown(os.fsdecode(name)) == text
    assert len(text.splitlines()) == 1 and text.encode()
