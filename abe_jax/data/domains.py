"""Domains that training never sees: what they leave of each split."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Shaped

from abe_jax.config import Data
from abe_jax.data.split import Split, subset
from abe_jax.errors import UserError, nearest


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
    domains = np.array(split.group_names)[split.groups]
    kept = _kept(split.name, domains, unseen, validation)
    if not kept.any():
        raise UserError(_nothing(split.name, domains, bool(validation)))
    return subset(split, np.flatnonzero(kept))


def _kept(
    part: str, domains: Shaped[np.ndarray, " n"], unseen: Sequence[str], validation: Sequence[str]
) -> Bool[np.ndarray, " n"]:
    if part == "test" and unseen:
        return np.isin(domains, unseen)
    if part == "val" and validation:
        return np.isin(domains, validation)
    if part == "test":
        return np.ones(len(domains), bool)
    return ~np.isin(domains, [*unseen, *validation])


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


def _nothing(part: str, domains: Shaped[np.ndarray, " n"], validation: bool) -> str:
    there = ", ".join(np.unique(domains).tolist())
    option = "validation_domains" if part == "val" and validation else "unseen_domains"
    return (
        f"config.data.{option}: no image of {part} is left, whose domains are {there}; name others"
    )
