"""Which images make a batch: pure functions of (labels, groups, seed, step)."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Int

from abe_jax.config import Data
from abe_jax.data import sampler_checks as checks

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


@dataclasses.dataclass(frozen=True)
class ByDomain:
    """The images of each class of each domain: `cells.images(cell)`, cells in `classes[domain]`."""

    cells: ByClass
    classes: tuple[Int[np.ndarray, "_"], ...]

    @classmethod
    def of(cls, labels: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"]) -> "ByDomain":
        number = int(labels.max()) + 1
        there, cells = np.unique(groups.astype(np.int64) * number + labels, return_inverse=True)
        ends = np.flatnonzero(np.diff(there // number)) + 1
        return cls(ByClass.of(cells), tuple(np.split(np.arange(len(there)), ends)))


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


def domains(
    labels: Int[np.ndarray, " n"],
    groups: Int[np.ndarray, " n"],
    batch: int,
    domains_per_batch: int,
    images_per_class: int,
    seed: int,
    step: int,
    *,
    replacement: bool = False,
) -> Indices:
    """As many rows of each of `domains_per_batch` different domains, one domain after the other.

    `groups` are the images' domains. The D domains are drawn and stand in the order drawn; each
    has b / (D K) of its own classes, different ones, and K = `images_per_class` of its images of
    each side by side, as `class_balanced` draws them (an episode of Choi et al., CVPR 2021,
    section 4.1, has D = 5 domains of 4 x 4 images).
    """
    by_domain = ByDomain.of(labels, groups)
    return _domains(by_domain, batch, domains_per_batch, images_per_class, seed, step, replacement)


def repeated(drawn: Int[np.ndarray, " k"], repeats: int) -> Indices:
    """Each drawn image in `repeats` adjacent rows: repeated augmentation.

    The loader augments by (seed, step, row), so that the copies differ (Berman et al. 2019,
    section 3.2; there a group may straddle two batches, here a batch holds whole groups).
    """
    return np.repeat(drawn, repeats)


def sampler(
    data: Data,
    labels: Int[np.ndarray, " n"],
    batch: int,
    seed: int,
    *,
    groups: Int[np.ndarray, " n"] | None = None,
) -> Callable[[int], Indices]:
    """The configured sampler as a function of the step alone, `data.repeats` rows an image.

    `groups` are the images' domains, which the sampler 'domains' alone reads.

    Raises:
        UserError: an unknown sampler, or a batch, classes or domains that cannot hold its
            structure.
    """
    classes = ByClass.of(labels)
    by_domain = None if groups is None else ByDomain.of(labels, groups)
    held = None if by_domain is None else [len(kinds) for kinds in by_domain.classes]
    checks.structure(data, classes.sizes, batch, held)
    drawn = _sampler(data, classes, by_domain, labels, batch // data.repeats, seed)
    return lambda step: repeated(drawn(step), data.repeats)


def _sampler(
    data: Data,
    classes: ByClass,
    by_domain: ByDomain | None,
    labels: Int[np.ndarray, " n"],
    images: int,
    seed: int,
) -> Callable[[int], Indices]:
    k, replacement = data.images_per_class, data.replacement
    if data.sampler == "pairs":
        return lambda step: _pairs(classes, labels, images, seed, step)
    if data.sampler == "domains" and by_domain is not None:
        number = data.domains_per_batch
        return lambda step: _domains(by_domain, images, number, k, seed, step, replacement)
    if data.sampler == "class_balanced":
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
    return _images_of(classes, drawn, images_per_class, rng, replacement)


def _images_of(
    classes: ByClass,
    drawn: Int[np.ndarray, " p"],
    images_per_class: int,
    rng: np.random.Generator,
    replacement: bool,
) -> Indices:
    if replacement:
        rows = [rng.choice(classes.images(c), images_per_class) for c in drawn.tolist()]
    else:
        permuted = [rng.permutation(classes.images(c)) for c in drawn.tolist()]
        rows = [np.resize(images, images_per_class) for images in permuted]
    return np.concatenate(rows)


def _domains(
    by_domain: ByDomain,
    batch: int,
    domains_per_batch: int,
    images_per_class: int,
    seed: int,
    step: int,
    replacement: bool,
) -> Indices:
    rng = np.random.default_rng([seed, step])
    ids = batch // (domains_per_batch * images_per_class)
    drawn = rng.choice(len(by_domain.classes), domains_per_batch, replace=False).tolist()
    blocks = [rng.choice(by_domain.classes[d], ids, replace=False) for d in drawn]
    return _images_of(by_domain.cells, np.concatenate(blocks), images_per_class, rng, replacement)


@functools.lru_cache(maxsize=2)
def _order(images: int, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    return np.random.default_rng([seed, epoch]).permutation(images)
