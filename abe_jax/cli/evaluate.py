"""Evaluates a run's best checkpoint: python -m abe_jax.evaluate --workdir RUN [--split test].

With --size, at another resolution than it was trained at, and with --p, by another exponent of
GeM, such as abe_jax.resolution finds for it. With --dataset, on the images of another data set,
prepared (abe_jax.prepare) or, with --path, in a folder or a CSV file; what a config says of such
images is set by --config.data.label_column=NAME and the like. evaluation.json keeps all of these
beside the run's own.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from abe_jax import hosts
from abe_jax.cli import command
from abe_jax.config import build, read_json, stored
from abe_jax.config.other_data import OtherData
from abe_jax.data.sources.benchmarks import reading
from abe_jax.data.sources.benchmarks.table import BENCHMARKS
from abe_jax.errors import UserError
from abe_jax.training.run_folder import RunFolder


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command.Parser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--workdir", required=True, type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--split", choices=("val", "test", "held"), default="test")
    parser.add_argument("--size", type=int, metavar="PX", help="side of the images")
    parser.add_argument("--p", type=float, metavar="P", help="GeM's exponent")
    parser.add_argument("--dataset", metavar="NAME", help="another data set than the run's")
    parser.add_argument("--path", metavar="PATH", help="its folder or CSV file")
    command.add_hosts(parser)
    arguments, overrides = parser.parse(argv)
    other = _other_data(arguments, overrides)
    command.join_hosts(arguments)
    with hosts.together():
        own = read_json(RunFolder(arguments.workdir).config)
        data = (other.applied(own) if other else own).data
        build.dataset(data).prepare()
    if data.name in BENCHMARKS and (
        odd := reading.counts_warning(BENCHMARKS[data.name], data.root)
    ):
        command.say(f"warning: {odd}")
    run = stored.run(arguments.workdir, other)
    with command.options_named():
        run = run.at(arguments.size, arguments.p)
    for note in run.tested.dataset.split(arguments.split).notes:
        command.say(f"warning: {note}")
    run.write_evaluation(arguments.split, command.say)


def _other_data(arguments: argparse.Namespace, overrides: Sequence[str]) -> OtherData | None:
    name, path = arguments.dataset or "folder", arguments.path or ""
    if path and name != "folder":
        raise UserError(
            f"--path: {name} has been prepared and is found by its name; leave --path out, or "
            "leave --dataset out to take what is there as a folder of classes or a CSV file"
        )
    if arguments.dataset or path:
        return OtherData(name=name, path=path, options=overrides)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: a run is evaluated as its config.json says")
    return None
