"""What stands behind an image, what is damaged inside, and what no installed package reads."""

import dataclasses
import functools
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import odd_files
import pixel_forms
import pytest
from PIL import Image

from abe_jax.config import build
from abe_jax.config.schema import Data
from abe_jax.data import Preprocessing, SourceOptions, loader, named
from abe_jax.data.images import damage, headers, jpeg
from abe_jax.data.images.decoding import UnreadableImage, pixels
from abe_jax.data.inspected import Inspected
from abe_jax.errors import ArgumentError, UserError
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.unreadable import Unreadable

NOISE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
# As full of details as a photograph: its data has no long row of one byte.
PHOTOGRAPH = Image.fromarray(NOISE).resize((256, 192), Image.Resampling.BICUBIC)
WHOLE = odd_files.saved(PHOTOGRAPH, "JPEG")
N = len(WHOLE)
WITH_THUMBNAIL = odd_files.saved(PHOTOGRAPH, "JPEG", exif=b"Exif\0\0" + WHOLE[:40_000])


@pytest.mark.parametrize(
    "behind",
    [bytes(N + N // 2), b"\xff" * 2 * N, b"\x1a" * 3 * N, np.random.default_rng(1).bytes(4 * N)],
    ids=["zeros", "filled", "end of text", "noise"],
)
@pytest.mark.parametrize("progressive", [False, True])
def test_what_stands_behind_a_jpegs_image_is_passed_over(behind: bytes, progressive: bool) -> None:
    complete = odd_files.saved(PHOTOGRAPH, "JPEG", progressive=progressive)
    np.testing.assert_array_equal(pixels(complete + behind), pixels(complete))


@pytest.mark.parametrize("behind", [0, N // 4, 2 * N])
@pytest.mark.parametrize("complete", [WHOLE, WITH_THUMBNAIL], ids=["plain", "with a thumbnail"])
def test_a_jpeg_that_is_cut_is_refused_whatever_stands_behind_it(
    complete: bytes, behind: int
) -> None:
    with pytest.raises(UnreadableImage, match=r"ends too early|not complete"):
        pixels(complete[: len(complete) * 2 // 3] + bytes(behind))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_what_stands_behind_other_images_is_passed_over(kind: str) -> None:
    complete = odd_files.saved(PHOTOGRAPH, kind)
    np.testing.assert_array_equal(pixels(complete + bytes(2 * len(complete))), pixels(complete))


def damaged(first: int, values: bytes, complete: bytes = WHOLE) -> bytes:
    return complete[:first] + values + complete[first + len(values) :]


RESTARTS = odd_files.saved(PHOTOGRAPH, "JPEG", restart_marker_rows=1)
DAMAGES = {
    "a third of zeros": damaged(N // 3, bytes(N // 3)),
    "a sector of zeros": damaged(N // 2, bytes(512)),
    "a page of noise": damaged(N // 2, np.random.default_rng(0).bytes(4096)),
    "a sector of ones": damaged(N // 2, b"\xff" * 512),
    "a sector of text": damaged(N // 2, b"<html>\xff\xd8 not found" * 20),
    "another file's beginning": damaged(N // 2, WHOLE[:2000]),
    "restarts lost": damaged(len(RESTARTS) // 3, bytes(len(RESTARTS) // 3), RESTARTS),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_inside_a_jpeg_is_found_and_the_image_still_seen(kind: str) -> None:
    assert jpeg.damage(DAMAGES[kind])
    assert pixels(DAMAGES[kind]).shape == (192, 256, 3)


def _heic(picture: Image.Image, **options: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(picture).save(buffer, **options)
    return buffer.getvalue()


def _deep(**options: Any) -> bytes:
    """A TIFF file of 16 bits, as scanners and microscopes write them; the tags come first."""
    return pixel_forms.tiff(np.asarray(PHOTOGRAPH), 16, **{"photometric": "rgb"} | options)


OTHERS: dict[str, Callable[[], bytes]] = {
    **{
        kind: functools.partial(odd_files.saved, PHOTOGRAPH, kind)
        for kind in ("PNG", "GIF", "WEBP", "BMP", "PPM", "AVIF", "JPEG2000")
    },
    "WebP, lossless": lambda: odd_files.saved(PHOTOGRAPH, "WEBP", lossless=True),
    "TIFF": lambda: pixel_forms.tiff(np.asarray(PHOTOGRAPH), 8, "rgb"),
    "TIFF, deflate": lambda: pixel_forms.tiff(
        np.asarray(PHOTOGRAPH), 8, "rgb", compression="zlib", rowsperstrip=16
    ),
    "TIFF, 16 bits": _deep,
    "TIFF, 16 bits, planes": lambda: _deep(planarconfig="separate"),
    "TIFF, 16 bits, planes in strips": lambda: _deep(planarconfig="separate", rowsperstrip=16),
    "TIFF, 16 bits, planes in tiles": lambda: _deep(planarconfig="separate", tile=(64, 64)),
    "TIFF, 16 bits, planes, deflate": lambda: _deep(planarconfig="separate", compression="zlib"),
    "TIFF, 16 bits, white is zero": lambda: pixel_forms.tiff(NOISE[..., 0], 16, "miniswhite"),
    "HEIC": lambda: _heic(PHOTOGRAPH),
}


@pytest.mark.parametrize("lost", [1, 12, 100, 0.4])
@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_cut_is_refused(kind: str, lost: float) -> None:
    complete = OTHERS[kind]()
    assert pixels(complete).shape[2] == 3
    with pytest.raises(UnreadableImage):
        pixels(complete[: -int(lost if lost >= 1 else lost * len(complete))])


INSIDE = {
    "a third of zeros": lambda n: bytes(n // 3),
    "a sector of zeros": lambda n: bytes(512),
    "a page of noise": lambda n: np.random.default_rng(0).bytes(4096),
    "a sector of ones": lambda n: b"\xff" * 512,
    "another file's beginning": lambda n: WHOLE[:2000],
}


@pytest.mark.parametrize("what", INSIDE)
@pytest.mark.parametrize("kind", ["PNG", "GIF", "AVIF"])
def test_damage_inside_is_refused_where_the_decoder_sees_it(kind: str, what: str) -> None:
    complete = OTHERS[kind]()
    with pytest.raises(UnreadableImage):
        pixels(damaged(len(complete) // 2, INSIDE[what](len(complete)), complete))


@pytest.mark.parametrize("what", INSIDE)
@pytest.mark.parametrize("kind", ["JPEG2000", "HEIC"])
def test_damage_inside_is_named_where_it_shows(kind: str, what: str) -> None:
    complete = OTHERS[kind]()
    broken = damaged(len(complete) // 2, INSIDE[what](len(complete)), complete)
    assert bool(damage.found(broken)) == (("zeros" in what) == (kind == "HEIC"))
    assert not damage.found(complete)


def _sound_others() -> dict[str, bytes]:
    flat, black = Image.new("RGB", (256, 192), "white"), Image.new("RGB", (256, 192))
    half = PHOTOGRAPH.copy()
    half.paste(flat, (0, 60))
    exif = b"Exif\0\0" + bytes(5000)
    pictures = {"detailed": PHOTOGRAPH, "flat": flat, "black": black, "half flat": half}
    files = {}
    for name, picture in pictures.items():
        for how, given in {
            "plain": {},
            "lossy, in layers": {"irreversible": True, "quality_layers": [80, 40, 10]},
            "in tiles": {"tile_size": (64, 64)},
            "a code alone": {"no_jp2": True},
            "by position": {"progression": "RPCL"},
        }.items():
            files[f"JPEG 2000, {name}, {how}"] = odd_files.saved(picture, "JPEG2000", **given)
        for how, given in {
            "plain": {},
            "with metadata": {"exif": exif},
            "lossless": {"quality": -1, "chroma": 444},
            "poor": {"quality": 5},
        }.items():
            files[f"HEIC, {name}, {how}"] = _heic(picture, **given)
    return files


def test_no_sound_file_is_called_damaged() -> None:
    sound = _sound_others() | {kind: make() for kind, make in OTHERS.items()}
    assert {name: damage.found(file) for name, file in sound.items()} == dict.fromkeys(sound, "")


@pytest.mark.parametrize("kind", ["JPEG2000", "HEIC"])
def test_pieces_of_other_files_end_no_search(kind: str) -> None:
    rng, complete = np.random.default_rng(0), OTHERS[kind]()
    for _ in range(300):
        broken = bytearray(complete[: rng.integers(0, len(complete))])
        for place in rng.integers(0, max(1, min(len(broken), 700)), 5):
            broken[place : place + 1] = rng.bytes(1)
        assert isinstance(damage.found(bytes(broken)), str)


def _sound() -> dict[str, bytes]:
    flat = Image.new("RGB", (256, 192), "white")
    half = PHOTOGRAPH.copy()
    half.paste(flat, (0, 60))
    options = {
        "as it is": {},
        "progressive": {"progressive": True},
        "tables of its own": {"optimize": True},
        "of low quality": {"optimize": True, "quality": 5},
        "with restarts": {"restart_marker_rows": 1},
        "with a thumbnail": {"exif": b"Exif\0\0" + WHOLE[:40_000]},
        "with a long profile": {"icc_profile": bytes(100_000)},
    }
    pictures = {"detailed": PHOTOGRAPH, "flat": flat, "half flat": half}
    modes = ("RGB", "L", "CMYK")
    return {
        f"{name}, {mode}, {how}": odd_files.saved(picture.convert(mode), "JPEG", **given)
        for name, picture in pictures.items()
        for mode in modes
        for how, given in options.items()
    }


def test_no_sound_jpeg_is_called_damaged() -> None:
    sound = _sound()
    assert {name: jpeg.damage(file) for name, file in sound.items()} == dict.fromkeys(sound, "")
    assert all(jpeg.has_end(file) for file in sound.values())


def test_pieces_of_a_jpeg_end_no_search() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(WITH_THUMBNAIL[: rng.integers(0, len(WITH_THUMBNAIL))])
        for place in rng.integers(0, max(1, min(len(broken), 700)), 5):
            broken[place : place + 1] = rng.bytes(1)
        assert isinstance(jpeg.damage(bytes(broken)), str)
        assert jpeg.has_end(bytes(broken)) in (False, True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of two images; the second of `bee` is damaged inside."""
    for name, file in {
        "ant/1.jpg": WHOLE,
        "ant/2.jpg": WHOLE,
        "bee/1.jpg": WHOLE,
        "bee/2.jpg": DAMAGES["a third of zeros"],
    }.items():
        path = tmp_path / "set" / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file)
    return tmp_path / "set"


@pytest.mark.parametrize("option", ["use", "refuse"])
def test_a_damaged_image_is_counted_and_named_and_used_unless_refused(
    folder: Path, tmp_path: Path, option: str
) -> None:
    config = Data(name="folder", path=str(folder), damaged=option)
    split = build.dataset(config).split("train")
    said: list[str] = []
    note = Unreadable(RunFolder(tmp_path), split, 0.5, said.append)
    (batch,) = loader.in_order(split, Preprocessing(resize=8, size=8), 4)
    note.note(batch)
    note.settle()
    note.settle()
    assert batch.mask.tolist() == [True, True, True, option == "use"]
    line = "train\t3\tof class bee\ttrain/bee/2.jpg\n"
    assert RunFolder(tmp_path).damaged.read_text() == line
    assert RunFolder(tmp_path).unreadable.exists() == (option == "refuse")
    assert said[0] == (
        f"warning: 1 of 4 images are damaged inside, see {RunFolder(tmp_path).damaged}"
    )
    assert len(said) == (1 if option == "use" else 2)


def test_another_word_for_what_becomes_of_damage_is_answered() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'refuse'"):
        SourceOptions(damaged="refused")
    with pytest.raises(UserError, match=r"config.data.damaged: .*'refuse'"):
        build.dataset(Data(name="glyphs_tiny", damaged="refused"))


def test_each_image_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(jpeg, "damage", lambda encoded: looked.append(encoded) or "")
    records = Inspected([WHOLE, b"no JPEG", b""])
    assert [records[i] for i in (0, 1, 2, 0)] == [WHOLE, b"no JPEG", b"", WHOLE]
    assert looked == [WHOLE]


@pytest.fixture
def without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if pillow-heif were not installed."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)


HEIC = next(form.encoded for form in pixel_forms.forms() if form.format == "HEIC")


@pytest.mark.usefixtures("without_heif")
def test_without_its_package_a_heic_file_says_which_it_is(tmp_path: Path) -> None:
    says = r"HEIC files are read by the package pillow-heif: pip install 'abe_jax\[heic\]'"
    with pytest.raises(UnreadableImage, match=says):
        pixels(HEIC)
    assert headers.stored(HEIC) is None
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"):  # HEIC by their first bytes
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).write_bytes(HEIC)
    split = named("folder", SourceOptions(path=str(tmp_path))).split("train")
    for share, problem in ((1.0, None), (0.5, UserError)):
        said: list[str] = []
        note = Unreadable(RunFolder(tmp_path), split, share, said.append)
        if problem:
            with pytest.raises(problem, match=says):
                note.add(np.arange(4))
        else:
            note.add(np.arange(4))
            assert said[0].endswith("pip install 'abe_jax[heic]'")


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"msf1"])
def test_a_heic_file_is_known_by_its_brand(brand: bytes) -> None:
    renamed = HEIC[:8] + brand + HEIC[12:]
    np.testing.assert_array_equal(pixels(renamed), pixels(HEIC))


def test_a_turned_heic_file_is_seen_upright() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = Image.fromarray(pixel_forms.COLOUR)
    exif = Image.Exif()
    exif[odd_files.ORIENTATION] = 6
    path = pillow_heif.from_pillow(picture)
    path.info["exif"] = exif.tobytes()
    buffer = io.BytesIO()
    path.save(buffer, quality=-1, chroma=444)
    found = pixels(buffer.getvalue())
    expected = np.rot90(pixel_forms.COLOUR, -1)
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=4)


@pytest.mark.parametrize("resize", [8193, 100_000, 2**31 - 1, 0])
def test_a_side_that_no_image_has_is_refused_at_once(resize: int) -> None:
    with pytest.raises(ArgumentError, match=r"resize: .*has 1 to 8,192 px"):
        Preprocessing(resize=resize, size=1)
    assert Preprocessing(resize=8192).resize == 8192
    with pytest.raises(UserError, match=r"config.data.resize: .*8,192 px"):
        build.preprocessing(dataclasses.replace(Data(name="folder"), resize=resize, size=1))
