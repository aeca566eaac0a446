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
from abe_jax.config import read_json
from abe_jax.config.other_data import Elsewhere
from abe_jax.data import dataset
from abe_jax.data.sources.benchmarks import reading
from abe_jax.data.sources.benchmarks.table import ORIGINALS
from abe_jax.errors import UserError
from abe_jax.evaluation.resolution import At
from abe_jax.runs.conclusion import conclude
from abe_jax.runs.folder import RunFolder


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
    elsewhere = _elsewhere(arguments, overrides)
    command.join_hosts(arguments)
    folder = RunFolder(arguments.workdir)
    with hosts.together():
        own = read_json(folder.config)
        data = (elsewhere.of(own) if elsewhere else own).data
        dataset.prepare(data)
    if data.name in ORIGINALS and (odd := reading.unpublished(ORIGINALS[data.name], data.root)):
        command.say(f"warning: {odd}")
    at = At(size=arguments.size, p=arguments.p)
    conclude(folder, arguments.split, command.say, at, elsewhere)


def _elsewhere(arguments: argparse.Namespace, overrides: Sequence[str]) -> Elsewhere | None:
    name, path = arguments.dataset or "folder", arguments.path or ""
    if path and name != "folder":
        raise UserError(
            f"--path: {name} has been prepared and is found by its name; leave --path out, or "
            "leave --dataset out to take what is there as a folder of classes or a CSV file"
        )
    if arguments.dataset or path:
        return Elsewhere(name=name, path=path, options=overrides)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: a run is evaluated as its config.json says")
    return None
