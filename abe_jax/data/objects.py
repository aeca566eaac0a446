"""Which images show one and the same object, where a data set says so."""

import csv
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from abe_jax.config import Data, nearest
from abe_jax.data.listing import Image
from abe_jax.errors import UserError


def of_column(data: Data, images: Sequence[Image]) -> Int[np.ndarray, " n"] | None:
    """A number for each image, alike for images of one class and one `data.instance_column`.

    An image whose cell is empty is alone (a distractor, say). None where no column is named.

    Raises:
        UserError: the images are a folder's, or the file has no such column.
    """
    wanted = data.instance_column
    if not wanted:
        return None
    path = pathlib.Path(data.path).expanduser()
    if path.is_dir():
        raise UserError(
            f"config.data.instance_column: {path} is a folder, and only a CSV file has columns; "
            "leave it empty, or name a CSV file in config.data.path"
        )
    base = path.absolute().parent
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        columns = list(reader.fieldnames or ())
        if wanted not in columns:
            raise UserError(
                f"{path} has no column '{wanted}' (config.data.instance_column); "
                f"{nearest(wanted, columns)}"
            )
        named = {
            os.path.relpath(base / (row["path"] or ""), base): (row[wanted] or "").strip()
            for row in reader
        }
    objects = [(image.label, named[image.path] or f"\0{image.path}") for image in images]
    numbers = {one: place for place, one in enumerate(dict.fromkeys(objects))}
    return np.array([numbers[one] for one in objects], np.int32)


def of_groups(
    labels: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """A number for each image, alike for images of one class and one group."""
    return np.unique(np.stack([labels, groups]), axis=1, return_inverse=True)[1].astype(np.int32)
