"""Among how many negatives the two numerics of distance-weighted sampling draw.

pytest benchmarks/test_negatives.py
"""

import jax.numpy as jnp
import numpy as np
from results import Table, number

from abe_jax.losses.distance_weighted import NUMERICS, effective_negatives, logits

SIZES = (64, 128, 512, 2048)
ROWS, EACH = 504, 3  # as configs/multigrain_imagenet.py has them
LABELS = np.arange(ROWS, dtype=np.int32) // EACH
# How much of the vectors points one way: random vectors on the whole sphere, and classes round
# centres of which a part is common to all, as it is of networks' vectors.
COMMON = {"even": None, "clusters, a little in common": 0.5, "clusters, much in common": 1.0}


def vectors(common: float | None, size: int) -> np.ndarray:
    """Unit vectors [b, 1, d]."""
    rng = np.random.default_rng(size)
    x = rng.standard_normal((ROWS, size))
    if common is not None:
        centres = common * rng.standard_normal(size) + rng.standard_normal((ROWS // EACH, size))
        x = np.repeat(centres, EACH, axis=0) + 0.5 * x
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)[:, None]


def row(name: str, common: float | None, size: int) -> tuple[str, ...]:
    """One line of the table."""
    x = vectors(common, size)
    difference = np.sqrt(np.maximum(2 - 2 * x[:, 0] @ x[:, 0].T, 0))[LABELS[:, None] != LABELS]
    cells = [name, f"{size:,}", f"{difference.mean():.2f}", f"{difference.min():.2f}"]
    for numerics in NUMERICS:
        found = np.asarray(
            effective_negatives(logits(jnp.asarray(x), jnp.asarray(LABELS), numerics=numerics))
        )
        assert ((found >= 1 - 1e-5) & (found <= 1.001 * (ROWS - EACH))).all()
        evenly = np.mean(found > 0.999 * (ROWS - EACH))
        cells += [number(float(np.median(found))), f"{100 * evenly:.0f} %"]
    return tuple(cells)


def test_effective_negatives(tables: list[Table]) -> None:
    rows = [row(name, common, size) for name, common in COMMON.items() for size in SIZES]
    head = ["vectors", "C", "mean distance", "least"]
    for numerics in NUMERICS:
        head += [f"{numerics}: negatives", "rows drawn evenly"]
    note = (
        f"{ROWS} unit vectors of C dimensions, {EACH} of each class, {ROWS - EACH} negatives to "
        "each. Negatives: the median over rows of exp of the entropy of the draw. Rows drawn "
        "evenly: those in which every negative has the same chance."
    )
    tables.append(Table(title="Effective negatives", note=note, head=head, rows=rows))
