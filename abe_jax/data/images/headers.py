"""What the header of an image file says: its format, its size and its orientation."""

import io
import struct

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from PIL.ImageFile import ImageFile

from abe_jax.data.images import heif, uncompressed

JPEG, PNG, WEBP = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
JPEG_2000 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")

# Not Image.open: it looks at what Pillow thinks of large images, and warns.
_READERS: dict[bytes | tuple[bytes, ...], type[ImageFile]] = {
    JPEG: JpegImagePlugin.JpegImageFile,
    PNG: PngImagePlugin.PngImageFile,
    WEBP: WebPImagePlugin.WebPImageFile,
    TIFF: TiffImagePlugin.TiffImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    tuple(b"P%d" % kind for kind in range(1, 7)): PpmImagePlugin.PpmImageFile,
    JPEG_2000: Jpeg2KImagePlugin.Jpeg2KImageFile,
}
_AV1 = b"av1C"  # the box in which an AVIF file describes its code
_SIZE_OF_CODE = b"\xff\x4f\xff\x51"  # a JPEG 2000 code begins, and its size follows
_ORIENTATION = 0x0112  # the EXIF tag
_WIDTH, _HEIGHT = 256, 257  # TIFF tags
# What a file with an EXIF orientation contains; JPEG 2000 has no such tag.
_EXIF = {
    JPEG: (b"Exif\0",),
    PNG: (b"eXIf", b"Raw profile type"),  # the second: by older programs, as text
    WEBP: (b"EXIF",),
}


def stored(encoded: bytes) -> tuple[int, int] | None:
    """Height and width in px as the header states them; None where no header can be read."""
    if encoded.startswith(PNG):
        if len(encoded) < 24:
            return None
        width, height = struct.unpack_from(">II", encoded, 16)
        return height, width
    if encoded.startswith(JPEG):
        return _size_in_jpeg(encoded)
    if encoded.startswith(uncompressed.PAM):
        return uncompressed.pam_size(encoded)
    if heif.is_heif(encoded):
        return heif.size(encoded)
    header = opened(encoded)
    if header is not None:
        return header.height, header.width
    found = tags(encoded) or {}  # of a form that Pillow does not know
    height, width = found.get(_HEIGHT), found.get(_WIDTH)
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def orientation(encoded: bytes) -> int:
    """The EXIF orientation, 1 to 8, with 1 for upright; 1 where the file states none.

    1 for TIFF too, which OpenCV turns upright by itself.
    """
    try:
        found = exif(encoded)
        value = None if found is None else found.get(_ORIENTATION)
    except Exception:  # whatever a damaged header raises: its pixels may be sound
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def exif(encoded: bytes) -> Image.Exif | None:
    """The EXIF data of a JPEG, PNG, WebP or AVIF file; None where it holds none.

    Of a damaged header it raises whatever Pillow raises, here or when a value is asked for.
    """
    if not heif.is_avif(encoded) and not any(
        encoded.startswith(start) and any(sign in encoded for sign in signs)
        for start, signs in _EXIF.items()
    ):
        return None
    header = opened(encoded)
    return header.getexif() if header else None


def bits(encoded: bytes) -> int:
    """The bits of a sample that OpenCV gives unscaled in 16; 16 where it gives full ones.

    AVIF has 10 or 12 (AV1 Codec ISO Media File Format Binding, section 2.3.3), JPEG 2000 any number
    (ISO/IEC 15444-1, A.5.1), of the first component here.
    """
    if heif.is_avif(encoded):
        flags = encoded[encoded.find(_AV1) + 6] if _AV1 in encoded[:-6] else 0
        return 12 if flags & 0x20 else 10
    if encoded.startswith(JPEG_2000):
        start = encoded.find(_SIZE_OF_CODE) + 2
        if 2 <= start < len(encoded) - 40:
            return (encoded[start + 40] & 0x7F) + 1
    return 16


def transparent_grey(encoded: bytes) -> int | None:
    """The level that a grey PNG file calls transparent, as OpenCV gives it; None where none is.

    It gives grey of less than 8 bits as 8, and of 16 as it is.
    """
    if not encoded.startswith(PNG) or encoded[25:26] != b"\0" or b"tRNS" not in encoded:
        return None
    offset, bits = len(PNG), encoded[24]
    while offset + 10 <= len(encoded):
        length, name = struct.unpack_from(">I4s", encoded, offset)
        if name == b"IDAT":
            return None
        if name == b"tRNS":
            level = int.from_bytes(encoded[offset + 8 : offset + 10]) & (2**bits - 1)
            return level if bits == 16 else level * 255 // (2**bits - 1)
        offset += 12 + length
    return None


def tags(encoded: bytes) -> TiffImagePlugin.ImageFileDirectory_v2 | None:
    """What a TIFF file says of its first image; None where it is none, or damaged there."""
    if not encoded.startswith(TIFF):
        return None
    file = io.BytesIO(encoded)
    try:
        found = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if is_big_tiff(encoded) else 8))
        file.seek(found.next)
        found.load(file)
        dict(found)  # each value is read when it is asked for
    except Exception:  # whatever a damaged header raises
        return None
    return found


def is_big_tiff(encoded: bytes) -> bool:
    """Whether a TIFF file has offsets of 64 bits."""
    return encoded[2:4] in (b"+\0", b"\0+")


def opened(encoded: bytes) -> ImageFile | None:
    """The file as Pillow opens it, pixels not yet read; None for other formats than those above."""
    readers = (reader for starts, reader in _READERS.items() if encoded.startswith(starts))
    reader = AvifImagePlugin.AvifImageFile if heif.is_avif(encoded) else next(readers, None)
    if reader is None:
        return None
    try:
        return reader(io.BytesIO(encoded), "")
    except Exception:  # whatever a damaged header raises
        return None


def _size_in_jpeg(encoded: bytes) -> tuple[int, int] | None:
    # Pillow would read all that stands before the frame's header, colour profiles included, which
    # takes a tenth of the time that a small image takes.
    offset = 2
    while offset + 9 <= len(encoded):
        if encoded[offset] != 0xFF:
            return None
        marker = encoded[offset + 1]
        if marker == 0xFF:  # a padding byte
            offset += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame begins
            height, width = struct.unpack_from(">HH", encoded, offset + 5)
            return height, width
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these stand alone
            offset += 2
        else:
            offset += 2 + int.from_bytes(encoded[offset + 2 : offset + 4])
    return None
