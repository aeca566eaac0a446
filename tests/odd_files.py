"""200 files such as people have in their folders: odd ones that are images, and broken ones.

`write` makes them, always the same, and says of each what a reader must find.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

COUNT = 200
CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen")
ORIENTATION = 0x0112


class Odd(NamedTuple):
    """One file: its path below the folder, its kind, its height and width or None: unreadable."""

    path: str
    kind: str
    size: tuple[int, int] | None


def write(folder: Path) -> list[Odd]:
    """Fills a new folder, with a sub-folder for each class, and returns what is in it."""
    made: list[Odd] = []
    for place, (kind, name, put) in enumerate(_entries()):
        label = CLASSES[place % len(CLASSES)]
        path = os.path.join(os.fsencode(folder), label.encode(), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        size = put(path)
        readable = size is not None and os.access(path, os.R_OK)
        made.append(Odd(os.fsdecode(f"{label}/".encode() + name), kind, size if readable else None))
    assert len(made) == COUNT and len({odd.path for odd in made}) == COUNT
    return made


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """Smooth colours, so that JPEG keeps them nearly."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """A picture as a file of that kind, as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(image: Image.Image, kind: str, orientation: int) -> bytes:
    """A picture with an orientation in its EXIF."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(image, kind, exif=exif)


def animated(image: Image.Image, kind: str) -> bytes:
    """A picture followed by two others in one file."""
    others = [image.transpose(Image.Transpose.ROTATE_180), Image.new("RGB", image.size, "red")]
    return saved(image, kind, save_all=True, append_images=others, duration=40)


def transparent(image: Image.Image) -> Image.Image:
    """A picture that fades away downwards."""
    alpha = np.linspace(255, 0, image.height).astype(np.uint8)[:, None].repeat(image.width, 1)
    mixed = image.convert("RGBA")
    mixed.putalpha(Image.fromarray(alpha))
    return mixed


def without_adobe(jpeg: bytes) -> bytes:
    """A JPEG file without its segment APP14, in which Adobe's programs say how CMYK is stored."""
    start = jpeg.index(b"\xff\xee")
    return jpeg[:start] + jpeg[start + 2 + int.from_bytes(jpeg[start + 2 : start + 4]) :]


def sixteen_bits(image: Image.Image) -> Image.Image:
    """A grey picture of 16 bits."""
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def huge_png(height: int, width: int) -> bytes:
    """A PNG file that says it is large, and ends after a few rows."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(min(3 * width + 1, 200_000))))
    return b"\x89PNG\r\n\x1a\n" + head + rows + chunk(b"IEND", b"")


def huge_jpeg(height: int, width: int) -> bytes:
    """A JPEG file of other height and width than its data, with an end."""
    jpeg = bytearray(saved(picture(16, 16), "JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(jpeg)


def huge_bmp(height: int, width: int) -> bytes:
    """A BMP file of other height and width than its data."""
    bmp = bytearray(saved(picture(16, 16), "BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    return bytes(bmp)


def huge_gif(height: int, width: int) -> bytes:
    """A GIF file whose screen has other height and width than its data."""
    gif = bytearray(saved(picture(16, 16), "GIF"))
    gif[6:10] = struct.pack("<HH", width, height)
    start = gif.index(b",\0\0\0\0")
    gif[start + 5 : start + 9] = struct.pack("<HH", width, height)
    return bytes(gif)


def huge_tiff(height: int, width: int) -> bytes:
    """A TIFF file of other height and width than its data."""
    tiff = bytearray(saved(picture(16, 16), "TIFF"))
    for tag, value in ((256, width), (257, height)):
        start = tiff.index(struct.pack("<HHI", tag, 4, 1))
        tiff[start + 8 : start + 12] = struct.pack("<I", value)
    return bytes(tiff)


def _good() -> dict[str, tuple[str, Callable[[Image.Image], bytes]]]:
    """Kind -> ending and how a picture becomes such a file."""
    return {
        "JPEG": (".jpg", lambda i: saved(i, "JPEG")),
        "progressive JPEG": (".JPG", lambda i: saved(i, "JPEG", progressive=True)),
        "grey JPEG": (".jpeg", lambda i: saved(i.convert("L"), "JPEG")),
        "CMYK JPEG, inverted": (".jpg", lambda i: saved(i.convert("CMYK"), "JPEG")),
        "CMYK JPEG": (".jpg", lambda i: without_adobe(saved(i.convert("CMYK"), "JPEG"))),
        "JPEG with more behind it": (".jpg", lambda i: saved(i, "JPEG") + b"\0" * 300),
        "PNG": (".png", lambda i: saved(i, "PNG")),
        "PNG with alpha": (".png", lambda i: saved(transparent(i), "PNG")),
        "PNG with palette": (".png", lambda i: saved(i.quantize(16), "PNG")),
        "PNG of 1 bit": (".png", lambda i: saved(i.convert("1"), "PNG")),
        "PNG of 16 bits": (".png", lambda i: saved(sixteen_bits(i), "PNG")),
        "animated PNG": (".png", lambda i: animated(i, "PNG")),
        "WebP": (".webp", lambda i: saved(i, "WEBP")),
        "lossless WebP with alpha": (
            ".webp",
            lambda i: saved(transparent(i), "WEBP", lossless=True),
        ),
        "animated WebP": (".webp", lambda i: animated(i, "WEBP")),
        "BMP": (".bmp", lambda i: saved(i, "BMP")),
        "GIF": (".gif", lambda i: saved(i, "GIF")),
        "animated GIF": (".gif", lambda i: animated(i, "GIF")),
        "TIFF": (".tif", lambda i: saved(i, "TIFF", compression="tiff_lzw")),
        "TIFF of CMYK": (".tiff", lambda i: saved(i.convert("CMYK"), "TIFF")),
        "PPM": (".ppm", lambda i: saved(i, "PPM")),
        "PNG called JPEG": (".jpg", lambda i: saved(i, "PNG")),
        "JPEG called PNG": (".png", lambda i: saved(i, "JPEG")),
        "WebP called GIF": (".GIF", lambda i: saved(i, "WEBP")),
    }


def _bad() -> dict[str, tuple[str, Callable[[Image.Image], bytes]]]:
    """Kind -> ending and how a picture becomes such a file."""

    def half(kind: str) -> Callable[[Image.Image], bytes]:
        return lambda image: (lambda file: file[: len(file) // 2])(saved(image, kind))

    return {
        "truncated JPEG": (".jpg", half("JPEG")),
        "JPEG without its end": (".jpg", lambda i: saved(i, "JPEG")[:-2]),
        "truncated PNG": (".png", half("PNG")),
        "truncated WebP": (".webp", half("WEBP")),
        "truncated GIF": (".gif", half("GIF")),
        "truncated BMP": (".bmp", half("BMP")),
        "truncated TIFF": (".tif", half("TIFF")),
        "nothing": (".jpg", lambda i: b""),
        "one byte": (".png", lambda i: b"\x89"),
        "noise": (".jpg", lambda i: np.random.default_rng(i.width).bytes(5000)),
        "noise behind a JPEG's start": (
            ".jpg",
            lambda i: b"\xff\xd8\xff\xe0" + np.random.default_rng(i.width).bytes(5000),
        ),
        "text": (".jpeg", lambda i: b"<!doctype html><title>404</title>Not found\n" * i.width),
        "zeros": (".tiff", lambda i: bytes(4096)),
        "PNG without rows": (".png", lambda i: huge_png(0, 0)),
    }


def huge() -> dict[str, tuple[str, bytes]]:
    """Kind -> ending and a small file that says it is large."""
    return {
        "PNG of 60,000 px": (".png", huge_png(60_000, 60_000)),
        "PNG of 2 ** 31 - 1 px": (".png", huge_png(2**31 - 1, 2**31 - 1)),
        "JPEG of 65,500 px": (".jpg", huge_jpeg(65_500, 65_500)),
        "BMP of 60,000 px": (".bmp", huge_bmp(60_000, 60_000)),
        "GIF of 65,535 px": (".gif", huge_gif(65_535, 65_535)),
        "TIFF of 100,000 px": (".tif", huge_tiff(100_000, 100_000)),
    }


NAMES = (
    "日本語 の 写真.jpg",
    "صورة جميلة.jpg",
    "תמונה.jpg",
    "фотография.jpg",
    "ภาพถ่าย.jpg",
    "e\u0301te\u0301 \U0001f600.jpg",
    " leading and trailing .jpg",
    "-rf --help.jpg",
    "a,b;c\"d'e.jpg",
    "<script>alert(1)</script>&amp;".replace("/", "\u2215") + ".jpg",
    "$(touch x) `y` %s {z} \\n.jpg",
    "two\nlines\tand\ra \x1b[31mbell\x07.jpg",
    "right\u202eleft\u200b.jpg",
    "a..jpg.jpg",
    "x" * 250 + ".jpg",
)
BYTES = (b"caf\xe9.jpg", b"\xff\xfe\xfd.png", b"half \xe6\x97 of a sign.gif", b"\xed\xa0\x80.webp")
SIZES = ((48, 64), (64, 48), (37, 53), (120, 90))
LONG = ((1, 1), (20_000, 1), (1, 20_000), (2, 3))


def _entries() -> Iterator[tuple[str, bytes, Callable[[bytes], tuple[int, int] | None]]]:
    """Kind, name and how the file is made; exactly COUNT of them."""
    found = [*_images(), *_named(), *_files()]
    for place in range(COUNT - len(found)):
        size = (20 + place, 30 + 2 * place)
        found.append(
            ("JPEG", f"more {place}.jpg".encode(), _put(saved(picture(*size), "JPEG"), size))
        )
    return iter(found)


def _images() -> Iterator[tuple[str, bytes, Callable[[bytes], tuple[int, int] | None]]]:
    for seed, size in enumerate(SIZES):
        shown = picture(*size, seed)
        for kind, (ending, make) in _good().items():
            if seed < 2 or kind in ("JPEG", "PNG"):
                yield kind, f"{kind} {seed}{ending}".encode(), _put(make(shown), size)
        for kind, (ending, make) in _bad().items():
            if seed < 3:
                yield kind, f"{kind} {seed}{ending}".encode(), _put(make(shown), None)
    for kind, (ending, file) in huge().items():
        yield "huge header", f"{kind}{ending}".encode(), _put(file, None)
    for height, width in LONG:
        for file in ("JPEG", "PNG", "BMP", "TIFF"):
            name = f"{height} x {width} {file}.{file.lower()}".encode()
            yield "long or tiny", name, _put(saved(picture(height, width), file), (height, width))
    for file in ("JPEG", "PNG", "WEBP", "TIFF"):
        for orientation in (3, 6, 8):
            size = (48, 64) if orientation == 3 else (64, 48)
            name = f"turned {orientation} {file}.{file.lower()}".encode()
            yield "turned", name, _put(turned(picture(48, 64), file, orientation), size)


def _named() -> Iterator[tuple[str, bytes, Callable[[bytes], tuple[int, int] | None]]]:
    good, broken = saved(picture(40, 50), "JPEG"), saved(picture(40, 50), "JPEG")[:200]
    for name in NAMES:
        yield "name in any script", name.encode(), _put(good, (40, 50))
    for name in BYTES:
        yield "name that is no text", name, _put(good, (40, 50))
        yield "name that is no text", b"broken " + name, _put(broken, None)


def _files() -> Iterator[tuple[str, bytes, Callable[[bytes], tuple[int, int] | None]]]:
    good = saved(picture(40, 50), "JPEG")

    def closed(path: bytes) -> tuple[int, int]:
        _put(good, None)(path)
        os.chmod(path, 0)
        return 40, 50

    def pipe(path: bytes) -> None:
        os.mkfifo(path)

    def large(path: bytes) -> None:
        with open(path, "wb") as file:
            file.write(good)
            file.truncate(2**36)  # a hole: it takes no room

    for number in range(3):
        yield "no permission", f"closed {number}.jpg".encode(), closed
    yield "pipe", b"pipe.jpg", pipe
    yield "file of 64 GiB", b"large.jpg", large
    for name, target, size in (
        ("link to itself", b"itself.jpg", None),
        ("link to nothing", b"nowhere", None),
        ("link to a device", b"/dev/zero", None),
        ("link to a file", b".target", (40, 50)),
    ):
        yield name, name.replace("itself", "self").encode() + b".jpg", _link(target, size, good)


def _put(file: bytes, size: tuple[int, int] | None) -> Callable[[bytes], tuple[int, int] | None]:
    def put(path: bytes) -> tuple[int, int] | None:
        with open(path, "wb") as opened:
            opened.write(file)
        return size

    return put


def _link(
    target: bytes, size: tuple[int, int] | None, good: bytes
) -> Callable[[bytes], tuple[int, int] | None]:
    def put(path: bytes) -> tuple[int, int] | None:
        if size:
            _put(good, None)(os.path.join(os.path.dirname(path), target))
        os.symlink(os.path.basename(path) if target == b"itself.jpg" else target, path)
        return size

    return put
