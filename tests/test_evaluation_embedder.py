"""A network as it embeds: the vectors of an evaluation, wherever it is taken from."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import jax
import numpy as np
import processes
import pytest
from index_runs import as_run, split_of, tiny

from abe_jax import pretrained
from abe_jax.config import Config, build, read_json, stored, to_mapping
from abe_jax.config.weights import embedder_of_weights, pretrained_model
from abe_jax.data.images.sides import both
from abe_jax.errors import UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import ROUNDING
from abe_jax.index import model_files
from abe_jax.training import step
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    return as_run(tmp_path_factory.mktemp("runs") / "run", tiny(tiny_data))


@pytest.fixture(scope="module")
def made(run: Path) -> Embedder:
    return stored.embedder_of_run(run)


@pytest.fixture(scope="module")
def encoded(tiny_data: Path) -> list[bytes]:
    split = split_of(tiny(tiny_data), "val")
    return [split.records[i] for i in range(100)]


def vectors(embedder: Embedder, records: Sequence[bytes]) -> np.ndarray:
    return embedder.embed(records).vectors


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """Each learner's unit vector is within ROUNDING of the other."""
    assert found.shape == expected.shape
    assert np.linalg.norm(found - expected, axis=-1).max(initial=0) <= ROUNDING


def with_config(embedder: Embedder, config: Config) -> Embedder:
    """The same arrays in the network of another config."""
    params, batch_stats = embedder.state.params["model"], embedder.state.batch_stats
    return Embedder.of(build.network(config), params, batch_stats, to_mapping(config))


def test_the_vectors_are_those_of_an_evaluation(run: Path, made: Embedder, tmp_path: Path) -> None:
    config = read_json(run / "config.json")
    best = Checkpoints(RunFolder(run).best, 1)
    state, _ = best.restore(build.recipe(config).abstract())
    best.close()
    split = split_of(config, "val")
    expected = build.network(config).vectors(step.replicate(state), split)
    records = [split.records[i] for i in range(len(split.labels))]
    np.testing.assert_array_equal(vectors(made, records), expected.vectors)
    np.testing.assert_array_equal(made.embed(split).vectors, expected.vectors)
    assert expected.vectors.shape == (len(records), made.learners, made.dim) and made.learners == 2
    whole_state = Embedder(build.network(config), state, to_mapping(config))
    assert whole_state.fingerprint == made.fingerprint
    np.testing.assert_array_equal(vectors(whole_state, records), expected.vectors)


def test_the_same_images_give_the_same_bits_again(made: Embedder, encoded: list[bytes]) -> None:
    together = vectors(made, encoded)  # 64 and 36
    np.testing.assert_array_equal(vectors(made, encoded), together)
    # Another network object compiles the same program.
    again = made.in_batches_of(made.network.batch)
    np.testing.assert_array_equal(vectors(again, encoded), together)
    # At the same places of a batch, whatever stands beside them.
    np.testing.assert_array_equal(vectors(made, encoded[:9]), together[:9])
    others = [*encoded[:5], *reversed(encoded[5:])]
    np.testing.assert_array_equal(vectors(made, others)[:5], together[:5])


def test_a_vector_is_within_rounding_wherever_it_stands(
    made: Embedder, encoded: list[bytes]
) -> None:
    together = vectors(made, encoded)
    order = np.random.default_rng(0).permutation(len(encoded))
    assert_close(vectors(made, [encoded[i] for i in order]), together[order])
    assert_close(vectors(made, encoded[70:]), together[70:])
    for i in (0, 63, 99):
        assert_close(vectors(made, [encoded[i]]), together[i : i + 1])
    gaps = np.linalg.norm(together[:, None] - together[None], axis=-1).max(axis=-1)
    # The bound tells images apart.
    assert np.partition(gaps[~np.eye(len(gaps), dtype=bool)], 10)[10] > 10 * ROUNDING


@pytest.mark.parametrize("images", [1, 7, 200])
def test_another_batch_is_within_rounding(
    images: int, made: Embedder, encoded: list[bytes]
) -> None:
    other = made.in_batches_of(images)
    assert other.network.batch == images and other.fingerprint == made.fingerprint
    assert_close(vectors(other, encoded[:9]), vectors(made, encoded[:9]))


@pytest.mark.parametrize("longest", [0, 24])
def test_unreadable_images_are_named_and_the_others_embedded(
    longest: int, made: Embedder, encoded: list[bytes]
) -> None:
    network = dataclasses.replace(made.network, longest=longest, side_step=8)
    embedder = Embedder(network, made.state, made.description)
    embedded = embedder.embed([encoded[0], b"", encoded[1][:50], encoded[2]])
    assert embedded.image_ids.tolist() == [0, 3] and embedded.unreadable.tolist() == [1, 2]
    assert_close(embedded.vectors, vectors(embedder, [encoded[0], encoded[2]]))
    none = embedder.embed([b"", b"no image"])
    assert none.vectors.shape == (0, 2, 8) and none.unreadable.tolist() == [0, 1]
    assert embedder.embed([]).vectors.shape == (0, 2, 8)


def test_uncropped_images_are_embedded_as_an_evaluation_does(made: Embedder, run: Path) -> None:
    network = dataclasses.replace(made.network, longest=24, side_step=8)
    embedder = Embedder(network, made.state, made.description)
    split = split_of(read_json(run / "config.json"), "val")
    records = [split.records[i] for i in range(len(split.labels))]
    expected = network.vectors(embedder.replicated, split)
    np.testing.assert_array_equal(vectors(embedder, records), expected.vectors)
    alone = vectors(embedder, records[:1])
    assert_close(alone, expected.vectors[:1])
    assert np.abs(alone - vectors(made, records[:1])).max() > 1e-3


def test_masks_are_those_of_the_model(made: Embedder, encoded: list[bytes]) -> None:
    images = np.stack([made.network.preprocessing.crop(one) for one in encoded[:3]])
    masks = made.masks(images)
    variables = {"params": made.state.params["model"], "batch_stats": made.state.batch_stats}
    pixels = made.network.preprocessing.normalise(jax.numpy.asarray(images))
    expected = jax.jit(lambda v, x: made.network.model.apply(v, x, method="masks"))(
        variables, pixels
    )
    np.testing.assert_allclose(masks, expected, atol=1e-5)
    assert masks.shape[:2] == (3, 2) and masks.std() > 1e-3


@pytest.mark.parametrize(
    ("part", "name", "value", "changes"),
    [
        ("data", "mean", (41.0,), True),
        ("data", "fit", "cover", True),
        ("data", "resize", 40, True),
        ("model", "pooling", "max", True),
        ("evaluate", "longest", 64, True),
        ("data", "path", "elsewhere", False),
        ("data", "threads", 1, False),
        ("data", "jitter", 0.5, False),
        ("model", "weights", "efficientnet-lite0", False),
        ("evaluate", "batch", 7, False),
        ("evaluate", "side_step", 16, False),  # of whole images alone
    ],
)
def test_the_fingerprint_covers_what_determines_a_vector(
    part: str, name: str, value: object, changes: bool, made: Embedder, run: Path
) -> None:
    config = read_json(run / "config.json")
    changed = dataclasses.replace(getattr(config, part), **{name: value})
    other = with_config(made, dataclasses.replace(config, **{part: changed}))
    assert (other.fingerprint != made.fingerprint) == changes


@pytest.mark.parametrize("part", ["params", "batch_stats"])
def test_the_fingerprint_covers_every_array(part: str, made: Embedder) -> None:
    trees = {"params": made.state.params["model"], "batch_stats": made.state.batch_stats}
    leaves, form = jax.tree.flatten(trees[part])
    last = leaves[-1].copy()
    last.flat[-1] = np.nextafter(last.flat[-1], np.float32(9))
    trees[part] = jax.tree.unflatten(form, [*leaves[:-1], last])
    changed = Embedder.of(made.network, trees["params"], trees["batch_stats"], made.description)
    assert changed.fingerprint != made.fingerprint


def test_the_state_holds_the_network_alone(made: Embedder) -> None:
    assert made.state.opt_state == () and set(made.state.params) == {"model"}
    leaves = jax.tree.leaves((made.state.params, made.state.batch_stats))
    assert leaves and all(isinstance(leaf, np.ndarray) for leaf in leaves)


def test_what_is_no_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder of a run"):
        stored.embedder_of_run(tmp_path)
    shutil.copy(run / "config.json", tmp_path)
    with pytest.raises(UserError, match="no checkpoint yet"):
        stored.embedder_of_run(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json"]


def photograph(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (280, 210))
    return cv2.imencode(".png", picture)[1].tobytes()


def test_packaged_weights_embed_as_their_own_network(tmp_path: Path) -> None:
    made = embedder_of_weights("efficientnet-lite0")
    data, model = made.network.preprocessing, made.network.model
    about = pretrained.describe("efficientnet-lite0")
    assert (data.mean, data.std, data.size) == (about.mean, about.std, 224)
    assert (model.kind, model.head, model.dim, made.dim) == ("single", "none", 1280, 1280)
    pretrained.write(pretrained.load("efficientnet-lite0"), tmp_path / "own.npz")
    own = embedder_of_weights(str(tmp_path / "own.npz"))
    assert own.fingerprint == made.fingerprint
    model_files.save(own, tmp_path / "model")
    records = [photograph(i) for i in range(3)]
    found = vectors(made, records)
    loaded = stored.embedder_of_index(tmp_path / "model")
    assert loaded.fingerprint == made.fingerprint
    np.testing.assert_array_equal(vectors(loaded, records), found)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0, atol=1e-5)
    assert found.shape == (3, 1, 1280) and np.abs(found[0] - found[1]).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("efficientnet-lite9", "weights: 'efficientnet-lite9' names no weights"),
        (__file__, "is no .npz; python -m abe_jax.convert makes one of it"),
        ("nowhere.npz", "'nowhere.npz' names no weights"),
    ],
)
def test_unknown_weights_are_refused(name: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        embedder_of_weights(name)
    assert says in str(caught.value) and "config.model" not in str(caught.value)


@pytest.mark.slow
def test_every_backbone_of_weights_has_its_network() -> None:
    dims = {"resnet18": 512, "resnet50": 2048, "vit_s16": 384, "mobilenet_v2": 1280}
    dims |= {"mobilenet_v2_1.4": 1792, "mobilenet_v2_1.4_reid": 1792}
    for source in pretrained.SOURCES.values():
        chosen = pretrained_model(source.about, "x")
        shapes = build.network(chosen).shapes()
        assert shapes["params"] and max(both(chosen.data.size)) < max(both(chosen.data.resize))
        if source.about.backbone in dims:
            assert chosen.model.dim == dims[source.about.backbone]
        pooling = "token" if source.about.backbone == "vit_s16" else "average"
        assert chosen.model.pooling == pooling


PRINTS = """
import sys, json, numpy as np
from pathlib import Path
from abe_jax.config import stored
made = stored.embedder_of_index(Path(sys.argv[1]))
records = [Path(path).read_bytes() for path in sys.argv[3:]]
np.save(sys.argv[2], made.embed(records).vectors)
print(made.fingerprint)
"""


@pytest.mark.slow
def test_other_numbers_of_devices_are_within_rounding(
    made: Embedder, encoded: list[bytes], tmp_path: Path
) -> None:
    model_files.save(made, tmp_path / "model")
    files = [tmp_path / f"{i}.png" for i in range(5)]
    for file, content in zip(files, encoded, strict=False):
        file.write_bytes(content)
    for devices in (1, 4):
        arguments = (tmp_path / "model", tmp_path / "x.npy", *files)
        done = processes.python("-c", PRINTS, *arguments, data=tmp_path, devices=devices)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == made.fingerprint
        assert_close(np.load(tmp_path / "x.npy"), vectors(made, encoded[:5]))
