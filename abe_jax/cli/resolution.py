"""Chooses GeM's exponent p for another test resolution, on images that training has not seen.

A network with generalised-mean pooling is often at its best on larger images than it was trained
with, and with a greater p (Berman et al., arXiv 1902.05509). Every p of --p is tried on images of
--size px, or with --longest on whole ones; with --learn p is learned too, by the run's classifier
on training images, all else frozen. The run is left as it is: the last line is the command that
evaluates the best p. The test classes are not looked at.

The best is by retrieval among validation classes, by the run's own metric (evaluate.select), or
with --by top1, as published, by how many images that were held out of the training classes
(data.held_out; of imagenet its validation images) the run's classifier names right.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax.cli import command
from abe_jax.data.images import sides
from abe_jax.errors import UserError, require
from abe_jax.training.run_folder import RunFolder

if TYPE_CHECKING:
    from abe_jax.data.images.sides import Sides
    from abe_jax.evaluation.network import Network
    from abe_jax.runs.run import Run

    Measured = tuple[dict[str, float], list[dict[str, float]]]

BY = ("retrieval", "top1")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks for, `learn` being steps (0: one pass) or None."""

    workdir: Path
    size: "Sides | None"
    longest: int | None
    ps: list[float]
    learn: int | None
    by: str

    @property
    def px(self) -> str:
        """The sides of the images, as the last command has them."""
        asked = self.longest if self.size is None else self.size
        return "" if asked is None else sides.numbers(asked).replace(" ", "")


def run(asked: Asked) -> None:
    """Tries and learns exponents, prints their table and the command for the best."""
    from abe_jax.config import stored
    from abe_jax.evaluation.resolution import best, exponent
    from abe_jax.report import tables

    trained, ps = stored.run(asked.workdir), asked.ps
    with command.options_named():
        own_p = exponent(trained.embedder.network.model, trained.embedder.state)
        for p in ps:
            trained.at(p=p)
        tested = trained.at(asked.size, longest=asked.longest)
    if asked.by == "top1":
        _require_classifier(trained)
    names = [f"{p:g}" for p in ps]
    if asked.learn is not None:
        ps = [*ps, _learned(tested, own_p, asked.learn)]
        names.append(f"{ps[-1]:g}, learned")
    measure = _top_1 if asked.by == "top1" else _retrieval
    as_trained, tried = measure(trained, tested, own_p, ps)
    own_size, seen = _px(trained.embedder.network), _px(tested.embedder.network)
    metrics = ["top-1"] if asked.by == "top1" else ["map@r", _first_recall(trained)]
    rows = [
        [name, px, *(tables.printed(metric, values[metric]) for metric in metrics)]
        for name, px, values in [
            (f"{own_p:g}, as trained", own_size, as_trained),
            *((name, seen, values) for name, values in zip(names, tried, strict=True)),
        ]
    ]
    command.say(tables.markdown(rows, ["p", "px", *map(tables.title, metrics)]))
    chosen = ps[best(tried, "top-1" if asked.by == "top1" else trained.select)]
    on = "held-out images of training classes" if asked.by == "top1" else "validation classes"
    command.say(
        f"best on {on}: python -m abe_jax.evaluate --workdir {trained.folder.path} "
        f"--{'size' if asked.longest is None else 'longest'} {asked.px} --p {chosen:g}"
    )


def _first_recall(trained: "Run") -> str:
    return f"recall@{trained.tested.measures.ks[0]}"


def _retrieval(trained: "Run", tested: "Run", own_p: float, ps: list[float]) -> "Measured":
    """The metrics of the run as it is, and of each p, on validation classes."""
    from abe_jax import evaluation
    from abe_jax.evaluation.resolution import cross_validated

    val, measures = trained.dataset.split("val"), trained.tested.measures
    as_trained = evaluation.ensemble_metrics(trained.embedder.embed(val), val, measures)
    state = trained.embedder.replicated
    return as_trained, cross_validated(tested.embedder.network, state, val, measures, ps)


def _top_1(trained: "Run", tested: "Run", own_p: float, ps: list[float]) -> "Measured":
    """The same of held-out images of the training classes, by the run's classifier."""
    from abe_jax.evaluation.resolution import top_1

    held_out, state = trained.held_out(), trained.embedder.replicated
    assert held_out is not None  # `_require_classifier` looked
    block = trained.tested.measures.block
    (as_trained,) = top_1(trained.embedder.network, state, held_out, [own_p], block)
    return as_trained, top_1(tested.embedder.network, state, held_out, ps, block)


def _require_classifier(trained: "Run") -> None:
    if trained.held_out() is None:
        raise UserError(
            "--by top1: the run has no classifier, or no images of its training classes were held "
            "out (data.held_out) for it to name; leave --by out to choose by retrieval"
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
    seen = made.add_mutually_exclusive_group(required=True)
    seen.add_argument(
        "--size",
        type=command.size,
        metavar="PX",
        help="side of the images, of rectangles the longer; or HEIGHTxWIDTH",
    )
    command.add_longest(seen)
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
    made.add_argument(
        "--by",
        default="retrieval",
        metavar="WHAT",
        help=f"what the best p is chosen by: {' or '.join(BY)}; default: retrieval",
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
    require("--by", arguments.by, BY)
    RunFolder(arguments.workdir).require()
    fields = {field.name for field in dataclasses.fields(Asked)} - {"ps"}
    run(Asked(ps=ps, **{name: getattr(arguments, name) for name in fields}))
