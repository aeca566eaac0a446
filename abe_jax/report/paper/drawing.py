"""Which pictures there are, and those of several runs, one run in memory at a time."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from abe_jax.report.paper import attention, classes, cosines, embedding_map, recall
from abe_jax.report.paper.run import Drawn, Run, Skipped, names, opened


class OfAll(NamedTuple):
    """A picture that several runs share: what is measured of each, and how that is drawn."""

    measured: Callable[[Run], Any]
    pictures: Callable[[list[Any]], Drawn]


OF_EACH: dict[str, Callable[[Run], Drawn]] = {
    "attention": attention.pictures,
    "map": embedding_map.pictures,
    "classes": classes.pictures,
}
OF_ALL: dict[str, OfAll] = {
    "cosine": OfAll(cosines.measured, cosines.pictures),
    "recall": OfAll(recall.measured, recall.pictures),
}
NAMES = (*OF_EACH, *OF_ALL)


def drawn(paths: Sequence[Path], split: str, asked: Sequence[str]) -> Iterator[tuple[str, Drawn]]:
    """What is asked for, as (what it is, its pictures or why there are none), when it is drawn.

    Of several runs the pictures of each carry its name; those of all come last.

    Args:
        paths: runs' folders.
        split: val or test.
        asked: some of NAMES.

    Raises:
        UserError: errors of `run.opened`.
    """
    called = names(paths)
    measured: dict[str, list[Any]] = {name: [] for name in OF_ALL if name in asked}
    for path, name, short in zip(paths, called, slugs(called), strict=True):
        run = opened(path, name, split)
        for kind in (kind for kind in OF_EACH if kind in asked):
            found = OF_EACH[kind](run)
            if len(paths) == 1:
                yield kind, found
            else:
                yield f"{kind} of {name}", _named(found, short)
        for kind, values in measured.items():
            values.append(OF_ALL[kind].measured(run))
        del run
    for kind, values in measured.items():
        yield kind, OF_ALL[kind].pictures(values)


def _named(found: Drawn, short: str) -> Drawn:
    if isinstance(found, Skipped):
        return found
    return [picture._replace(name=f"{picture.name}-{short}") for picture in found]


def slugs(called: Sequence[str]) -> list[str]:
    """The names as parts of file names, all different, whatever stands in them."""
    found: list[str] = []
    for at, name in enumerate(called, start=1):
        short = re.sub(r"[^\w]+", "-", name).strip("-")[:60] or str(at)  # TeX minds dots
        taken = {one.lower() for one in found}  # some file systems tell no case
        found.append(short if short.lower() not in taken else f"{short}-{at}")
    return found
