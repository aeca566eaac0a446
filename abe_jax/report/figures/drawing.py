"""Which pictures there are, and those of several runs, one run in memory at a time."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from abe_jax import hosts
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
    take: Callable[[str, Drawn], None],
    channel: int | None = None,
) -> None:
    """Draws what is asked for. Of several runs the pictures of each carry its name.

    All hosts call it and embed the runs; the first alone draws, while the others wait.

    Args:
        runs: by name, what embeds each; called one after the other, so that memory holds one run.
        asked: some of NAMES.
        take: is given, on the first host, what was drawn as soon as it is: what it is, and its
            pictures or why there are none. The shared ones come last.
        channel: of the masks, as `attention.pictures` has it.

    Raises:
        ArgumentError: no such channel.
        UserError: another host stopped; errors of `runs` and `take`.
    """
    measured: dict[str, list[Any]] = {name: [] for name in SHARED if name in asked}
    several = len(runs) > 1
    for (name, embed), short in zip(runs.items(), slugs(list(runs)), strict=True):
        run = embed()
        masks = attention.masked(run) if "attention" in asked else None  # on all hosts' devices
        with hosts.together():
            if hosts.is_first():
                own = partial(attention.pictures, channel=channel, given=masks)
                for kind, pictures in (OF_EACH | {"attention": own}).items():
                    if kind in asked:
                        what = f"{kind} of {name}" if several else kind
                        take(what, _named(pictures(run), short if several else ""))
                for kind, values in measured.items():
                    values.append(SHARED[kind].measured(run))
        del run, masks
    with hosts.together():
        if hosts.is_first():
            for kind, values in measured.items():
                take(kind, SHARED[kind].pictures(values))


def _named(drawn: Drawn, short: str) -> Drawn:
    if isinstance(drawn, Skipped) or not short:
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
