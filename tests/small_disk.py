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
        """Nothing can be written any more, or again."""
        how = f"remount,{'ro' if on else 'rw'}"
        # A file that is open for writing forbids it, unless only this way in is closed.
        subprocess.run(self._inside("mount", "-o", f"{how},bind", str(self.path)), check=True)

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
