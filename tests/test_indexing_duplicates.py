"""Groups of near-duplicates, against every pair in float64 and a plain search through the graph."""

from pathlib import Path

import numpy as np
import pytest

from abe_jax.errors import UserError
from abe_jax.index import duplicates, snapshot, store
from abe_jax.index.manifest import Spec
from abe_jax.index.segments import Row
from abe_jax.index.snapshot import Snapshot


def indexed(folder: Path, vectors: np.ndarray, storage: str = "float32") -> Snapshot:
    n, m, d = vectors.shape
    store.create(folder, Spec("f", m, d, storage))
    store.add(folder, vectors, [Row(f"/{i}") for i in range(n)], "f")
    return snapshot.read(folder)


def unit(x: np.ndarray) -> np.ndarray:
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def brute(found: Snapshot, limit: float, scale: float = 1.0) -> list[list[int]]:
    """The components of the graph of pairs at most `limit` apart."""
    ids = found.ids().tolist()
    x = found.vectors(found.ids()).reshape(len(ids), -1).astype(np.float64)
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
    monkeypatch.setattr(duplicates, "BLOCK", block)
    rng = np.random.default_rng(block)
    centres = unit(rng.standard_normal((25, 2, 12)))
    copies = centres[rng.integers(0, 25, 90)] + rng.normal(0, 0.06, (90, 2, 12))
    found = indexed(tmp_path / "index", unit(copies), storage)
    store.remove(tmp_path / "index", np.arange(0, 90, 7))
    found = snapshot.read(tmp_path / "index")
    limits = (1.0, 3.0) if storage == "binary" else (0.12, 0.18, 0.3)
    scale = 0.25 if storage == "binary" else 1.0
    for limit in limits:
        wanted = brute(found, limit, scale)
        assert len(wanted) >= 2 and any(len(group) > 2 for group in wanted)
        assert as_lists(duplicates.groups(found, limit)) == wanted


def test_the_limit_is_exact_and_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = unit(rng.standard_normal((40, 1, 300)))
    found = indexed(tmp_path / "index", x)
    flat = x.reshape(40, -1).astype(np.float64)
    distances = ((flat[:, None] - flat[None]) ** 2).sum(axis=-1)
    pairs = np.sort(distances[np.triu_indices(40, 1)])[:6]  # few are near: each changes a group
    for pair in pairs.tolist():
        for limit in (pair, np.nextafter(pair, 0), np.nextafter(pair, 9)):
            assert as_lists(duplicates.groups(found, limit)) == brute(found, limit)
    assert duplicates.groups(found, np.nextafter(pairs[0], 0)) == []


def test_copies_are_at_distance_nought_and_chains_join(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = unit(rng.standard_normal((60, 1, 64)))
    x[50:] = x[7]
    angles = np.linspace(0, 1, 10)  # a chain: neighbours 0.012 apart, its ends 0.92
    x[30:40] = 0
    x[30:40, 0, :2] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = indexed(tmp_path / "index", x)
    assert as_lists(duplicates.groups(found, 0.0)) == [[7, *range(50, 60)]]
    assert as_lists(duplicates.groups(found, 0.0125)) == [[7, *range(50, 60)], list(range(30, 40))]


def test_the_distance_of_a_cosine(tmp_path: Path) -> None:
    angle = np.arccos(0.9)
    x = np.array([[[1, 0], [0, 1]], [[np.cos(angle), np.sin(angle)]] * 2], np.float64)
    x[1, 1] = [np.sin(angle), np.cos(angle)]
    found = indexed(tmp_path / "index", unit(x))
    assert as_lists(duplicates.groups(found, duplicates.distance_of(found, 0.8999))) == [[0, 1]]
    assert duplicates.groups(found, duplicates.distance_of(found, 0.9001)) == []
    binary = indexed(tmp_path / "binary", unit(x), "binary")
    with pytest.raises(UserError, match="use --distance, in bits"):
        duplicates.distance_of(binary, 0.9)


def test_few_rows_and_none(tmp_path: Path) -> None:
    found = indexed(tmp_path / "index", unit(np.ones((1, 1, 4))))
    assert duplicates.groups(found, 1.0) == []
    store.remove(tmp_path / "index", np.array([0]))
    assert duplicates.groups(snapshot.read(tmp_path / "index"), 1.0) == []
