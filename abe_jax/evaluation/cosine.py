"""How alike the learners of an ensemble are: cosines between them, on one image and across two."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Array, Bool, Float, Int

PAIRS = 20_000  # image pairs drawn for the cosines across two images
BINS = 40  # of the histograms over [-1, 1]
BLOCK = 4096  # images, or pairs of images, at once


def between_learners(
    vectors: Float[np.ndarray | Array, "n m d"],
    labels: Int[np.ndarray | Array, " n"],
    gallery: Bool[np.ndarray, " n"] | None = None,
) -> dict:
    """Mean, standard deviation and histogram of the cosine between different learners.

    same_image  every image, every pair of learners p < q
    positive    two images of one class: 20,000 image pairs drawn with replacement, uniformly over
                all such pairs, with a fixed seed; for each all learners p != q
    negative    the same for two images of different classes
    With a `gallery` one of two images is a query and the other a row of the gallery.
    A histogram counts values in 40 equal bins over [-1, 1], whose `edges` are given. `positive` or
    `negative` is left out where there is no such pair. `vectors` [n, m, d] with m >= 2; a zero
    vector has cosine 0 to everything. Plain numbers, the same on every call.
    """
    x = np.asarray(vectors).astype(np.float32, copy=False)
    x = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), np.finfo(np.float32).tiny)
    m = x.shape[1]
    images = np.arange(len(x))
    below = np.triu(np.ones((m, m), bool), k=1)
    different = ~np.eye(m, dtype=bool)
    result = {"same_image": _summary(_cosines(x, images, images, below))}
    for name, same in (("positive", True), ("negative", False)):
        if gallery is None:
            left, right = image_pairs(np.asarray(labels), same=same)
        else:
            left, right = pairs_across(np.asarray(labels), gallery, same=same)
        if len(left):
            result[name] = _summary(_cosines(x, left, right, different))
    return result | {"edges": np.linspace(-1.0, 1.0, BINS + 1).tolist()}


def image_pairs(
    labels: Int[np.ndarray, " n"], *, same: bool, pairs: int = PAIRS, seed: int = 0
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Pairs of images of one class, or of two, drawn uniformly with replacement; none if none is.

    With rows sorted by class the partners of an image are consecutive rows, taken modulo n, or
    modulo its class: one random number for each pair, and none is rejected.
    """
    n = len(labels)
    order = np.argsort(labels, kind="stable")
    _, first, size = np.unique(labels[order], return_index=True, return_counts=True)
    start, length = np.repeat(first, size), np.repeat(size, size)
    partners = length - 1 if same else n - length
    if not partners.sum():
        return np.zeros(0, int), np.zeros(0, int)
    rng = np.random.default_rng(seed)
    left = rng.choice(n, size=pairs, p=partners / partners.sum())
    step = rng.integers(partners[left])
    if same:
        right = start[left] + (left - start[left] + 1 + step) % length[left]
    else:
        right = (start[left] + length[left] + step) % n
    return order[left], order[right]


def pairs_across(
    labels: Int[np.ndarray, " n"],
    gallery: Bool[np.ndarray, " n"],
    *,
    same: bool,
    pairs: int = PAIRS,
    seed: int = 0,
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """As `image_pairs`, each pair a query, outside of the gallery, and a row of it."""
    queries, searched = np.flatnonzero(~gallery), np.flatnonzero(gallery)
    order = searched[np.argsort(labels[searched], kind="stable")]
    start = np.searchsorted(labels[order], labels[queries], side="left")
    end = np.searchsorted(labels[order], labels[queries], side="right")
    partners = end - start if same else len(order) - (end - start)
    if not partners.sum():
        return np.zeros(0, int), np.zeros(0, int)
    rng = np.random.default_rng(seed)
    left = rng.choice(len(queries), size=pairs, p=partners / partners.sum())
    step = rng.integers(partners[left])
    # The others follow the rows of the query's class, and go on from the first row.
    right = start[left] + step if same else (end[left] + step) % len(order)
    return queries[left], order[right]


def _cosines(
    x: np.ndarray, left: np.ndarray, right: np.ndarray, learners: np.ndarray
) -> Iterator[np.ndarray]:
    """Cosines between the chosen learners of paired images, block by block."""
    for start in range(0, len(left), BLOCK):
        at = slice(start, start + BLOCK)
        cosines = np.matmul(x[left[at]], np.swapaxes(x[right[at]], 1, 2))
        yield np.clip(cosines[:, learners].astype(np.float64), -1.0, 1.0)


def _summary(cosines: Iterator[np.ndarray]) -> dict:
    number, total, squares = 0, 0.0, 0.0
    histogram = np.zeros(BINS, np.int64)
    for block in cosines:
        number += block.size
        total += float(block.sum())
        squares += float((block * block).sum())
        histogram += np.histogram(block, bins=BINS, range=(-1.0, 1.0))[0]
    mean = total / number
    std = max(squares / number - mean * mean, 0.0) ** 0.5
    return {"mean": mean, "std": std, "histogram": histogram.tolist()}
