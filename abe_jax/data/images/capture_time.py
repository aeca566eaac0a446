"""When and by which camera a photograph was taken, as its file's EXIF data say."""

import datetime
import itertools
import re
from typing import Any, NamedTuple

from PIL import Image
from PIL.ExifTags import IFD, Base

from abe_jax.data.images import headers, heif

_TIME = re.compile(r"\s*(\d{4})\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)")


class CaptureTime(NamedTuple):
    """The time of capture on a camera's clock, and which camera; "" where none is named."""

    camera: str
    time: datetime.datetime


def capture_time(encoded: bytes) -> CaptureTime | None:
    """When and by which camera an image file says that it was taken; None where it says no time.

    The time is DateTimeOriginal with SubSecTimeOriginal or, where that says none, DateTime with
    SubSecTime. Time zones are left out: sequences are of one camera. The camera is Make and Model.
    Source: Exif 2.32 (CIPA DC-008), 4.6.5 and 4.6.6.
    """
    try:
        main = _exif(encoded)
        if main is None:
            return None
        own = main.get_ifd(IFD.Exif)
        times = (
            (own.get(Base.DateTimeOriginal), own.get(Base.SubsecTimeOriginal)),
            (main.get(Base.DateTime), own.get(Base.SubsecTime)),
        )
        camera = " ".join(_text(main.get(tag)) for tag in (Base.Make, Base.Model)).strip()
    except Exception:  # whatever a damaged header raises
        return None
    known = (_time(_text(at), _text(fraction)) for at, fraction in times)
    time = next(filter(None, known), None)
    return None if time is None else CaptureTime(camera, time)


def _exif(encoded: bytes) -> Image.Exif | None:
    if heif.is_heif(encoded):
        found = Image.Exif()
        found.load(heif.exif(encoded))
        return found
    if encoded.startswith(headers.TIFF):
        header = headers.opened(encoded)
        return None if header is None else header.getexif()
    return headers.exif(encoded)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.strip("\0 ") if isinstance(value, str) else ""


def _time(text: str, fraction: str) -> datetime.datetime | None:
    """A time as EXIF writes it, "2024:05:31 12:00:07", and digits behind the second's point."""
    found = _TIME.match(text)
    digits = "".join(itertools.takewhile(lambda c: c in "0123456789", fraction))
    try:
        if not found:
            return None
        second = datetime.datetime.fromisoformat("{}-{}-{} {}:{}:{}".format(*found.groups()))
        return second + datetime.timedelta(seconds=float(f"0.{digits or 0}"))
    except ValueError:  # 0000:00:00, as of a camera whose clock was never set
        return None
