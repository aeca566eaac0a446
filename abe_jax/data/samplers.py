"""The samplers: which images make a batch, each a pure function of its arguments.

`rng` is a batch's own generator, seeded with [seed, step] (sampling.py).
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Int

Indices = Int[np.ndarray, " b"]


@dataclasses.dataclass(frozen=True)
class ByClass:
    """The images of each class: `order[starts[c]:starts[c] + sizes[c]]`."""

    labels: Int[np.ndarray, " n"]
    order: Int[np.ndarray, " n"]
    starts: Int[np.ndarray, " c"]
    sizes: Int[np.ndarray, " c"]

    @classmethod
    def of(cls, labels: Int[np.ndarray, " n"]) -> "ByClass":
        """The index of images whose labels are 0, ..., c - 1."""
        sizes = np.bincount(labels)
        return cls(labels, np.argsort(labels, kind="stable"), np.cumsum(sizes) - sizes, sizes)

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
        """The index of images whose domains are `groups`."""
        number = int(labels.max()) + 1
        pairs, cells = np.unique(groups.astype(np.int64) * number + labels, return_inverse=True)
        ends = np.flatnonzero(np.diff(pairs // number)) + 1
        return cls(ByClass.of(cells), tuple(np.split(np.arange(len(pairs)), ends)))


def pairs(classes: ByClass, batch: int, rng: np.random.Generator) -> Indices:
    """Pairs in rows 2i and 2i + 1: `batch / 2` drawn images, half of them with a positive partner.

    The first quarter of the batch's images each get another image of their class, the second
    quarter an image of another class (Kim et al. 2018, section 5: batch 64, 32 images drawn,
    16 with a positive and 16 with a negative partner).
    """
    anchors = rng.choice(len(classes.labels), batch // 2, replace=False)
    half = len(anchors) // 2
    partners = [_other_of_class(classes, anchor, rng) for anchor in anchors.tolist()[:half]]
    partners += [_of_other_class(classes, anchor, rng) for anchor in anchors.tolist()[half:]]
    return np.stack([anchors, np.asarray(partners)], axis=1).reshape(-1)


def class_balanced(
    classes: ByClass,
    batch: int,
    images_per_class: int,
    rng: np.random.Generator,
    *,
    replacement: bool = False,
) -> Indices:
    """`batch / images_per_class` different classes, so many images of each, side by side.

    Without replacement a class with fewer images than that gives all it has, and then again from
    its first. With it each image is drawn from all of its class, as in Zhai & Wu (BMVC 2019);
    the classes are different ones all the same.
    """
    drawn = rng.choice(len(classes.sizes), batch // images_per_class, replace=False)
    return _images_of(classes, drawn, images_per_class, rng, replacement)


def shuffle(images: int, batch: int, seed: int, step: int) -> Indices:
    """Every image once in an epoch, in a new order each; an incomplete last batch is left out."""
    epoch, number = divmod(step, images // batch)
    return _order(images, seed, epoch)[number * batch : (number + 1) * batch]


def domains(
    by_domain: ByDomain,
    batch: int,
    domains_per_batch: int,
    images_per_class: int,
    rng: np.random.Generator,
    *,
    replacement: bool = False,
) -> Indices:
    """As many rows of each of `domains_per_batch` different domains, one domain after the other.

    The D domains are drawn and stand in the order drawn; each has b / (D K) of its own classes,
    different ones, and K = `images_per_class` of its images of each side by side, as
    `class_balanced` draws them (an episode of Choi et al., CVPR 2021, section 4.1, has D = 5
    domains of 4 x 4 images).
    """
    ids = batch // (domains_per_batch * images_per_class)
    drawn = rng.choice(len(by_domain.classes), domains_per_batch, replace=False).tolist()
    blocks = [rng.choice(by_domain.classes[d], ids, replace=False) for d in drawn]
    return _images_of(by_domain.cells, np.concatenate(blocks), images_per_class, rng, replacement)


def super_classes(
    by_domain: ByDomain,
    batch: int,
    domains_per_batch: int,
    classes_per_domain: int,
    rng: np.random.Generator,
) -> Indices:
    """As many rows of each of `domains_per_batch` domains, in whole classes as far as these fit.

    Domains, and the classes of each, are drawn one after the other without replacement, each with a
    chance in proportion to its images (so Yuan et al., ICCV 2017, draw from the super-classes of
    SOP and the categories of In-shop: two of them, 10 classes of each, all images of a class).
    There the size of a batch hangs on the classes; here a domain has b / D rows:
      more images than rows   the C = `classes_per_domain` classes share the rows: all have as many,
                              but for small ones, which give all they have, and one row more for
                              the first ones
      fewer                   further classes are drawn, the last of which gives what is left; where
                              the whole domain has fewer, its images come again from the first
    """
    cells = by_domain.cells
    sizes = np.array([cells.sizes[own].sum() for own in by_domain.classes])
    rows = batch // domains_per_batch
    blocks = []
    for domain in _in_proportion(sizes, rng)[:domains_per_batch].tolist():
        own = by_domain.classes[domain]
        drawn = own[_in_proportion(cells.sizes[own], rng)]
        each = _rows_of_each(cells.sizes[drawn], classes_per_domain, rows)
        images = [
            rng.permutation(cells.images(cell))[:number]
            for cell, number in zip(drawn.tolist(), each.tolist(), strict=True)
            if number
        ]
        blocks.append(np.resize(np.concatenate(images), rows))
    return np.concatenate(blocks)


def _in_proportion(sizes: Int[np.ndarray, " k"], rng: np.random.Generator) -> Indices:
    """All k in the order in which draws without replacement, each by size, would take them.

    That is the order of exponential waiting times at the rates `sizes` (Efraimidis and Spirakis,
    2006).
    """
    return np.argsort(rng.exponential(size=len(sizes)) / sizes)


def _rows_of_each(sizes: Int[np.ndarray, " k"], first: int, rows: int) -> Int[np.ndarray, " k"]:
    """How many of `rows` each class has: the first ones alike where they have more, else all."""
    given = np.zeros(len(sizes), np.int64)
    head = sizes[:first]
    if head.sum() <= rows:
        return np.diff(np.minimum(np.cumsum(sizes), rows), prepend=0)
    level = max(t for t in range(rows + 1) if np.minimum(head, t).sum() <= rows)
    given[:first] = np.minimum(head, level)
    more = np.flatnonzero(head > level)[: rows - given.sum()]
    given[more] += 1
    return given


def repeated(drawn: Int[np.ndarray, " k"], repeats: int) -> Indices:
    """Each drawn image in `repeats` adjacent rows: repeated augmentation.

    The loader augments by (seed, step, row), so that the copies differ (Berman et al. 2019,
    section 3.2; there a group may straddle two batches, here a batch holds full groups).
    """
    return np.repeat(drawn, repeats)


def _other_of_class(classes: ByClass, anchor: int, rng: np.random.Generator) -> int:
    images = classes.images(int(classes.labels[anchor]))
    own = int(np.searchsorted(images, anchor))
    drawn = int(rng.integers(len(images) - 1))
    return int(images[drawn + (drawn >= own)])


def _of_other_class(classes: ByClass, anchor: int, rng: np.random.Generator) -> int:
    label = classes.labels[anchor]
    drawn = int(rng.integers(len(classes.labels) - classes.sizes[label]))
    skipped = classes.sizes[label] if drawn >= classes.starts[label] else 0
    return int(classes.order[drawn + skipped])


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


@functools.lru_cache(maxsize=2)
def _order(images: int, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    return np.random.default_rng([seed, epoch]).permutation(images)
