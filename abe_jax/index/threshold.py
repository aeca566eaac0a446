"""The greatest threshold that keeps a precision or a rate of false matches on labelled images."""

import numpy as np
from jaxtyping import Float, Int

from abe_jax.errors import ArgumentError, UserError
from abe_jax.index.calibration import LabelledNeighbours, rates
from abe_jax.index.manifest import Threshold


def at_precision(neighbours: LabelledNeighbours, precision: float) -> Threshold:
    """The greatest threshold whose precision is `precision` at least.

    Raises:
        ArgumentError: it is no share, cannot be reached, or there are fewer than
            1 / (1 - precision) matches, so many as one wrong among them is allowed for.
    """
    if not 0 < precision < 1:
        raise ArgumentError("precision", f"{precision:g} is not above 0 and below 1")
    least = int(np.ceil(round(1 / (1 - precision), 6)))
    candidates, within, hits = _counted(neighbours)
    enough = within >= least
    if not enough.any():
        raise ArgumentError(
            "precision",
            f"{precision:g} needs {least} labelled images with a neighbour at least; there are "
            f"{int(within.max(initial=0))}",
        )
    reached = np.flatnonzero(enough & (hits >= precision * within - 1e-9))
    if not len(reached):
        best = float((hits / within)[enough].max())
        raise ArgumentError(
            "precision",
            f"{precision:g} cannot be reached; the best over {least} matches and more is "
            f"{_rounded_down(best)}",
        )
    chosen = float(candidates[reached[-1]])
    return Threshold(chosen, f"precision {precision:g}", rates(neighbours, chosen))


def at_false_match_rate(neighbours: LabelledNeighbours, rate: float) -> Threshold:
    """The greatest threshold, among the distances of nearest neighbours, of that rate at most.

    Raises:
        ArgumentError: it is no share, 1 / rate images are not there, or it cannot be reached.
        UserError: no image has a neighbour.
    """
    if not 0 < rate < 1:
        raise ArgumentError("false_match_rate", f"{rate:g} is not above 0 and below 1")
    queries, least = len(neighbours.nearest), int(np.ceil(round(1 / rate, 6)))
    if queries < least:
        raise ArgumentError(
            "false_match_rate",
            f"{rate:g} needs {least} labelled images at least; there are {queries}",
        )
    candidates, _, _ = _counted(neighbours)
    if not len(candidates):
        raise UserError("no labelled image has a neighbour in the index")
    false = np.searchsorted(np.sort(neighbours.other), candidates, side="right")
    reached = np.flatnonzero(false <= rate * queries + 1e-9)
    if not len(reached):
        raise ArgumentError(
            "false_match_rate",
            f"{rate:g} cannot be reached; at the smallest distance of all it is "
            f"{np.ceil(1e4 * false[0] / queries) / 1e4:.4f}",
        )
    chosen = float(candidates[reached[-1]])
    return Threshold(chosen, f"false-match rate {rate:g}", rates(neighbours, chosen))


def _counted(
    neighbours: LabelledNeighbours,
) -> tuple[Float[np.ndarray, " c"], Int[np.ndarray, " c"], Int[np.ndarray, " c"]]:
    """The distances that a threshold may have; how many queries, and right ones, are within."""
    there = np.isfinite(neighbours.nearest)
    candidates, inverse = np.unique(neighbours.nearest[there], return_inverse=True)
    within = np.cumsum(np.bincount(inverse, minlength=len(candidates)))
    weights = neighbours.right[there].astype(np.int64)
    hits = np.cumsum(np.bincount(inverse, weights, len(candidates)).astype(np.int64))
    return candidates, within, hits


def _rounded_down(value: float) -> str:
    """A share in four digits, rounded down: a user who then asks for it gets it."""
    return f"{np.floor(value * 1e4) / 1e4:.4f}"
