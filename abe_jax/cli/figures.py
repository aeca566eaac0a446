"""Draws pictures of runs for a paper: python -m abe_jax.figures --workdir RUN [RUN ...].

PNG (300 dpi) and PDF (text as text, fonts embedded) of where each learner looks (attention), the
cosine between learners (cosine), Recall@K over K (recall), a map of the embedding (map, by the
extra `figures`) and the best and worst classes (classes), with captions in figures.md. Several runs
share the pictures of cosine and recall. The same command writes the same bytes.
"""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from abe_jax.cli import command
from abe_jax.config import read_json
from abe_jax.data import dataset
from abe_jax.errors import UserError, nearest
from abe_jax.report import paper
from abe_jax.report.paper import captions, embedding_map
from abe_jax.runs.folder import RunFolder


def run(arguments: argparse.Namespace) -> None:
    """Draws what is asked for and writes the captions.

    Raises:
        UserError: errors of `wanted` and `paper.drawn`, or nothing could be drawn.
    """
    asked, paths = wanted(arguments.only), arguments.workdir
    for path in paths:
        if sum(path.resolve() == other.resolve() for other in paths) > 1:
            raise UserError(f"--workdir {path}: named twice")
    for path in paths:  # a mistake in the last is said before the first is embedded
        dataset.prepare(read_json(RunFolder(path).config).data)
    out = arguments.out or paths[0] / "figures"
    out.mkdir(parents=True, exist_ok=True)
    found, skipped = [], []
    for what, drawn in paper.drawn(paths, arguments.split, asked):
        if isinstance(drawn, paper.Skipped):
            skipped.append(f"{what}: {drawn.reason}")
            command.say(f"no picture of {skipped[-1]}")
            continue
        for picture in drawn:
            paper.write(picture.figure, out, picture.name)
            found.append(paper.Caption(picture.name, picture.caption))
            command.say(f"{out / picture.name}.png and .pdf")
    if not found:
        raise UserError(f"nothing could be drawn ({'; '.join(skipped)})")
    captions.write(out, again(arguments), found, skipped)
    command.say(str(out / captions.NAME))


def wanted(only: str | None) -> tuple[str, ...]:
    """The names of --only, all where it is not given.

    Raises:
        UserError: no such picture, or the map is asked for by name without scikit-learn.
    """
    if only is None:
        return paper.NAMES
    asked = tuple(dict.fromkeys(only.split(",")))
    for name in asked:
        if name not in paper.NAMES:
            raise UserError(f"--only {name}: no such picture; {nearest(name, paper.NAMES)}")
    if "map" in asked:
        embedding_map.require()
    return asked


def again(arguments: argparse.Namespace) -> str:
    """The command that draws the same pictures."""
    words = ["--workdir", *map(str, arguments.workdir), "--split", arguments.split]
    words += ["--out", str(arguments.out)] if arguments.out else []
    words += ["--only", arguments.only] if arguments.only else []
    return f"python -m abe_jax.figures {shlex.join(words)}"


def main(argv: Sequence[str]) -> None:
    """The command line."""
    parser = command.Parser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--workdir", required=True, type=Path, nargs="+", metavar="RUN", help="runs' folders"
    )
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: figures in the first RUN")
    parser.add_argument("--only", metavar="NAME,NAME", help=f"some of {', '.join(paper.NAMES)}")
    arguments, overrides = parser.parse(argv)
    if overrides:
        raise UserError(f"--config.{overrides[0]}: a run is drawn as its config.json says")
    run(arguments)
