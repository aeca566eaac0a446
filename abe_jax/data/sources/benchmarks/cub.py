"""CUB-200-2011: 200 species of birds, the first 100 to train on (Wah et al., 2011).

The counts are the field's for that division (Oh Song et al., CVPR 2016); they add up to the
authors' 11,788.
"""

import re
from collections.abc import Sequence

from abe_jax.data.sources.benchmarks.benchmark import (
    Benchmark,
    BenchmarkImage,
    BenchmarkListing,
    Part,
    Texts,
    rows,
    tail,
)

TRAINING = 100  # classes

_IMAGE = re.compile(r"images/[^/]+/[^/]+\.jpg", re.IGNORECASE)


def key(path: str) -> str:
    """images/CLASS/NAME.jpg, wherever that lies."""
    name = tail(path, 3)
    return name if _IMAGE.fullmatch(name) else ""


def listing(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
    """By images.txt (`ID CLASS/NAME.jpg`), image_class_labels.txt (`ID CLASS`) and classes.txt."""
    classes = {int(m[1]): m[2] for m in rows(texts, "classes.txt", r"(\d+)\s+(\S+)")}
    numbers = sorted(classes)
    labels = {m[1]: int(m[2]) for m in rows(texts, "image_class_labels.txt", r"(\d+)\s+(\d+)")}
    label_of = {number: label for label, number in enumerate(numbers)}
    images = [
        BenchmarkImage(
            f"images/{m[2]}",
            label_of[labels[m[1]]],
            "train" if labels[m[1]] <= TRAINING else "test",
        )
        for m in rows(texts, "images.txt", r"(\d+)\s+(\S.*)")
    ]
    return BenchmarkListing(images, [classes[number] for number in numbers])


CUB = Benchmark(
    name="cub",
    version="1.0.0",
    archives="CUB_200_2011.tgz",
    parts={"train": Part(5_864, 100, "train"), "test": Part(5_924, 100, "test")},
    lists=frozenset(("images.txt", "image_class_labels.txt", "classes.txt")),
    key=key,
    listing=listing,
)
