"""The network of an index: the vectors of an evaluation, to the bit, wherever it is taken from."""

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import jax
import numpy as np
import processes
import pytest
from abe_jax.evaluation.embed import embed
from abe_jax.runs.folder import RunFolder
from index_runs import as_run, tiny

from abe_jax import config, pretrained
from abe_jax.config import write_json
from abe_jax.config.pretrained_model import packaged
from abe_jax.data import dataset
from abe_jax.errors import UserError
from abe_jax.evaluation import embedder
from abe_jax.evaluation.embedder import Embedder
from abe_jax.training import step
from abe_jax.training.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    return as_run(tmp_path_factory.mktemp("runs") / "run", tiny(tiny_data))


@pytest.fixture(scope="module")
def made(run: Path) -> Embedder:
    return embedder.of_run(run)


@pytest.fixture(scope="module")
def encoded(tiny_data: Path) -> list[bytes]:
    split = dataset.load(tiny(tiny_data).data, "val")
    return [split.records[i] for i in range(100)]


def bits(of: Embedder, records: Sequence[bytes]) -> np.ndarray:
    return of.embed(records).vectors


def test_the_vectors_are_those_of_an_evaluation(run: Path, made: Embedder, tmp_path: Path) -> None:
    chosen = config.read_json(run / "config.json")
    best = Checkpoints(RunFolder(run).best, 1)
    state, _ = best.restore(step.abstract(chosen))
    best.close()
    split = dataset.load(chosen.data, "val")
    wanted = embed(step.replicate(state), step.embed_step(chosen), split, chosen)
    records = [split.records[i] for i in range(len(split.labels))]
    np.testing.assert_array_equal(bits(made, records), wanted.vectors)
    embedder.save(made, tmp_path / "model")
    loaded = embedder.load(tmp_path / "model")
    np.testing.assert_array_equal(bits(loaded, records), wanted.vectors)
    assert loaded.fingerprint == made.fingerprint
    assert wanted.vectors.shape == (len(records), made.learners, made.dim) and made.learners == 2


def test_a_vector_does_not_depend_on_the_images_beside_it(
    made: Embedder, encoded: list[bytes]
) -> None:
    together = bits(made, encoded)  # 64 and 36
    order = np.random.default_rng(0).permutation(len(encoded))
    np.testing.assert_array_equal(bits(made, [encoded[i] for i in order]), together[order])
    np.testing.assert_array_equal(bits(made, encoded[70:]), together[70:])
    for i in (0, 63, 99):
        np.testing.assert_array_equal(bits(made, [encoded[i]]), together[i : i + 1])


def test_another_batch_is_rounding_apart(made: Embedder, encoded: list[bytes]) -> None:
    evaluate = dataclasses.replace(made.config.evaluate, batch=1)
    alone = dataclasses.replace(made, config=dataclasses.replace(made.config, evaluate=evaluate))
    np.testing.assert_allclose(bits(alone, encoded[:9]), bits(made, encoded[:9]), atol=2e-6)


@pytest.mark.parametrize("longest", [0, 24])
def test_what_cannot_be_read_is_told_and_the_others_are_there(
    longest: int, made: Embedder, encoded: list[bytes]
) -> None:
    evaluate = dataclasses.replace(made.config.evaluate, longest=longest, side_step=8)
    chosen = dataclasses.replace(made.config, evaluate=evaluate)
    of = dataclasses.replace(made, config=chosen)
    damaged = [encoded[0], b"", encoded[1][:50], encoded[2]]
    found = of.embed(damaged)
    assert found.instances.tolist() == [0, 3] and found.unreadable.tolist() == [1, 2]
    np.testing.assert_allclose(found.vectors, bits(of, [encoded[0], encoded[2]]), atol=1e-6)
    none = of.embed([b"", b"no image"])
    assert none.vectors.shape == (0, 2, 8) and none.unreadable.tolist() == [0, 1]
    assert of.embed([]).vectors.shape == (0, 2, 8)


def test_whole_images_are_embedded_as_an_evaluation_does(run: Path, tmp_path: Path) -> None:
    chosen = config.read_json(run / "config.json")
    evaluate = dataclasses.replace(chosen.evaluate, longest=24, side_step=8)
    shutil.copytree(run, tmp_path / "run")
    chosen = dataclasses.replace(chosen, evaluate=evaluate)
    write_json(chosen, tmp_path / "run" / "config.json")
    of = embedder.of_run(tmp_path / "run")
    split = dataset.load(chosen.data, "val")
    records = [split.records[i] for i in range(len(split.labels))]
    wanted = embed(of.replicated, step.embed_step(chosen), split, chosen)
    np.testing.assert_array_equal(bits(of, records), wanted.vectors)
    alone = bits(of, records[:1])
    np.testing.assert_allclose(alone, wanted.vectors[:1], atol=2e-6)
    assert np.abs(alone - bits(embedder.of_run(run), records[:1])).max() > 1e-3


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
    part: str, name: str, value: object, changes: bool, made: Embedder
) -> None:
    changed = dataclasses.replace(getattr(made.config, part), **{name: value})
    chosen = dataclasses.replace(made.config, **{part: changed})
    other = embedder.of(chosen, made.state.params["model"], made.state.batch_stats)
    assert (other.fingerprint != made.fingerprint) == changes


@pytest.mark.parametrize("part", ["params", "batch_stats"])
def test_the_fingerprint_covers_every_array(part: str, made: Embedder) -> None:
    trees = {"params": made.state.params["model"], "batch_stats": made.state.batch_stats}
    leaves, form = jax.tree.flatten(trees[part])
    last = leaves[-1].copy()
    last.flat[-1] = np.nextafter(last.flat[-1], np.float32(9))
    trees[part] = jax.tree.unflatten(form, [*leaves[:-1], last])
    changed = embedder.of(made.config, trees["params"], trees["batch_stats"])
    assert changed.fingerprint != made.fingerprint


def test_the_state_holds_the_network_alone(made: Embedder, tmp_path: Path) -> None:
    embedder.save(made, tmp_path / "model")
    assert made.state.opt_state == () and set(made.state.params) == {"model"}
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"config.json", "weights.npz"}
    with np.load(tmp_path / "model" / "weights.npz") as stored:
        assert {name.split("/")[0] for name in stored.files} == {"params", "batch_stats"}
    with pytest.raises(UserError, match="exists already"):
        embedder.save(made, tmp_path / "model")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".model.partial").mkdir()  # of a killed process
    embedder.save(made, tmp_path / "other" / "model")
    assert {p.name for p in (tmp_path / "other").iterdir()} == {"model"}


def test_a_damaged_model_is_named(made: Embedder, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    with pytest.raises(UserError, match=r"config.json: not found; is .* the folder of an index"):
        embedder.load(folder)
    embedder.save(made, folder)
    whole = (folder / "weights.npz").read_bytes()
    (folder / "weights.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"weights.npz: damaged"):
        embedder.load(folder)
    with np.load(made_arrays(whole, tmp_path)) as stored:
        arrays = dict(stored)
    name = next(iter(arrays))
    np.savez(folder / "weights.npz", **{k: v for k, v in arrays.items() if k != name})
    with pytest.raises(UserError, match=f"not of the model in config.json: {name}"):
        embedder.load(folder)
    np.savez(folder / "weights.npz", **{**arrays, name: np.array([{}])})  # a pickle
    with pytest.raises(UserError, match=r"weights.npz: damaged"):
        embedder.load(folder)
    (folder / "weights.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"weights.npz: damaged \(no .npz\)$"):  # loads no pickle
        embedder.load(folder)
    (folder / "weights.npz").unlink()
    with pytest.raises(UserError, match=r"weights.npz: not found"):
        embedder.load(folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"model/config.json: config.data: missing"):
        embedder.load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json: damaged"):
        embedder.load(folder)


def made_arrays(content: bytes, folder: Path) -> Path:
    path = folder / "whole.npz"
    path.write_bytes(content)
    return path


def test_what_is_no_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder of a run"):
        embedder.of_run(tmp_path)
    shutil.copy(run / "config.json", tmp_path)
    with pytest.raises(UserError, match="no checkpoint yet"):
        embedder.of_run(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json"]


def photograph(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    picture = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (280, 210))
    return cv2.imencode(".png", picture)[1].tobytes()


def test_packaged_weights_embed_as_their_own_network(tmp_path: Path) -> None:
    made = embedder.of_weights("efficientnet-lite0")
    data, model = made.config.data, made.config.model
    about = pretrained.describe("efficientnet-lite0")
    assert (data.mean, data.std, data.size) == (about.mean, about.std, 224)
    assert (model.kind, model.head, model.dim, made.dim) == ("single", "none", 1280, 1280)
    pretrained.write(pretrained.load("efficientnet-lite0"), tmp_path / "own.npz")
    own = embedder.of_weights(str(tmp_path / "own.npz"))
    assert own.fingerprint == made.fingerprint
    embedder.save(own, tmp_path / "model")
    records = [photograph(i) for i in range(3)]
    found = bits(made, records)
    np.testing.assert_array_equal(bits(embedder.load(tmp_path / "model"), records), found)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0, atol=1e-5)
    assert found.shape == (3, 1, 1280) and np.abs(found[0] - found[1]).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("efficientnet-lite9", "--weights: 'efficientnet-lite9' names no weights"),
        (__file__, "is no .npz; python -m abe_jax.convert makes one of it"),
        ("nowhere.npz", "'nowhere.npz' names no weights"),
    ],
)
def test_unknown_weights_are_refused(name: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        embedder.of_weights(name)
    assert says in str(caught.value) and "config.model" not in str(caught.value)


@pytest.mark.slow
def test_every_backbone_of_weights_has_its_network() -> None:
    dims = {"resnet18": 512, "resnet50": 2048, "vit_s16": 384, "mobilenet_v2": 1280}
    for source in pretrained.SOURCES.values():
        chosen = packaged(source.about, "x")
        shapes = embedder.shapes(chosen)
        assert shapes["params"] and chosen.data.size < chosen.data.resize
        if source.about.backbone in dims:
            assert chosen.model.dim == dims[source.about.backbone]
        pooling = "token" if source.about.backbone == "vit_s16" else "average"
        assert chosen.model.pooling == pooling


PRINTS = """
import sys, json, numpy as np
from pathlib import Path
from abe_jax.indexing import embedder
made = embedder.load(Path(sys.argv[1]))
records = [Path(path).read_bytes() for path in sys.argv[3:]]
np.save(sys.argv[2], made.embed(records).vectors)
print(made.fingerprint)
"""


@pytest.mark.slow
def test_other_numbers_of_devices_are_rounding_apart(
    made: Embedder, encoded: list[bytes], tmp_path: Path
) -> None:
    embedder.save(made, tmp_path / "model")
    files = [tmp_path / f"{i}.png" for i in range(5)]
    for file, content in zip(files, encoded, strict=False):
        file.write_bytes(content)
    for devices in (1, 4):
        done = subprocess.run(
            [sys.executable, "-c", PRINTS, tmp_path / "model", tmp_path / "x.npy", *files],
            env=processes.environment(tmp_path, devices=devices),
            cwd=processes.ROOT,
            capture_output=True,
            text=True,
            timeout=200,
            check=True,
        )
        assert done.stdout.strip() == made.fingerprint
        found = np.load(tmp_path / "x.npy")
        np.testing.assert_allclose(found, bits(made, encoded[:5]), atol=2e-6)
