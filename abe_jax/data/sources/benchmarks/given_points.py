"""Points of the user's own, such as joints, on the images of a prepared set."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from abe_jax.data.annotations import Annotations
from abe_jax.data.source_options import SourceOptions
from abe_jax.data.sources import csv_file
from abe_jax.data.sources.point_column import pairs_of, points_of
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError
from abe_jax.files import expanded


def check(options: SourceOptions, name: str, *, prepared: bool) -> None:
    """Refuses options of points that the data set `name` has no use for, or that need another.

    Args:
        options: what is asked of the set.
        name: the set's.
        prepared: whether it is one of the benchmarks.

    Raises:
        ArgumentError: with the nearest right choice.
    """
    path, column = options.points_path, options.points_column
    if path and not prepared:
        raise ArgumentError(
            "points_path",
            f"of a prepared set such as inshop, but the data set is {name!r}; leave it empty (a "
            "folder's points are in its own CSV file)",
        )
    if path and not column:
        raise ArgumentError("points_path", f"{path}, but points_column does not say which column")
    if prepared and column and not path:
        raise ArgumentError(
            "points_column", f"{column!r} of {name}; set points_path to the CSV file that has it"
        )
    if options.point_pairs and not column:
        raise ArgumentError(
            "point_pairs", "of points, but points_column is empty; name the column that has them"
        )


def placed(split: Split, keys: Sequence[str], options: SourceOptions) -> Split:
    """The split with the points of `options.points_path` in the place of its own.

    The CSV file's column `path` has an image's name in the set, its column `points_column` the
    points (see `point_column`). Of an image that it does not name no point is visible; all else
    that is known of the images stays.

    Args:
        split: images of the set, by `paths`.
        keys: the names of all images of the set.
        options: `points_path`, `points_column` and `point_pairs`; without the first the split
            stays as it is.

    Raises:
        UserError: the file cannot be read or understood, or names an image that the set has not.
        ArgumentError: a column that is not there, or a pair of points that are not.
    """
    if not options.points_path:
        return split
    column, path = options.points_column, expanded(options.points_path)
    try:
        rows = csv_file.rows(path, {"points_column": column})
    except OSError as error:
        raise ArgumentError("points_path", f"cannot read {path}: {error.strerror}") from None
    names = [row["path"] for row in rows]
    csv_file.check_paths(path, names)
    known, first = set(keys), f"; the set's first is {keys[0]}"
    strange = (name for name in names if name not in known)
    csv_file.refuse(path, "an image that is not in the set", strange, lambda _: first)
    points = points_of(path, column, names, [row[column] for row in rows])
    pairs = pairs_of(options.point_pairs, points.shape[1])
    row_of = {name: row for row, name in enumerate(names)}
    own = np.zeros((len(split.paths), *points.shape[1:]), np.float32)
    for row, image in enumerate(split.paths):
        if image in row_of:
            own[row] = points[row_of[image]]
    annotations = (split.annotations or Annotations())._replace(points=own)
    return dataclasses.replace(split, annotations=annotations, point_pairs=pairs)
