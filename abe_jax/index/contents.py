"""What tells that two files are the same image, whatever they are called: their bytes."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import overload

from tqdm import tqdm

from abe_jax.data.sources import image_files

DIGEST_BYTES = 16
THREADS = 4  # that read files to compare them: each may hold image_files.MOST_BYTES


def digest(content: bytes) -> str:
    """The BLAKE2b of a file's bytes, `DIGEST_BYTES` in hexadecimal."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).hexdigest()


class DigestedFiles(Sequence[bytes]):
    """The bytes of files at absolute paths, as `image_files.Files` gives them; thread-safe.

    `digests` gets those of all that were asked for, by their place: of the very bytes that were
    given, so that a file which is replaced meanwhile is not taken for what was embedded. What
    cannot be read, and an empty file, has none.
    """

    def __init__(self, paths: Sequence[str]):
        self.digests: dict[int, str] = {}
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        content = image_files.read(Path(self._paths[index]))
        if content:
            self.digests[index] = digest(content)
        return content


def digests(paths: Sequence[str]) -> dict[str, str]:
    """The digests of files by path, under a progress bar; none of what cannot be read."""
    files = DigestedFiles(paths)

    def read(number: int) -> None:
        files[number]  # which digests it

    with ThreadPoolExecutor(THREADS) as threads:
        done = threads.map(read, range(len(paths)))
        for _ in tqdm(done, total=len(paths), desc="comparing", unit="file", disable=None):
            pass
    return {paths[number]: value for number, value in files.digests.items()}
