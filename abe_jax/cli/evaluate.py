"""Evaluates a run's best checkpoint and reports.

With --size, at another resolution than it was trained at, with --longest, on whole images in the
place of crops, and with --p, by another exponent of GeM, such as abe_jax.resolution finds for it.
With --whiten-on, whitened by other photographs than the run's. With --dataset, on the images of
another data set, prepared (abe_jax.prepare) or, with --path, in a folder or a CSV file; what a
config says of such images is set by --config.data.label_column=NAME and the like. evaluation.json
keeps all of these beside the run's own.

With --near-duplicates everything is measured once more without what is nearly the query's own
photograph: images of one value in a column of the CSV file (column), photographs that one camera
took shortly after each other (sequence), or images alike to a network that learned nothing of these
classes (distance).

With --divisions a set of persons that is divided at random (grid, viper, prid, ilids) is measured
by its first so many divisions, and the mean and the spread are told.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax.choices import NEAR_DUPLICATES
from abe_jax.cli import command, evaluation_hosts, several
from abe_jax.errors import UserError, require
from abe_jax.training.run_folder import RunFolder

if TYPE_CHECKING:
    from abe_jax.config.schema import Data
    from abe_jax.data import Dataset

# The options of --near-duplicates: the rule that each is of, and its name in a config.
OF_NEAR_DUPLICATES = {
    "capture_column": ("column", "data.capture_column"),
    "near_seconds": ("sequence", "evaluate.near_seconds"),
    "near_cosine": ("distance", "evaluate.near_cosine"),
    "near_weights": ("distance", "evaluate.near_weights"),
}

# What of a config's `evaluate` can be another for one evaluation.
EVALUATE = tuple(
    f"evaluate.{name}" for name in ("longest", "whiten", "whiten_path", "grains", "copies")
)


def parser() -> command.Parser:
    """The arguments."""
    made = command.Parser(
        "evaluate", __doc__, example="--workdir runs/quickstart --dataset folder --path photos"
    )
    made.add_argument("--workdir", required=True, type=Path, metavar="RUN", help="a run's folder")
    made.add_argument(
        "--split",
        choices=("val", "test", "held"),
        default="test",
        help="validation classes, test classes, or images held out of the training classes; "
        "default: test",
    )
    seen = made.add_mutually_exclusive_group()
    seen.add_argument(
        "--size",
        type=command.size,
        metavar="PX",
        help="side of the images, of rectangles the longer; or HEIGHTxWIDTH",
    )
    command.add_longest(seen)
    made.add_argument("--p", type=float, metavar="P", help="GeM's exponent")
    made.add_argument(
        "--whiten-on",
        metavar="DIR",
        help="a folder of photographs that the whitening is fitted on, whatever they show",
    )
    made.add_argument("--dataset", metavar="NAME", help="another data set than the run's")
    made.add_argument("--path", metavar="PATH", help="its folder or CSV file")
    made.add_argument(
        "--divisions",
        type=int,
        metavar="N",
        help="of a set with several divisions into training and test persons: how many, such as 10",
    )
    _add_near_duplicates(made)
    several.add_hosts(made)
    return made


def _add_near_duplicates(made: command.Parser) -> None:
    """Arguments whose defaults are the config's."""
    made.add_argument(
        "--near-duplicates",
        metavar="RULE",
        help="measure without near-duplicates as well: column, sequence or distance",
    )
    made.add_argument("--capture-column", metavar="NAME", help="column: its name")
    made.add_argument(
        "--near-seconds",
        type=float,
        metavar="S",
        help="sequence: at most so long after the photograph before; default: 10",
    )
    made.add_argument(
        "--near-cosine",
        type=float,
        metavar="C",
        help="distance: pairs of at least this cosine; default: 0.94",
    )
    made.add_argument(
        "--near-weights",
        metavar="NAME",
        help="distance: the network's weights, a name or a file of abe_jax.convert; default: "
        "efficientnet-lite0",
    )


def near_duplicates(arguments: argparse.Namespace) -> list[str]:
    """What the arguments say of near-duplicates, as overrides of the run's config.

    Raises:
        UserError: no such rule, or an option of another one.
    """
    rule = arguments.near_duplicates
    if rule is not None:
        require("--near-duplicates", rule, NEAR_DUPLICATES)
    overrides = [] if rule is None else [f"evaluate.near_duplicates={rule}"]
    for option, (of, name) in OF_NEAR_DUPLICATES.items():
        value = getattr(arguments, option)
        if value is None:
            continue
        if rule != of:
            written = f"--{option.replace('_', '-')}"
            raise UserError(f"{written}: goes with --near-duplicates {of}")
        overrides.append(f"{name}={value}")
    return overrides


def main(argv: Sequence[str]) -> None:
    """The command line."""
    arguments, overrides = parser().parse(argv)
    _check(arguments, [name for name in overrides if not _of_evaluation(name)])
    evaluate(arguments, overrides)


def _of_evaluation(override: str) -> bool:
    return override.partition("=")[0] in EVALUATE


def evaluate(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    """Measures what the arguments name, writes it beside what was measured before, and reports."""
    measured = [override for override in overrides if _of_evaluation(override)]
    overrides = [override for override in overrides if not _of_evaluation(override)]
    if arguments.whiten_on:
        measured.append(f"evaluate.whiten_path={arguments.whiten_on}")
    several.join_hosts(arguments)
    evaluation_hosts.compare_request(arguments, [*measured, *overrides])
    from abe_jax import hosts
    from abe_jax.config import build, overridden, read_json, stored
    from abe_jax.config.other_data import OtherData
    from abe_jax.runs import divisions

    other = None
    if arguments.dataset or arguments.path:
        name, path = arguments.dataset or "folder", arguments.path or ""
        other = OtherData(name=name, path=path, options=overrides)
    with hosts.together():
        own = read_json(RunFolder(arguments.workdir).config)
        near = near_duplicates(arguments)
        tested = overridden(other.applied(own) if other else own, [*near, *measured])
        data = tested.data
        if arguments.divisions is not None:
            _check_divisions(arguments.divisions, data, own.data)
        build.dataset(data).prepare()
    evaluation_hosts.compare_files(tested)
    _say_of_data(data)
    asked = overridden(own, measured).evaluate
    run = stored.run(arguments.workdir, other=other, evaluate=measured, near_duplicates=near)
    longest = arguments.longest if asked.longest == own.evaluate.longest else asked.longest
    evaluation_hosts.compare_run(run)
    with command.options_named():
        run = run.at(arguments.size, arguments.p, longest=longest)
    if arguments.divisions is not None:
        made = [build.dataset(replace(data, division=n)) for n in range(arguments.divisions)]
        evaluation_hosts.compare_images(made, "test")
        divisions.write_evaluation(run, made, command.say)
        return
    _say_of_images(run.tested.dataset, arguments.split)
    run.write_evaluation(arguments.split, command.say)


def _say_of_images(dataset: "Dataset", name: str) -> None:
    """What of a split's images was left out or made one, on hosts that list the same."""
    (split,) = evaluation_hosts.compare_images([dataset], name)
    for note in split.notes:
        command.say(f"warning: {note}")


def _say_of_data(data: "Data") -> None:
    """What of a prepared set is not as its authors hand it out."""
    from abe_jax.config import build
    from abe_jax.data.sources.benchmarks import reading
    from abe_jax.data.sources.benchmarks.table import BENCHMARKS

    if data.name in BENCHMARKS and (
        odd := reading.counts_warning(BENCHMARKS[data.name], data.root)
    ):
        command.say(f"warning: {odd}")
    if count := build.turned_images(data):
        command.say(f"{data.name}: {count:,} images are turned upright by a list of rotations")


def _check_divisions(number: int, data: "Data", own: "Data") -> None:
    """Refuses divisions that the data set has not, or that the run was trained on."""
    from abe_jax.data.sources.benchmarks.table import BENCHMARKS

    there = BENCHMARKS[data.name].divisions if data.name in BENCHMARKS else 1
    if there == 1:
        raise UserError(f"--divisions: {data.name} has one division; leave it out")
    if not 1 <= number <= there:
        raise UserError(f"--divisions {number}: {data.name} has {there} of them; name 1 to {there}")
    if data.name in (own.sources or (own.name,)):
        raise UserError(
            f"--divisions: the run was trained on {data.name}, whose other divisions test persons "
            "that it has seen; train a run by each (--config.data.division=N)"
        )


def _check(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
    name = arguments.dataset or "folder"
    if arguments.path and name != "folder":
        raise UserError(
            f"--path: {name} has been prepared and is found by its name; leave --path out, or "
            "leave --dataset out to take what is there as a folder of classes or a CSV file"
        )
    if overrides and not (arguments.dataset or arguments.path):
        raise UserError(f"--config.{overrides[0]}: a run is evaluated as its config.json says")
    if arguments.divisions is not None and arguments.split != "test":
        raise UserError(f"--divisions: goes with --split test, not with {arguments.split}")
    near_duplicates(arguments)
    if not several.asks_for_hosts(arguments):  # several must refuse it together
        RunFolder(arguments.workdir).require()
