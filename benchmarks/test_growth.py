"""Cost as the work grows: the batch, the learners, an index's gallery, the classes of a loss.

pytest benchmarks/test_growth.py                              the first sizes, in a minute
pytest benchmarks/test_growth.py --budget 120 --rounds 5 --figures FOLDER     in half an hour
pytest benchmarks/test_growth.py --budget 3600 ...            all sizes there are; 20 GB of disk

--budget: seconds for one size of one series; a series ends before the size that would take more.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from growth import Case, Point, Series, compiled, figure, measured, table, write
from results import Table
from test_index import unit
from test_losses import random_vectors
from training import configuration, random_batch, random_state, train_step

from abe_jax import index, losses
from abe_jax.comparison import timing
from abe_jax.index import ImageRow, VectorSpec

MEMORY = "MiB of sums and results"
DIM = 64  # of each learner, and of a class's proxy
ROWS = 64  # of the batch where another size grows
BATCHES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
LEARNERS = (1, 2, 4, 8, 16)
GALLERIES = (10_000, 100_000, 1_000_000, 10_000_000)
CLASSES = (100, 1000, 10_000, 100_000, 1_000_000)
QUERIES, K, WIDTH, PIECE = 100, 10, 128, 10_000  # of an index; PIECE rows are added at once

OF_PAIRS: dict[str, Callable[..., jax.Array]] = {
    "contrastive": losses.contrastive,
    "margin, all pairs": losses.margin_loss,
    "triplet, batch hard": partial(losses.triplet, mining="batch_hard"),
    "triplet, semi-hard": partial(losses.triplet, mining="semi_hard"),
    "lifted structure": losses.lifted_structure,
    "hard share": partial(losses.hard_share, shares=(0.5,)),
    "n-pairs": losses.n_pairs,
}


class Run:
    """The options, and where tables and figures go."""

    def __init__(self, request: pytest.FixtureRequest, rounds: int, tables: list[Table]) -> None:
        option = request.config.getoption
        self.rounds, self.tables = max(1, rounds // 4), tables
        self.budget, self.figures = float(option("budget") or 0), option("figures")

    def report(
        self, series: list[Series], title: str, what: str, note: str, *, memory: str = MEMORY
    ) -> dict[str, list[Point]]:
        """Measures all series, and makes their table and their figure, named by what grows."""
        found = {own.name: measured(own, self.rounds, self.budget) for own in series}
        said = f"Medians over {self.rounds} rounds, one size after the other. {note}"
        most = {own.name: own.sizes[-1] for own in series}
        self.tables.append(table(title, what, found, said, most))
        write(figure(what, found, memory), self.figures, what)
        return found


@pytest.fixture
def run(request: pytest.FixtureRequest, rounds: int, tables: list[Table]) -> Run:
    return Run(request, rounds, tables)


def with_gradient(loss: Callable[..., jax.Array], size: int) -> Any:
    """A loss of a batch of one learner's vectors, and its gradient."""
    vectors, labels = random_vectors(size, 1)
    return compiled(jax.value_and_grad(loss), vectors, labels)


def test_batch(run: Run) -> None:
    series = [
        Series(name=name, sizes=BATCHES, made=partial(with_gradient, loss), order=3.0)
        for name, loss in OF_PAIRS.items()
    ]
    note = (
        f"Loss and gradient, {DIM} dimensions, float32, four rows of each label. MiB: what the "
        "compiled program holds beside its arguments."
    )
    found = run.report(series, "Growth: losses over pairs, by batch", "batch", note)
    for points in found.values():
        assert all(point.in_use for point in points) and points[0].median > 0


def of_learners(learners: int) -> Any:
    """ABE's two losses of a batch, and their gradient."""
    vectors, labels = random_vectors(ROWS, learners)

    def loss(x: jax.Array, y: jax.Array) -> jax.Array:
        return losses.contrastive(x, y) + losses.divergence(x)

    return compiled(jax.value_and_grad(loss), vectors, labels)


@contextlib.contextmanager
def a_step(kind: str, learners: int) -> Iterator[Case]:
    """The training step of a small system."""
    made = configuration(kind, learners, full=False, compute="float32")
    yield Case(timing.chained(train_step(made), random_state(made), random_batch(made)))


def test_learners(run: Run) -> None:
    series = [Series(name="contrastive + divergence", sizes=LEARNERS, made=of_learners, order=2.0)]
    series += [
        Series(name=f"step, {kind}", sizes=LEARNERS, made=partial(a_step, kind))
        for kind in ("attention", "heads")
    ]
    note = (
        f"Losses: batch {ROWS}, {DIM} dimensions a learner, with their gradient. Steps: convnet, "
        "32 px, batch 32, 64 dimensions in all, float32."
    )
    run.report(series, "Growth: learners", "learners", note)


@contextlib.contextmanager
def a_search(folder: Path, storage: str, rows: int) -> Iterator[Case]:
    """A search in an index on disk, which is gone afterwards."""
    rng = np.random.default_rng(0)
    try:
        index.create(folder, VectorSpec("random", 1, WIDTH, storage))
        with index.transaction(folder, "random") as new:
            for start in range(0, rows, PIECE):
                named = [ImageRow(f"images/{start + i:08d}.jpg") for i in range(PIECE)]
                new.append(unit(PIECE, WIDTH, rng), named)
        snapshot = index.read(folder)
        in_use = sum(segment.vectors.bytes for segment in snapshot.manifest.segments)
        queries = unit(QUERIES, WIDTH, np.random.default_rng(1))
        yield Case(partial(index.nearest_rows, snapshot, queries, K), in_use)
    finally:
        shutil.rmtree(folder)


def test_gallery(run: Run, tmp_path: Path) -> None:
    series = [
        Series(name=storage, sizes=GALLERIES, made=partial(a_search, tmp_path / storage, storage))
        for storage in index.STORAGES
    ]
    note = (
        f"{QUERIES} queries, {WIDTH} dimensions, k = {K}, from the memory map, its pages in the "
        "system's cache where they fit. MiB: the vectors' files."
    )
    title, memory = "Growth: an index's gallery", "MiB of vectors' files"
    run.report(series, title, "gallery", note, memory=memory)


def of_classes(loss: Callable[..., jax.Array], classes: int) -> Any:
    """A loss over classes, with its gradient by vectors and by proxies."""
    rng = np.random.default_rng(classes)
    vectors = rng.standard_normal((ROWS, DIM), np.float32)
    proxies = rng.standard_normal((classes, DIM), np.float32)
    labels = rng.integers(0, classes, ROWS).astype(np.int32)
    both = jax.value_and_grad(loss, argnums=(0, 1))
    return compiled(both, vectors, proxies, labels, jax.random.key(0))


def over_classes(
    vectors: jax.Array,
    proxies: jax.Array,
    labels: jax.Array,
    key: jax.Array,
    loss: Callable[..., jax.Array] = losses.norm_softmax,
    subsample: int = 0,
) -> jax.Array:
    """A loss over all classes, or over some drawn by the key."""
    return loss(vectors, proxies, labels, subsample=subsample, key=key)


def proxy_nca(
    vectors: jax.Array, proxies: jax.Array, labels: jax.Array, key: jax.Array
) -> jax.Array:
    """Proxy-NCA, which draws nothing."""
    return losses.proxy_nca(vectors, proxies, labels)


def test_classes(run: Run) -> None:
    each = {
        "norm_softmax": over_classes,
        "norm_softmax, 1,000 drawn": partial(over_classes, subsample=1000),
        "arc_face, 1,000 drawn": partial(over_classes, loss=losses.arc_face, subsample=1000),
        "proxy_anchor": partial(over_classes, loss=losses.proxy_anchor),
        "proxy_anchor, 1,000 drawn": partial(
            over_classes, loss=losses.proxy_anchor, subsample=1000
        ),
        "proxy_nca": proxy_nca,
    }
    series = [
        Series(name=name, sizes=CLASSES, made=partial(of_classes, loss))
        for name, loss in each.items()
    ]
    note = (
        f"Loss and its gradient by vectors and by all proxies, batch {ROWS}, {DIM} dimensions, "
        "float32: the gradient alone has as many numbers as the proxies."
    )
    run.report(series, "Growth: classes of a loss", "classes", note)


def test_subsampling_leaves_the_gradient_of_others_alone() -> None:
    """So that what is measured is the loss that training has."""
    with of_classes(partial(over_classes, subsample=100), 1000) as case:
        _, (_, by_proxies) = case.call()
    touched = np.asarray(jnp.any(by_proxies != 0, axis=1)).sum()
    assert ROWS // 2 < touched <= 100
