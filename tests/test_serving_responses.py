"""The page's responses are the search's, the model's and the masks' own."""

import dataclasses
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import serving_examples
from serving_examples import Made

from abe_jax.data import loader, uncropped
from abe_jax.data.loader import Batch
from abe_jax.data.sources import image_files
from abe_jax.data.split import Split
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import ROUNDING
from abe_jax.index import ImageRow, Threshold, VectorSpec, nearest_rows, snapshot, store
from abe_jax.index.vectors import copy_distance
from abe_jax.serving import attention, responses, thumbnails
from abe_jax.serving.refused import Refused
from abe_jax.training.step import mask_step


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return serving_examples.index(tmp_path_factory.mktemp("made"), serving_examples.model())


@pytest.fixture(scope="module")
def embedder(made: Made) -> Embedder:
    return made.embedder


def test_a_vector_is_that_of_the_index_and_of_an_evaluation(made: Made, embedder: Embedder) -> None:
    now = snapshot.read(made.folder)
    together = made.embedder.embed([file.read_bytes() for file in made.files]).vectors
    for i in (0, 7, 8, len(made.files) - 1):  # of the first, second and last batch
        response = responses.to_upload(embedder, now, made.files[i].read_bytes(), 3)
        vector = np.array(response["vector"], np.float32)
        np.testing.assert_allclose(vector, together[i], rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(vector, now.vectors(np.array([i]))[0], rtol=0, atol=ROUNDING)
        first = response["neighbours"][0]
        assert first["id"] == i and first["distance"] <= copy_distance(now.spec)
        assert [learner["rank"] for learner in first["learners"]] == [1, 1]


def test_neighbours_are_the_searchs_with_what_is_known_of_them(
    made: Made, embedder: Embedder
) -> None:
    now = snapshot.read(made.folder)
    response = responses.to_upload(embedder, now, made.other, 6)
    vector = made.embedder.embed([made.other]).vectors
    nearest = nearest_rows(now, vector, 6)
    rows = response["neighbours"]
    assert [row["id"] for row in rows] == nearest.ids[0].tolist()
    assert [row["distance"] for row in rows] == nearest.distances[0].tolist()
    for row in rows:
        known = now.row(row["id"])
        assert (row["path"], row["label"]) == (known.path, known.label)
        assert row["metadata"] == dict(known.metadata)
        assert row["image"] == f"/thumbnail/{row['id']}"
    assert response["query"]["image"].startswith("data:image/png;base64,")
    assert (response["match"], rows[0]["near"], response["threshold"]) == (None, None, None)
    assert json.loads(json.dumps(response, allow_nan=False)) == response


@pytest.mark.parametrize("storage", ["float32", "float16", "binary"])
def test_learners_rank_by_their_own_distances(
    tmp_path: Path, embedder: Embedder, storage: str
) -> None:
    made = serving_examples.index(tmp_path, embedder, storage=storage)
    store.remove(made.folder, np.array([3, 4, 17]))
    now = snapshot.read(made.folder)
    query = embedder.embed([made.other]).vectors[0]
    ids = now.ids()
    vectors = now.vectors(ids).astype(np.float64)
    if storage == "binary":
        own = ((vectors > 0) != (query > 0)[None]).sum(-1).astype(np.float64)
    else:
        own = ((vectors - query[None].astype(np.float64)) ** 2).sum(-1)
    orders = [np.argsort(own[:, m], kind="stable").tolist() for m in range(2)]
    rows = responses.neighbours(now, query, 9)["neighbours"]
    assert len(rows) == 9
    for row in rows:
        place = ids.tolist().index(row["id"])
        for m, said in enumerate(row["learners"]):
            assert said["rank"] == orders[m].index(place) + 1
            assert said["distance"] == pytest.approx(own[place, m], rel=1e-9, abs=1e-12)
        total = sum(said["distance"] for said in row["learners"])
        assert total == pytest.approx(row["distance"], rel=1e-9, abs=1e-12)


def test_a_calibrated_index_says_no_match(made: Made, embedder: Embedder) -> None:
    now = snapshot.read(made.folder)
    distances = [
        row["distance"] for row in responses.to_upload(embedder, now, made.other, 5)["neighbours"]
    ]

    def at(distance: float) -> responses.Response:
        threshold = Threshold(distance, "for a test")
        state = dataclasses.replace(now.manifest, threshold=threshold)
        calibrated = dataclasses.replace(now, manifest=state)
        return responses.to_upload(embedder, calibrated, made.other, 5)

    within = at(distances[2])  # the threshold itself is near enough
    assert within["match"] is True and within["threshold"] == distances[2]
    assert [row["near"] for row in within["neighbours"]] == [True, True, True, False, False]
    none = at(distances[0] - 1e-4)
    assert none["match"] is False
    assert [row["near"] for row in none["neighbours"]] == [False] * 5


def test_an_image_of_the_index_finds_others_by_its_stored_vector(
    made: Made, embedder: Embedder
) -> None:
    now = snapshot.read(made.folder)
    response = responses.to_row(embedder, now, 9, 5)
    vector = now.vectors(np.array([9]))
    nearest = nearest_rows(now, vector, 6)
    assert nearest.ids[0, 0] == 9
    assert [row["id"] for row in response["neighbours"]] == nearest.ids[0, 1:].tolist()
    assert response["query"]["id"] == 9 and response["query"]["path"] == str(made.files[9])
    # Its learners rank the others only.
    assert 1 in {said["rank"] for row in response["neighbours"] for said in row["learners"]}
    assert responses.to_row(embedder, now, 9, 1000)["neighbours"][-1]["distance"] == pytest.approx(
        nearest_rows(now, vector, now.count).distances[0, -1]
    )
    for row in (-1, now.count, 10**18):
        with pytest.raises(Refused, match="no image with the id") as refused:
            responses.to_row(embedder, now, row, 5)
        assert refused.value.status == 404


def test_attention_is_the_masks_mean_over_channels(made: Made, embedder: Embedder) -> None:
    image = attention.preprocessed(embedder.network, made.other)
    batch = Batch(image[None], np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, bool))
    network = embedder.network
    step = mask_step(network.model, network.preprocessing.normalise)
    masks = step(embedder.replicated, batch)[0]
    looked = attention.mean_masks(embedder, image)
    assert looked is not None
    np.testing.assert_allclose(looked, masks.mean(axis=-1, dtype=np.float32), rtol=1e-6)
    drawn = responses.to_upload(embedder, snapshot.read(made.folder), made.other, 1)["attention"]
    assert [one["high"] for one in drawn["masks"]["learners"]] == [float(m.max()) for m in looked]
    assert drawn["masks"]["low"] == float(looked.min())
    assert drawn["masks"]["high"] == float(looked.max())
    differences = looked - looked.mean(axis=0, keepdims=True)
    assert (
        drawn["differences"]["high"]
        == -drawn["differences"]["low"]
        == float(abs(differences).max())
    )
    pictures = [one["image"] for part in drawn.values() for one in part["learners"]]
    assert len(pictures) == len(set(pictures)) == 4


@pytest.mark.parametrize("longest", [0, 48])
def test_what_is_shown_is_what_evaluation_sees(made: Made, longest: int) -> None:
    network = dataclasses.replace(made.embedder.network, longest=longest, side_step=16)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8)
    for encoded in (serving_examples.encoded(pixels), made.other):
        records = Split(
            name="images",
            records=[encoded],
            labels=np.zeros(1, int),
            groups=None,
            class_names=("",),
        )
        if longest:
            sizes = uncropped.sizes(records, np.zeros(1, int))
            planned = uncropped.plan(uncropped.shapes(sizes, longest, 16), 1, 1)
            (batch,) = uncropped.batches(records, network.preprocessing, planned)
        else:
            (batch,) = loader.in_order(records, network.preprocessing, 1)
        shown = attention.preprocessed(network, encoded)
        np.testing.assert_array_equal(shown, batch.images[0], strict=True)


def test_a_network_without_masks_shows_none(made: Made) -> None:
    single = serving_examples.model("model.kind=single", "model.learners=1")
    image = attention.preprocessed(single.network, made.other)
    assert attention.mean_masks(single, image) is None


def test_what_is_no_image_is_refused(made: Made, embedder: Embedder) -> None:
    now = snapshot.read(made.folder)
    for encoded in (b"", b"\x00" * 99, made.other[:60], b"\xff\xd8\xff\xe0" + b"\x00" * 50):
        with pytest.raises(Refused, match="no image that can be read") as refused:
            responses.to_upload(embedder, now, encoded, 3)
        assert refused.value.status == 422


def test_files_that_are_gone_or_no_files_are_not_waited_for(
    tmp_path: Path, embedder: Embedder
) -> None:
    made = serving_examples.index(tmp_path, embedder)
    made.files[0].unlink()
    made.files[1].unlink()
    os.mkfifo(made.files[1])
    made.files[2].write_bytes(b"damaged")
    now = snapshot.read(made.folder)
    for row in (0, 1, 2):
        response = responses.to_row(embedder, now, row, 2)
        assert response["attention"] is None and len(response["neighbours"]) == 2
        assert (response["query"]["image"] is None) == (row < 2)
        with pytest.raises(Refused):
            thumbnails.thumbnail(image_files.read(made.files[row]))


def test_an_empty_index_and_odd_names_are_shown(tmp_path: Path, embedder: Embedder) -> None:
    network, empty = embedder, tmp_path / "empty"
    store.create(empty, VectorSpec(network.fingerprint, network.learners, network.dim, "float32"))
    other = serving_examples.png("A", "DejaVuSans")
    response = responses.to_upload(embedder, snapshot.read(empty), other, 3)
    assert (response["neighbours"], response["match"], response["count"]) == ([], None, 0)
    vector = network.embed([other]).vectors
    store.add(empty, vector, [ImageRow("/none/b\udcff<b>.png", "ℵ\x00")], network.fingerprint)
    (row,) = responses.to_upload(embedder, snapshot.read(empty), other, 3)["neighbours"]
    assert (row["path"], row["image"]) == ("/none/b\\xff<b>.png", None)
    json.dumps(row).encode()


def test_thumbnails_are_made_anew_from_pixels(made: Made) -> None:
    small = thumbnails.thumbnail(made.files[0].read_bytes() + b"<script>")
    assert small.media == "image/png" and b"<script>" not in small.data
    wide = cv2.imencode(".png", np.zeros((50, 2000, 3), np.uint8))[1].tobytes()
    shown = thumbnails.thumbnail(wide)
    assert shown.media == "image/jpeg"
    decoded = cv2.imdecode(np.frombuffer(shown.data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None and decoded.shape == (8, thumbnails.SIDE, 3)
