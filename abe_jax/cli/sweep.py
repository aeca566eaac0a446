"""Tries where the attention branches off and how deep its trunk is, on validation classes.

Without --branch every stage but the last is a branch, without --depth the trunk is empty, half of
what follows, or all of it. Each of them is trained with the same budget; the table shows what it
finds and what it costs. The best branch for the attention differs from backbone to backbone, which
Kim et al. (arXiv 1804.00382) name as the method's weakness. The test classes are not looked at.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from abe_jax.cli import command, comparison_arguments
from abe_jax.comparison.arm import Arm
from abe_jax.errors import UserError, require

if TYPE_CHECKING:
    from abe_jax.comparison import Table
    from abe_jax.config import Model
    from abe_jax.models import Stage


def branch_arms(model: "Model", branches: Sequence[str], depths: Sequence[int]) -> list[Arm]:
    """An arm for every branch and depth of the trunk that the backbone allows.

    Args:
        model: an attention model.
        branches: stages to branch behind; empty: all but the last.
        depths: lengths of the trunk, those that a branch has no stages for left out; empty: 0,
            half of the stages that follow the branch, and all of them (poolings do not count).

    Raises:
        UserError: no attention, a branch that is no stage, or depths that no branch allows.
    """
    from abe_jax import models
    from abe_jax.config import build

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


def _depths(behind: "Sequence[Stage]", asked: Sequence[int]) -> Iterator[int]:
    most = sum(not stage.pooling for stage in behind)
    yield from (d for d in dict.fromkeys(asked or (0, most // 2, most)) if 0 <= d <= most)


def best(table: "Table", arms: Sequence[Arm], select: str) -> str:
    """The branch and depth with the highest mean, as what a command line says of it.

    Of MAP@R where `select` (config.evaluate.select) is that, else of R@1.
    """
    column = table.header.index("MAP@R" if select == "map@r" else "R@1 %")
    highest = max(range(len(arms)), key=lambda i: float(table.rows[i][column].split()[0]))
    chosen = " ".join(f"--config.{override}" for override in arms[highest].overrides)
    return f"best on validation classes: {chosen}"


def run(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Trains every arm, writes and prints the table and names the best."""
    depths = _numbers(arguments.depth)
    comparison_arguments.check(arguments)
    config = command.configuration(arguments.config, overrides)
    from abe_jax import comparison

    arms = branch_arms(config.model, _listed(arguments.branch), depths)
    with comparison_arguments.until_stopped() as stop:
        of = comparison_arguments.comparison_of(arguments, overrides, stop)
        made = comparison.tabulated(of, arms)
        comparison.write(of, made)
        command.say(best(made, arms, config.evaluate.select))


def _listed(text: str) -> list[str]:
    return text.split(",") if text else []


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in _listed(text)]
    except ValueError:
        raise UserError(f"--depth {text}: expected --depth 0,1,2") from None


def parser() -> command.Parser:
    """The arguments."""
    example = (
        "--config configs/quickstart.py --workdir runs/branches --branch pool2,pool4 --depth 0,1"
    )
    made = command.with_config("sweep", __doc__, example=example)
    comparison_arguments.add_shared(made, seeds=1, rounds=0, splits=("val",))
    made.add_argument(
        "--branch",
        default="",
        metavar="STAGE,STAGE",
        help="stages of the backbone behind which the attention branches off; default: all but "
        "the last",
    )
    made.add_argument(
        "--depth",
        default="",
        metavar="N,N",
        help="stages that the attention's trunk copies; default: none, half of those that follow "
        "the branch, and all of them",
    )
    return made


def main(argv: Sequence[str]) -> None:
    """The command line."""
    run(*parser().parse(argv))
