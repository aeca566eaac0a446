"""Chooses GeM's exponent p for another test resolution, on validation classes.

    python -m abe_jax.resolution --workdir RUN --size 448 [--p 1,2,3,4,5] [--learn [STEPS]]

A network with generalised-mean pooling is often at its best on larger images than it was trained
with, and with a greater p (Berman et al., arXiv 1902.05509). Every p of --p is tried on images of
--size px; with --learn p is learned too, by the run's classifier on training images, all else
frozen. The run is left as it is: the last line is the command that evaluates the best p. The test
classes are not looked at.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from abe_jax import evaluation
from abe_jax.cli import command
from abe_jax.config import Config, read_json
from abe_jax.data import dataset
from abe_jax.errors import UserError
from abe_jax.evaluation.embed import embed
from abe_jax.evaluation.resolution import (
    best,
    cross_validated,
    exponent,
    require_gem,
    sized,
    with_p,
)
from abe_jax.report import tables
from abe_jax.runs.exponent import learned
from abe_jax.runs.folder import RunFolder
from abe_jax.training import step
from abe_jax.training.checkpoint import Checkpoints


def run(arguments: argparse.Namespace) -> None:
    """Tries and learns exponents, prints their table and the command for the best."""
    folder, ps = RunFolder(arguments.workdir), exponents(arguments.p)
    config = read_json(folder.config)
    require_gem(config)
    for p in ps:
        with_p(config, p)
    tested = sized(config, arguments.size)
    dataset.prepare(config.data)
    val = dataset.load(config.data, "val")
    held = Checkpoints(folder.best, 1)
    state, _ = held.restore(step.abstract(config))
    held.close()
    if arguments.learn is not None and arguments.learn < 0:
        raise UserError(f"--learn {arguments.learn}: steps are 0 (one pass) or more")
    names = [f"{p:g}" for p in ps]
    if arguments.learn is not None:
        train = dataset.load(config.data, "train")
        ps.append(round(learned(state, train, tested, arguments.learn, command.say), 4))
        names.append(f"{ps[-1]:g}, learned")
    replicated = step.replicate(state)
    own = _as_trained(replicated, val, config)
    own_size = config.evaluate.longest or config.data.size
    found = cross_validated(replicated, val, tested, ps)
    metrics = [f"recall@{config.evaluate.ks[0]}", "map@r"]
    rows = [
        [name, size, *(tables.figure(metric, values[metric]) for metric in metrics)]
        for name, size, values in [
            (f"{exponent(config, state):g}, as trained", own_size, own),
            *((name, arguments.size, values) for name, values in zip(names, found, strict=True)),
        ]
    ]
    command.say(tables.markdown(rows, ["p", "px", *map(tables.title, metrics)]))
    chosen = ps[best(found, config.evaluate.select)]
    command.say(
        f"best on validation classes: python -m abe_jax.evaluate --workdir {folder.path} "
        f"--size {arguments.size} --p {chosen:g}"
    )


def _as_trained(state: step.TrainState, val: dataset.Split, config: Config) -> dict[str, float]:
    embedded = embed(state, step.embed_step(config), val, config)
    return evaluation.of_split(embedded.vectors, embedded.instances, val, config.evaluate)


def exponents(text: str) -> list[float]:
    """The numbers of --p.

    Raises:
        UserError: not numbers with commas between them.
    """
    try:
        return list(dict.fromkeys(float(word) for word in text.split(",")))
    except ValueError:
        raise UserError(f"--p {text}: is written --p 1,2,3,4,5") from None


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command.Parser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument("--workdir", required=True, type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("--size", required=True, type=int, metavar="PX", help="side of the images")
    parser.add_argument("--p", default="1,2,3,4,5", metavar="P,P", help="exponents to try")
    parser.add_argument(
        "--learn", nargs="?", type=int, const=0, metavar="STEPS", help="0 or none: one pass"
    )
    arguments, overrides = parser.parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: a run is tested as its config.json says")
    run(arguments)
