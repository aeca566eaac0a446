"""The console script `abe-jax VERB ...`: every command under one name."""

import sys
from collections.abc import Callable, Sequence

from abe_jax.cli import (
    command,
    compare,
    complexity,
    convert,
    evaluate,
    figures,
    index,
    prepare,
    resolution,
    search,
    serve,
    sweep,
    train,
)
from abe_jax.errors import UserError, nearest

VERBS: dict[str, tuple[Callable[[Sequence[str]], None], str]] = {
    "train": (train.main, "train what a config describes, evaluate and report it"),
    "evaluate": (evaluate.main, "measure a run on a split, at another size, on other data"),
    "figures": (figures.main, "draw a run's figures for a paper"),
    "index": (index.main, "build, add to, remove from, calibrate, describe an index of images"),
    "search": (search.main, "find an image's nearest neighbours, or near-duplicates"),
    "serve": (serve.main, "show an index as a page on this machine"),
    "compare": (compare.main, "train arms side by side over several seeds"),
    "sweep": (sweep.main, "try where the attention branches off"),
    "resolution": (resolution.main, "choose GeM's exponent for larger test images"),
    "prepare": (prepare.main, "prepare one of the field's data sets once"),
    "convert": (convert.main, "convert a third-party checkpoint to .npz"),
    "complexity": (complexity.main, "count a model's parameters and multiply-adds"),
}


def main(argv: Sequence[str]) -> None:
    """Runs the verb that comes first; without one, or with --help, lists them."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return
    if argv[0] not in VERBS:
        raise UserError(f"{argv[0]}: no such verb; {nearest(argv[0], VERBS)}")
    VERBS[argv[0]][0](argv[1:])


def usage() -> str:
    """The verbs, a line each."""
    lines = [f"  {verb:<12}{does}" for verb, (_, does) in VERBS.items()]
    return "\n".join(
        [
            "usage: abe-jax VERB ...      (abe-jax VERB --help says what a verb takes)",
            "",
            *lines,
            "",
            "`python -m abe_jax.VERB ...` is the same.",
        ]
    )


def script() -> None:
    """The console script."""
    sys.argv[0] = "abe-jax"
    command.run(main)
