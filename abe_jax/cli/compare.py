"""Trains arms side by side over several seeds and tables what came of them.

    python -m abe_jax.compare --config FILE --workdir DIR --seeds 3 --split val \\
        --arm 'single: model.kind=single model.learners=1' --arm 'ABE-4:' \\
        [--arm 'MultiGrain: configs/multigrain_glyphs.py'] \\
        [--vary objective.divergence.weight=0,0.1,1] [--tune optimizer.rate=0.001,0.01] \\
        [--config.NAME=VALUE ...]

An arm is a name, a config of its own where the first word behind it ends in .py (else that of
--config), and its overrides; those of the command line hold for all arms, but an arm's own count
where both name one. --vary multiplies the arms by the values of one name, --tune gives each that
which does best on the validation classes. Every run has a folder of its own below DIR, and the same
command goes on where it was stopped.
"""

import argparse
import contextlib
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

from abe_jax import comparison
from abe_jax.cli import comparisons
from abe_jax.comparison import Arm, Tuning
from abe_jax.errors import UserError
from abe_jax.training.stop import on_sigterm


def arms(named: Sequence[str], varied: Sequence[str]) -> list[Arm]:
    """The arms that a command line names, times every value of each varied name.

    Raises:
        UserError: an arm without a name or two of one name, or a --vary without values.
    """
    made = [_arm(text) for text in named] or [Arm(name="", overrides=())]
    for text in varied:
        name, values = named_values("--vary", text)
        made = [
            dataclasses.replace(
                arm,
                name=f"{arm.name} {name.split('.')[-1]}={value}".strip(),
                overrides=(*arm.overrides, f"{name}={value}"),
            )
            for arm, value in itertools.product(made, values)
        ]
    names = [arm.name for arm in made]
    if len(set(names)) < len(names) or not all(names):
        raise UserError(f"arms need names of their own, got {names}; --arm 'NAME: OVERRIDES'")
    return made


def named_values(flag: str, text: str) -> tuple[str, tuple[str, ...]]:
    """NAME and the values of `NAME=VALUE,VALUE,...`."""
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise UserError(f"{flag} {text}: is written {flag} NAME=VALUE,VALUE,...")
    return name, tuple(values.split(","))


def _arm(text: str) -> Arm:
    name, _, rest = text.partition(":")
    words = rest.split()
    file = Path(words.pop(0)) if words and words[0].endswith(".py") else None
    return Arm(name=name.strip(), overrides=tuple(words), file=file)


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Trains and evaluates every arm with every seed, then writes and prints the table."""
    asked = arms(arguments.arm, arguments.vary)
    tunings = [Tuning(*named_values("--tune", text)) for text in arguments.tune]
    with on_sigterm() as stop, contextlib.suppress(comparison.Stopped):
        of = comparisons.comparison_of(arguments, overrides, stop)
        for tuning in tunings:
            asked = [comparison.tuned(of, arm, tuning) for arm in asked]
        comparison.write(of, comparison.table(of, asked))


def main(argv: Sequence[str]) -> None:
    """The command line."""
    made = comparisons.parser((__doc__ or "").splitlines()[0], seeds=3, splits=("val", "test"))
    made.add_argument("--arm", action="append", default=[], metavar="'NAME: OVERRIDES'")
    made.add_argument("--vary", action="append", default=[], metavar="NAME=VALUE,VALUE")
    made.add_argument("--tune", action="append", default=[], metavar="NAME=VALUE,VALUE")
    run(*made.parse(argv))
