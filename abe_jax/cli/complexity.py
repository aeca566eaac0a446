"""Counts the parameters and multiply-adds of a config's model, part by part.

What counts as a multiply-add is said in abe_jax/models/counting.py.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from abe_jax.cli import command
from abe_jax.data.images.sides import both

if TYPE_CHECKING:
    from abe_jax.config import Config
    from abe_jax.models.counting import PartCount


def text(config: "Config", counts: "Sequence[PartCount]") -> str:
    """The rows as an aligned table under a line that names the model."""
    model, data = config.model, config.data
    sizes = " + ".join(map(str, model.dims)) or f"{model.learners} x {model.dim // model.learners}"
    height, width = both(data.size)
    title = (
        f"{model.kind}, {sizes} dimensions, {model.backbone}, {height} x {width} x {data.channels}"
    )
    head = ("part", "", "parameters", "multiply-adds")
    cells = [(r.name, r.detail, f"{r.parameters:,}", f"{r.multiply_adds:,}") for r in counts]
    widths = [max(len(row[i]) for row in [head, *cells]) for i in range(4)]
    lines = [_line(row, widths) for row in [head, *cells]]
    rule = "-" * len(lines[0])
    return "\n".join([title, "", lines[0], rule, *lines[1:-1], rule, lines[-1]])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [cell.ljust(w) for cell, w in zip(cells[:2], widths[:2], strict=True)]
    aligned += [cell.rjust(w) for cell, w in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join(aligned)


def parser() -> command.Parser:
    """The arguments."""
    made = command.with_config("complexity", __doc__, example="--config configs/cars196_abe.py")
    made.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return made


def main(argv: Sequence[str]) -> None:
    """Prints the table, or JSON with --json."""
    arguments, overrides = parser().parse(argv)
    config = command.configuration(arguments.config, overrides)
    from abe_jax.config import build
    from abe_jax.models.counting import parts

    counts = parts(build.model(config.model), config.data.size, config.data.channels)
    if arguments.json:
        *others, total = map(dataclasses.asdict, counts)
        print(json.dumps({"parts": others, "total": total}, indent=2))
    else:
        print(text(config, counts))
