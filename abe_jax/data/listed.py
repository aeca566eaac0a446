"""What a listing of images holds, in a few words that hosts of one job compare."""

import hashlib
from collections.abc import Iterable
from pathlib import PurePath

import numpy as np

from abe_jax.data.split import Split


def listings(splits: Iterable[Split]) -> dict[str, str]:
    """Of each split how many images and classes it has, and a digest of its listing.

    The digest is over the names and the order of classes and files and over the label of each
    image. It reads no image, and no folder counts: each host may have its own copy elsewhere.
    """
    return {f"the {split.name} images": _listing(split) for split in splits}


def _listing(split: Split) -> str:
    hashed = hashlib.sha256("\0".join(split.class_names).encode(errors="surrogateescape"))
    names = (PurePath(path).name for path in split.paths)
    hashed.update("\0".join(names).encode(errors="surrogateescape"))
    for numbers in (split.labels, split.groups, split.object_ids, split.gallery):
        hashed.update(b"\0" if numbers is None else np.ascontiguousarray(numbers).tobytes())
    images, classes = len(split.labels), len(split.class_names)
    return f"{images:,} of {classes:,} classes (listing {hashed.hexdigest()[:8]})"
