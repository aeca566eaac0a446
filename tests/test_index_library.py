"""An index as a program uses it: built of a network and photographs, searched, changed."""

from pathlib import Path

import numpy as np
import pytest
import serving_examples
from index_runs import noise

from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.index import Answer, Index, Threshold, VectorSpec, store
from abe_jax.index.index import OtherNetworkError
from abe_jax.index.vectors import is_match


@pytest.fixture(scope="module")
def network() -> Embedder:
    return serving_examples.model()


class TrainedRun:
    """Whatever has an embedder makes an index."""

    def __init__(self, embedder: Embedder):
        self.embedder = embedder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four pictures of two classes, and one of them again."""
    for i, label in enumerate("aabb"):
        path = tmp_path / "photos" / label / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(i))
    (tmp_path / "photos" / "b" / "copy.png").write_bytes(noise(0))
    return tmp_path / "photos"


@pytest.fixture
def index(network: Embedder, photos: Path, tmp_path: Path) -> Index:
    return Index.build(tmp_path / "x.index", network, photos)


def test_it_is_built_of_a_run_or_an_embedder_and_searched(
    network: Embedder, index: Index, photos: Path, tmp_path: Path
) -> None:
    of_run = Index.build(str(tmp_path / "y.index"), TrainedRun(network), str(photos))
    assert len(index) == len(of_run) == 5
    query = tmp_path / "query.png"
    query.write_bytes(noise(2))
    answer = index.search(str(query), k=2)
    assert isinstance(answer, Answer) and answer.query == str(query)
    assert [neighbour.rank for neighbour in answer.neighbours] == [1, 2]
    assert answer.neighbours[0].row.path == str(photos / "b" / "2.png")
    several = index.search([query, photos / "a" / "0.png"], k=2)
    assert isinstance(several, list) and several[0] == of_run.search([query], k=2)[0]
    assert len(several) == 2
    own = next(one for one in several[1].neighbours if one.rank == 0)
    assert own.row.path == str(photos / "a" / "0.png") and own.row.label == "a"
    assert len(index.search(query).neighbours) == 5
    with pytest.raises(ArgumentError, match="k: must be 1 neighbour or more, not 0"):
        index.search(query, k=0)


def test_it_grows_and_shrinks_and_every_holder_sees_it(
    network: Embedder, index: Index, photos: Path, tmp_path: Path
) -> None:
    other = Index(tmp_path / "x.index", network)
    (photos / "a" / "new.png").write_bytes(noise(9))
    result = index.add(photos)
    assert (result.added, result.replaced, result.unchanged) == (1, 0, 5)
    assert len(other) == 6
    assert index.remove(photos / "b") == 3 and index.remove(ids=[0]) == 1
    assert len(other) == 2 and index.remove() == 0
    with pytest.raises(ArgumentError, match=r"ids: 77 is the id of no image of"):
        index.remove(ids=[77])


def test_copies_are_duplicates_and_its_threshold_is_stored(
    index: Index, photos: Path, tmp_path: Path
) -> None:
    (group,) = index.duplicates(cosine=1.0)
    paths = sorted(row.path for _, row in group)
    assert paths == [str(photos / "a" / "0.png"), str(photos / "b" / "copy.png")]
    with pytest.raises(ArgumentError, match="distance: goes without a cosine"):
        index.duplicates(cosine=0.9, distance=1.0)
    lines: list[str] = []
    threshold = index.calibrate(photos, false_match_rate=0.5, say=lines.append)
    assert isinstance(threshold, Threshold) and index.snapshot.threshold == threshold
    assert threshold.measured["indexed"] == 5 and "copy in the index" in lines[0]
    with pytest.raises(ArgumentError, match="precision: goes without false_match_rate"):
        index.calibrate(photos, precision=0.9, false_match_rate=0.5)


def test_vectors_of_another_network_are_refused(index: Index) -> None:
    other = serving_examples.model(seed=1)
    with pytest.raises(OtherNetworkError, match="were not made by this network"):
        Index(index.folder, other)
    state, another = index.folder / "index.json", index.folder.parent / "another"
    own = state.read_bytes()
    spec = VectorSpec(other.fingerprint, other.learners, other.dim)
    store.create(another, spec)
    state.write_bytes((another / "index.json").read_bytes())
    with pytest.raises(OtherNetworkError):
        len(index)
    state.write_bytes(own)
    assert len(index) == 5
    with pytest.raises(UserError, match="is no index"):
        Index(index.folder / "nowhere", other)


@pytest.mark.parametrize("threshold", [0.0, 1e-6, 0.3, 7.0])
def test_no_match_hangs_on_a_query_embedded_again(threshold: float) -> None:
    rng = np.random.default_rng(0)
    spec = VectorSpec("f", 3, 50)
    for _ in range(50):
        row = unit(rng.standard_normal((3, 50)))
        direction = rng.standard_normal(150)
        query = row.ravel() + np.sqrt(threshold) * direction / np.linalg.norm(direction)
        again = query + 1.99e-6 * np.sqrt(3) * unit(rng.standard_normal(150))
        distance = float(((again - row.ravel()) ** 2).sum())
        assert is_match(distance, threshold, spec)
    assert not is_match(threshold + 1e-4, threshold, spec)
    codes = VectorSpec("f", 3, 50, "binary")
    assert is_match(4.0, 4.0, codes) and not is_match(5.0, 4.0, codes)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
