"""Which images make a batch: pure functions of (labels, seed, step)."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from abe_jax.config import Data, nearest
from abe_jax.errors import UserError

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
    labels: Int[np.ndarray, " n"], batch: int, images_per_class: int, seed: int, step: int
) -> Indices:
    """`batch / images_per_class` different classes, so many images of each, side by side.

    A class with fewer images than that gives all it has, and then again from its first.
    """
    return _class_balanced(ByClass.of(labels), batch, images_per_class, seed, step)


def shuffle(labels: Int[np.ndarray, " n"], batch: int, seed: int, step: int) -> Indices:
    """Every image once in an epoch, in a new order each; an incomplete last batch is left out."""
    epoch, place = divmod(step, len(labels) // batch)
    return _order(len(labels), seed, epoch)[place * batch : (place + 1) * batch]


def sampler(
    data: Data, labels: Int[np.ndarray, " n"], batch: int, seed: int
) -> Callable[[int], Indices]:
    """The configured sampler as a function of the step alone.

    Raises:
        UserError: an unknown sampler, or a batch or classes that cannot hold its structure.
    """
    classes = ByClass.of(labels)
    if data.sampler == "pairs":
        _check_pairs(classes, batch)
        return lambda step: _pairs(classes, labels, batch, seed, step)
    if data.sampler == "class_balanced":
        _check_class_balanced(classes, batch, data.images_per_class)
        return lambda step: _class_balanced(classes, batch, data.images_per_class, seed, step)
    if data.sampler == "shuffle":
        _check_shuffle(labels, batch)
        return lambda step: shuffle(labels, batch, seed, step)
    known = ("pairs", "class_balanced", "shuffle")
    raise UserError(
        f"config.data.sampler: no sampler is called {data.sampler!r}; "
        f"{nearest(data.sampler, known)}"
    )


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
    classes: ByClass, batch: int, images_per_class: int, seed: int, step: int
) -> Indices:
    rng = np.random.default_rng([seed, step])
    drawn = rng.choice(len(classes.sizes), batch // images_per_class, replace=False)
    rows = [np.resize(rng.permutation(classes.images(c)), images_per_class) for c in drawn.tolist()]
    return np.concatenate(rows)


@functools.lru_cache(maxsize=2)
def _order(images: int, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    return np.random.default_rng([seed, epoch]).permutation(images)


def _check_pairs(classes: ByClass, batch: int) -> None:
    if batch < 4 or batch % 4:
        fits = max(4, round(batch / 4) * 4)
        raise UserError(
            f"config.train.batch: the sampler 'pairs' needs a multiple of 4 (drawn images and "
            f"partners, half positive), got {batch}; the nearest is {fits}"
        )
    if np.any(classes.sizes < 2):
        lone = int(np.argmin(classes.sizes >= 2))
        raise UserError(
            f"the sampler 'pairs' needs two images of every class, and class {lone} has "
            f"{classes.sizes[lone]} ({int(np.sum(classes.sizes < 2))} such classes); take them "
            "out, or use config.data.sampler=class_balanced"
        )
    if len(classes.sizes) < 2 or classes.sizes.sum() < batch // 2:
        raise UserError(
            f"the sampler 'pairs' draws {batch // 2} images of at least two classes, and there "
            f"are {classes.sizes.sum()} of {len(classes.sizes)}; take a smaller config.train.batch"
        )


def _check_class_balanced(classes: ByClass, batch: int, images_per_class: int) -> None:
    if images_per_class < 1 or batch % images_per_class:
        fits = max(1, round(batch / max(images_per_class, 1))) * max(images_per_class, 1)
        raise UserError(
            f"config.train.batch: the sampler 'class_balanced' needs a multiple of "
            f"config.data.images_per_class={images_per_class}, got {batch}; the nearest is {fits}"
        )
    if batch // images_per_class > len(classes.sizes):
        raise UserError(
            f"config.train.batch: {batch} images of {images_per_class} per class need "
            f"{batch // images_per_class} classes, and there are {len(classes.sizes)}; "
            f"at most {len(classes.sizes) * images_per_class} fit"
        )


def _check_shuffle(labels: Int[np.ndarray, " n"], batch: int) -> None:
    if batch > len(labels):
        raise UserError(f"config.train.batch: {batch} images asked, and there are {len(labels)}")
