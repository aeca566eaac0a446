"""Uploads that somebody forged, sent to a real server: each is answered, and it lives."""

import io
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import serving_examples
from PIL import Image
from serving_examples import Made, ask, started

pytestmark = pytest.mark.slow

SECONDS = 30.0  # for one answer, on a machine that does other work


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return serving_examples.index(tmp_path_factory.mktemp("made"), serving_examples.model())


def saved(mode: str, side: int, kind: str, **options: object) -> bytes:
    """A black square."""
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG file whose header says that size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + chunk(b"IEND", b"")


def too_large() -> Iterator[tuple[str, bytes]]:
    """Few bytes of many pixels."""
    yield "TIFF, LZW", saved("RGB", 11_000, "TIFF", compression="tiff_lzw")
    yield "TIFF, LZW, four colours", saved("CMYK", 4_100, "TIFF", compression="tiff_lzw")
    yield "TIFF, deflate", saved("L", 11_000, "TIFF", compression="tiff_adobe_deflate")
    yield "TIFF, one bit", saved("1", 11_000, "TIFF", compression="group4")
    yield "GIF", saved("P", 11_000, "GIF")
    yield "PNG", saved("1", 11_000, "PNG")
    yield "JPEG", saved("L", 11_000, "JPEG")
    deep = np.zeros((4100, 4100), np.uint16)
    yield "PNG of 16 bits", cv2.imencode(".png", deep)[1].tobytes()
    yield "PNG of nothing", png(2**31 - 1, 2**31 - 1)
    yield "PNG, wide", png(2**31 - 1, 1)
    bitmap = struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 8, 1, 0, 0, 0, 256, 0)
    yield "BMP in runs", b"BM" + struct.pack("<IHHI", 2000, 0, 0, 1078) + bitmap + bytes(1030)
    yield "PPM", b"P6\n60000 60000\n255\n" + bytes(100)
    yield "PBM", b"P4\n60000 60000\n" + bytes(100)


def no_images() -> Iterator[tuple[str, bytes]]:
    """Headers and bodies that lie."""
    small = saved("RGB", 40, "PNG")
    yield "nothing", b""
    yield "zeros", bytes(10_000)
    yield "a zip archive", b"PK\x03\x04" + bytes(100)
    yield "a page", b"<!doctype html><script>alert(1)</script>"
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield "HDR", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\n" + bytes(100)
    yield "PFM", b"PF\n20000 20000\n-1.0\n" + bytes(100)
    yield "EXR", b"v/1\x01\x02\0\0\0" + bytes(200)
    yield "Sun's raster", struct.pack(">8I", 0x59A66A95, 30000, 30000, 8, 0, 2, 0, 0) + bytes(90)
    yield "PNG without pixels", png(40, 40)
    yield "PNG of no size", png(0, 0)
    yield "PNG of too few pixels", png(4000, 4000, chunk(b"IDAT", zlib.compress(bytes(10))))
    yield "PNG of other bytes", png(40, 40, chunk(b"IDAT", b"\xff" * 50))
    yield "PNG of a wrong sum", small[:40] + b"\0\0" + small[42:]
    for kind, options in (("JPEG", {}), ("WEBP", {}), ("GIF", {}), ("TIFF", {}), ("BMP", {})):
        data = saved("RGB", 40, kind, **options)
        yield f"{kind}, half", data[: len(data) // 3]
    own = b"\0\0\0\x08\x02\x01\x03"  # a directory that follows itself
    yield "TIFF, a circle", b"II*\0\x08\0\0\0\0\0\x08\0\0\0" + own
    yield "TIFF, far away", b"II*\0\xff\xff\xff\xff" + bytes(10)
    entries = b"".join(struct.pack("<HHII", 256 + i, 4, 2**30, 8) for i in range(200))
    yield "TIFF, long values", b"II*\0\x08\0\0\0" + struct.pack("<H", 200) + entries + bytes(4)
    box = struct.pack(">I4sIIIHBBBB", 22, b"ihdr", 2**31, 2**31, 0, 3, 7, 7, 0, 0)
    yield "JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + box
    yield "AVIF", b"\0\0\0\x18ftypavif\0\0\0\0" + bytes(500)
    yield "JPEG of a long segment", b"\xff\xd8\xff\xe1\xff\xff" + b"Exif\0\0" + bytes(70)
    yield "JPEG of segments", b"\xff\xd8" + b"\xff\xe0\0\x02" * 100_000 + b"\xff\xd9"
    yield "JPEG of padding", b"\xff\xd8" + b"\xff" * 2_000_000


def at_the_bound() -> Iterator[tuple[str, bytes]]:
    """As many pixels as may be, in forms that take the longest."""
    yield "GIF in turns", saved("P", 4000, "GIF", interlace=1)
    yield "TIFF, LZW", saved("CMYK", 4000, "TIFF", compression="tiff_lzw")
    deep = np.zeros((4000, 4000, 3), np.uint16)
    yield "PNG of 16 bits", cv2.imencode(".png", deep)[1].tobytes()
    yield "PNG", saved("RGB", 7000, "PNG")
    yield "JPEG in scans", saved("RGB", 7000, "JPEG", progressive=True)


def test_forged_uploads_are_answered_and_the_server_lives(made: Made) -> None:
    with started(made) as (process, port):
        for status, files in ((413, too_large()), (422, no_images()), (200, at_the_bound())):
            for what, data in files:
                began = time.monotonic()
                said = ask(port, "POST", "/search", data)
                seconds = time.monotonic() - began
                assert said.status == status, (what, said.body[:200])
                assert ("error" in said.json) == (status != 200)
                assert seconds < (SECONDS if status == 200 else 5), what
                print(f"{what}: {seconds:.1f} s, {memory(process.pid):.0f} MiB")
                assert process.poll() is None, what
        assert memory(process.pid) < 2000  # MiB at the most; the model alone takes some 400
        first = ask(port, "POST", "/search", made.files[5].read_bytes()).json["neighbours"][0]
        assert first["id"] == 5


def memory(pid: int) -> float:
    """The most memory that a process has had, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError
