"""What an index answered, in words."""

from abe_jax.index.answers import Answer
from abe_jax.index.snapshot import Snapshot


def distance_text(snapshot: Snapshot, distance: float) -> str:
    """A distance as text: squared in four digits, or a number of bits."""
    return f"{distance:.{0 if snapshot.spec.storage == 'binary' else 4}f}"


def no_match(snapshot: Snapshot, answer: Answer) -> str:
    """The words for a query without a match, or with no neighbour at all; '' where it has one."""
    others = [one for one in answer.neighbours if one.rank]
    if not others:
        said = "no match: " if answer.match is False else ""
        return f"{said}the index holds no other image"
    if answer.match is not False:
        return ""
    threshold = snapshot.threshold
    beyond = f", beyond {distance_text(snapshot, threshold.distance)}" if threshold else ""
    return f"no match: the nearest is at {distance_text(snapshot, others[0].distance)}{beyond}"
