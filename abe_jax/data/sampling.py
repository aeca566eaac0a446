"""Which images make a batch: pure functions of (labels, seed, step)."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from abe_jax.config import Data
from abe_jax.data import sampling_checks as checks

Indices = Int[np.ndarray, " b"]


@dataclasses.dataclass(frozen=True)
class ByClass:
    """The images of each class: `order[starts[c]:starts[c] + sizes[c]]`."""

    order: Int[np.ndarray, " n"]
    starts: Int[np.ndarray, " c"]
    sizes: Int[np.ndarray, " c"]

    @classmethod
    def of(cls, labels: Int[np.ndarray, " n"]) -> "ByClass":
        sizes = np.bincount(labels)
        return cls(np.argsort(labels, kind="stable"), np.cumsum(sizes) - sizes, sizes)

    def images(self, label: int) -> Int[np.ndarray, " s"]:
        """The images of one class, by rising index."""
        return self.order[self.starts[label] : self.starts[label] + self.sizes[label]]


def pairs(labels: Int[np.ndarray, " n"], batch: int, seed: int, step: int) -> Indices:
    """Pairs in rows 2i and 2i + 1: `batch / 2` drawn images, half of them with a positive partner.

    The first quarter of the batch's images each get another image of their class, the second
    quarter an image of another class (Kim et al. 2018, section 5: batch 64, 32 images drawn,
    16 with a positive and 16 with a negative partner).
    """
    return _pairs(ByClass.of(labels), labels, batch, seed, step)


def class_balanced(
    labels: Int[np.ndarray, " n"],
    batch: int,
    images_per_class: int,
    seed: int,
    step: int,
    *,
    replacement: bool = False,
) -> Indices:
    """`batch / images_per_class` different classes, so many images of each, side by side.

    Without replacement a class with fewer images than that gives all it has, and then again from
    its first. With it each image is drawn from all of its class, as in Zhai & Wu (BMVC 2019);
    the classes are different ones all the same.
    """
    return _class_balanced(ByClass.of(labels), batch, images_per_class, seed, step, replacement)


def shuffle(labels: Int[np.ndarray, " n"], batch: int, seed: int, step: int) -> Indices:
    """Every image once in an epoch, in a new order each; an incomplete last batch is left out."""
    epoch, place = divmod(step, len(labels) // batch)
    return _order(len(labels), seed, epoch)[place * batch : (place + 1) * batch]


def repeated(drawn: Int[np.ndarray, " k"], repeats: int) -> Indices:
    """Each drawn image in `repeats` adjacent rows: repeated augmentation.

    The loader augments by (seed, step, row), so that the copies differ (Berman et al. 2019,
    section 3.2; there a group may straddle two batches, here a batch holds whole groups).
    """
    return np.repeat(drawn, repeats)


def sampler(
    data: Data, labels: Int[np.ndarray, " n"], batch: int, seed: int
) -> Callable[[int], Indices]:
    """The configured sampler as a function of the step alone, `data.repeats` rows an image.

    Raises:
        UserError: an unknown sampler, or a batch or classes that cannot hold its structure.
    """
    classes = ByClass.of(labels)
    checks.structure(data, classes.sizes, batch)
    drawn = _sampler(data, classes, labels, batch // data.repeats, seed)
    return lambda step: repeated(drawn(step), data.repeats)


def _sampler(
    data: Data, classes: ByClass, labels: Int[np.ndarray, " n"], images: int, seed: int
) -> Callable[[int], Indices]:
    if data.sampler == "pairs":
        return lambda step: _pairs(classes, labels, images, seed, step)
    if data.sampler == "class_balanced":
        k, replacement = data.images_per_class, data.replacement
        return lambda step: _class_balanced(classes, images, k, seed, step, replacement)
    return lambda step: shuffle(labels, images, seed, step)


def _pairs(
    classes: ByClass, labels: Int[np.ndarray, " n"], batch: int, seed: int, step: int
) -> Indices:
    rng = np.random.default_rng([seed, step])
    anchors = rng.choice(len(labels), batch // 2, replace=False)
    half = len(anchors) // 2
    partners = [_other_of_class(classes, labels, anchor, rng) for anchor in anchors.tolist()[:half]]
    partners += [
        _of_other_class(classes, labels, anchor, rng) for anchor in anchors.tolist()[half:]
    ]
    return np.stack([anchors, np.asarray(partners)], axis=1).reshape(-1)


def _other_of_class(
    classes: ByClass, labels: Int[np.ndarray, " n"], anchor: int, rng: np.random.Generator
) -> int:
    images = classes.images(int(labels[anchor]))
    place = int(np.searchsorted(images, anchor))
    drawn = int(rng.integers(len(images) - 1))
    return int(images[drawn + (drawn >= place)])


def _of_other_class(
    classes: ByClass, labels: Int[np.ndarray, " n"], anchor: int, rng: np.random.Generator
) -> int:
    label = labels[anchor]
    drawn = int(rng.integers(len(labels) - classes.sizes[label]))
    skipped = classes.sizes[label] if drawn >= classes.starts[label] else 0
    return int(classes.order[drawn + skipped])


def _class_balanced(
    classes: ByClass, batch: int, images_per_class: int, seed: int, step: int, replacement: bool
) -> Indices:
    rng = np.random.default_rng([seed, step])
    drawn = rng.choice(len(classes.sizes), batch // images_per_class, replace=False)
    if replacement:
        rows = [rng.choice(classes.images(c), images_per_class) for c in drawn.tolist()]
    else:
        permuted = [rng.permutation(classes.images(c)) for c in drawn.tolist()]
        rows = [np.resize(images, images_per_class) for images in permuted]
    return np.concatenate(rows)


@functools.lru_cache(maxsize=2)
def _order(images: int, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    return np.random.default_rng([seed, epoch]).permutation(images)
