"""Camera and time of a photograph, of files written here with Pillow."""

import datetime
import io
from collections.abc import Mapping
from typing import Any

import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from abe_jax.data.images import headers
from abe_jax.data.images.capture_time import capture_time

NOON = datetime.datetime(2024, 5, 31, 12, 0, 7)
ORIGINAL, FRACTION = Base.DateTimeOriginal, Base.SubsecTimeOriginal


def file(form: str, own: Mapping[Any, str] | None = None, **main: str | int) -> bytes:
    """A small image file with the EXIF tags `main`, by name, and those of the Exif IFD `own`."""
    exif, out = Image.Exif(), io.BytesIO()
    for name, value in main.items():
        exif[Base[name]] = value
    if own:
        exif.get_ifd(IFD.Exif).update(own)
        exif[IFD.Exif] = exif.get_ifd(IFD.Exif)  # else a TIFF file is written without
    Image.new("RGB", (16, 8)).save(out, form, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_every_form_that_has_exif_says_its_time(form: str) -> None:
    if form == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    own = {ORIGINAL: "2024:05:31 12:00:07", FRACTION: "25"}
    found = capture_time(file(form, own, Make="Maker", Model="One", DateTime="2025:01:01 00:00:00"))
    assert found == ("Maker One", NOON + datetime.timedelta(milliseconds=250))
    assert capture_time(file(form)) is None


@pytest.mark.parametrize(
    ("own", "main", "time"),
    [
        ({ORIGINAL: "2024:05:31 12:00:07", FRACTION: "050  "}, {}, (NOON, 50_000)),
        ({ORIGINAL: "2024:05:31 12:00:07", FRACTION: ""}, {}, (NOON, 0)),
        ({ORIGINAL: "2024:05:31 12:00:07", FRACTION: "x"}, {}, (NOON, 0)),
        ({ORIGINAL: "2024-05-31 12:00:07\0"}, {}, (NOON, 0)),  # not as the standard has it
        ({Base.SubsecTime: "5"}, {"DateTime": "2024:05:31 12:00:07"}, (NOON, 500_000)),
        ({FRACTION: "5"}, {"DateTime": "2024:05:31 12:00:07"}, (NOON, 0)),  # of another time
        # A clock that was never set, then the time of the file.
        (
            {ORIGINAL: "0000:00:00 00:00:00", FRACTION: "9"},
            {"DateTime": "2024:05:31 12:00:07"},
            (NOON, 0),
        ),
        ({ORIGINAL: "    :  :     :  :  "}, {}, None),
        ({ORIGINAL: "2024:13:31 12:00:07"}, {}, None),
        ({}, {"Make": "Maker", "Orientation": 6}, None),
    ],
)
def test_the_time_is_the_first_that_is_one(own, main, time) -> None:
    found = capture_time(file("JPEG", own, **main))
    if time is None:
        assert found is None
    else:
        assert found == ("", time[0] + datetime.timedelta(microseconds=time[1]))


def test_a_damaged_header_says_no_time_and_leaves_the_orientation_upright() -> None:
    encoded = file("JPEG", {ORIGINAL: "2024:05:31 12:00:07"}, Orientation=6)
    assert headers.orientation(encoded) == 6 and capture_time(encoded)
    start = encoded.index(b"Exif\0\0") + 6
    damaged = encoded[:start] + b"\xff" * 8 + encoded[start + 8 :]
    assert headers.orientation(damaged) == 1 and capture_time(damaged) is None
    for other in (b"", b"Exif\0", encoded[: start + 4], b"P5 1 1 255 \0"):
        assert capture_time(other) is None
