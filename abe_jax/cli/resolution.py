"""Chooses GeM's exponent p for another test resolution, on validation classes.

A network with generalised-mean pooling is often at its best on larger images than it was trained
with, and with a greater p (Berman et al., arXiv 1902.05509). Every p of --p is tried on images of
--size px; with --learn p is learned too, by the run's classifier on training images, all else
frozen. The run is left as it is: the last line is the command that evaluates the best p. The test
classes are not looked at.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax.cli import command
from abe_jax.data.images import sides
from abe_jax.errors import UserError
from abe_jax.training.run_folder import RunFolder

if TYPE_CHECKING:
    from abe_jax.data.images.sides import Sides
    from abe_jax.evaluation.network import Network
    from abe_jax.runs.run import Run


def run(workdir: Path, size: "Sides", ps: list[float], learn: int | None) -> None:
    """Tries and learns exponents, prints their table and the command for the best.

    Args:
        workdir: the run's folder.
        size: px of the images: of rectangles the longer side, or height and width.
        ps: exponents to try.
        learn: steps for which p is learned too; 0: one pass; None: it is not learned.
    """
    from abe_jax import evaluation
    from abe_jax.config import stored
    from abe_jax.evaluation.resolution import best, cross_validated, exponent
    from abe_jax.report import tables

    trained = stored.run(workdir)
    with command.options_named():
        own_p = exponent(trained.embedder.network.model, trained.embedder.state)
        for p in ps:
            trained.at(p=p)
        tested = trained.at(size)
    names = [f"{p:g}" for p in ps]
    if learn is not None:
        ps = [*ps, _learned(tested, own_p, learn)]
        names.append(f"{ps[-1]:g}, learned")
    val, measures = trained.dataset.split("val"), trained.tested.measures
    as_trained = evaluation.ensemble_metrics(trained.embedder.embed(val), val, measures)
    tried = cross_validated(tested.embedder.network, trained.embedder.replicated, val, measures, ps)
    own_size, seen = _px(trained.embedder.network), _px(tested.embedder.network)
    metrics = ["map@r", f"recall@{measures.ks[0]}"]
    rows = [
        [name, px, *(tables.printed(metric, values[metric]) for metric in metrics)]
        for name, px, values in [
            (f"{own_p:g}, as trained", own_size, as_trained),
            *((name, seen, values) for name, values in zip(names, tried, strict=True)),
        ]
    ]
    command.say(tables.markdown(rows, ["p", "px", *map(tables.title, metrics)]))
    chosen = ps[best(tried, trained.select)]
    command.say(
        f"best on validation classes: python -m abe_jax.evaluate --workdir {trained.folder.path} "
        f"--size {sides.numbers(size).replace(' ', '')} --p {chosen:g}"
    )


def _px(network: "Network") -> str:
    """The sides of the images that a network is tested on."""
    return sides.numbers(network.longest or network.preprocessing.size)


def _learned(tested: "Run", start: float, steps: int) -> float:
    """The exponent that the run's classifier learns on training images of the test's size."""
    from abe_jax.runs.exponent import ExponentLearning

    recipe = tested.recipe
    learning = ExponentLearning(
        network=tested.embedder.network, objective=recipe.objective, seed=recipe.seed
    )
    train, state = tested.dataset.split("train"), tested.embedder.state
    return round(learning.exponent(state, train, start, steps, command.say), 4)


def exponents(text: str) -> list[float]:
    """The numbers of --p.

    Raises:
        UserError: not numbers with commas between them.
    """
    try:
        return list(dict.fromkeys(float(word) for word in text.split(",")))
    except ValueError:
        raise UserError(f"--p {text}: expected --p 1,2,3") from None


def parser() -> command.Parser:
    """The arguments."""
    made = command.Parser(
        "resolution", __doc__, example="--workdir runs/multigrain --size 448 --p 1,2,3,4,5"
    )
    made.add_argument("--workdir", required=True, type=Path, metavar="RUN", help="a run's folder")
    made.add_argument(
        "--size",
        required=True,
        type=command.size,
        metavar="PX",
        help="side of the images, of rectangles the longer; or HEIGHTxWIDTH",
    )
    made.add_argument(
        "--p", default="1,2,3,4,5", metavar="P,P", help="exponents to try; default: 1,2,3,4,5"
    )
    made.add_argument(
        "--learn",
        nargs="?",
        type=int,
        const=0,
        metavar="STEPS",
        help="learn p too, in so many steps; without a number, or 0: in one pass",
    )
    return made


def main(argv: Sequence[str]) -> None:
    """The command line."""
    arguments, overrides = parser().parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: a run is tested as its config.json says")
    ps = exponents(arguments.p)
    if arguments.learn is not None and arguments.learn < 0:
        raise UserError(f"--learn {arguments.learn}: steps are 0 (one pass) or more")
    RunFolder(arguments.workdir).require()
    run(arguments.workdir, arguments.size, ps, arguments.learn)
