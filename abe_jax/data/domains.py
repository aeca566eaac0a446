"""Domains that training never sees: which images of each split they leave."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Shaped

from abe_jax.data.split import Split, subset
from abe_jax.errors import ArgumentError, nearest


def restricted(
    split: Split, unseen: Sequence[str] = (), validation: Sequence[str] = (), name: str = ""
) -> Split:
    """The images of a split that the unseen domains and the validation domains leave it.

    train  images of no domain of either
    val    images of the validation domains; where none are named, of all but the unseen ones
    test   images of the unseen domains; where none are named, all
    So the test is new twice, in its classes and in its domains, and what is selected on validation
    never saw the test's domains. `name` is the data set's, for messages.

    Raises:
        ArgumentError: of `unseen_domains` or `validation_domains`: a domain that is not there or
            is named twice, images without domains, or a split of which nothing is left.
    """
    if not (unseen or validation):
        return split
    if split.groups is None:
        option = "unseen_domains" if unseen else "validation_domains"
        raise ArgumentError(option, _without(name or split.name))
    _check_named(split.group_names, unseen, "unseen_domains")
    _check_named(split.group_names, validation, "validation_domains")
    both = [domain for domain in validation if domain in unseen]
    if both:
        raise ArgumentError(
            "validation_domains",
            f"'{both[0]}' is in unseen_domains too, whose images are for the test alone; leave it "
            "out of one of them",
        )
    domains = np.array(split.group_names)[split.groups]
    kept = _kept(split.name, domains, unseen, validation)
    if not kept.any():
        option = "validation_domains" if split.name == "val" and validation else "unseen_domains"
        names = ", ".join(np.unique(domains).tolist())
        raise ArgumentError(
            option, f"no image of {split.name} is left, whose domains are {names}; name others"
        )
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


def _check_named(names: Sequence[str], asked: Sequence[str], option: str) -> None:
    for number, name in enumerate(asked):
        if name not in names:
            raise ArgumentError(option, f"no domain is called {name!r}; {nearest(name, names)}")
        if name in asked[:number]:
            raise ArgumentError(option, f"'{name}' is named twice; name it once")


def _without(name: str) -> str:
    remedy = (
        "set domain_column to the column of the CSV file that names them"
        if name == "folder"
        else "leave it empty, or use the data set glyphs, or a folder's CSV file with a column "
        "for them"
    )
    return f"the images of {name} have no domains; {remedy}"
