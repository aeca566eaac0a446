"""What the header of an image file says: its size and its orientation."""

import io
import struct

from PIL import (
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

JPEG, PNG, WEBP, AVIF = b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF", b"ftypavi"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TURNED = range(5, 9)  # orientations in which the stored rows are the image's columns

# Not Image.open: it looks at what Pillow thinks of large images, and warns.
_READERS: dict[bytes | tuple[bytes, ...], type[ImageFile]] = {
    JPEG: JpegImagePlugin.JpegImageFile,
    PNG: PngImagePlugin.PngImageFile,
    WEBP: WebPImagePlugin.WebPImageFile,
    TIFF: TiffImagePlugin.TiffImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    tuple(b"P%d" % kind for kind in range(1, 7)): PpmImagePlugin.PpmImageFile,
    (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"): Jpeg2KImagePlugin.Jpeg2KImageFile,
}
_ORIENTATION = 0x0112  # the EXIF tag
_EXTRA_SAMPLES = 338  # the TIFF tag; two of its values:
ASSOCIATED, UNASSOCIATED = 1, 2
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
    header = opened(encoded)
    return None if header is None else (header.height, header.width)


def orientation(encoded: bytes) -> int:
    """The EXIF orientation, 1 to 8, with 1 for upright; 1 where the file states none.

    1 for TIFF too, which OpenCV turns upright by itself.
    """
    if encoded[4:11] != AVIF and not any(
        encoded.startswith(start) and any(sign in encoded for sign in signs)
        for start, signs in _EXIF.items()
    ):
        return 1
    try:
        header = opened(encoded) or Image.open(io.BytesIO(encoded), formats=("AVIF",))
        value = header.getexif().get(_ORIENTATION)
    except Exception:  # whatever a damaged header raises: its pixels may be sound
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def extra_samples(encoded: bytes) -> int:
    """What a TIFF file says its first channel beside the colours is; 0 where it says nothing."""
    header = opened(encoded) if encoded.startswith(TIFF) else None
    if not isinstance(header, TiffImagePlugin.TiffImageFile):
        return 0
    return (header.tag_v2.get(_EXTRA_SAMPLES) or (0,))[0]


def opened(encoded: bytes) -> ImageFile | None:
    """The file as Pillow opens it, pixels not yet read; None for formats not in the table above."""
    for starts, reader in _READERS.items():
        if encoded.startswith(starts):
            try:
                return reader(io.BytesIO(encoded), "")
            except Exception:  # whatever a damaged header raises
                return None
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
