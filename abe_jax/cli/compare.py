"""Trains arms side by side over several seeds and tables what came of them.

An arm is a name, a config of its own where the first word behind it is FILE.py or FILE.py:ROW (else
that of --config), and its overrides; those of the command line hold for all arms, but an arm's own
count where both name one. --vary multiplies the arms by the values of one name, --tune gives each
that which does best on the validation classes, and --then-all trains what was so chosen on all
classes but the test's. Every run has a folder of its own below DIR, and the same command goes on
where it was stopped (by SIGTERM or SIGUSR1: with status 75).
"""

import argparse
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

from abe_jax import files
from abe_jax.cli import command, comparison_arguments
from abe_jax.comparison.arm import Arm, Tuning
from abe_jax.errors import UserError

EXAMPLE = """\
--config configs/quickstart.py --workdir runs/arms --seeds 3 \\
      --arm 'single: model.kind=single model.learners=1' --arm 'ABE:' \\
      --arm 'MultiGrain: configs/multigrain_glyphs.py' --tune optimizer.rate=0.001,0.01"""


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


def on_all_classes(arm: Arm) -> Arm:
    """The arm trained on the validation classes too, which chose what it is, to its last step."""
    name, overrides = f"{arm.name}, all classes", (*arm.overrides, "data.validate=False")
    return dataclasses.replace(arm, name=name, overrides=overrides)


def named_values(flag: str, text: str) -> tuple[str, tuple[str, ...]]:
    """NAME and the values of `NAME=VALUE,VALUE,...`."""
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise UserError(f"{flag} {text}: expected {flag} NAME=VALUE,VALUE,...")
    return name, tuple(values.split(","))


def _arm(text: str) -> Arm:
    name, _, rest = text.partition(":")
    words = rest.split()
    own = bool(words) and files.row_of(words[0])[0].suffix == ".py"
    file = Path(words.pop(0)) if own else None
    return Arm(name=name.strip(), overrides=tuple(words), file=file)


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Trains and evaluates every arm with every seed, then writes and prints the table."""
    asked = arms(arguments.arm, arguments.vary)
    tunings = [Tuning(*named_values("--tune", text)) for text in arguments.tune]
    comparison_arguments.check(arguments)
    if arguments.then_all and arguments.split != "test":
        raise UserError("--then-all: leaves no validation classes to measure on; --split test")
    files.require(files.row_of(arguments.config)[0], "config file")
    from abe_jax import comparison

    with comparison_arguments.until_stopped() as stop:
        of = comparison_arguments.comparison_of(arguments, overrides, stop)
        for tuning in tunings:
            asked = [comparison.tuned(of, arm, tuning) for arm in asked]
        asked = [on_all_classes(arm) for arm in asked] if arguments.then_all else asked
        comparison.write(of, comparison.tabulated(of, asked))


def parser() -> command.Parser:
    """The arguments."""
    made = command.with_config("compare", __doc__, example=EXAMPLE)
    comparison_arguments.add_shared(made, seeds=3, splits=("val", "test"))
    made.add_argument(
        "--arm",
        action="append",
        default=[],
        metavar="'NAME: OVERRIDES'",
        help="a row of the table: its name, then a config file of its own or nothing, then what it "
        "changes, such as 'ABE-4: model.learners=4'; once for each arm",
    )
    made.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=VALUE,VALUE",
        help="train every arm once with each of these values of config.NAME",
    )
    made.add_argument(
        "--tune",
        action="append",
        default=[],
        metavar="NAME=VALUE,VALUE",
        help="give every arm that value of config.NAME which does best on the validation classes",
    )
    made.add_argument(
        "--then-all",
        action="store_true",
        help="then train on all classes but the test's and take the last checkpoint: settings are "
        "chosen on validation classes, the table's networks have seen these too",
    )
    return made


def main(argv: Sequence[str]) -> None:
    """The command line."""
    run(*parser().parse(argv))
