"""One file of each form that images come in, with the pixels that it must show."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import pillow_heif
import tifffile
from PIL import Image

HEIGHT, WIDTH = 32, 48
_Y, _X = np.mgrid[:HEIGHT, :WIDTH]
COLOUR = np.stack([_X * 5, _Y * 7, 255 - 3 * (_X + _Y)], axis=2).astype(np.uint8)
GREY = (_X * 3 + _Y * 2).astype(np.uint8)
ALPHA = (255 - _Y * 8).astype(np.uint8)
INK = np.dstack([255 - COLOUR, np.zeros_like(GREY)])  # cyan, magenta, yellow, black
FOURTH = np.dstack([COLOUR, _X * 4 + 30]).astype(np.uint8)  # near infrared, say
FADED = np.dstack([COLOUR, ALPHA])


class PixelForm(NamedTuple):
    """A file, the pixels that it must show (None: it is refused), and how far off they may be."""

    format: str
    depth: str
    layout: str
    encoded: bytes
    shown: np.ndarray | None
    off: int = 0

    @property
    def name(self) -> str:
        return f"{self.format}, {self.depth}, {self.layout}"


def stored(image: np.ndarray, greatest: int) -> np.ndarray:
    """Samples of 0 to 255 as whole numbers of 0 to `greatest`."""
    return np.rint(image / 255 * greatest).astype(np.int64)


def shown(image: np.ndarray, greatest: int = 255) -> np.ndarray:
    """What a file shows of such an image, over black where it is transparent."""
    levels = np.rint(stored(image, greatest) * 255 / greatest)
    if levels.ndim == 3 and levels.shape[2] in (2, 4):
        levels = np.rint(levels[..., :-1] * levels[..., -1:] / 255)
    if levels.ndim == 2 or levels.shape[2] == 1:
        levels = np.dstack([levels.reshape(HEIGHT, WIDTH)] * 3)
    return levels.astype(np.uint8)


def forms() -> list[PixelForm]:
    """All of them, in the table's order."""
    return [
        *_ordinary(),
        *_avif_and_heic(),
        *_jpeg_2000(),
        *_png(),
        *_bmp(),
        *_portable(),
        *_tiff(),
    ]


def _saved(image: np.ndarray, kind: str, mode: str | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    (picture.convert(mode) if mode else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def _ordinary() -> Iterator[PixelForm]:
    best: dict[str, Any] = {"quality": 100, "subsampling": 0}
    yield PixelForm("JPEG", "8", "colour", _saved(COLOUR, "JPEG", **best), shown(COLOUR), 4)
    progressive = _saved(COLOUR, "JPEG", progressive=True, **best)
    yield PixelForm("JPEG", "8", "progressive", progressive, shown(COLOUR), 4)
    yield PixelForm("JPEG", "8", "grey", _saved(GREY, "JPEG", **best), shown(GREY), 2)
    yield PixelForm("JPEG", "8", "CMYK", _saved(COLOUR, "JPEG", "CMYK", **best), shown(COLOUR), 6)
    webp = _saved(COLOUR, "WEBP", lossless=True)
    yield PixelForm("WebP", "8", "lossless", webp, shown(COLOUR))
    faded = _saved(FADED, "WEBP", lossless=True, exact=True)
    yield PixelForm("WebP", "8", "lossless, alpha", faded, shown(FADED), 1)
    yield PixelForm("GIF", "8", "palette", _saved(GREY, "GIF"), shown(GREY))


def _avif_and_heic() -> Iterator[PixelForm]:
    lossless = (cv2.IMWRITE_AVIF_QUALITY, 100)
    for bits in (8, 10, 12):
        kind, most = (np.uint8 if bits == 8 else np.uint16), 2**bits - 1
        for layout, image in (("grey", GREY), ("colour", COLOUR), ("alpha", FADED)):
            pixels = stored(image, most).astype(kind)
            pixels = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
            options = [cv2.IMWRITE_AVIF_DEPTH, bits, *lossless]
            encoded = cv2.imencode(".avif", pixels, options)[1].tobytes()
            # OpenCV writes grey of a limited range, which rounds.
            yield PixelForm("AVIF", str(bits), layout, encoded, shown(image), 8)
    for bits, layout, image in ((8, "colour", COLOUR), (8, "grey", GREY), (8, "alpha", FADED)):
        buffer = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(image)).save(buffer, quality=-1, chroma=444)
        yield PixelForm("HEIC", str(bits), layout, buffer.getvalue(), shown(image), 4)
    deep = stored(COLOUR, 65535).astype(np.uint16)
    buffer = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (WIDTH, HEIGHT), deep.tobytes()).save(
        buffer, quality=-1, chroma=444
    )
    yield PixelForm("HEIC", "10 or 12", "colour", buffer.getvalue(), shown(COLOUR), 4)


def _jpeg_2000() -> Iterator[PixelForm]:
    for bits in (1, 4, 8, 9, 10, 12, 14, 16):
        for layout, image in (("grey", GREY), ("colour", COLOUR), ("alpha", FADED)):
            encoded = jpeg_2000(stored(image, 2**bits - 1), bits)
            yield PixelForm("JPEG 2000", str(bits), layout, encoded, shown(image, 2**bits - 1), 1)
    both = _saved(np.dstack([GREY, ALPHA]), "JPEG2000")
    expected = shown(np.dstack([GREY, ALPHA]))
    yield PixelForm("JPEG 2000", "8", "grey, alpha", both, expected, 1)
    luma = _saved(COLOUR, "JPEG2000", "YCbCr")
    yield PixelForm("JPEG 2000", "8", "luma and chroma", luma, shown(COLOUR), 4)
    raw = _saved(COLOUR, "JPEG2000", no_jp2=True)
    yield PixelForm("JPEG 2000", "8", "code without a file's boxes", raw, shown(COLOUR))


def jpeg_2000(samples: np.ndarray, bits: int) -> bytes:
    """A JPEG 2000 file of any depth: of 8 or 16 bits, its header changed to say fewer.

    Samples are coded around the middle of their range, so they are moved to that of 8 or 16.
    """
    written = 8 if bits <= 8 else 16
    moved = samples + 2 ** (written - 1) - 2 ** (bits - 1)
    moved = moved if moved.ndim == 2 else moved[..., [2, 1, 0, 3][: moved.shape[2]]]
    kind = np.uint8 if written == 8 else np.uint16
    lossless = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
    file = bytearray(cv2.imencode(".jp2", moved.astype(kind), lossless)[1].tobytes())
    start = file.index(b"\xff\x51")
    for component in range(int.from_bytes(file[start + 38 : start + 40])):
        file[start + 40 + 3 * component] = bits - 1
    file[file.index(b"ihdr") + 14] = bits - 1
    return bytes(file)


def png(samples: np.ndarray, bits: int, colours: int, transparent: tuple[int, ...] = ()) -> bytes:
    """A PNG file of these samples, colours as its header counts them, one of them transparent."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colours, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in _packed(samples, bits))
    marked = (
        chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    )
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + marked + body


def _packed(samples: np.ndarray, bits: int, order: str = ">") -> np.ndarray:
    """Rows of samples side by side, as bytes; below 8 bits and of 10 to 14 without gaps."""
    rows = samples.reshape(HEIGHT, -1)
    if bits in (8, 16):
        return np.ascontiguousarray(rows.astype(f"{order}u{bits // 8}")).view(np.uint8)
    each = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(each.reshape(HEIGHT, -1).astype(np.uint8), axis=1)


def _png() -> Iterator[PixelForm]:
    for bits in (1, 2, 4, 8, 16):
        most = 2**bits - 1
        samples = stored(GREY, most)
        yield PixelForm("PNG", str(bits), "grey", png(samples, bits, 0), shown(GREY, most))
        level = int(samples[5, 7])
        expected = np.where((samples == level)[..., None], 0, shown(GREY, most)).astype(np.uint8)
        encoded = png(samples, bits, 0, (level,))
        yield PixelForm("PNG", str(bits), "grey, a level transparent", encoded, expected)
    for bits in (8, 16):
        most = 2**bits - 1
        samples = stored(COLOUR, most)
        yield PixelForm("PNG", str(bits), "colour", png(samples, bits, 2), shown(COLOUR))
        one = tuple(int(value) for value in samples[5, 7])
        expected = shown(COLOUR)
        expected[5, 7] = 0
        encoded = png(samples, bits, 2, one)
        yield PixelForm("PNG", str(bits), "colour, one transparent", encoded, expected)
        faded = png(stored(FADED, most), bits, 6)
        yield PixelForm("PNG", str(bits), "colour, alpha", faded, shown(FADED), 1)
        both = np.dstack([GREY, ALPHA])
        encoded = png(stored(both, most), bits, 4)
        yield PixelForm("PNG", str(bits), "grey, alpha", encoded, shown(both), 1)


_RGB8 = (0xFF0000, 0xFF00, 0xFF)


def bmp(
    masks: tuple[int, ...], image: np.ndarray, bits: int, header: int = 40, way: int = 3
) -> bytes:
    """A BMP file with a mask for each channel of the image (R, G, B, A), of compression `way`."""
    values = np.zeros((HEIGHT, WIDTH), np.uint32)
    for channel, mask in enumerate(masks):
        shift = (mask & -mask).bit_length() - 1
        values |= stored(image[..., channel], mask >> shift).astype(np.uint32) << np.uint32(shift)
    pixels = values[::-1].astype(f"<u{bits // 8}").tobytes()
    about = struct.pack(
        "<IiiHHIIiiII", header, WIDTH, HEIGHT, 1, bits, way, len(pixels), 2835, 2835, 0, 0
    )
    said = struct.pack(f"<{len(masks)}I", *masks) if way in (3, 6) else b""
    about = (about + said).ljust(header, b"\0") if header > 40 else about + said
    start = 14 + len(about)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + about + pixels


def _bmp() -> Iterator[PixelForm]:
    yield PixelForm("BMP", "8", "colour of 24 bits", _saved(COLOUR, "BMP"), shown(COLOUR))
    yield PixelForm("BMP", "8", "palette", _saved(GREY, "BMP", "P"), shown(GREY))
    plain = bmp(_RGB8, COLOUR, 32, way=0)
    yield PixelForm("BMP", "8", "colour of 32 bits, no masks", plain, shown(COLOUR))
    for header in (40, 52, 56, 108, 124):
        layout = f"three masks of 32 bits, header of {header} bytes"
        yield PixelForm("BMP", "8", layout, bmp(_RGB8, COLOUR, 32, header), shown(COLOUR))
    for order, masks in (("BGR", _RGB8[::-1]), ("RGBX", tuple(mask << 8 for mask in _RGB8))):
        encoded = bmp(masks, COLOUR, 32)
        yield PixelForm("BMP", "8", f"masks in the order {order}", encoded, shown(COLOUR))
    with_alpha = (*_RGB8, 0xFF000000)
    for header, way in ((124, 3), (56, 3), (40, 6)):
        layout = f"masks with alpha, compression {way}, header of {header} bytes"
        encoded = bmp(with_alpha, FADED, 32, header, way)
        yield PixelForm("BMP", "8", layout, encoded, shown(FADED), 1)
    for layout, masks in (
        ("masks of 5, 6, 5 bits", (0xF800, 0x7E0, 0x1F)),
        ("masks of 5 bits", (0x7C00, 0x3E0, 0x1F)),
        ("masks of 5 bits, order BGR", (0x1F, 0x3E0, 0x7C00)),
    ):
        yield PixelForm("BMP", "5 or 6", layout, bmp(masks, COLOUR, 16), _by_masks(masks))
    bare = bmp((0x7C00, 0x3E0, 0x1F), COLOUR, 16, way=0)
    yield PixelForm("BMP", "5 or 6", "16 bits, no masks", bare, _by_masks((31, 31, 31)))
    tens = bmp((0x3FF00000, 0xFFC00, 0x3FF), COLOUR, 32)
    yield PixelForm("BMP", "10", "masks of 10 bits", tens, shown(COLOUR))


def _by_masks(masks: tuple[int, ...]) -> np.ndarray:
    greatest = [mask // (mask & -mask) for mask in masks]
    parts = [shown(COLOUR[..., c], most)[..., 0] for c, most in enumerate(greatest)]
    return np.stack(parts, axis=2)


def _portable() -> Iterator[PixelForm]:
    for kind, name, image in ((5, "PGM", GREY), (6, "PPM", COLOUR)):
        for most in (1, 15, 100, 255, 256, 1023, 4095, 65535):
            samples = stored(image, most)
            head = f"{WIDTH} # a note\n{HEIGHT}\n{most}\n"
            body = samples.astype(">u2" if most > 255 else "u1").tobytes()
            encoded = f"P{kind}\n{head}".encode() + body
            yield PixelForm(name, f"0 to {most:,}", "binary", encoded, shown(image, most))
            words = " ".join(str(value) for value in samples.ravel())
            encoded = f"P{kind - 3}\n{head}{words}\n".encode()
            yield PixelForm(name, f"0 to {most:,}", "text", encoded, shown(image, most), 1)
    kinds = {"GRAYSCALE": GREY[..., None], "GRAYSCALE_ALPHA": np.dstack([GREY, ALPHA])}
    for kind, image in {**kinds, "RGB": COLOUR, "RGB_ALPHA": FADED}.items():
        for most in (255, 1023, 65535):
            head = f"P7\nWIDTH {WIDTH}\nHEIGHT {HEIGHT}\nDEPTH {image.shape[2]}\nMAXVAL {most}\n"
            body = stored(image, most).astype(">u2" if most > 255 else "u1").tobytes()
            encoded = f"{head}TUPLTYPE {kind}\nENDHDR\n".encode() + body
            yield PixelForm("PAM", f"0 to {most:,}", kind, encoded, shown(image), 1)


def _tiff() -> Iterator[PixelForm]:
    meant = {"rgb": COLOUR, "minisblack": GREY, "miniswhite": 255 - GREY, "separated": INK}
    for bits in (8, 16):
        for photometric, image in meant.items():
            expected = shown(COLOUR if photometric in ("rgb", "separated") else GREY)
            for how, options in _ways(planes=image.ndim == 3).items():
                encoded = tiff(image, bits, photometric, **options)
                yield PixelForm("TIFF", str(bits), f"{photometric}, {how}", encoded, expected, 1)
        yield from _tiff_extra(bits)
    for bits in (10, 12, 14):
        most = 2**bits - 1
        samples = stored(GREY, most)
        for photometric, written in ((1, samples), (0, most - samples)):
            encoded = packed_tiff([_packed(written, bits).tobytes()], bits, photometric, 1)
            layout = "minisblack" if photometric else "miniswhite"
            yield PixelForm("TIFF", str(bits), layout, encoded, shown(GREY), 1)
        samples = stored(COLOUR, most)
        planes = [_packed(samples[..., c], bits).tobytes() for c in range(3)]
        encoded = packed_tiff(planes, bits, 2, 3)
        yield PixelForm("TIFF", str(bits), "rgb, planes", encoded, shown(COLOUR), 1)
    for bits in (1, 2, 4):
        body = _packed(stored(GREY, 2**bits - 1), bits).tobytes()
        encoded = packed_tiff([body], bits, 1, 1)
        yield PixelForm("TIFF", str(bits), "minisblack", encoded, shown(GREY, 2**bits - 1))
    deep = stored(COLOUR, 65535)
    for order, name in (("<", "little"), (">", "big")):
        planes = [_lzw(_packed(deep[..., c], 16, order).tobytes()) for c in range(3)]
        encoded = packed_tiff(planes, 16, 2, 3, order, compression=5)
        yield PixelForm("TIFF", "16", f"rgb, planes, LZW, {name} endian", encoded, shown(COLOUR))
    for kind in (np.int16, np.uint32, np.float32):
        encoded = tiff(GREY.astype(kind), 0, "minisblack")
        name = np.dtype(kind).name
        yield PixelForm("TIFF", name, "minisblack", encoded, None)


def _ways(planes: bool) -> dict[str, dict[str, Any]]:
    """How samples are laid out and compressed."""
    small, large = {"tile": (16, 16)}, {"byteorder": ">"}
    ways: dict[str, dict[str, Any]] = {
        "by pixel": {},
        "by pixel, big endian, deflate, predictor": large | _DEFLATE | {"predictor": True},
        "by pixel, tiles": small,
        "by pixel, tiles, deflate, predictor": small | _DEFLATE | {"predictor": True},
    }
    if planes:
        separate = {"planarconfig": "separate"}
        ways |= {
            "planes": separate,
            "planes, big endian, deflate, predictor": separate
            | large
            | _DEFLATE
            | {"predictor": True},
            "planes, tiles, deflate": separate | small | _DEFLATE,
        }
    return ways


_DEFLATE = {"compression": "zlib"}


def _tiff_extra(bits: int) -> Iterator[PixelForm]:
    """What stands beside the colours."""
    multiplied = np.dstack([np.rint(COLOUR * (ALPHA[..., None] / 255)), ALPHA]).astype(np.uint8)
    both, nothing = np.dstack([GREY, ALPHA]), np.dstack([GREY, FOURTH[..., 3]])
    five = np.dstack([FOURTH, ALPHA])
    for layout, image, extra, expected in (
        ("rgb, fourth unspecified", FOURTH, ["unspecified"], shown(COLOUR)),
        ("rgb, alpha", FADED, ["unassalpha"], shown(FADED)),
        ("rgb, multiplied alpha", multiplied, ["assocalpha"], shown(FADED)),
        ("rgb, two unspecified", five, ["unspecified"] * 2, shown(COLOUR)),
        ("rgb, unspecified, alpha", five, ["unspecified", "unassalpha"], shown(FADED)),
    ):
        for how in ("contig", "separate"):
            encoded = tiff(image, bits, "rgb", planarconfig=how, extrasamples=extra)
            said = f"{layout}, {'planes' if how == 'separate' else 'by pixel'}"
            yield PixelForm("TIFF", str(bits), said, encoded, expected, 1)
    for layout, image, extra, expected in (
        ("grey, alpha", both, "unassalpha", shown(both)),
        ("grey, second unspecified", nothing, "unspecified", shown(GREY)),
    ):
        encoded = tiff(image, bits, "minisblack", planarconfig="contig", extrasamples=[extra])
        yield PixelForm("TIFF", str(bits), layout, encoded, expected, 1)


def tiff(image: np.ndarray, bits: int, photometric: str, **options: Any) -> bytes:
    """A TIFF file of 8 or 16 bits, or of the image's own samples, as tifffile writes it."""
    samples = image * np.uint16(257) if bits == 16 else image
    if options.get("planarconfig") == "separate":
        samples = np.ascontiguousarray(samples.transpose(2, 0, 1))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, photometric=photometric, **options)
    return buffer.getvalue()


def packed_tiff(
    strips: list[bytes], bits: int, photometric: int, samples: int, order: str = "<", **more: int
) -> bytes:
    """A TIFF file of one strip, or of one for each plane, as nobody else here writes it."""
    body, starts = b"", []
    for strip in strips:
        starts.append(8 + len(body))
        body += strip + bytes(len(strip) % 2)
    tags: dict[int, list[int]] = {
        256: [WIDTH],
        257: [HEIGHT],
        258: [bits] * samples,
        259: [more.get("compression", 1)],
        262: [photometric],
        273: starts,
        277: [samples],
        278: [HEIGHT],
        279: [len(strip) for strip in strips],
        284: [2 if len(strips) > 1 else 1],
    }
    place = 8 + len(body)
    behind, entries, lists = place + 2 + 12 * len(tags) + 4, b"", b""
    for tag, values in tags.items():
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            where, lists = behind + len(lists), lists + packed
            packed = struct.pack(order + "I", where)
        entries += struct.pack(order + "HHI", tag, 4, len(values)) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", place)
    return head + body + struct.pack(order + "H", len(tags)) + entries + bytes(4) + lists


def _lzw(content: bytes) -> bytes:
    """TIFF's LZW without its gain: each byte by itself, the table cleared before codes grow."""
    codes: list[int] = []
    for start in range(0, len(content), 200):
        codes += [256, *content[start : start + 200]]
    text = "".join(f"{code:09b}" for code in [*codes, 257])
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8)
