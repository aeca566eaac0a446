"""Whether a batch and the classes that there are can hold what a sampler makes of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from abe_jax.config import Data
from abe_jax.errors import UserError, nearest

_SAMPLERS = ("pairs", "class_balanced", "shuffle", "domains")


def structure(
    data: Data,
    sizes: Int[np.ndarray, " c"],
    batch: int,
    domains: Sequence[int] | None = None,
) -> None:
    """Refuses what the configured sampler cannot make of so many images of each class.

    `domains` is the number of classes of each domain, None where the images have no domains.

    Raises:
        UserError: with the nearest right choice.
    """
    if data.sampler not in _SAMPLERS:
        raise UserError(
            f"config.data.sampler: no sampler is called {data.sampler!r}; "
            f"{nearest(data.sampler, _SAMPLERS)}"
        )
    if data.sampler == "domains":
        _check_domains(data, domains)
    _check_multiple(data, batch)
    if data.sampler == "pairs":
        _check_pairs(sizes, batch // data.repeats)
    elif data.sampler == "class_balanced":
        _check_class_balanced(data, sizes, batch)
    elif data.sampler == "domains":
        _check_classes_of_domains(data, min(domains or (0,)), batch)
    elif batch // data.repeats > sizes.sum():
        raise UserError(
            f"config.train.batch: {batch // data.repeats} images asked, and there are "
            f"{sizes.sum()}; at most {sizes.sum() * data.repeats} rows fit"
        )


def _check_multiple(data: Data, batch: int) -> None:
    group, meaning = {
        "pairs": (4, "drawn images and partners, half positive"),
        "class_balanced": (data.images_per_class, "config.data.images_per_class"),
        "shuffle": (1, ""),
        "domains": (
            data.domains_per_batch * data.images_per_class,
            "config.data.domains_per_batch times images_per_class",
        ),
    }[data.sampler]
    # Refused and not cut short: of a batch of 80 in groups of 25 NormSoftmax's public code would
    # take 75 without a word, and the rate and the number of steps were meant for 80.
    unit = group * data.repeats
    if data.repeats > 1:
        repeats = f"config.data.repeats={data.repeats}"
        meaning = f"{group} ({meaning}) times {repeats}" if meaning else repeats
    if batch < unit or batch % unit:
        raise UserError(
            f"config.train.batch: the sampler {data.sampler!r} needs a multiple of {unit} "
            f"({meaning}), got {batch}; the nearest is {max(unit, round(batch / unit) * unit)}"
        )


def _check_pairs(sizes: Int[np.ndarray, " c"], images: int) -> None:
    if np.any(sizes < 2):
        lone = int(np.argmin(sizes >= 2))
        raise UserError(
            f"the sampler 'pairs' needs two images of every class, and class {lone} has "
            f"{sizes[lone]} ({int(np.sum(sizes < 2))} such classes); take them "
            "out, or use config.data.sampler=class_balanced"
        )
    if len(sizes) < 2 or sizes.sum() < images // 2:
        raise UserError(
            f"the sampler 'pairs' draws {images // 2} images of at least two classes, and there "
            f"are {sizes.sum()} of {len(sizes)}; take a smaller config.train.batch"
        )


def _check_class_balanced(data: Data, sizes: Int[np.ndarray, " c"], batch: int) -> None:
    rows = data.images_per_class * data.repeats  # of each class
    if batch // rows > len(sizes):
        repeated = f", {data.repeats} times each," if data.repeats > 1 else ""
        raise UserError(
            f"config.train.batch: {batch} rows of {data.images_per_class} images{repeated} per "
            f"class need {batch // rows} classes, and there are {len(sizes)}; "
            f"at most {len(sizes) * rows} fit"
        )


def _check_domains(data: Data, domains: Sequence[int] | None) -> None:
    if domains is None:
        raise UserError(
            "config.data.sampler: 'domains' needs a data set whose images have domains: set "
            "config.data.domain_column to the column of the CSV file that names them, or use "
            "class_balanced"
        )
    if data.domains_per_batch > len(domains):
        raise UserError(
            f"config.data.domains_per_batch: {data.domains_per_batch} domains asked of each batch, "
            f"and the training images have {len(domains)}; at most {len(domains)}"
        )


def _check_classes_of_domains(data: Data, fewest: int, batch: int) -> None:
    drawn = data.domains_per_batch
    rows = drawn * data.images_per_class * data.repeats  # of a batch with one class of each domain
    if batch // rows > fewest:
        raise UserError(
            f"config.train.batch: {batch} rows of {drawn} domains need {batch // rows} classes of "
            f"each domain, and one has {fewest}; at most {fewest * rows} rows fit"
        )
