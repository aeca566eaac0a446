"""What a comparison left in its folder, read again without its command."""

import re
from pathlib import Path

from abe_jax.errors import UserError
from abe_jax.report.ensemble_table import Reached
from abe_jax.training.run_folder import RunFolder

RUN = re.compile(r"(?P<arm>.+) seed (?P<seed>\d+)", re.DOTALL)  # as Comparison.training names it
TABLE = "table.md"


def read(folder: Path, split: str) -> list[Reached]:
    """The rows of the comparison in a folder, with what each of its seeds reached on a split.

    They are those of its table and in its order, where that was written; else all that there are,
    by name. What was only tuned, or not yet measured on the split, is left out.

    Raises:
        UserError: no folder, or nothing measured on the split in it.
    """
    found: dict[str, dict[int, RunFolder]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        named = RUN.fullmatch(path.name)
        if named and split in RunFolder(path).evaluations():
            found.setdefault(named["arm"], {})[int(named["seed"])] = RunFolder(path)
    if not found:
        raise UserError(
            f"{folder}: no run of a comparison that was measured on the {split} split; give the "
            "--workdir of compare, or another --split"
        )
    order = [name for name in _tabled(folder / TABLE) if name.replace("/", "_") in found]
    return [_reached(name, found[name.replace("/", "_")], split) for name in order or found]


def _reached(name: str, seeds: dict[int, RunFolder], split: str) -> Reached:
    runs = [seeds[seed] for seed in sorted(seeds)]
    try:
        kind = str(runs[0].described()["model"]["kind"])
    except (OSError, ValueError, LookupError, TypeError):  # no config.json, or a damaged one
        kind = ""
    return Reached(name, [run.evaluations()[split] for run in runs], kind)


def _tabled(path: Path) -> list[str]:
    """The arms of a table that `table.write` wrote, in its order."""
    if not path.is_file():
        return []
    rows = [re.split(r"(?<!\\)\|", line) for line in path.read_text().splitlines()[2:]]
    return [row[1].strip().replace("\\|", "|") for row in rows if len(row) > 2]
