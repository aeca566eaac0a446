"""CUHK02: 1,816 persons, each with two images of either camera of one of five pairs.

Li and Wang, Locally Aligned Feature Transforms across Views, CVPR 2013. The pairs P1 to P4 are for
training and P5 for the test, whose first camera asks the second (that is the field's division, and
its counts; they add up to the authors' 7,264 images).
"""

import re
from collections.abc import Sequence

from abe_jax.data.sources.benchmarks.benchmark import (
    Benchmark,
    BenchmarkImage,
    BenchmarkListing,
    Part,
    Texts,
    tail,
)

TESTED = "5"  # the pair

_IMAGE = re.compile(r"P([1-5])/cam([12])/([^_/]+)_[^/]*\.png")


def key(path: str) -> str:
    """P1/cam1/PERSON_NUMBER.png, wherever that lies."""
    name = tail(path, 3)
    return name if _IMAGE.fullmatch(name) else ""


def listing(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
    """By the names alone; a person is named within a pair."""
    found = [(key, match) for key in sorted(keys) if (match := _IMAGE.fullmatch(key))]
    persons = sorted({f"P{match[1]} {match[3]}" for _, match in found})
    label_of = {person: label for label, person in enumerate(persons)}
    images = []
    for key_, match in found:
        pair, view, name = match.groups()
        part = {"1": "query", "2": "gallery"}[view] if pair == TESTED else "train"
        camera = 2 * int(pair) - 2 + int(view)
        images.append(BenchmarkImage(key_, label_of[f"P{pair} {name}"], part, camera=camera))
    return BenchmarkListing(images, persons)


CUHK02 = Benchmark(
    name="cuhk02",
    version="1.0.0",
    archives="the folders P1 to P5 of CUHK02",
    parts={
        "train": Part(6_308, 1_577, "train"),
        "query": Part(478, 239, "test", gallery=False),
        "gallery": Part(478, 239, "test", gallery=True),
    },
    lists=frozenset(),
    key=key,
    listing=listing,
)
