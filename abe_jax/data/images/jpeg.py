"""The parts of a JPEG file: where its image ends, and whether its data is damaged.

Sections and markers are those of ITU-T T.81, annex B.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_END, _SCAN, _TABLES = 0xD9, 0xDA, 0xC4
_RESTARTS = range(0xD0, 0xD8)
_ALONE = (0x01, 0xD8)  # markers without a content
# What may follow the data of a scan: tables, another scan, the number of lines, the end, a comment
# or what an application adds.
_BEHIND_A_SCAN = {_TABLES, *range(0xD9, 0xDE), *range(0xE0, 0xF0), 0xFE}
_SEQUENTIAL = (0xC0, 0xC1)  # frames in Huffman's code whose scans hold whole blocks


class Section(NamedTuple):
    """A marker, where its content begins, and where it ends, data of a scan included."""

    marker: int
    start: int
    data: int  # where a scan's data begins; else the end
    end: int


def has_end(encoded: bytes) -> bool:
    """Whether the image is there to its end, whatever stands behind it."""
    return any(section.marker == _END for section in _Markers(encoded).sections())


def has_more_scans(encoded: bytes, most: int) -> bool:
    """Whether an image is built up in more than `most` scans; no later one is looked for."""
    scans = (section for section in _Markers(encoded).sections() if section.marker == _SCAN)
    return next(itertools.islice(scans, most, None), None) is not None


def damage(encoded: bytes) -> str:
    """What is wrong in the data of a JPEG file that has an end; empty where nothing is found.

    Found are markers that cannot be there, restarts in another order and long rows of zeros in a
    sequential scan, as disks and transfers leave them and no photograph has. Other bits that are
    wrong look like an image's own to all but a full decoder.
    """
    markers = _Markers(encoded)
    sequential = flat = False
    for marker, start, data, end in markers.sections():
        if marker in _SEQUENTIAL:
            sequential = True
        elif marker == _TABLES:
            flat = _flat_of_zeros(encoded[start:end], flat)
        elif marker == _SCAN:
            if not markers.restarts_in_order(data, end):
                return "restarts that are missing"
            if end < len(encoded) and encoded[end + 1] not in _BEHIND_A_SCAN:
                return "a marker inside the image's data"
            if sequential and not flat and has_zeros(encoded[data:end]):
                return "zeros in the place of the image's data"
    return ""


class _Markers:
    """Where a file has markers, those that a thumbnail or chance makes among them."""

    def __init__(self, encoded: bytes):
        self._encoded = encoded
        values = np.frombuffer(encoded, np.uint8)
        found = np.flatnonzero(values[:-1] == 0xFF)
        named = values[found + 1]
        is_restart = (named >= _RESTARTS.start) & (named < _RESTARTS.stop)
        self._restarts, self._numbers = found[is_restart], named[is_restart] & 7
        # A zero behind it makes the byte one of the data, and another one only fills.
        self._others = found[~is_restart & (named != 0) & (named != 0xFF)]

    def sections(self) -> Iterator[Section]:
        """The sections up to the end of the image, or as far as they can be followed."""
        offset = 2
        while (at := self._next(offset)) < len(self._encoded):
            marker, start = self._encoded[at + 1], at + 2
            if marker in _ALONE:
                offset = start
                continue
            data = end = start + int.from_bytes(self._encoded[start : start + 2])
            if marker == _END:
                data = end = start
            elif marker == _SCAN:
                end = self._next(data)
            yield Section(marker, start, data, end)
            if marker == _END:
                return
            offset = end

    def restarts_in_order(self, start: int, end: int) -> bool:
        """Whether the restarts between two places count 0 to 7 and again from 0."""
        first, last = np.searchsorted(self._restarts, (start, end))
        numbers = self._numbers[first:last]
        return bool((numbers == np.arange(len(numbers)) % 8).all())

    def _next(self, offset: int) -> int:
        """Where the next marker is, the file's length where there is none."""
        number = int(np.searchsorted(self._others, offset))
        known = number < len(self._others)
        return int(self._others[number]) if known else len(self._encoded)


def has_zeros(content: bytes) -> bool:
    """Whether 24 zeros or more follow one another (31 wherever they begin)."""
    words = np.frombuffer(content, "<u8", len(content) // 8) == 0
    return bool(np.any(words[:-2] & words[1:-1] & words[2:]))


def _flat_of_zeros(content: bytes, before: bool) -> bool:
    """Whether zeros can mean a flat area: they end the first table's blocks at once."""
    offset = 2
    while offset + 17 < len(content):
        kind, count = content[offset], sum(content[offset + 1 : offset + 17])
        if kind == 0x10:
            return content[offset + 17] == 0
        offset += 17 + count
    return before
