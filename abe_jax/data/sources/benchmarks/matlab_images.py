"""cuhk-03.mat as a folder of image files: MATLAB 7.3, which is HDF5.

Its cells `labeled` and `detected` hold one cell for each of the five pairs of cameras: persons by
ten images, the first five of the pair's first camera, the others of its second. A cell without an
image is empty. The field extracts them as images_labeled/PAIR_PERSON_VIEW_NUMBER.png, all counted
from 1, and the lists of the new protocol (Zhong et al., CVPR 2017) name them so.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from abe_jax.errors import UserError

FILE = "cuhk-03.mat"
BOXES = ("labeled", "detected")

_OF_ONE_CAMERA = 5
_MISSING = (
    f"{FILE} is read by the package h5py: pip install 'abe_jax[cuhk03]', or put the images "
    "that are extracted from it in its place"
)


def is_one(path: str) -> bool:
    """Whether a path is that of such a file."""
    return path.rpartition("/")[2].lower() == FILE


def is_of(key: Callable[[str], str], path: str) -> bool:
    """Whether a data set, by its `key`, has images of the file at a path."""
    return is_one(path) and any(key(f"{path}/images_{boxes}/{_name(1, 1, 1)}") for boxes in BOXES)


def images(file: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Each image's path below the file, as extracted, and what codes it as PNG.

    An image is to be read before the next is asked for.

    Raises:
        UserError: the package that reads HDF5 is not there.
        OSError, KeyError, ValueError: the file is damaged, or another.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(_MISSING) from error
    opened: Any = h5py.File(file, "r")
    with opened as stored:
        for boxes in BOXES:
            for pair, of_pair in enumerate(np.ravel(stored[boxes][()]), start=1):
                # HDF5 has MATLAB's dimensions the other way round: ten rows, a column a person.
                persons = np.transpose(stored[of_pair][()])
                for person, row in enumerate(persons, start=1):
                    for number, cell in enumerate(row, start=1):
                        if stored[cell].ndim == 3:
                            name = _name(pair, person, number)
                            yield f"images_{boxes}/{name}", lambda at=cell: _png(stored[at][()])


def _name(pair: int, person: int, number: int) -> str:
    view = 1 if number <= _OF_ONE_CAMERA else 2
    return f"{pair}_{person:03}_{view}_{number:02}.png"


def _png(stored: np.ndarray) -> bytes:
    """A PNG file of an image that is stored as channel, column, row."""
    image = np.ascontiguousarray(np.transpose(stored))
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
