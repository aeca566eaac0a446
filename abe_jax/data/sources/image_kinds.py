"""What a file is: by its name's ending where that is known, else by its first bytes."""

import functools
import importlib.util
import os
import re
from typing import Literal

from abe_jax.data.sources.image_files import first_bytes

HEIC_PACKAGE = "pillow-heif"
# Endings of images that are read, in lower case: such a file is not opened to be listed.
SUFFIXES = (
    frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".png", ".apng"))
    | frozenset((".avif", ".bmp", ".dib", ".gif", ".jp2", ".tif", ".tiff", ".webp"))
    | frozenset((".pam", ".pbm", ".pgm", ".pnm", ".ppm"))
)
_HEIC_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
# A camera's raw files begin as TIFF does, and hold a thumbnail that would be taken for the picture.
_RAW_SUFFIXES = (
    frozenset((".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc"))
    | frozenset((".mef", ".mos", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl"))
    | frozenset((".sr2", ".srf", ".srw", ".x3f"))
)
# Nobody takes these for images: texts, tables, arrays, and what programs lay beside photographs.
_OTHER_SUFFIXES = (
    frozenset((".aae", ".cfg", ".csv", ".db", ".h5", ".htm", ".html", ".ini", ".ipynb", ".json"))
    | frozenset((".jsonl", ".lnk", ".log", ".mat", ".md", ".md5", ".npy", ".npz", ".pkl", ".py"))
    | frozenset((".rst", ".sh", ".sha256", ".thm", ".toml", ".tsv", ".txt", ".url", ".xml"))
    | frozenset((".xmp", ".yaml", ".yml"))
)

FIRST_BYTES = 512
_BLANKS = rb"(?:\s|#[^\n]*\n)+"  # each byte fits in one way: no row of blanks takes long
_STARTS = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|RIFF....WEBP"
    rb"|II[*+]\0|MM\0[*+]"  # TIFF
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"  # JPEG 2000
    # BMP and PNM begin with two letters, as words do: more of their headers is looked at.
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"
    rb"|P[1-6]" + _BLANKS + rb"\d+" + _BLANKS + rb"\d+\s"
    rb"|P7\n(?:#[^\n]*\n)*(?:WIDTH|HEIGHT|DEPTH|MAXVAL|TUPLTYPE) ",
    re.DOTALL,
)
_AVIF = frozenset((b"avif", b"avis"))
_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
_HEIC |= {b"mif1", b"msf1"}

# image: one that is read; heic: one of which the package is missing; other: not known to be an
# image; aside: something that nobody takes for one.
Kind = Literal["image", "heic", "other", "aside"]


def kind(path: str) -> Kind:
    """What a file is; it is opened where its ending does not say.

    An image by its ending alone may turn out to be none: that is for its reader to find out.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending in SUFFIXES or (ending in _HEIC_SUFFIXES and reads_heic()):
        return "image"
    if ending in _OTHER_SUFFIXES:
        return "aside"
    return "other" if ending in _RAW_SUFFIXES else kind_of_bytes(first_bytes(path, FIRST_BYTES))


def kind_of_bytes(first: bytes) -> Kind:
    """What a file is by `first`, its FIRST_BYTES."""
    if _STARTS.match(first):
        return "image"
    brands = _brands(first)
    if brands & _AVIF:
        return "image"
    if brands & _HEIC:
        return "image" if reads_heic() else "heic"
    return "other"


def _brands(first: bytes) -> frozenset[bytes]:
    """What an ISO media file says it is compatible with: videos begin so, too."""
    if first[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(first[:4]), len(first))
    return frozenset(first[at : at + 4] for at in (8, *range(16, end - 3, 4)))


@functools.cache
def reads_heic() -> bool:
    """Whether the package that reads HEIC is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def ending(name: str) -> str:
    """A file's ending as people say it, such as '.mov'; '' where it has none."""
    found = re.fullmatch(r"\.([^\W_]{1,10})(?:[?&#].*)?", os.path.splitext(name)[1].lower())
    return f".{found[1]}" if found else ""
