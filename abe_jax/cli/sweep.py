"""Tries where the attention branches off and how deep its trunk is, on validation classes.

    python -m abe_jax.sweep --config configs/quickstart.py --workdir runs/places \\
        [--branch pool2,pool4] [--depth 0,1] [--seeds 1] [--config.NAME=VALUE ...]

Without --branch every stage but the last is a branch, without --depth the trunk is empty, half of
what follows, or all of it. Each of them is trained with the same budget; the table shows what it
finds and what it costs. The best branch for the attention differs from backbone to backbone, which
Kim et al. (arXiv 1804.00382) name as the method's weakness. The test classes are not looked at.
"""

import argparse
import contextlib
from collections.abc import Iterator, Sequence

from abe_jax import comparison, models
from abe_jax.cli import command, comparisons
from abe_jax.comparison import Arm, Table
from abe_jax.config import Config, Model, build, load
from abe_jax.errors import UserError, require
from abe_jax.training.stop import on_sigterm


def branch_arms(model: Model, branches: Sequence[str], depths: Sequence[int]) -> list[Arm]:
    """An arm for every branch and depth of the trunk that the backbone allows.

    Args:
        model: an attention model.
        branches: stages to branch behind; empty: all but the last.
        depths: lengths of the trunk, those that a branch has no stages for left out; empty: 0,
            half of the stages that follow the branch, and all of them (poolings do not count).

    Raises:
        UserError: no attention, a branch that is no stage, or depths that no branch allows.
    """
    if model.kind != "attention":
        raise UserError(
            f"config.model.kind: {model.kind!r} has no attention that branches off; set it to "
            "'attention'"
        )
    with build.named("config.model"):
        stages = models.stages(model.backbone, norm=model.norm, width=model.width)
    names = [stage.name for stage in stages[:-1]]
    for branch in branches:
        require("--branch", branch, names)
    arms = [
        Arm(
            name=f"{branch} {depth}",
            overrides=(f"model.branch={branch}", f"model.trunk_depth={depth}"),
        )
        for branch in branches or names
        for depth in _depths(stages[names.index(branch) + 1 :], depths)
    ]
    if not arms:
        raise UserError(f"--depth: no branch has {min(depths)} stages behind it to copy")
    return arms


def _depths(behind: Sequence[models.Stage], asked: Sequence[int]) -> Iterator[int]:
    most = sum(not stage.pooling for stage in behind)
    yield from (d for d in dict.fromkeys(asked or (0, most // 2, most)) if 0 <= d <= most)


def best(table: Table, arms: Sequence[Arm], select: str) -> str:
    """The branch and depth with the highest mean, as what a command line says of it.

    Of MAP@R where `select` (config.evaluate.select) is that, else of R@1.
    """
    column = table.header.index("MAP@R" if select == "map@r" else "R@1 %")
    highest = max(range(len(arms)), key=lambda i: float(table.rows[i][column].split()[0]))
    chosen = " ".join(f"--config.{override}" for override in arms[highest].overrides)
    return f"best on validation classes: {chosen}"


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Trains every arm, writes and prints the table and names the best."""
    config: Config = load(arguments.config, overrides)
    arms = branch_arms(config.model, _listed(arguments.branch), _numbers(arguments.depth))
    with on_sigterm() as stop, contextlib.suppress(comparison.Stopped):
        of = comparisons.comparison_of(arguments, overrides, stop)
        made = comparison.table(of, arms)
        comparison.write(of, made)
        command.say(best(made, arms, config.evaluate.select))


def _listed(text: str) -> list[str]:
    return text.split(",") if text else []


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in _listed(text)]
    except ValueError:
        raise UserError(f"--depth {text}: is written --depth 0,1,2") from None


def main(argv: Sequence[str]) -> None:
    """The command line."""
    made = comparisons.parser((__doc__ or "").splitlines()[0], seeds=1, splits=("val",))
    made.set_defaults(rounds=0)
    made.add_argument("--branch", default="", metavar="STAGE,STAGE")
    made.add_argument("--depth", default="", metavar="N,N")
    run(*made.parse(argv))
