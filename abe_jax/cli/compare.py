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
from abe_jax.comparison import Arm, Tuning
from abe_jax.errors import UserError


def arms(named: Sequence[str], varied: Sequence[str]) -> list[Arm]:
    """The arms that a command line names, times every value of each varied name.

    Raises:
        UserError: an arm without a name or two of one name, or a --vary without values.
    """
    found = [_arm(text) for text in named] or [Arm(name="", overrides=())]
    for text in varied:
        name, values = named_values("--vary", text)
        found = [
            dataclasses.replace(
                arm,
                name=f"{arm.name} {name.split('.')[-1]}={value}".strip(),
                overrides=(*arm.overrides, f"{name}={value}"),
            )
            for arm, value in itertools.product(found, values)
        ]
    names = [arm.name for arm in found]
    if len(set(names)) < len(names) or not all(names):
        raise UserError(f"arms need names of their own, got {names}; --arm 'NAME: OVERRIDES'")
    return found


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
    found = arms(arguments.arm, arguments.vary)
    tunings = [Tuning(*named_values("--tune", text)) for text in arguments.tune]
    of = comparison.compared(arguments, overrides)
    with contextlib.suppress(comparison.Stopped):
        for tuning in tunings:
            found = [comparison.tuned(of, arm, tuning) for arm in found]
        comparison.write(of, comparison.table(of, found))


def main(argv: Sequence[str]) -> None:
    """The command line."""
    made = comparison.parser((__doc__ or "").splitlines()[0], seeds=3, splits=("val", "test"))
    made.add_argument("--arm", action="append", default=[], metavar="'NAME: OVERRIDES'")
    made.add_argument("--vary", action="append", default=[], metavar="NAME=VALUE,VALUE")
    made.add_argument("--tune", action="append", default=[], metavar="NAME=VALUE,VALUE")
    run(*made.parse(argv))
