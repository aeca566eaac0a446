"""Every form of image file shows its known pixels, and docs/PIXELS.md says who reads it.

`python -m pytest tests/test_data_pixels.py --write-pixels` writes that table anew.
"""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pixel_forms
import pytest
from pixel_forms import PixelForm

from abe_jax.data.images import by_pillow, decoding, headers, heif, tiff, uncompressed
from abe_jax.data.images.decoding import UnreadableImage, pixels

TABLE = Path(__file__).parent.parent / "docs" / "PIXELS.md"
FORMS = pixel_forms.forms()
HEAD = """# Who reads which image file

Every form below was read from a file of known pixels. Colours come out as red, green and blue of 8
bits, or as grey; more bits are rounded to 8, fewer are stretched; transparent parts show black; an
orientation in the file is followed.

OpenCV reads every form that it decodes correctly. The others are read by Pillow, or the bytes are
taken as an array where nothing is compressed (`arrays`), or OpenCV's own TIFF library decompresses
and the samples are put together here (`OpenCV, by planes or samples`). `nobody`: the file counts as
unreadable and is named.

HEIC, the photographs of phones, needs an extra: `pip install 'abe_jax[heic]'`. Without it such a
file counts as unreadable, and the warning says which package reads it.

A file of any format that ends too early is refused, and what stands behind an image is passed over.
Whether damage inside a file shows is a matter of its format:

| format | damage inside |
|---|---|
| PNG | refused, by its checksums |
| AVIF, GIF | refused by their decoders, as a rule |
| JPEG | named: zeros in a sequential file (but in flat areas), impossible markers, lost restarts |
| JPEG 2000 | named: impossible markers |
| HEIC | named: zeros |
| WebP, TIFF, BMP, PGM, PPM, PAM | seen by nobody unless the decoder fails: nothing there tells |

`named`: the image is used, counted and named in `damaged.txt` of the run or the index;
`--config.data.damaged=refuse` counts it as unreadable. Wrong bits that look like an image's own are
seen by nobody; nor are zeros in a progressive JPEG or in JPEG 2000.

This table is written by `python -m pytest tests/test_data_pixels.py --write-pixels`, which reads
each file; the test fails where the two differ.

| format | bits, or values | form | read by |
|---|---|---|---|
"""


def levels_off(form: PixelForm) -> int:
    """The greatest difference from the known pixels."""
    assert form.shown is not None
    found = pixels(form.encoded)
    assert found.shape == form.shown.shape
    return int(np.abs(found.astype(int) - form.shown).max())


@pytest.mark.parametrize("form", [f for f in FORMS if f.shown is not None], ids=lambda f: f.name)
def test_a_form_shows_its_known_pixels(form: PixelForm) -> None:
    assert levels_off(form) <= form.off
    assert headers.stored(form.encoded) in (None, (pixel_forms.HEIGHT, pixel_forms.WIDTH))


@pytest.mark.parametrize("form", [f for f in FORMS if f.shown is None], ids=lambda f: f.name)
def test_a_form_that_nobody_reads_is_refused(form: PixelForm) -> None:
    with pytest.raises(UnreadableImage):
        pixels(form.encoded)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.name)
def test_the_end_of_a_form_is_missed(form: PixelForm) -> None:
    """Half of a file is refused, or is an image of the same size: nothing falls."""
    try:
        found = pixels(form.encoded[: len(form.encoded) // 2])
    except UnreadableImage:
        return
    assert found.shape == (pixel_forms.HEIGHT, pixel_forms.WIDTH, 3)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who gave pixels, in the order in which they did."""
    gave: list[str] = []

    def watched(room: object, name: str, reader: str) -> None:
        own: Callable[..., object] = getattr(room, name)

        @functools.wraps(own)
        def noted(*arguments: object) -> object:
            image = own(*arguments)
            if image is not None:
                gave.append(reader)
            return image

        monkeypatch.setattr(room, name, noted)

    watched(decoding, "_imdecode", "OpenCV")
    watched(by_pillow, "read", "Pillow")
    watched(heif, "read", "pillow-heif")
    watched(uncompressed, "read", "arrays")
    watched(tiff, "read", "OpenCV, by planes or samples")
    return gave


def test_the_table_says_who_read_each_form(
    readers: list[str], request: pytest.FixtureRequest
) -> None:
    rows: dict[tuple[str, str, str], list[str]] = {}
    for form in FORMS:
        readers.clear()
        try:
            pixels(form.encoded)
        except UnreadableImage:
            readers[:] = ["nobody"]
        rows.setdefault((form.format, form.layout, readers[-1]), []).append(form.depth)
    lines = [
        f"| {name} | {', '.join(depths)} | {layout} | {reader} |\n"
        for (name, layout, reader), depths in rows.items()
    ]
    text = HEAD + "".join(lines)
    if request.config.getoption("--write-pixels"):
        TABLE.write_text(text, encoding="utf-8")
    assert TABLE.read_text(encoding="utf-8") == text
