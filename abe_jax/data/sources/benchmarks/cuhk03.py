"""CUHK03: 1,467 persons, each under one of five pairs of cameras (Li et al., CVPR 2014).

By the new protocol: 767 persons to train on, 700 tested, queries and gallery apart (Zhong et al.,
Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017), whose authors hand out
a list for the hand-drawn boxes (labeled) and one for detected ones. The lists name image files as
PAIR_PERSON_VIEW_NUMBER.png, into which the field extracts cuhk-03.mat; that file itself is read as
well (matlab_images.py).

Not read: the older protocol with its 20 random test sets of 100 persons, which lie in it.
"""

import functools
import io
import re
from collections.abc import Callable, Sequence

import numpy as np

from abe_jax.data.sources.benchmarks.benchmark import (
    Benchmark,
    BenchmarkImage,
    BenchmarkListing,
    Part,
    Texts,
    required,
    tail,
)
from abe_jax.errors import UserError

_IMAGE = re.compile(r"([1-5])_\d{3}_([12])_\d{2}\.png")
_INDICES = {"train": "train_idx", "query": "query_idx", "gallery": "gallery_idx"}


def _list(boxes: str) -> str:
    return f"cuhk03_new_protocol_config_{boxes}.mat"


def _key(boxes: str, path: str) -> str:
    """images_labeled/1_001_1_01.png, or images_detected, wherever that lies."""
    folder, _, name = tail(path, 2).partition("/")
    right = folder.removeprefix("images_") == boxes and _IMAGE.fullmatch(name)
    return f"{boxes}/{name}" if right else ""


def _listing(boxes: str) -> Callable[[Texts, Sequence[str]], BenchmarkListing]:
    def listing(texts: Texts, keys: Sequence[str]) -> BenchmarkListing:
        """By `filelist`, `labels` (the person) and the indices of each part, counted from 1."""
        content = required(texts, _list(boxes))
        import scipy.io

        try:
            matrix = scipy.io.loadmat(io.BytesIO(content), squeeze_me=True)
        except Exception as error:  # its parser raises what it meets
            raise UserError(f"{_list(boxes)} is damaged: fetch it again") from error
        names = np.ravel(matrix["filelist"])
        persons = np.asarray(matrix["labels"], int).ravel()
        classes = sorted(set(persons.tolist()))
        label_of = {person: label for label, person in enumerate(classes)}
        images = []
        for part, indices in _INDICES.items():
            for index in np.asarray(matrix[indices], int).ravel() - 1:
                name, label = str(names[index]), label_of[int(persons[index])]
                match = _IMAGE.fullmatch(name)
                if index < 0 or not match:
                    raise UserError(f"{_list(boxes)} names {name!r}, which is no image of the set")
                camera = 2 * int(match[1]) - 2 + int(match[2])
                images.append(BenchmarkImage(f"{boxes}/{name}", label, part, camera=camera))
        return BenchmarkListing(images, [str(person) for person in classes])

    return listing


def _benchmark(boxes: str, train: int, gallery: int) -> Benchmark:
    return Benchmark(
        name=f"cuhk03_{boxes}",
        version="1.0.0",
        archives=f"{_list(boxes)} and cuhk-03.mat unpacked, or its images in images_{boxes}",
        parts={
            "train": Part(train, 767, "train"),
            "query": Part(1_400, 700, "test", gallery=False),
            "gallery": Part(gallery, 700, "test", gallery=True),
        },
        lists=frozenset((_list(boxes),)),
        key=functools.partial(_key, boxes),
        listing=_listing(boxes),
        persons="cuhk03",
    )


CUHK03_LABELED = _benchmark("labeled", 7_368, 5_328)
CUHK03_DETECTED = _benchmark("detected", 7_365, 5_332)
