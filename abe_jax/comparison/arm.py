"""What is compared, as a command line names it."""

import dataclasses
from pathlib import Path
from typing import NamedTuple


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One row of the comparison."""

    name: str
    overrides: tuple[str, ...]
    file: Path | None = None  # its config; None: the comparison's


class Tuning(NamedTuple):
    """A name whose best value each arm finds for itself, on the validation classes."""

    name: str
    values: tuple[str, ...]
