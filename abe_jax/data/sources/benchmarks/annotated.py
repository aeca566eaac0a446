"""Annotations of a benchmark as its prepared form keeps them, among the arrays of labels.npz."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from abe_jax.data.annotations import Annotations


def stored(known: Annotations | None, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of annotations: nothing of a column that is not known. Bits lie packed."""
    found: dict[str, np.ndarray] = {}
    if known is None:
        return found
    if known.points is not None:
        found["points"] = known.points
    if known.boxes is not None:
        found["boxes"] = known.boxes
    if known.attributes is not None:
        found["attributes"] = np.packbits(known.attributes, axis=1)
        found["attribute_count"] = np.array(known.attributes.shape[1])
        found["attribute_names"] = np.frombuffer(os.fsencode("\n".join(names)), np.uint8)
    return found


def read(
    arrays: Mapping[str, np.ndarray], rows: Int[np.ndarray, " k"], *, categories: bool
) -> Annotations | None:
    """The annotations of the images `rows`; None of a set that was prepared without any.

    `categories`: the domains are categories.
    """
    domains = categories and bool(arrays["domain_names"].size)
    bits = arrays.get("attributes")
    if bits is not None:
        bits = np.unpackbits(bits[rows], axis=1, count=int(arrays["attribute_count"])) > 0
    found = Annotations(
        points=arrays["points"][rows] if "points" in arrays else None,
        boxes=arrays["boxes"][rows] if "boxes" in arrays else None,
        categories=arrays["domains"][rows] if domains else None,
        attributes=bits,
    )
    return None if all(column is None for column in found) else found


def names(arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The names of the attributes, where the set has a list of them."""
    joined = arrays.get("attribute_names", np.zeros(0, np.uint8)).tobytes().decode(errors="replace")
    return tuple(joined.split("\n")) if joined else ()
