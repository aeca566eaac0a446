"""Stanford Online Products: photographs of products on sale (Oh Song et al., CVPR 2016).

The division into training and test classes and its counts are the authors' own.
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

LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}

_IMAGE = re.compile(r"[a-z_]+_final/[^/]+\.jpg", re.IGNORECASE)


def key(path: str) -> str:
    """bicycle_final/NAME.JPG, wherever that lies."""
    name = tail(path, 2)
    return name if _IMAGE.fullmatch(name) else ""


def super_class(key: str) -> str:
    """Which of the 12 kinds of products: of bicycle_final/NAME.JPG bicycle.

    The lists' column super_class_id says the same. By the key it is known of sets that were
    prepared when it was not asked for.
    """
    return key.partition("/")[0].lower().removesuffix("_final")


def listing(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
    """By Ebay_train.txt and Ebay_test.txt: `image_id class_id super_class_id path`, a header."""
    listed = [
        (part, int(match[1]), match[2])
        for part, name in LISTS.items()
        for match in rows(texts, name, r"\d+ (\d+) \d+ (\S.*)", header=1)
    ]
    numbers = sorted({number for _, number, _ in listed})
    label_of = {number: label for label, number in enumerate(numbers)}
    images = [BenchmarkImage(path, label_of[number], part) for part, number, path in listed]
    return BenchmarkListing(images, [str(number) for number in numbers])


SOP = Benchmark(
    name="sop",
    version="1.0.0",
    archives="Stanford_Online_Products.zip",
    parts={"train": Part(59_551, 11_318, "train"), "test": Part(60_502, 11_316, "test")},
    lists=frozenset(LISTS.values()),
    key=key,
    listing=listing,
    domain=super_class,
)
