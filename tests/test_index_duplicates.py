"""Groups of near-duplicates, against every pair in float64 and a plain search through the graph."""

from pathlib import Path

import numpy as np
import pytest

from abe_jax.errors import UserError
from abe_jax.evaluation import near_pairs
from abe_jax.index import snapshot, store
from abe_jax.index.duplicates import distance_at_cosine, duplicate_groups
from abe_jax.index.manifest import VectorSpec
from abe_jax.index.segments import ImageRow
from abe_jax.index.snapshot import Snapshot


def indexed(folder: Path, vectors: np.ndarray, storage: str = "float32") -> Snapshot:
    n, m, d = vectors.shape
    store.create(folder, VectorSpec("f", m, d, storage))
    store.add(folder, vectors, [ImageRow(f"/{i}") for i in range(n)], "f")
    return snapshot.read(folder)


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def brute(now: Snapshot, limit: float, scale: float = 1.0) -> list[list[int]]:
    """The components of the graph of pairs at most `limit` apart."""
    ids = now.ids().tolist()
    x = now.vectors(now.ids()).reshape(len(ids), -1).astype(np.float64)
    near = ((x[:, None] - x[None]) ** 2).sum(axis=-1) * scale <= limit
    left, groups = set(range(len(ids))), []
    while left:
        group, front = set[int](), {min(left)}
        while front:
            group |= front
            front = {int(j) for i in front for j in np.flatnonzero(near[i])} - group
        left -= group
        if len(group) > 1:
            groups.append(sorted(ids[i] for i in group))
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def as_lists(groups: list[np.ndarray]) -> list[list[int]]:
    return [group.tolist() for group in groups]


@pytest.mark.parametrize("block", [16, 64, 2048])
@pytest.mark.parametrize("storage", ["float32", "float16", "binary"])
def test_groups_are_those_of_brute_force(
    block: int, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_pairs, "BLOCK", block)
    rng = np.random.default_rng(block)
    centres = unit(rng.standard_normal((25, 2, 12)))
    copies = centres[rng.integers(0, 25, 90)] + rng.normal(0, 0.06, (90, 2, 12))
    now = indexed(tmp_path / "index", unit(copies), storage)
    store.remove(tmp_path / "index", np.arange(0, 90, 7))
    now = snapshot.read(tmp_path / "index")
    limits = (1.0, 3.0) if storage == "binary" else (0.12, 0.18, 0.3)
    scale = 0.25 if storage == "binary" else 1.0
    for limit in limits:
        expected = brute(now, limit, scale)
        assert len(expected) >= 2 and any(len(group) > 2 for group in expected)
        assert as_lists(duplicate_groups(now, limit)) == expected


def test_the_limit_is_exact_and_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = unit(rng.standard_normal((40, 1, 300)))
    now = indexed(tmp_path / "index", x)
    flat = x.reshape(40, -1).astype(np.float64)
    distances = ((flat[:, None] - flat[None]) ** 2).sum(axis=-1)
    pairs = np.sort(distances[np.triu_indices(40, 1)])[:6]  # few are near: each changes a group
    for pair in pairs.tolist():
        for limit in (pair, np.nextafter(pair, 0), np.nextafter(pair, 9)):
            assert as_lists(duplicate_groups(now, limit)) == brute(now, limit)
    assert duplicate_groups(now, np.nextafter(pairs[0], 0)) == []


def test_copies_are_at_distance_nought_and_chains_join(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = unit(rng.standard_normal((60, 1, 64)))
    x[50:] = x[7]
    angles = np.linspace(0, 1, 10)  # a chain: neighbours 0.012 apart, its ends 0.92
    x[30:40] = 0
    x[30:40, 0, :2] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    now = indexed(tmp_path / "index", x)
    assert as_lists(duplicate_groups(now, 0.0)) == [[7, *range(50, 60)]]
    assert as_lists(duplicate_groups(now, 0.0125)) == [
        [7, *range(50, 60)],
        list(range(30, 40)),
    ]


def test_copies_whose_distance_float32_rounds_far_off_are_found(tmp_path: Path) -> None:
    """One large number and many small ones: each of these is rounded away as it is added."""
    x = np.full((3, 1, 2048), 2**-12.5 * 1.425, np.float32)
    x[..., 0] = 1
    x[2, 0, 1] += 1e-3
    now = indexed(tmp_path / "index", x)
    assert [group.tolist() for group in duplicate_groups(now, 0.0)] == [[0, 1]]


def test_the_distance_of_a_cosine(tmp_path: Path) -> None:
    angle = np.arccos(0.9)
    x = np.array([[[1, 0], [0, 1]], [[np.cos(angle), np.sin(angle)]] * 2], np.float64)
    x[1, 1] = [np.sin(angle), np.cos(angle)]
    now = indexed(tmp_path / "index", unit(x))
    assert as_lists(duplicate_groups(now, distance_at_cosine(now, 0.8999))) == [[0, 1]]
    assert duplicate_groups(now, distance_at_cosine(now, 0.9001)) == []
    binary = indexed(tmp_path / "binary", unit(x), "binary")
    with pytest.raises(UserError, match="name a distance, in bits"):
        distance_at_cosine(binary, 0.9)


def test_few_rows_and_none(tmp_path: Path) -> None:
    now = indexed(tmp_path / "index", unit(np.ones((1, 1, 4))))
    assert duplicate_groups(now, 1.0) == []
    store.remove(tmp_path / "index", np.array([0]))
    assert duplicate_groups(snapshot.read(tmp_path / "index"), 1.0) == []
