"""Paths and labels of images that an index knows already: it keeps those that it has."""

import os
from collections.abc import Collection, Iterable, Mapping

from abe_jax.data.sources.csv_file import shown
from abe_jax.data.sources.labels import composed
from abe_jax.index.image_list import ImageList
from abe_jax.index.same_folder import other_paths
from abe_jax.index.segments import ImageRow


def with_known_labels(images: ImageList, known: Mapping[str, str]) -> ImageList:
    """The images with the paths and the labels that an index has, where no others are given.

    One whose folder is named by another path, as through a link, has the path of the index.
    An image that comes without one keeps its own: the folder of one class alone gives its images
    none. So does one whose label differs in its Unicode form alone; a new image takes the form of
    the index. Earlier programs labelled an image by the whole path of its folder, `cat/2021` for
    what is of the class `cat`: it keeps that, which `notes` then says.

    Args:
        images: as they are listed.
        known: path -> label of the images of the index.
    """
    images = _by_known_paths(images, known)
    forms = {composed(label): label for label in known.values() if not label.isascii()}
    rows, of_paths = list[ImageRow](), list[tuple[str, str]]()
    for row in images.rows:
        now = known.get(row.path, "")
        if not row.label or composed(row.label) == composed(now):
            row = row._replace(label=now)
        elif images.by_folder and _is_folder_path(now, row):
            of_paths.append((now, row.label))
            row = row._replace(label=now)
        else:
            row = row._replace(label=forms.get(composed(row.label), row.label))
        rows.append(row)
    return images._replace(rows=rows, notes=[*images.notes, *_older(of_paths)])


def _by_known_paths(images: ImageList, known: Collection[str]) -> ImageList:
    """The images by the paths that an index has, where another path leads to their folder."""
    if not images.folder or all(row.path in known for row in images.rows):
        return images
    others = other_paths(images.folder, known)
    rows = [
        row._replace(path=others.get(row.path, row.path)) if row.path not in known else row
        for row in images.rows
    ]
    return images._replace(rows=rows)


def _is_folder_path(label: str, row: ImageRow) -> bool:
    folder = os.path.dirname(row.path)
    return "/" in label and folder.endswith(f"/{label}") and row.label in label.split("/")


def _older(labels: list[tuple[str, str]]) -> Iterable[str]:
    if not labels:
        return
    label, name = labels[0]
    yield (
        f"the index labels {len(labels):,} of these images by the path of their folder, as "
        f"'{shown(label)}', where a new one has '{shown(name)}'; `index sync` labels all by class"
    )
