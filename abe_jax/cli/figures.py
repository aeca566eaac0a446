"""Draws pictures of runs for a paper.

PNG (300 dpi) and PDF (text as text, fonts embedded) of where each learner looks (attention), the
cosine between learners (cosine), Recall@K over K (recall), a map of the embedding (map, by the
extra `figures`) and the best and worst classes (classes), with captions in figures.md. Several runs
share the pictures of cosine and recall. The same command writes the same bytes.

Of the folder of a comparison (--comparison) it draws Recall@1 of every row as bars, and writes the
table of ensembles and their individual learners as Markdown, CSV and LaTeX.

On several hosts of a job (--hosts) each embeds its share of the images, and the first one draws.
"""

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax.choices import FIGURES
from abe_jax.cli import command, comparison_figures, evaluation_hosts, several
from abe_jax.errors import UserError, nearest
from abe_jax.training.run_folder import RunFolder

if TYPE_CHECKING:
    from abe_jax.report.figures import Caption, EmbeddedRun
    from abe_jax.report.figures.embedded_run import Drawn


def draw(arguments: argparse.Namespace) -> None:
    """Draws what is asked for and writes the captions; of several hosts the first one.

    Raises:
        UserError: errors of `asked`, `require` and `embedded`, hosts that differ, the map is asked
            for by name without scikit-learn, or nothing could be drawn.
    """
    kinds, paths = asked(arguments.only), arguments.workdir
    if not several.asks_for_hosts(arguments):  # several must refuse it together
        require(paths)
    several.join_hosts(arguments)
    evaluation_hosts.compare_request(arguments)
    from abe_jax import hosts
    from abe_jax.report import figures
    from abe_jax.report.figures import embedding_map

    with hosts.together():
        require(paths)
        if hosts.is_first() and "map" in kinds and arguments.only:
            embedding_map.require()
    prepare(paths)  # a mistake in the last is said before the first is embedded
    written = Written(arguments.out or paths[0] / "figures")
    if hosts.is_first():
        written.out.mkdir(parents=True, exist_ok=True)
    runs = {
        name: partial(embedded, path, name, arguments.split)
        for path, name in zip(paths, names(paths), strict=True)
    }
    with command.options_named():
        figures.draw(runs, kinds, written.take, arguments.channel)
    with hosts.together():  # the others stay until all is written, or end with the first
        if hosts.is_first():
            written.close(again(arguments))


@dataclasses.dataclass
class Written:
    """What the first host has drawn so far, and the folder where it lies."""

    out: Path
    captions: "list[Caption]" = dataclasses.field(default_factory=list)
    skipped: list[str] = dataclasses.field(default_factory=list)

    def take(self, what: str, drawn: "Drawn") -> None:
        """Writes pictures, or says why there are none."""
        from abe_jax.report import figures

        if isinstance(drawn, figures.Skipped):
            self.skipped.append(f"{what}: {drawn.reason}")
            command.say(f"no picture of {self.skipped[-1]}")
            return
        for picture in drawn:
            figures.write(picture.figure, self.out, picture.name)
            self.captions.append(figures.Caption(picture.name, picture.caption))
            command.say(f"{self.out / picture.name}.png and .pdf")

    def close(self, command_line: str) -> None:
        """Writes the captions.

        Raises:
            UserError: nothing could be drawn.
        """
        from abe_jax.report.figures import captions

        if not self.captions:
            raise UserError(f"nothing could be drawn ({'; '.join(self.skipped)})")
        captions.write(self.out, command_line, self.captions, self.skipped)
        command.say(str(self.out / captions.NAME))


def require(paths: Sequence[Path]) -> None:
    """Refuses folders that hold no run, and one that is named twice.

    Raises:
        UserError: the first such folder.
    """
    for path in paths:
        if sum(path.resolve() == other.resolve() for other in paths) > 1:
            raise UserError(f"--workdir {path}: named twice")
        RunFolder(path).require()


def prepare(paths: Sequence[Path]) -> None:
    """Prepares the images of every run; all hosts call it.

    Raises:
        UserError: no such data, or hosts on which it differs.
    """
    from abe_jax import hosts
    from abe_jax.config import build, read_json

    with hosts.together():
        configs = [read_json(RunFolder(path).config) for path in paths]
        for config in configs:
            build.dataset(config.data).prepare()
    for config in configs:
        evaluation_hosts.compare_files(config)


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
    """The run in a folder with one split embedded; all hosts call it.

    Raises:
        UserError: no run, no checkpoint in it or a damaged one, no such data, none of its images
            can be read, or hosts that see another checkpoint or other images.
    """
    from abe_jax.config import stored
    from abe_jax.report.figures import EmbeddedRun

    run = stored.run(path)
    evaluation_hosts.compare_run(run)
    (images,) = evaluation_hosts.compare_images([run.dataset], split)
    return EmbeddedRun.of(name, run.embedder, run.step, images, run.tested.measures)


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
    several.add_hosts(made)
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
