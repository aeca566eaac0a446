"""What a run is tested on, and what came of it."""

import dataclasses
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax

from abe_jax.data import Dataset, Split
from abe_jax.errors import UserError
from abe_jax.evaluation import Embedded, Measures, Results, protocols
from abe_jax.evaluation.captures import CaptureRule


class Tested(NamedTuple):
    """Images that a run is tested on, and what is measured of them."""

    dataset: Dataset
    measures: Measures
    unreadable_share: float = 0.01  # a greater share of unreadable images is an error
    # Makes the rule by which near-duplicates are left out as well; None: they are not
    near_duplicates: Callable[[], CaptureRule] | None = None
    label: str = ""  # such as "of holidays"; empty: the run's own images


class Evaluation(NamedTuple):
    """A measured split: its name in evaluation.json, the numbers, and what they are of."""

    name: str
    results: Results
    split: Split
    embedded: Embedded


def within_reach(measures: Measures, images: Split) -> Measures:
    """The measures without the K that a split's gallery is too small for; 1 is always left.

    Raises:
        UserError: one image alone, or the errors of `protocols.rows`.
    """
    neighbours = protocols.rows(len(images.labels), images.gallery).neighbours
    if not neighbours:
        raise UserError("there is one image alone, and no other to find: nothing can be measured")
    ks = tuple(k for k in measures.ks if k <= neighbours) or (1,)
    return dataclasses.replace(measures, ks=ks)


def environment(run: Path) -> dict[str, str]:
    """What a page says of the machine and of the command that measures a run."""
    device = jax.devices()[0]
    return {
        "command": f"python -m abe_jax.evaluate --workdir {run}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "flax", "optax", "numpy")},
        "devices": f"{jax.device_count()} x {device.device_kind}",
    }
