"""Rules for near-duplicates against answers by hand, and the galleries they leave against loops."""

import dataclasses
import io
from datetime import datetime, timedelta

import numpy as np
import oracles
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from abe_jax.data.images.capture_time import CaptureTime
from abe_jax.data.split import Split, chosen, subset
from abe_jax.errors import ArgumentError
from abe_jax.evaluation import ByColumn, ByDistance, BySequence, Measures, Results, near_duplicates
from abe_jax.evaluation.captures import alike, sequences
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.near_duplicates import NearDuplicates
from abe_jax.evaluation.network import Embedded

KS = (1, 3, 5)
START = datetime(2024, 5, 31, 12)


def images(records: list[bytes], **known) -> Split:
    labels = np.zeros(len(records), np.int32)
    return Split(name="test", records=records, labels=labels, class_names=("x",), **known)


def photograph(seconds: float | None, camera: str = "") -> bytes:
    exif, out = Image.Exif(), io.BytesIO()
    if seconds is not None:
        time = START + timedelta(seconds=seconds)
        own = exif.get_ifd(IFD.Exif)
        own[Base.DateTimeOriginal] = time.strftime("%Y:%m:%d %H:%M:%S")
        own[Base.SubsecTimeOriginal] = f"{time.microsecond // 1000:03}"
    if camera:
        exif[Base.Model] = camera
    Image.new("L", (8, 8)).save(out, "JPEG", exif=exif)
    return out.getvalue()


def test_a_column_says_what_is_one_capture() -> None:
    split = images([b""] * 5, captures=np.array([3, 1, 3, 0, 1], np.int32))
    lines: list[str] = []
    assert ByColumn(column="shelf").captures(split, lines.append).tolist() == [3, 1, 3, 0, 1]
    assert lines == [] and "'shelf'" in ByColumn(column="shelf").words
    rows = np.array([4, 0, 1])
    for part in (chosen(split, rows), subset(split, rows)):
        assert ByColumn().captures(part, lines.append).tolist() == [1, 3, 1]
    with pytest.raises(
        ArgumentError, match=r"no captures; set capture_column.*'sequence' or 'dist"
    ):
        ByColumn().captures(dataclasses.replace(split, captures=None), lines.append)


def test_sequences_are_of_one_camera_and_chains_join() -> None:
    """By fractions of a second, out of order; two cameras at one time; images without a time."""
    records = [
        photograph(10.1),  # 0: 10.1 s after 1, so alone with 4
        photograph(0.0),  # 1
        photograph(0.0, "other"),  # 2
        photograph(None),  # 3
        photograph(20.0),  # 4: 9.9 s after 0
        photograph(9.999, "other"),  # 5: after 2
        photograph(None),  # 6
        photograph(19.999, "other"),  # 7: exactly 10 s after 5, 20 s after 2
    ]
    split, lines = images(records), []
    found = BySequence(seconds=10, threads=1).captures(split, lines.append)
    assert found.tolist() == [0, 1, 2, 3, 0, 2, 6, 2]
    assert lines == [
        "near-duplicates: 2 of 8 images have no time of capture, and each of them is a capture of "
        "its own"
    ]
    assert BySequence(seconds=0).captures(split, lines.append).tolist() == [*range(8)]
    with pytest.raises(ArgumentError, match=r"none of the 2 images of test has a time.*'distance'"):
        BySequence().captures(images([records[3], records[6]]), lines.append)
    with pytest.raises(ArgumentError, match="near_seconds: -1"):
        BySequence(seconds=-1)


def test_equal_times_are_one_sequence() -> None:
    known = [CaptureTime("a", START), CaptureTime("b", START), CaptureTime("a", START), None]
    assert sequences(known, 0).tolist() == [0, 1, 0, 3]


def on_circle(degrees: list[float]) -> np.ndarray:
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1)[:, None].astype(np.float32)


class Given(Embedder):
    """Embeds the images that it can read as what it is given."""

    known: tuple[np.ndarray, np.ndarray, np.ndarray]

    def __init__(self, vectors: np.ndarray, image_ids: list[int]):
        object.__setattr__(self, "known", (vectors, np.array(image_ids), np.zeros(0, np.int64)))

    def embed(self, images, *, told=None) -> Embedded:
        return Embedded(*self.known)


def test_pairs_of_a_great_cosine_join_and_so_do_chains() -> None:
    x = on_circle([0, 100, 20, 41, 200, 19.9, 220.1])
    assert alike(x, float(np.cos(np.radians(20.05)))).tolist() == [0, 1, 0, 3, 4, 0, 6]
    assert alike(x, float(np.cos(np.radians(21.05)))).tolist() == [0, 1, 0, 0, 4, 0, 4]
    assert alike(on_circle([0, 40, 20]), float(np.cos(np.radians(20.05)))).tolist() == [0, 0, 0]
    again = np.nextafter(x[:2], np.float32(2))  # the same images in another batch
    assert alike(np.concatenate([x[:2], again]), 1.0).tolist() == [0, 1, 0, 1]
    assert alike(x[:0], 0.5).tolist() == []


def test_several_learners_are_alike_by_their_mean_cosine() -> None:
    one, other = on_circle([0, 60]), on_circle([0, 0])
    both = np.concatenate([one, other], axis=1)  # cosines 0.5 and 1
    assert alike(both, 0.749).tolist() == [0, 0] and alike(both, 0.751).tolist() == [0, 1]


def test_an_image_that_the_frozen_network_cannot_read_is_alone() -> None:
    frozen = Given(on_circle([0, 90, 1]), [0, 2, 3])
    rule = ByDistance(embedder=frozen, cosine=0.9, network="lite")
    assert rule.captures(images([b""] * 5), print).tolist() == [0, 1, 2, 0, 4]
    assert "0.9" in rule.words and "lite" in rule.words
    with pytest.raises(ArgumentError, match=r"near_cosine: 1\.5 is no cosine"):
        dataclasses.replace(rule, cosine=1.5)


def random_split(m: int, gallery: bool) -> tuple[np.ndarray, Split, np.ndarray]:
    """Vectors of whole numbers, so that distances are exact; captures that cross classes.

    Class 4 is one capture, so its images have no positive left; capture 9 is of the gallery alone.
    """
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 5, 60).astype(np.int32)
    captures = np.where(labels == 4, 8, rng.integers(0, 8, 60))
    mask = rng.random(60) < 0.6 if gallery else None
    if mask is not None:
        captures[np.flatnonzero(mask & (labels != 4))[:4]] = 9
    x = rng.integers(-2, 3, (5, m, 3))[labels] + rng.integers(-1, 2, (60, m, 3))
    split = images([b""] * 60, gallery=mask)
    split = dataclasses.replace(split, labels=labels, class_names=("a", "b", "c", "d", "e"))
    return x.astype(np.float32), split, captures


@pytest.mark.parametrize("gallery", [False, True])
@pytest.mark.parametrize("m", [1, 3])
def test_what_is_left_is_what_loops_in_float64_find(m: int, gallery: bool) -> None:
    x, split, captures = random_split(m, gallery)
    read = np.setdiff1d(np.arange(60), [3, 17, 40])  # the others cannot be read
    embedded = Embedded(x[read], read, np.array([3, 17, 40]))
    pixels = np.random.default_rng(1).integers(-2, 3, (len(read), 4)).astype(np.float32)
    found = near_duplicates.measure(
        embedded, split, NearDuplicates("a rule", captures), Measures(ks=KS, block=8), pixels
    )

    labels, codes = split.labels[read], captures[read]
    mask = None if split.gallery is None else split.gallery[read]

    def loops(vectors: np.ndarray) -> tuple[dict[str, float], int]:
        return oracles.retrieval(vectors, labels, KS, groups=codes, gallery=mask)

    expected, queries = loops(x[read])
    assert found["queries"] == queries
    assert queries < len(read) if mask is None else queries < (~mask).sum()  # class 4 is in no mean
    assert found["metrics"]["ensemble"] == pytest.approx(expected, abs=1e-12)
    assert found["metrics"]["pixels"] == pytest.approx(loops(pixels)[0], abs=1e-12)
    each = [loops(x[read, p])[0] for p in range(m)]
    mean = {name: sum(one[name] for one in each) / m for name in expected}
    assert found["metrics"]["learners_mean"] == pytest.approx(mean, abs=1e-12)
    sizes = [int((codes == code).sum()) for code in set(codes.tolist())]
    assert found["groups"] == sum(size > 1 for size in sizes)
    assert found["images_in_groups"] == sum(size for size in sizes if size > 1)
    assert found["rule"] == "a rule"

    ordinary = oracles.retrieval(x[read], labels, KS, gallery=mask)[0]
    assert ordinary["map@r"] != pytest.approx(expected["map@r"])
    results = Results.from_json(Results({"without_near_duplicates": found}).to_json())
    without = results.without_near_duplicates
    assert without and (without.map_at_r, without.recall[3]) == (
        pytest.approx(expected["map@r"]),
        pytest.approx(expected["recall@3"]),
    )


def test_where_no_query_is_left_nothing_is_measured() -> None:
    x, split, _ = random_split(2, gallery=False)
    embedded = Embedded(x, np.arange(60), np.zeros(0, np.int64))
    near = NearDuplicates("all", np.zeros(60, np.int64))
    found = near_duplicates.measure(embedded, split, near, Measures(ks=KS), x[:, 0])
    assert found == {
        "rule": "all",
        "groups": 1,
        "images_in_groups": 60,
        "queries": 0,
        "metrics": {},
    }
    assert Results({"without_near_duplicates": found}).without_near_duplicates is None
    assert Results({}).without_near_duplicates is None
