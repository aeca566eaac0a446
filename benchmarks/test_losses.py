"""The pair losses with their gradient, by batch size and number of learners.

pytest benchmarks/test_losses.py
pytest benchmarks/test_losses.py --full
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from results import Table, number

from abe_jax import losses
from abe_jax.comparison import timing

LEARNERS = (1, 8)
BATCHES = {False: (64, 128, 256), True: (64, 256, 1024, 4096)}  # by --full
DIM = 64  # of each learner
Sizes = tuple[int, int]  # batch, learners


def random_vectors(batch: int, learners: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [b, m, d] about a common direction, and four rows of each label.

    Squared distances lie on both sides of the margin 1, so that every kind of term occurs.
    """
    rng = np.random.default_rng(batch + learners)
    x = rng.standard_normal((batch, learners, DIM)) + rng.standard_normal(DIM)
    x = (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)
    return x, rng.permutation(np.arange(batch, dtype=np.int32) // 4)


def contrastive(vectors: jax.Array, labels: jax.Array) -> jax.Array:
    """The training step's pair loss; its terms are all unordered pairs, for each learner."""
    return losses.contrastive(vectors, labels)


def divergence(vectors: jax.Array, labels: jax.Array) -> jax.Array:
    """The training step's divergence; its terms are all pairs of learners, for each image."""
    return losses.divergence(vectors)


def exact_contrastive(x: np.ndarray, labels: np.ndarray) -> float:
    """By definition, in float64 and from differences, one learner and one row at a time."""
    total = 0.0
    for own in np.swapaxes(x.astype(np.float64), 0, 1):
        positive, negative = [], []
        for i in range(len(own) - 1):
            difference = ((own[i] - own[i + 1 :]) ** 2).sum(-1)
            same = labels[i + 1 :] == labels[i]
            positive.append(difference[same])
            negative.append(np.maximum(1 - difference[~same], 0))
        inside = np.concatenate(negative)
        total += np.concatenate(positive).mean() + inside[inside > 0].mean()
    return total


def exact_divergence(x: np.ndarray, labels: np.ndarray) -> float:
    """By definition, in float64, one pair of learners at a time."""
    wide = np.swapaxes(x.astype(np.float64), 0, 1)
    terms = [
        np.maximum(1 - ((wide[p] - wide[q]) ** 2).sum(-1), 0)
        for p in range(len(wide))
        for q in range(p + 1, len(wide))
    ]
    return float(np.mean(terms))


def timed(loss: Callable[..., jax.Array], sizes: Sizes) -> Callable[[], tuple]:
    """The compiled loss and gradient of one size, its arguments on the device."""
    arguments = jax.device_put(random_vectors(*sizes))
    return partial(jax.jit(jax.value_and_grad(loss)), *arguments)


def check(call: Callable[[], tuple], exact: float) -> None:
    """The value is the definition's; the gradient is finite and not zero."""
    value, gradient = call()
    np.testing.assert_allclose(value, exact, rtol=1e-4)
    assert bool(jnp.isfinite(gradient).all() & (jnp.abs(gradient).max() > 0))


def add_table(
    tables: list[Table],
    name: str,
    seconds: dict[Sizes, float],
    terms: dict[Sizes, int],
    rounds: int,
) -> None:
    """A line for each size, its time beside that of the first."""
    base = next(iter(seconds.values()))
    rows = [
        (
            *map(str, sizes),
            number(1e6 * time),
            f"{time / base:.2f}",
            f"{terms[sizes]:,}",
            number(terms[sizes] / time / 1e6),
        )
        for sizes, time in seconds.items()
    ]
    note = (
        f"Medians over {rounds} interleaved rounds of loss and gradient, {DIM} dimensions a "
        "learner, float32, arguments on the device; the first row is the base of `time / first`."
    )
    head = ("batch", "M", "µs", "time / first", "pair terms", "million terms/s")
    tables.append(Table(title=name, note=note, head=head, rows=rows))


def test_contrastive(full: bool, rounds: int, tables: list[Table]) -> None:
    sizes = [(batch, m) for m in LEARNERS for batch in BATCHES[full]]
    calls = {size: timed(contrastive, size) for size in sizes}
    seconds = medians(calls, rounds)
    for size, call in calls.items():
        check(call, exact_contrastive(*random_vectors(*size)))
    terms = {(b, m): m * b * (b - 1) // 2 for b, m in sizes}
    add_table(tables, "Contrastive loss, all pairs", seconds, terms, rounds)


def test_divergence(full: bool, rounds: int, tables: list[Table]) -> None:
    sizes = [(batch, m) for m in (2, 4, 8) for batch in BATCHES[full]]
    calls = {size: timed(divergence, size) for size in sizes}
    seconds = medians(calls, rounds)
    for size, call in calls.items():
        check(call, exact_divergence(*random_vectors(*size)))
    terms = {(b, m): b * m * (m - 1) // 2 for b, m in sizes}
    add_table(tables, "Divergence loss", seconds, terms, rounds)


def medians(calls: dict[Sizes, Callable[[], tuple]], rounds: int) -> dict[Sizes, float]:
    """Seconds of each size, all sizes interleaved."""
    found = timing.medians({str(size): call for size, call in calls.items()}, rounds)
    assert min(found.values()) > 0
    return {size: found[str(size)] for size in calls}
