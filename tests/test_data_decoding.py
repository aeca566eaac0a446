"""Files of every kind to upright pixels, beside what Pillow makes of them; and what is refused."""

import io
import os
import subprocess
import sys

import cv2
import numpy as np
import odd_files
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from processes import ROOT

from abe_jax.data import uncropped
from abe_jax.data.images import MOST_PIXELS, decoding, headers, tiff
from abe_jax.data.images.augmentation import Augmentation, augmented
from abe_jax.data.images.decoding import UnreadableImage, pixels
from abe_jax.data.images.preprocessing import Preprocessing

GREY = 1
PICTURE = odd_files.picture(40, 56)
saved = odd_files.saved


def by_pillow(encoded: bytes) -> np.ndarray:
    """The first picture of a file, upright, over black."""
    picture = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("RGBA")
    black = Image.new("RGBA", picture.size, "black")
    return np.asarray(Image.alpha_composite(black, picture).convert("RGB"))


def differ(encoded: bytes) -> int:
    """The greatest difference from Pillow's pixels, in levels."""
    found, expected = pixels(encoded), by_pillow(encoded)
    assert found.shape == expected.shape
    return int(np.abs(found.astype(int) - expected).max())


FADED = odd_files.transparent(PICTURE)
KINDS = {
    "grey": PICTURE.convert("L"),
    "one bit": PICTURE.convert("1"),
    "palette": PICTURE.quantize(16),
    "colour": PICTURE,
    "alpha": FADED,
    "grey alpha": FADED.convert("LA"),
    "palette alpha": FADED.quantize(16),
    "CMYK": PICTURE.convert("CMYK"),
}
FORMATS = {
    "PNG": KINDS.keys() - {"CMYK"},
    "TIFF": KINDS.keys() - {"palette alpha"},
    "BMP": {"grey", "one bit", "palette", "colour"},
    "GIF": {"grey", "palette", "colour"},
    "WEBP": {"grey", "colour", "alpha", "grey alpha"},
    "JPEG": {"grey", "colour", "CMYK"},
    "PPM": {"grey", "one bit", "colour"},
}


@pytest.mark.parametrize(
    ("file", "kind"), [(file, kind) for file, kinds in FORMATS.items() for kind in sorted(kinds)]
)
def test_pixels_are_those_that_pillow_sees(file, kind):
    assert differ(saved(KINDS[kind], file)) <= 1  # roundings of mixing and of CMYK


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("kind", ["colour", "CMYK", "alpha"])
def test_compressed_tiff(kind, compression):
    assert differ(saved(KINDS[kind], "TIFF", compression=compression)) <= 1


def test_the_same_grey_is_seen_through_one_channel():
    for file in ("PNG", "TIFF", "JPEG"):
        grey = pixels(saved(KINDS["grey"], file, quality=100), GREY)
        np.testing.assert_allclose(
            grey[..., 0].astype(int), np.asarray(KINDS["grey"]).astype(int), atol=1
        )
    faded = pixels(saved(FADED.convert("LA"), "TIFF"), GREY)
    expected = by_pillow(saved(FADED.convert("LA"), "PNG"))[..., :1]
    np.testing.assert_allclose(faded.astype(int), expected.astype(int), atol=1)


def test_cmyk_is_seen_alike_with_and_without_a_note_of_how_it_is_stored():
    marked = saved(PICTURE.convert("CMYK"), "JPEG", quality=100)
    bare = odd_files.without_adobe(marked)
    assert b"Adobe" in marked and b"Adobe" not in bare
    for file in (marked, bare):
        assert differ(file) <= 1
        np.testing.assert_allclose(
            pixels(file).astype(int), np.asarray(PICTURE).astype(int), atol=8
        )


@pytest.mark.parametrize("transparency", [0, 100])
def test_a_transparent_level_of_a_grey_png_shows_black(transparency):
    grey = np.full((4, 6), 100, np.uint8)
    grey[:2] = 0
    file = saved(Image.fromarray(grey), "PNG", transparency=transparency)
    expected = np.where(grey == transparency, 0, grey)
    np.testing.assert_array_equal(pixels(file, GREY)[..., 0], expected)


def tiff_of(extra: int | None, depth: type) -> bytes:
    """A TIFF file of one row with alpha 255, 51 and 0, by what it says of its fourth channel."""
    values = np.array([[[200, 100, 50, 255], [200, 100, 50, 51], [200, 100, 50, 0]]])
    if extra == tiff.ASSOCIATED:
        values[..., :3] = values[..., :3] * values[..., 3:] // 255
    data = (values * (257 if depth == np.uint16 else 1)).astype(depth)
    tags = [
        (256, 3, [3]),
        (257, 3, [1]),
        (258, 3, [8 * data.itemsize] * 4),
        (259, 3, [1]),
        (262, 3, [2]),
        (273, 4, [8]),
        (277, 3, [4]),
        (278, 3, [1]),
        (279, 4, [data.nbytes]),
    ]
    tags += [] if extra is None else [(338, 3, [extra])]
    start = 8 + data.nbytes
    behind, entries = start + 2 + 12 * len(tags) + 4, b""
    values_behind = b""
    for tag, kind, numbers in tags:
        packed = np.array(numbers, "<u2" if kind == 3 else "<u4").tobytes()
        if len(packed) > 4:
            place, values_behind = behind + len(values_behind), values_behind + packed
            packed = place.to_bytes(4, "little")
        entries += np.array([tag, kind], "<u2").tobytes()
        entries += len(numbers).to_bytes(4, "little") + packed.ljust(4, b"\0")
    head = b"II*\0" + start.to_bytes(4, "little") + data.astype(f"<u{data.itemsize}").tobytes()
    return head + len(tags).to_bytes(2, "little") + entries + bytes(4) + values_behind


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("extra", [None, tiff.ASSOCIATED, tiff.UNASSOCIATED])
def test_alpha_of_a_tiff_counts_once(extra, depth):
    found = pixels(tiff_of(extra, depth))
    expected = [[[200, 100, 50], [40, 20, 10], [0, 0, 0]]]
    np.testing.assert_allclose(found.astype(int), expected, atol=1)


@pytest.mark.parametrize("file", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_of_grey(file):
    deep = (np.arange(24, dtype=np.uint16) * 2777).reshape(4, 6)
    found = pixels(saved(Image.fromarray(deep), file), GREY)[..., 0]
    np.testing.assert_array_equal(found, np.rint(deep / 257))


@pytest.mark.parametrize("kind", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_of_colour(kind, channels):
    deep = np.random.default_rng(0).integers(0, 2**16, (5, 7, channels), np.uint16)
    deep[..., 3:] = 2**16 - 1
    found = pixels(cv2.imencode(kind, deep)[1].tobytes())
    np.testing.assert_array_equal(found, np.rint(deep[..., 2::-1] / 257))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("file", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_turned_upright(file, orientation):
    encoded = odd_files.turned(PICTURE, file, orientation)
    assert differ(encoded) <= (40 if file == "WEBP" else 1)  # WebP's own decoders differ
    assert uncropped.size(encoded) == pixels(encoded).shape[:2]
    upright = pixels(odd_files.turned(PICTURE, file, 1))
    found = pixels(encoded)
    assert np.array_equal(found, upright) == (orientation in (0, 1, 9))


def test_an_orientation_in_text_as_older_programs_write_it():
    exif = Image.Exif()
    exif[odd_files.ORIENTATION] = 6
    body = exif.tobytes()
    text = f"\nexif\n{len(body):8}\n{body.hex()}\n"
    info = PngInfo()
    info.add_text("Raw profile type exif", text, zip=True)
    encoded = saved(PICTURE, "PNG", pnginfo=info)
    assert pixels(encoded).shape == (56, 40, 3)
    assert uncropped.size(encoded) == (56, 40)
    assert differ(encoded) == 0


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_avif_is_turned_too(orientation):
    encoded = odd_files.turned(PICTURE, "AVIF", orientation)
    assert differ(encoded) <= 4


@pytest.mark.parametrize("brand", [b"mif1", b"miaf", b"MA1B"])
def test_avif_may_name_its_brand_behind_others(brand):
    def renamed(encoded):
        return encoded[:8] + brand + encoded[12:]

    for depth in (10, 12):
        value = round(191 * (2**depth - 1) / 255)
        image, options = np.full((48, 64, 3), value, np.uint16), [cv2.IMWRITE_AVIF_DEPTH, depth]
        deep = renamed(cv2.imencode(".avif", image, options)[1].tobytes())
        assert np.abs(pixels(deep).astype(int) - 191).max() <= 1
    if brand == b"mif1":  # Pillow, which reads the orientation, does not know all brands
        turned = renamed(odd_files.turned(PICTURE, "AVIF", 6))
        assert differ(turned) <= 4


@pytest.mark.parametrize("file", ["PNG", "WEBP", "GIF", "TIFF"])
def test_of_an_animation_the_first_picture_is_seen(file):
    encoded = odd_files.animated(PICTURE, file)
    assert differ(encoded) <= (40 if file == "WEBP" else 1)


@pytest.mark.parametrize("shape", [(1, 1), (20_000, 1), (1, 20_000), (3, 2)])
@pytest.mark.parametrize("file", ["JPEG", "PNG", "BMP", "TIFF", "PPM"])
def test_the_longest_and_the_smallest(file, shape):
    encoded = saved(odd_files.picture(*shape), file)
    assert pixels(encoded).shape == (*shape, 3)
    assert Preprocessing().decode(encoded).shape == (256, 256, 3)
    rng = np.random.default_rng(0)
    for fit in ("pad", "cover", "stretch"):
        crop = augmented(encoded, Preprocessing(fit=fit), Augmentation(crop="resized"), rng)
        assert crop.shape == (224, 224, 3)


@pytest.mark.parametrize("kind", odd_files.huge())
def test_a_header_of_too_many_pixels_is_refused_before_decoding(kind, monkeypatch):
    file = odd_files.huge()[kind][1]
    monkeypatch.setattr(decoding, "_imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(UnreadableImage, match="an image of"):
        pixels(file)
    assert uncropped.size(file) == uncropped.UNREADABLE


def test_the_bound_on_pixels_is_where_it_says():
    side = int(MOST_PIXELS**0.5)  # 11,585
    file = odd_files.huge_png(MOST_PIXELS // 2 + 1, 2)
    with pytest.raises(UnreadableImage, match="an image of 2 x"):
        pixels(file)
    assert uncropped.size(odd_files.huge_png(side, side)) == (side, side)


LIMITED = """
import resource, sys
from abe_jax.data.images import decoding
from abe_jax.data.sources import image_files
import pathlib
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        decoding.pixels(image_files.read(path))
    except decoding.UnreadableImage as error:
        print(path.name, "refused:", error)
"""


def test_no_header_takes_memory(tmp_path):
    for kind, (ending, file) in odd_files.huge().items():
        (tmp_path / f"{kind}{ending}").write_bytes(file)
        (tmp_path / f"{kind} of another name.avif").write_bytes(file)
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.count("refused: an image of") == 2 * len(odd_files.huge())


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("exif", [b"", b"Exif\0\0" + bytes(60_000)])
def test_the_size_in_a_jpegs_header_is_found(progressive, exif):
    for height, width in ((1, 1), (21, 34), (300, 2)):
        shown = odd_files.picture(height, width)
        for image in (shown, shown.convert("L"), shown.convert("CMYK")):
            file = saved(image, "JPEG", progressive=progressive, exif=exif)
            assert headers.stored(file) == (height, width)
            filled = file[:2] + b"\xff\xff" + file[2:]
            assert headers.stored(filled) == (height, width)
            for end in range(0, min(len(file), 300), 7):
                assert headers.stored(file[:end]) in (None, (height, width))


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"]
)
def test_the_size_in_a_header_is_found_before_a_pixel_is_decoded(kind):
    for height, width in ((21, 34), (300, 20)):
        file = saved(odd_files.picture(height, width), kind)
        assert headers.stored(file) == (height, width)
        assert headers.stored(file[:6]) is None


def test_a_damaged_avif_header_states_no_size():
    file = saved(odd_files.picture(21, 34), "AVIF")
    for broken in (file[:40], file[:16] + bytes(200), file[:11] + bytes(len(file))):
        assert headers.stored(broken) is None and headers.orientation(broken) == 1


def test_damaged_headers_never_end_a_run():
    rng = np.random.default_rng(0)
    for file in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
        whole_file = np.frombuffer(odd_files.turned(PICTURE, file, 6), np.uint8)
        for _ in range(20):
            broken = whole_file.copy()
            positions = rng.integers(0, min(len(broken), 200), 3)
            broken[positions] = rng.integers(0, 256, 3)
            uncropped.size(broken.tobytes())
            try:
                found = pixels(broken.tobytes())
            except UnreadableImage:
                continue
            assert found.ndim == 3 and found.shape[2] == 3 and found.dtype == np.uint8
