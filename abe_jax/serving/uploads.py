"""How large an uploaded image may be, by its header, before a pixel of it is decoded.

A few bytes can stand for many pixels, and a decoder cannot be stopped: what it may take, in seconds
and in memory, is bounded by the pixels that it is given.
"""

from abe_jax.data.images import headers, jpeg
from abe_jax.serving.refused import Refused

MOST_PIXELS = 50_000_000  # the cameras of telephones make 48 million
# Of formats whose pixels take several times as long: TIFF, GIF, JPEG 2000, PNG of 16 bits. In
# 32 MiB none of them has room for a photograph of more.
MOST_PIXELS_SLOW = 16_000_000
# Of a JPEG file; each goes through all pixels, and a few bytes are enough for one. Progressive
# photographs have about ten.
MOST_SCANS = 100
_SLOW = (*headers.TIFF, b"GIF8", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")


def check_size(encoded: bytes) -> None:
    """Refuses an image of too many pixels or scans, and one whose header says no size."""
    size = headers.stored(encoded)
    if size is None:
        raise Refused(422, "this is no image that can be read: no header that says its size")
    height, width = size
    most = MOST_PIXELS_SLOW if _is_slow(encoded) else MOST_PIXELS
    if height * width > most:
        raise Refused(
            413, f"an image of {width} x {height} px; {most // 10**6} million px are the most"
        )
    if encoded.startswith(headers.JPEG) and jpeg.has_more_scans(encoded, MOST_SCANS):
        raise Refused(413, f"a JPEG file of more than {MOST_SCANS} scans")


def _is_slow(encoded: bytes) -> bool:
    bits_of_png = encoded[24] if encoded.startswith(headers.PNG) else 8
    return bits_of_png == 16 or encoded.startswith(_SLOW)
