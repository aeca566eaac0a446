"""The lists of In-shop that annotate its images: landmarks, boxes and attributes.

Each may be missing; what it knows of the images is then not known. The forms are those of the
authors' README: of an upper garment six landmarks are listed, of a lower one four, of a full one
eight, each as visibility (0 visible, 1 occluded, 2 cut off), x, y.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from abe_jax.data.annotations import Annotations
from abe_jax.data.sources.benchmarks.benchmark import BenchmarkImage, Texts, rows
from abe_jax.errors import UserError

LANDMARKS = "list_landmarks_inshop.txt"
BOXES = "list_bbox_inshop.txt"
ITEMS = "list_attr_items.txt"
NAMES = "list_attr_cloth.txt"
LISTS = (LANDMARKS, BOXES, ITEMS, NAMES)

POINTS = ("collar", "sleeve", "waistline", "hem")  # each left, then right
PAIRS = tuple((2 * i, 2 * i + 1) for i in range(len(POINTS)))
# By the list's type of clothes which of the eight landmarks it has: upper, lower, full.
OF_TYPE = {"1": (0, 1, 2, 3, 6, 7), "2": (4, 5, 6, 7), "3": (0, 1, 2, 3, 4, 5, 6, 7)}

_NUMBER = r"-?\d+(?:\.\d+)?"


def annotations(
    texts: Texts, images: Sequence[BenchmarkImage], items: Sequence[str]
) -> tuple[Annotations | None, list[str]]:
    """What the lists say of the images, and the names of the attributes; None without a list.

    Of an image that a list leaves out no landmark is visible, the box is empty, and of an item no
    attribute is there. `items` are the images' classes by their numbers.

    Raises:
        UserError: a list that is not understood.
    """
    keys = [image.key for image in images]
    attributes, names = _attributes(texts, [items[image.label] for image in images])
    found = Annotations(
        points=_points(texts, keys) if LANDMARKS in texts else None,
        boxes=_boxes(texts, keys) if BOXES in texts else None,
        attributes=attributes,
    )
    return (None if all(column is None for column in found) else found), names


def _points(texts: Texts, keys: Sequence[str]) -> Float[np.ndarray, "n 8 3"]:
    known = {}
    pattern = rf"(\S.*?)\s+([123])\s+\d+((?:\s+[012]\s+{_NUMBER}\s+{_NUMBER})+)"
    for match in rows(texts, LANDMARKS, pattern, header=2):
        numbers = np.array(match[3].split(), np.float32).reshape(-1, 3)
        if len(numbers) != len(OF_TYPE[match[2]]):
            raise UserError(
                f"{LANDMARKS} has {len(numbers)} landmarks of {match[1]}, where clothes of type "
                f"{match[2]} have {len(OF_TYPE[match[2]])}"
            )
        points = np.zeros((2 * len(POINTS), 3), np.float32)
        visible = numbers[:, :1] == 0
        # The middle of the pixel that is named.
        points[list(OF_TYPE[match[2]])] = np.hstack([numbers[:, 1:] + 0.5, visible])
        known[match[1]] = points
    none = np.zeros((2 * len(POINTS), 3), np.float32)
    return np.stack([known.get(key, none) for key in keys])


def _boxes(texts: Texts, keys: Sequence[str]) -> Float[np.ndarray, "n 4"]:
    pattern = rf"(\S.*?)\s+[123]\s+\d+((?:\s+{_NUMBER}){{4}})"
    known = {m[1]: np.array(m[2].split(), np.float32) for m in rows(texts, BOXES, pattern, 2)}
    none = np.zeros(4, np.float32)
    return np.stack([known.get(key, none) for key in keys])


def _attributes(
    texts: Texts, items: Sequence[str]
) -> tuple[Bool[np.ndarray, "n a"] | None, list[str]]:
    """Of each image those of its item: 1 is there, -1 is not, and 0 (unknown) counts as not."""
    if ITEMS not in texts:
        return None, []
    known = {
        match[1]: np.array(match[2].split(), np.int8) > 0
        for match in rows(texts, ITEMS, r"(\S+)((?:\s+(?:-1|0|1))+)", header=2)
    }
    names = [m[1] for m in rows(texts, NAMES, r"(\S.*)", header=2)] if NAMES in texts else []
    sizes = {len(bits) for bits in known.values()} | ({len(names)} if names else set())
    if len(sizes) != 1:
        raise UserError(f"{ITEMS} has rows of different lengths, or not one for each of {NAMES}")
    none = np.zeros(sizes.pop(), np.bool_)
    return np.stack([known.get(item, none) for item in items]), names
