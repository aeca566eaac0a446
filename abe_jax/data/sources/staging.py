"""Prepared data copied once to a disk of the machine's own, from a file system that many share.

$ABE_JAX_SCRATCH names a folder there, as a cluster gives one to each job. Of the processes of a
machine one copies, under a lock of that disk, and the others wait for it. A copy appears under its
name when all of it is there, so that one that was killed half way is made anew.
"""

import hashlib
import logging
import os
import shutil
from pathlib import Path

from abe_jax import files
from abe_jax.errors import UserError

SCRATCH = "ABE_JAX_SCRATCH"
PARTIAL = ".partial"
OWN = (".", "abe_jax_")  # what this package writes beside the records later: locks, labels
_log = logging.getLogger(__name__)


def staged(folder: Path) -> Path:
    """The copy of a prepared folder on $ABE_JAX_SCRATCH; the folder itself where that is unset.

    A disk that cannot hold it stops nothing: that is said, and the folder itself is read.

    Raises:
        UserError: nothing can be written there at all.
    """
    scratch = os.environ.get(SCRATCH)
    if not scratch:
        return folder
    there = files.expanded(scratch) / f"{folder.parent.name}-{folder.name}-{_version(folder)}"
    if there.is_dir():
        return there
    try:
        there.parent.mkdir(parents=True, exist_ok=True)
        with files.lock(there.parent / ".lock"):
            return there if there.is_dir() else _copied(folder, there)
    except OSError as error:
        raise UserError(
            f"${SCRATCH}: {there.parent}: cannot be written ({error.strerror}); name a folder of "
            "this machine's, or unset it"
        ) from None


def _copied(folder: Path, there: Path) -> Path:
    for leftover in there.parent.glob(f"*{PARTIAL}"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    partial = there.with_name(there.name + PARTIAL)
    try:
        shutil.copytree(folder, partial)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error)[:120]
        _log.warning(
            f"warning: ${SCRATCH}: cannot copy {folder} there ({reason}); it is read where it is"
        )
        return folder
    partial.rename(there)
    return there


def _version(folder: Path) -> str:
    """Digits that change when a file of the folder does: of paths, sizes and times of change."""
    hashed = hashlib.sha256(os.path.realpath(folder).encode(errors="surrogateescape"))
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(OWN):
            stamp = path.stat()
            name = path.relative_to(folder).as_posix()
            hashed.update(f"{name} {stamp.st_size} {stamp.st_mtime_ns}\0".encode(errors="replace"))
    return hashed.hexdigest()[:12]
