"""Pictures and tables of a comparison's folder: what `figures --comparison` does."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abe_jax import files
from abe_jax.cli import command, several
from abe_jax.errors import UserError, require

if TYPE_CHECKING:
    from abe_jax.report.ensemble_table import Reached

TABLE = "learners"  # .md, .csv and .tex


def draw(arguments: argparse.Namespace) -> None:
    """Draws the bars and writes the table of ensembles and their learners.

    Raises:
        UserError: an option that runs alone have; errors of `reached.read` and `chosen`.
    """
    for option in ("only", "channel", *several.WHO):
        if command.is_given(arguments, option):
            raise UserError(f"--{option}: goes with --workdir, not with --comparison")
    from abe_jax.comparison import reached
    from abe_jax.report import ensemble_table, figures
    from abe_jax.report.figures import bars, captions

    folder: Path = arguments.comparison
    rows = reached.read(folder, arguments.split)
    drawn = bars.pictures(rows, chosen(rows, arguments.ours), arguments.split)
    if isinstance(drawn, figures.Skipped):
        raise UserError(f"nothing could be drawn ({drawn.reason})")
    out = arguments.out or folder / "figures"
    out.mkdir(parents=True, exist_ok=True)
    for picture in drawn:
        figures.write(picture.figure, out, picture.name)
        command.say(f"{out / picture.name}.png and .pdf")
    forms = {
        "md": ensemble_table.markdown(rows) + "\n",
        "csv": ensemble_table.as_csv(rows),
        "tex": ensemble_table.latex(rows),
    }
    for ending, text in forms.items():
        files.write(out / f"{TABLE}.{ending}", text)
    command.say(f"{out / TABLE}.md, .csv and .tex")
    told = [figures.Caption(picture.name, picture.caption) for picture in drawn]
    captions.write(out, again(arguments), told, [])
    command.say(str(out / captions.NAME))


def chosen(rows: "Sequence[Reached]", ours: Sequence[str]) -> set[str]:
    """The rows that are ours: those named, or where none is, all with attention.

    Raises:
        UserError: no row has that name.
    """
    if not ours:
        return {row.name for row in rows if row.kind == "attention"}
    for name in ours:
        require("--ours", name, [row.name for row in rows])
    return set(ours)


def again(arguments: argparse.Namespace) -> str:
    """The command that draws the same."""
    words = ["--comparison", str(arguments.comparison), "--split", arguments.split]
    words += [word for name in arguments.ours for word in ("--ours", name)]
    words += ["--out", str(arguments.out)] if arguments.out else []
    return f"python -m abe_jax.figures {shlex.join(words)}"
