"""Photographs turned upright by a list: the same bytes of code, and lists that cannot be meant."""

import dataclasses
import io
from pathlib import Path

import benchmark_trees as trees
import cv2
import numpy as np
import pytest
from PIL import Image

from abe_jax.cli import prepare
from abe_jax.config import load, overridden
from abe_jax.config.other_data import OtherData
from abe_jax.data import SourceOptions, benchmark, glyphs, named, uncropped
from abe_jax.data.images import capture_time, decoding
from abe_jax.data.images.turned_files import ORIENTATIONS, turned
from abe_jax.data.sources.benchmarks import builder, reading, rotations
from abe_jax.data.sources.benchmarks.table import BENCHMARKS
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError, UserError

TINY = Path(__file__).with_name("tiny_config.py")
WHEN = "2008:07:19 12:00:00"


def picture(orientation: int = 0, *, exif: bytes | None = None, name: str = "") -> bytes:
    """A JPEG of smooth noise, which may state an orientation and when it was taken."""
    coarse = np.random.default_rng(len(name)).integers(0, 256, (3, 4, 3), np.uint8)
    image = Image.fromarray(cv2.resize(coarse, (48, 32), interpolation=cv2.INTER_CUBIC))
    about = Image.Exif()
    if orientation:
        about[0x0112] = orientation
        about.get_ifd(0x8769)[0x9003] = WHEN
    made = io.BytesIO()
    image.save(made, "jpeg", quality=95, exif=about.tobytes() if exif is None else exif)
    return made.getvalue()


def clockwise(image: np.ndarray, degrees: int) -> np.ndarray:
    """The image turned, pixel by pixel."""
    for _ in range(degrees // 90):
        height, width = image.shape[:2]
        after = np.empty((width, height, *image.shape[2:]), image.dtype)
        for row in range(height):
            for column in range(width):
                after[column, height - 1 - row] = image[row, column]
        image = after
    return image


def stored_pixels(encoded: bytes) -> np.ndarray:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("degrees", ORIENTATIONS)
@pytest.mark.parametrize("stated", [0, 1, 6, 3])
def test_a_file_is_turned_from_its_stored_rows_whatever_it_states(degrees, stated):
    encoded = picture(stated)
    found = turned(encoded, degrees)
    expected = clockwise(stored_pixels(encoded), degrees)
    np.testing.assert_array_equal(decoding.pixels(found), expected)
    assert uncropped.size(found) == expected.shape[:2]
    scan = encoded.index(b"\xff\xda")  # nothing is coded anew
    assert found.endswith(encoded[scan:])
    assert found.count(b"Exif\0\0") == 1  # readers differ in which of two they believe
    if stated:
        assert capture_time.capture_time(found) == capture_time.capture_time(encoded) is not None


def test_exif_data_that_is_damaged_or_too_long_is_left_out():
    complete = picture(6)
    place = complete.index(b"Exif\0\0")
    damaged = complete[: place + 6] + b"\x07" * 8 + complete[place + 14 :]
    about = Image.Exif()
    about[0x010E] = "x" * 65_000  # a description as long as its segment
    long = picture(exif=about.tobytes())
    for encoded in (damaged, long):
        expected = clockwise(stored_pixels(encoded), 90)
        np.testing.assert_array_equal(decoding.pixels(turned(encoded, 90)), expected)


def test_what_is_no_whole_jpeg_file_is_given_back():
    png = cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))[1].tobytes()
    for encoded in (b"", png, picture()[:30]):
        assert turned(encoded, 90) == encoded


NAMES = ("100600.jpg", "100700.jpg", "100701.jpg")


def test_a_list_is_lines_or_a_published_mapping(tmp_path):
    lines, mapping = tmp_path / "lines.txt", tmp_path / "mapping.yaml"
    lines.write_text("# upright\n100600.jpg 90\n\n100700.jpg -90\n 100701.jpg\t180 \n")
    mapping.write_text('{\n"100600.jpg": 90,\n"100700.jpg": 270,\n100701.jpg: 180\n}\n')
    expected = {"100600.jpg": 90, "100700.jpg": 270, "100701.jpg": 180}
    assert rotations.read_list(lines, NAMES) == rotations.read_list(mapping, NAMES) == expected
    lines.write_text(rotations.written(expected))
    assert rotations.read_list(lines, NAMES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100600.jpg\n", "line 1: '100600.jpg'; expected an image's name and degrees"),
        ("100600.jpg 90\n100600 90\n", "line 2: no image is called '100600'; .*'100600.jpg'"),
        ("100606.jpg 90\n", "no image is called '100606.jpg'; did you mean '100600.jpg'"),
        ("100600.jpg 45\n", "line 1: 45 degrees; expected 0, 90, 180 or 270, clockwise"),
        ("100600.jpg 90.5\n", "line 1: 90.5 degrees"),
        ("100600.jpg 1.2.3\n", "line 1: 1.2.3 degrees"),
        ("100600.jpg 90\n100600.jpg 270\n", "line 2: 100600.jpg stands there twice"),
        ("# nothing\n", "names no image"),
    ],
)
def test_a_list_that_cannot_be_meant_is_one_line(text, message, tmp_path):
    path = tmp_path / "rotations.txt"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=message) as caught:
        rotations.read_list(path, NAMES)
    assert caught.value.argument == "rotations" and "\n" not in str(caught.value)


def test_a_list_that_is_not_there_or_no_text_is_one_line(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x81")
    for name, message in (("none.txt", "No such file"), ("binary", "no text"), ("", "directory")):
        with pytest.raises(ArgumentError, match=message):
            rotations.read_list(tmp_path / name, NAMES)


@pytest.fixture
def holidays(tmp_path) -> Path:
    """The root of a small Holidays, prepared, whose images are 32 x 48 px."""
    tree = trees.holidays()
    archives = [
        archive._replace(files={path: picture(name=path) for path in archive.files})
        for archive in tree.archives
    ]
    source = trees.packed(tree._replace(archives=archives), tmp_path / "source")
    original, root = BENCHMARKS["holidays"], tmp_path / "root"
    builder.build(original, source, reading.folder(original, str(root)), any_counts=True)
    return root


def heights(split: Split) -> list[int]:
    return [uncropped.size(split.records[row])[0] for row in range(len(split.records))]


def test_a_prepared_set_is_read_upright_by_the_list_that_is_asked_for_or_kept(
    holidays, tmp_path, capsys
):
    def read(**options) -> list[int]:
        return heights(benchmark("holidays", holidays, **options).split("test"))

    folder = reading.folder(BENCHMARKS["holidays"], str(holidays))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "two.txt").write_text("100001.jpg 90\n149903.jpg 270\n")
    (tmp_path / "one.txt").write_text("100000.jpg 90\n")
    assert read() == [32] * 9
    asked = read(rotations=tmp_path / "two.txt")
    assert asked == [32, 48, *[32] * 6, 48]
    command = ["--dataset", "holidays", "--root", str(holidays), "--rotations"]
    prepare.main([*command, str(tmp_path / "two.txt")])
    assert "holidays: 2 images are turned upright" in capsys.readouterr().out
    assert read() == asked
    assert read(rotations="none") == [32] * 9
    assert read(rotations=tmp_path / "one.txt") == [48, *[32] * 8]
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert kept.pop("rotations.txt") == b"100001.jpg 90\n149903.jpg 270\n"
    assert kept == before  # the images, their listing and its digest stay as they were
    prepare.main([*command, "none"])
    assert read() == [32] * 9 and not (folder / "rotations.txt").exists()
    with pytest.raises(UserError, match=r"^--rotations .*no image is called"):
        (tmp_path / "one.txt").write_text("123456.jpg 90\n")
        prepare.main([*command, str(tmp_path / "one.txt")])


def test_other_sets_take_no_list(tmp_path):
    with pytest.raises(UserError, match=r"^--rotations: ukbench takes no list .* holidays does"):
        prepare.main(["--dataset", "ukbench", "--source", str(tmp_path), "--rotations", "x.txt"])
    with pytest.raises(ArgumentError, match="glyphs takes no list of rotations"):
        named("glyphs", dataclasses.replace(SourceOptions(), rotations="x.txt"))
    glyphs(tmp_path)  # without one nothing is asked


def test_an_evaluation_names_the_list_it_was_asked_for():
    other = OtherData(name="holidays", options=["data.rotations=lists/upright.txt"])
    assert other.label == "of holidays, rotations upright.txt"
    own = overridden(load(TINY), ["data.rotations="])
    assert other.applied(own).data.rotations == "lists/upright.txt"
    assert OtherData(name="holidays").label == "of holidays"
