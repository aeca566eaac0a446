"""Zip archives whose sizes are checked before anything is unpacked."""

import io
import zipfile

from abe_jax.errors import UserError

# PyTorch and NumPy use no others, and of these alone zipfile unpacks no more than is asked for.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Archive:
    """A zip archive in memory, of which every file can be read whole."""

    def __init__(self, data: bytes, most: int):
        """Opens it; `most` is how many bytes its files may have together, unpacked.

        Raises:
            UserError: it has more, or two files of one name, or a compression that neither PyTorch
                nor NumPy uses.
            Exception: whatever zipfile raises for a damaged archive.
        """
        self._zip = zipfile.ZipFile(io.BytesIO(data))
        files = self._zip.infolist()
        self._files = {file.filename: file for file in files}
        total = sum(file.file_size for file in files)
        if total > most:
            raise UserError(f"unpacks to {mebibytes(total)}, where {mebibytes(most)} are enough")
        if len(self._files) != len(files):
            raise UserError("an archive with two files of one name")
        if any(file.compress_type not in _METHODS for file in files):
            raise UserError("an archive compressed in another way than PyTorch or NumPy does")

    @property
    def names(self) -> list[str]:
        """The files in it."""
        return list(self._files)

    def read(self, name: str) -> bytes:
        """A file of the archive, its checksum proved."""
        file = self._files[name]
        with self._zip.open(file) as member:
            # Asked for the size that was checked: without one, zipfile unpacks whatever comes.
            data = member.read(file.file_size)
        if len(data) != file.file_size:
            raise ValueError(f"{name} ends too early")
        return data


def mebibytes(count: int) -> str:
    """A number of bytes as text, in MiB."""
    return f"{-(-count // 2**20):,} MiB"
