"""Domains that training never sees: what they leave of each split."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from abe_jax.config import Data, nearest
from abe_jax.data.records import Split, subset
from abe_jax.errors import UserError


def restricted(split: Split, data: Data) -> Split:
    """The images of a split that `data.unseen_domains` and `data.validation_domains` leave it.

    train  images of no domain of either
    val    images of the validation domains; where none are named, of all but the unseen ones
    test   images of the unseen domains; where none are named, all
    So what is tested is new twice, its classes and its domains, and what is chosen on validation
    never saw the test's domains.

    Raises:
        UserError: a domain that is not there or is named twice, images without domains, or a
            split of which nothing is left.
    """
    unseen, validation = data.unseen_domains, data.validation_domains
    if not (unseen or validation):
        return split
    if split.groups is None:
        raise UserError(_without(data))
    _check_named(split.group_names, unseen, "unseen_domains")
    _check_named(split.group_names, validation, "validation_domains")
    both = [name for name in validation if name in unseen]
    if both:
        raise UserError(
            f"config.data.validation_domains: '{both[0]}' is in config.data.unseen_domains too, "
            "whose images are for the test alone; leave it out of one of them"
        )
    kept = _kept(split, unseen, validation)
    if not kept.any():
        raise UserError(_nothing(split, unseen, validation))
    return subset(split, np.flatnonzero(kept))


def _kept(split: Split, unseen: Sequence[str], validation: Sequence[str]) -> Bool[np.ndarray, "n"]:
    of_test, of_validation = _of(split, unseen), _of(split, validation)
    if split.name == "test":
        return of_test if unseen else np.ones(len(split.labels), bool)
    if split.name == "val" and validation:
        return of_validation
    return ~(of_test | of_validation)


def _of(split: Split, domains: Sequence[str]) -> Bool[np.ndarray, "n"]:
    return np.isin(split.groups, [split.group_names.index(name) for name in domains])


def _check_named(there: Sequence[str], asked: Sequence[str], option: str) -> None:
    for place, name in enumerate(asked):
        if name not in there:
            raise UserError(
                f"config.data.{option}: no domain is called {name!r}; {nearest(name, there)}"
            )
        if name in asked[:place]:
            raise UserError(f"config.data.{option}: '{name}' is named twice; name it once")


def _without(data: Data) -> str:
    option = "unseen_domains" if data.unseen_domains else "validation_domains"
    remedy = (
        "set config.data.domain_column to the column of the CSV file that names them"
        if data.name == "folder"
        else "leave it empty, or use the data set glyphs, or a folder's CSV file with a column "
        "for them"
    )
    return f"config.data.{option}: the images of {data.name} have no domains; {remedy}"


def _nothing(split: Split, unseen: Sequence[str], validation: Sequence[str]) -> str:
    there = ", ".join(split.group_names[g] for g in np.unique(split.groups))
    option = "validation_domains" if split.name == "val" and validation else "unseen_domains"
    return (
        f"config.data.{option}: no image of {split.name} is left, whose domains are {there}; "
        "name others"
    )
