"""Draws pictures of runs for a paper.

PNG (300 dpi) and PDF (text as text, fonts embedded) of where each learner looks (attention), the
cosine between learners (cosine), Recall@K over K (recall), a map of the embedding (map, by the
extra `figures`) and the best and worst classes (classes), with captions in figures.md. Several runs
share the pictures of cosine and recall. The same command writes the same bytes.

Of the folder of a comparison (--comparison) it draws Recall@1 of every row as bars, and writes the
table of ensembles and their individual learners as Markdown, CSV and LaTeX.
"""

import argparse
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax.choices import FIGURES
from abe_jax.cli import command, comparison_figures
from abe_jax.errors import UserError, nearest
from abe_jax.training.run_folder import RunFolder

if TYPE_CHECKING:
    from abe_jax.report.figures import EmbeddedRun


def draw(arguments: argparse.Namespace) -> None:
    """Draws what is asked for and writes the captions.

    Raises:
        UserError: errors of `asked` and `embedded`, the map is asked for by name without
            scikit-learn, or nothing could be drawn.
    """
    kinds, paths = asked(arguments.only), arguments.workdir
    for path in paths:
        if sum(path.resolve() == other.resolve() for other in paths) > 1:
            raise UserError(f"--workdir {path}: named twice")
        RunFolder(path).require()
    from abe_jax.config import build, read_json
    from abe_jax.report import figures
    from abe_jax.report.figures import captions, embedding_map

    if "map" in kinds and arguments.only:
        embedding_map.require()
    for path in paths:  # a mistake in the last is said before the first is embedded
        build.dataset(read_json(RunFolder(path).config).data).prepare()
    out = arguments.out or paths[0] / "figures"
    out.mkdir(parents=True, exist_ok=True)
    runs = {
        name: partial(embedded, path, name, arguments.split)
        for path, name in zip(paths, names(paths), strict=True)
    }
    written, skipped = [], []
    with command.options_named():
        for what, drawn in figures.draw(runs, kinds, arguments.channel):
            if isinstance(drawn, figures.Skipped):
                skipped.append(f"{what}: {drawn.reason}")
                command.say(f"no picture of {skipped[-1]}")
                continue
            for picture in drawn:
                figures.write(picture.figure, out, picture.name)
                written.append(figures.Caption(picture.name, picture.caption))
                command.say(f"{out / picture.name}.png and .pdf")
    if not written:
        raise UserError(f"nothing could be drawn ({'; '.join(skipped)})")
    captions.write(out, again(arguments), written, skipped)
    command.say(str(out / captions.NAME))


def asked(only: str | None) -> tuple[str, ...]:
    """The names of --only, all where it is not given.

    Raises:
        UserError: no such picture.
    """
    if only is None:
        return FIGURES
    kinds = tuple(dict.fromkeys(only.split(",")))
    for name in kinds:
        if name not in FIGURES:
            raise UserError(f"--only {name}: no such picture; {nearest(name, FIGURES)}")
    return kinds


def embedded(path: Path, name: str, split: str) -> "EmbeddedRun":
    """The run in a folder with one split embedded.

    Raises:
        UserError: no run, no checkpoint in it or a damaged one, no such data, or no image of it
            can be read.
    """
    from abe_jax.config import stored
    from abe_jax.report.figures import EmbeddedRun

    run = stored.run(path)
    return EmbeddedRun.of(
        name, run.embedder, run.step, run.dataset.split(split), run.tested.measures
    )


def names(paths: Sequence[Path]) -> list[str]:
    """What to call each run: its folder's name, with as much of the path as sets it apart."""
    parts = [path.resolve().parts[1:] for path in paths]
    chosen = []
    for own in parts:
        length = 1
        while length < len(own) and sum(p[-length:] == own[-length:] for p in parts) > 1:
            length += 1
        chosen.append("/".join(own[-length:]))
    return chosen


def again(arguments: argparse.Namespace) -> str:
    """The command that draws the same pictures."""
    words = ["--workdir", *map(str, arguments.workdir), "--split", arguments.split]
    words += ["--out", str(arguments.out)] if arguments.out else []
    words += ["--only", arguments.only] if arguments.only else []
    words += ["--channel", str(arguments.channel)] if arguments.channel is not None else []
    return f"python -m abe_jax.figures {shlex.join(words)}"


def parser() -> command.Parser:
    """The arguments."""
    made = command.Parser(
        "figures",
        __doc__,
        example="--workdir runs/abe runs/single --only cosine,recall\n"
        "--workdir runs/abe --only attention --channel 27\n"
        "--comparison runs/compare --split test",
    )
    source = made.add_mutually_exclusive_group(required=True)
    source.add_argument("--workdir", type=Path, nargs="+", metavar="RUN", help="runs' folders")
    source.add_argument("--comparison", type=Path, metavar="DIR", help="a folder of compare's")
    made.add_argument(
        "--split",
        choices=("val", "test"),
        default="test",
        help="the classes whose images are drawn, of validation or of the test; default: test",
    )
    made.add_argument("--out", type=Path, metavar="DIR", help="default: figures in the first RUN")
    made.add_argument("--only", metavar="NAME,NAME", help=f"some of {', '.join(FIGURES)}")
    made.add_argument(
        "--channel",
        type=int,
        metavar="N",
        help="attention: the channel of every learner's mask, from 1; default: each learner's own "
        "of the largest variance",
    )
    made.add_argument(
        "--ours",
        action="append",
        default=[],
        metavar="ROW",
        help="of --comparison: a row that is drawn as ours, once for each; default: all with "
        "attention",
    )
    return made


def main(argv: Sequence[str]) -> None:
    """The command line."""
    arguments, overrides = parser().parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: a run is drawn as its config.json says")
    if arguments.comparison:
        comparison_figures.draw(arguments)
    else:
        draw(arguments)
