"""Evaluates a run's best checkpoint: python -m abe_jax.evaluate --workdir RUN [--split test].

With --size, at another resolution than it was trained at, and with --p, by another exponent of
GeM, such as abe_jax.resolution finds for it; evaluation.json keeps these beside the run's own.
"""

from collections.abc import Sequence
from pathlib import Path

from abe_jax import command, hosts
from abe_jax.config import read_json
from abe_jax.data import datasets
from abe_jax.errors import UserError
from abe_jax.report.conclusion import conclude
from abe_jax.retrieval.resolution import At
from abe_jax.run_folder import RunFolder


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command.Parser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--workdir", required=True, type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--split", choices=("val", "test", "held"), default="test")
    parser.add_argument("--size", type=int, metavar="PX", help="side of the images")
    parser.add_argument("--p", type=float, metavar="P", help="GeM's exponent")
    command.add_hosts(parser)
    arguments, overrides = parser.parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: a run is evaluated as its config.json says")
    command.join_hosts(arguments)
    folder = RunFolder(arguments.workdir)
    with hosts.together():
        datasets.prepare(read_json(folder.config).data)
    conclude(folder, arguments.split, command.say, At(size=arguments.size, p=arguments.p))


if __name__ == "__main__":
    command.run(main)
