"""A file system of a given size, in a namespace of its own, for programs of this project."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ROOT, command, environment


class SmallDisk:
    """`path` is where programs see it, `seen` where this process does."""

    def __init__(self, path: Path, pid: int):
        self.path, self._pid = path, pid
        self.seen = Path(f"/proc/{pid}/root{path}")

    def start(self, data: Path, module: str, *arguments: object) -> subprocess.Popen[str]:
        """A module of the package, among its own programs."""
        return subprocess.Popen(
            self._inside("env", "-C", str(ROOT), *command(module, *arguments)),
            env=environment(data),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def fill(self) -> None:
        """Writes a file that takes all the room; `empty` deletes it."""
        with contextlib.suppress(OSError), (self.seen / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def empty(self) -> None:
        """Deletes what `fill` wrote."""
        (self.seen / "filler").unlink()

    def read_only(self, on: bool) -> None:
        """Nothing can be opened for writing any more, or again; what is open goes on."""
        at = str(self.path)
        # A disk with open files takes no remount: a read-only view of it is laid over it.
        over = (("mount", "--bind", at, at), ("mount", "-o", "remount,ro,bind", at))
        for words in over if on else (("umount", at),):
            subprocess.run(self._inside(*words), check=True)

    def _inside(self, *words: str) -> list[str]:
        enter = ("nsenter", "-t", str(self._pid), "-U", "-m", "--preserve-credentials")
        return [*enter, *words]


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[SmallDisk]:
    """A disk of a size such as "8m" at `path`, which is made; skips where none can be mounted."""
    path.mkdir()
    script = 'mount -t tmpfs -o size="$1" none "$0" && echo mounted && exec sleep 1000'
    keeper = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", script, str(path), size], stdout=subprocess.PIPE, text=True
    )
    try:
        assert keeper.stdout is not None
        if keeper.stdout.readline() != "mounted\n":
            pytest.skip("no file system of a given size can be mounted here")
        yield SmallDisk(path, keeper.pid)
    finally:
        keeper.kill()
        keeper.communicate()
