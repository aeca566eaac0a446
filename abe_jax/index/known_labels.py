"""Labels of images that an index knows already: it keeps those that it has."""

import os
from collections.abc import Iterable, Mapping

from abe_jax.data.sources.csv_file import shown
from abe_jax.data.sources.labels import composed
from abe_jax.index.image_list import ImageList
from abe_jax.index.segments import ImageRow


def with_known_labels(images: ImageList, known: Mapping[str, str]) -> ImageList:
    """The images with the labels that an index has, where those that are given say no other.

    An image that comes without one keeps its own: the folder of one class alone gives its images
    none. So does one whose label differs in its Unicode form alone; a new image takes the form of
    the index. Earlier programs labelled an image by the whole path of its folder, `cat/2021` for
    what is of the class `cat`: it keeps that, which `notes` then says.

    Args:
        images: as they are listed.
        known: path -> label of the images of the index.
    """
    forms = {composed(label): label for label in known.values() if not label.isascii()}
    rows, of_paths = list[ImageRow](), list[tuple[str, str]]()
    for row in images.rows:
        now = known.get(row.path, "")
        if not row.label:
            row = row._replace(label=now)
        elif images.by_folder and _is_folder_path(now, row):
            of_paths.append((now, row.label))
            row = row._replace(label=now)
        else:
            row = row._replace(label=forms.get(composed(row.label), row.label))
        rows.append(row)
    return images._replace(rows=rows, notes=[*images.notes, *_older(of_paths)])


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
