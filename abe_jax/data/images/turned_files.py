"""JPEG files turned without coding them anew: by the orientation that their EXIF data states."""

from PIL import Image

from abe_jax.data.images import headers

ORIENTATIONS = {0: 1, 90: 6, 180: 3, 270: 8}  # degrees clockwise -> the EXIF orientation

_TAG = 0x0112  # of the orientation
_EXIF = b"Exif\0\0"
_APP0, _APP1, _SCAN = 0xE0, 0xE1, 0xDA
_LONGEST = 0xFFFF - 2  # bytes of a segment, which counts its own length


def turned(encoded: bytes, degrees: int) -> bytes:
    """The JPEG file that is shown so many degrees clockwise from its stored rows.

    The coded pixels stay as they are, and what the EXIF data says beside the orientation stays too,
    where it can be read and is not too long for one segment. Whatever orientation the file itself
    states no longer counts. Another kind of file, or one that is cut off before its pixels, is
    given back.
    """
    if not encoded.startswith(headers.JPEG):
        return encoded
    found = _segments(encoded)
    if found is None:
        return encoded
    segments, rest = found
    kept = [one for one in segments if not (one[1] == _APP1 and one[4:].startswith(_EXIF))]
    first = next((i for i, one in enumerate(kept) if one[1] != _APP0), len(kept))
    kept.insert(first, _stated(encoded, ORIENTATIONS[degrees]))
    return b"".join([headers.JPEG, *kept, rest])


def _segments(encoded: bytes) -> tuple[list[bytes], bytes] | None:
    """The segments before the pixels, each with its marker and length, and all from these on."""
    offset, segments = len(headers.JPEG), list[bytes]()
    while offset + 4 <= len(encoded) and encoded[offset] == 0xFF:
        marker = encoded[offset + 1]
        if marker == _SCAN:
            return segments, encoded[offset:]
        if marker == 0xFF:  # a padding byte
            offset += 1
            continue
        end = offset + 2 + int.from_bytes(encoded[offset + 2 : offset + 4])
        segments.append(encoded[offset:end])
        offset = end
    return None


def _stated(encoded: bytes, orientation: int) -> bytes:
    """The segment with the file's EXIF data, and this orientation in it."""
    try:
        exif = headers.exif(encoded) or Image.Exif()
        exif[_TAG] = orientation
        content = exif.tobytes()
    except Exception:  # whatever damaged EXIF data raises
        content = b""
    if not content or len(content) > _LONGEST:
        exif = Image.Exif()
        exif[_TAG] = orientation
        content = exif.tobytes()
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2) + content
