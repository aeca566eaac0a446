"""Which pictures there are, and those of several runs, one run in memory at a time."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from abe_jax.report.figures import attention, classes, cosine, embedding_map, recall
from abe_jax.report.figures.embedded_run import Drawn, EmbeddedRun, Skipped


class Shared(NamedTuple):
    """A picture of all runs together: what is measured of each, and how that is drawn."""

    measured: Callable[[EmbeddedRun], Any]
    pictures: Callable[[list[Any]], Drawn]


OF_EACH: dict[str, Callable[[EmbeddedRun], Drawn]] = {
    "attention": attention.pictures,
    "map": embedding_map.pictures,
    "classes": classes.pictures,
}
SHARED: dict[str, Shared] = {
    "cosine": Shared(cosine.measured, cosine.pictures),
    "recall": Shared(recall.measured, recall.pictures),
}
NAMES = (*OF_EACH, *SHARED)


def draw(
    runs: Mapping[str, Callable[[], EmbeddedRun]],
    asked: Sequence[str],
    channel: int | None = None,
) -> Iterator[tuple[str, Drawn]]:
    """What is asked for, as (what it is, its pictures or why there are none), when it is drawn.

    Of several runs the pictures of each carry its name; the shared ones come last.

    Args:
        runs: by name, what embeds each; called one after the other, so that memory holds one run.
        asked: some of NAMES.
        channel: of the masks, as `attention.pictures` has it.
    """
    of_each = OF_EACH | {"attention": partial(attention.pictures, channel=channel)}
    measured: dict[str, list[Any]] = {name: [] for name in SHARED if name in asked}
    for (name, embed), short in zip(runs.items(), slugs(list(runs)), strict=True):
        run = embed()
        for kind in (kind for kind in OF_EACH if kind in asked):
            drawn = of_each[kind](run)
            if len(runs) == 1:
                yield kind, drawn
            else:
                yield f"{kind} of {name}", _named(drawn, short)
        for kind, values in measured.items():
            values.append(SHARED[kind].measured(run))
        del run
    for kind, values in measured.items():
        yield kind, SHARED[kind].pictures(values)


def _named(drawn: Drawn, short: str) -> Drawn:
    if isinstance(drawn, Skipped):
        return drawn
    return [picture._replace(name=f"{picture.name}-{short}") for picture in drawn]


def slugs(names: Sequence[str]) -> list[str]:
    """The names as parts of file names, all different, whatever stands in them."""
    taken: list[str] = []
    for number, name in enumerate(names, start=1):
        short = re.sub(r"[^\w]+", "-", name).strip("-")[:60] or str(number)  # TeX minds dots
        known = {one.lower() for one in taken}  # some file systems tell no case
        taken.append(short if short.lower() not in known else f"{short}-{number}")
    return taken
