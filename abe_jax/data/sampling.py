"""How the images of each training batch are chosen, and whether the data set can fill it."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int

from abe_jax.data import samplers
from abe_jax.data.samplers import ByClass, ByDomain, Indices
from abe_jax.errors import ArgumentError, require

SAMPLERS = ("pairs", "class_balanced", "shuffle", "domains", "super_classes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """The sampler and its numbers; samplers.py says what each sampler draws.

    Raises:
        ArgumentError: an unknown sampler, or a number below 1.
    """

    sampler: str = "pairs"  # pairs | class_balanced | shuffle | domains | super_classes
    images_per_class: int = 4  # K of class_balanced and of domains
    replacement: bool = False  # these two: each of the K drawn from all images of the class
    domains_per_batch: int = 5  # of domains, super_classes: equal blocks of rows, one domain each
    classes_per_domain: int = 10  # of super_classes: each with all its images, where they fit
    repeats: int = 1  # adjacent rows of each drawn image, each with an augmentation of its own

    def __post_init__(self):
        require("sampler", self.sampler, SAMPLERS)
        for name in ("images_per_class", "domains_per_batch", "classes_per_domain", "repeats"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, f"{getattr(self, name)}, but it must be 1 or more")

    def batches(
        self,
        labels: Int[np.ndarray, " n"],
        batch: int,
        seed: int,
        groups: Int[np.ndarray, " n"] | None = None,
    ) -> Callable[[int], Indices]:
        """The images of each step's batch as a function of the step alone.

        Args:
            labels: class of each image, 0, ..., c - 1.
            batch: rows of a global batch.
            seed: of the draws.
            groups: the images' domains, which 'domains' and 'super_classes' alone read.

        Raises:
            ArgumentError: a batch, or too few images, classes or domains for the sampler.
        """
        classes = ByClass.of(labels)
        by_domain = None if groups is None else ByDomain.of(labels, groups)
        domains = None if by_domain is None else [len(own) for own in by_domain.classes]
        self._check(classes.sizes, batch, domains)
        draw = self._draw(classes, by_domain, batch // self.repeats, seed)
        return lambda step: samplers.repeated(draw(step), self.repeats)

    def _draw(
        self, classes: ByClass, by_domain: ByDomain | None, images: int, seed: int
    ) -> Callable[[int], Indices]:
        k, replacement = self.images_per_class, self.replacement

        def rng(step: int) -> np.random.Generator:
            return np.random.default_rng([seed, step])

        if self.sampler == "pairs":
            return lambda step: samplers.pairs(classes, images, rng(step))
        if self.sampler == "domains" and by_domain is not None:
            d = self.domains_per_batch
            return lambda step: samplers.domains(
                by_domain, images, d, k, rng(step), replacement=replacement
            )
        if self.sampler == "super_classes" and by_domain is not None:
            of_each = self.classes_per_domain
            return lambda step: samplers.super_classes(
                by_domain, images, self.domains_per_batch, of_each, rng(step)
            )
        if self.sampler == "class_balanced":
            return lambda step: samplers.class_balanced(
                classes, images, k, rng(step), replacement=replacement
            )
        return lambda step: samplers.shuffle(len(classes.labels), images, seed, step)

    def _check(
        self, sizes: Int[np.ndarray, " c"], batch: int, domains: Sequence[int] | None
    ) -> None:
        """Refuses what the sampler cannot make of so many images of each class.

        `domains` is the number of classes of each domain, None where the images have no domains.
        """
        if self.sampler in ("domains", "super_classes"):
            _check_domains(self, domains)
        _check_multiple(self, batch)
        if self.sampler == "pairs":
            _check_pairs(sizes, batch // self.repeats)
        elif self.sampler == "class_balanced":
            _check_class_balanced(self, sizes, batch)
        elif self.sampler == "domains":
            _check_classes_of_domains(self, min(domains or (0,)), batch)
        elif self.sampler == "super_classes":
            _check_super_classes(self, batch)
        elif batch // self.repeats > sizes.sum():
            raise ArgumentError(
                "batch",
                f"{batch // self.repeats} images asked, and there are {sizes.sum()}; at most "
                f"{sizes.sum() * self.repeats} rows fit",
            )


def _check_multiple(sampling: Sampling, batch: int) -> None:
    group, meaning = {
        "pairs": (4, "drawn images and partners, half positive"),
        "class_balanced": (sampling.images_per_class, "images_per_class"),
        "shuffle": (1, ""),
        "domains": (
            sampling.domains_per_batch * sampling.images_per_class,
            "domains_per_batch times images_per_class",
        ),
        "super_classes": (sampling.domains_per_batch, "domains_per_batch"),
    }[sampling.sampler]
    # Refused and not cut short: of a batch of 80 in groups of 25 NormSoftmax's public code would
    # take 75 without a word, and the rate and the number of steps were meant for 80.
    unit = group * sampling.repeats
    if sampling.repeats > 1:
        repeats = f"repeats={sampling.repeats}"
        meaning = f"{group} ({meaning}) times {repeats}" if meaning else repeats
    if batch < unit or batch % unit:
        raise ArgumentError(
            "batch",
            f"the sampler {sampling.sampler!r} needs a multiple of {unit} ({meaning}), got "
            f"{batch}; the nearest is {max(unit, round(batch / unit) * unit)}",
        )


def _check_pairs(sizes: Int[np.ndarray, " c"], images: int) -> None:
    if np.any(sizes < 2):
        lone = int(np.argmin(sizes >= 2))
        raise ArgumentError(
            "sampler",
            f"'pairs' needs two images of every class, and class {lone} has {sizes[lone]} "
            f"({int(np.sum(sizes < 2))} such classes); take them out, or use class_balanced",
        )
    if len(sizes) < 2 or sizes.sum() < images // 2:
        raise ArgumentError(
            "sampler",
            f"'pairs' draws {images // 2} images of at least two classes, and there are "
            f"{sizes.sum()} of {len(sizes)}; take a smaller batch",
        )


def _check_class_balanced(sampling: Sampling, sizes: Int[np.ndarray, " c"], batch: int) -> None:
    rows = sampling.images_per_class * sampling.repeats  # of each class
    if batch // rows > len(sizes):
        repeated = f", {sampling.repeats} times each," if sampling.repeats > 1 else ""
        raise ArgumentError(
            "batch",
            f"{batch} rows of {sampling.images_per_class} images{repeated} per class need "
            f"{batch // rows} classes, and there are {len(sizes)}; at most {len(sizes) * rows} fit",
        )


def _check_domains(sampling: Sampling, domains: Sequence[int] | None) -> None:
    if domains is None:
        raise ArgumentError(
            "sampler",
            f"{sampling.sampler!r} needs a data set whose images have domains: set domain_column "
            "to the column of the CSV file that names them, or use class_balanced",
        )
    if sampling.domains_per_batch > len(domains):
        raise ArgumentError(
            "domains_per_batch",
            f"{sampling.domains_per_batch} domains asked of each batch, and the training images "
            f"have {len(domains)}; at most {len(domains)}",
        )


def _check_super_classes(sampling: Sampling, batch: int) -> None:
    number, classes = sampling.domains_per_batch, sampling.classes_per_domain
    least = 2 * number * classes * sampling.repeats
    if batch < least:
        raise ArgumentError(
            "batch",
            f"{batch} rows are fewer than two images of each of {classes} classes of {number} "
            f"domains; at least {least}, or a smaller classes_per_domain",
        )


def _check_classes_of_domains(sampling: Sampling, fewest: int, batch: int) -> None:
    drawn = sampling.domains_per_batch
    rows = drawn * sampling.images_per_class * sampling.repeats  # one class of each domain
    if batch // rows > fewest:
        raise ArgumentError(
            "batch",
            f"{batch} rows of {drawn} domains need {batch // rows} classes of each domain, and "
            f"one has {fewest}; at most {fewest * rows} rows fit",
        )
