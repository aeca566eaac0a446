"""A folder of files and archives, read as one tree of members; nothing is unpacked to disk.

An archive is a folder of the tree: `a/b.zip/c/d.jpg` is what b.zip in the folder `a` calls c/d.jpg.
A file of images in MATLAB's form, cuhk-03.mat, is one too.
"""

import functools
import gzip
import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from abe_jax.data.sources.benchmarks import matlab_images
from abe_jax.data.sources.image_files import MOST_BYTES, read
from abe_jax.errors import UserError

_TARS = (".tar", ".tgz", ".tar.gz")
_DEEPEST = 4  # archives in archives; one that holds itself would have no end
# What a damaged archive makes its readers raise; OSError has gzip's among them.
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError)
_DAMAGE += (RuntimeError, NotImplementedError)  # of zipfile: encrypted, an unknown compression


class Member(NamedTuple):
    """A file somewhere below a source."""

    path: str  # below the source, with "/"
    # Its content, to be read before the next member is asked for. Empty where it cannot be read or
    # is larger than any image.
    read: Callable[[], bytes]


Opened = tuple[str, Callable[[], Any]]  # a member's path, and how it is opened


def members(source: Path, enter: Callable[[str], bool] = lambda path: True) -> Iterator[Member]:
    """All files below a folder, those in archives too (zip, tar, tgz and such in one another).

    The same order each time: files by their paths, then archives by theirs, each in its own order.
    `enter` says of the path of an archive in a folder whether to look into it. Links are followed
    in folders, never in archives; a name that leads out of its archive is passed over.

    Raises:
        UserError: `source` is no folder, or an archive is damaged.
    """
    if not source.is_dir():
        raise UserError(f"{source} is no folder")
    archives = []
    for path in _files(str(source), "", ()):
        if _is_archive(path) or matlab_images.is_one(path):
            archives.append(path)
        else:
            yield Member(path, functools.partial(read, source / path))
    for path in archives:
        if not enter(path):
            continue
        if matlab_images.is_one(path):
            yield from _members_of(_in_matlab(source / path, path), 1, False)
        else:
            with (source / path).open("rb") as file:
                yield from _inside(file, path, depth=1, streamed=False)


def _files(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that it lies in
        return
    try:
        with os.scandir(folder) as inside:
            entries = sorted(inside, key=lambda entry: entry.name)
    except OSError:  # what may not be looked at is not there: the counts will say so
        return
    for entry in entries:
        if os.path.isdir(entry.path):  # of a link to itself, an entry would raise
            yield from _files(entry.path, f"{prefix}{entry.name}/", (*above, real))
        elif os.path.isfile(entry.path):
            yield prefix + entry.name


def _is_archive(path: str) -> bool:
    return path.lower().endswith((".zip", *_TARS))


def _in_matlab(file: Path, path: str) -> Iterator[Opened]:
    try:
        for inside, encoded in matlab_images.images(file):
            yield f"{path}/{inside}", lambda encoded=encoded: io.BytesIO(encoded())
    except (*_DAMAGE, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _inside(file: Any, path: str, depth: int, streamed: bool) -> Iterator[Member]:
    """The members of one archive; none where the file does not begin as its name promises.

    `streamed`: the file can be read from its start to its end only.
    """
    try:
        start = file.peek(tarfile.BLOCKSIZE)[: tarfile.BLOCKSIZE]
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    if path.lower().endswith(".zip"):
        if start[:2] != b"PK":
            return
        if streamed:
            raise UserError(f"{path} is in a compressed archive: unpack that one first")
        yield from _members_of(_zipped(file, path), depth, streamed)
    elif start[:2] == b"\x1f\x8b":
        yield from _members_of(
            _tarred(gzip.GzipFile(fileobj=file), path, streamed=True), depth, True
        )
    elif _begins_as_tar(start):
        yield from _members_of(_tarred(file, path, streamed=streamed), depth, streamed)


def _begins_as_tar(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def _members_of(inside: Iterator[Opened], depth: int, streamed: bool) -> Iterator[Member]:
    for path, opened in inside:
        if _is_archive(path) and depth < _DEEPEST:
            try:
                file = opened()
            except _DAMAGE as error:  # encrypted, say
                raise _damaged(path, error) from error
            with file:
                yield from _inside(file, path, depth + 1, streamed)
        else:
            yield Member(path, lambda opened=opened, path=path: _content(opened, path))


def _content(opened: Callable[[], Any], path: str) -> bytes:
    try:
        with opened() as file:
            content = file.read(MOST_BYTES + 1)
            return content if len(content) <= MOST_BYTES else b""
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _zipped(file: Any, path: str) -> Iterator[Opened]:
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                if not info.is_dir() and (inside := _below(info.filename)):
                    yield f"{path}/{inside}", lambda info=info: archive.open(info)
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _tarred(file: Any, path: str, streamed: bool) -> Iterator[Opened]:
    mode: Any = "r|" if streamed else "r:"
    try:
        with tarfile.open(fileobj=file, mode=mode, tarinfo=_Header) as archive:
            for info in archive:
                if info.isfile() and (inside := _below(info.name)):
                    yield f"{path}/{inside}", lambda info=info: archive.extractfile(info)
        if isinstance(file, gzip.GzipFile):
            for _ in iter(lambda: file.read(1 << 20), b""):  # its checksum is behind its end
                pass
    except _DAMAGE as error:
        raise _damaged(path, error) from error


class _Header(tarfile.TarInfo):
    """A member's header; tarfile takes an end without its mark, or nonsense, for the end."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> "_Header":
        """As TarInfo's; an archive that was cut short is an error."""
        if len(buf) < tarfile.BLOCKSIZE:
            raise EOFError("it ends early")
        try:
            return super().frombuf(buf, encoding, errors)  # pyright: ignore
        except tarfile.HeaderError as error:
            if any(buf):  # the mark of the end is zeros
                raise ValueError(f"a header in it is {error}") from error
            raise


def _below(name: str) -> str:
    """The name without what says nothing; empty where it leads out of the archive."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts or name.startswith(("/", "\\")) or not parts or parts[0].endswith(":"):
        return ""
    return "/".join(parts)


def _damaged(path: str, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{path}: damaged, or not fetched whole ({reason}): fetch the archive again")
