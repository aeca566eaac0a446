"""Evaluates a run's best checkpoint: python -m abe_jax.evaluate --workdir RUN [--split test]."""

from collections.abc import Sequence
from pathlib import Path

from abe_jax import command, hosts
from abe_jax.config import read_json
from abe_jax.data import datasets
from abe_jax.errors import UserError
from abe_jax.report.conclusion import conclude
from abe_jax.run_folder import RunFolder


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command.Parser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--workdir", required=True, type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    command.add_hosts(parser)
    arguments, overrides = parser.parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: a run is evaluated as its config.json says")
    command.join_hosts(arguments)
    folder = RunFolder(arguments.workdir)
    with hosts.together():
        datasets.prepare(read_json(folder.config).data)
    conclude(folder, arguments.split, command.say)


if __name__ == "__main__":
    command.run(main)
