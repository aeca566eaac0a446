"""The library as a notebook uses it: README's section "As a library", and its names."""

import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from processes import ROOT

import abe_jax as abe
from abe_jax.data import Augmentation, Preprocessing, Sampling

CLASSES, EACH, SIDE = 12, 6, 40


@pytest.fixture(scope="module", autouse=True)
def _promotion():
    with jax.numpy_dtype_promotion("standard"):  # optax promotes its counters
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of classes: noisy copies of one pattern each."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"thing {label}").mkdir()
        pattern = rng.integers(0, 256, (5, 5, 3))
        for image in range(EACH):
            noisy = np.clip(pattern + rng.normal(0, 30, pattern.shape), 0, 255).astype(np.uint8)
            large = cv2.resize(noisy, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / f"thing {label}" / f"{image}.png"), large)
    return folder


def spread(vectors, labels, mask):
    """A loss of one's own: the mean vectors of the batch stay near the origin."""
    mean = jnp.sum(vectors * mask[:, None, None], axis=0) / jnp.maximum(jnp.sum(mask), 1)
    return jnp.sum(mean**2)


SMALL = {
    "batch": 16,
    "preprocessing": Preprocessing(resize=32, size=32, mean=(128.0,) * 3, std=(64.0,) * 3),
    "augmentation": Augmentation(flip=True),
    "sampling": Sampling(sampler="class_balanced", images_per_class=4),
    "optimizer": abe.Optimizer(name="adam", rate=1e-3),
    "ks": (1, 2),
}


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> abe.Run:
    data = abe.data.folder(photos, test_share=0.5, validation_classes=2)
    model = abe.ABE(backbone="convnet", learners=2, dim=16, branch="pool2", trunk_depth=1, width=8)
    loss = (
        abe.losses.Contrastive(margin=1.0)
        + 0.1 * abe.losses.Divergence()
        + 0.2 * abe.losses.custom(spread, name="spread")
    )
    workdir = tmp_path_factory.mktemp("runs") / "x"
    with jax.numpy_dtype_promotion("standard"):
        return abe.fit(model, loss, data, steps=6, workdir=workdir, **SMALL)


def test_a_training_from_objects_is_a_run_that_can_be_evaluated(run: abe.Run) -> None:
    metrics = run.folder.metrics.read_text().splitlines()
    assert "spread" in metrics[0].split(",") and metrics[-1].startswith("6,")
    result = run.evaluate("test")
    assert isinstance(result, abe.Results) and set(result.recall) == {1, 2}
    assert 0 < result.map_at_r <= result.recall[2] <= 1
    assert len(result.learners) == 2
    assert not run.folder.evaluation.exists()  # asking writes nothing


def test_a_loaded_run_embeds_files_and_keeps_their_rows(
    run: abe.Run, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "b.jpg").write_bytes(b"no image")
    files = [photos / "thing 0" / "0.png", tmp_path / "b.jpg", photos / "thing 1" / "0.png"]
    loaded = abe.load(run.folder.path)
    assert isinstance(loaded, abe.Run)
    with pytest.warns(UserWarning, match="b.jpg cannot be read"):
        z = loaded.embed(files)
    assert z.shape == (3, 2, 8) and np.isnan(z[1]).all()
    np.testing.assert_allclose(np.linalg.norm(z[[0, 2]], axis=-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(z[0], run.embed(files[:1])[0])
    distances, indices = abe.knn(z, z, k=2)
    assert indices.tolist() == [[0, 2], [-1, -1], [2, 0]]
    assert np.isinf(distances[1]).all() and distances[0, 0] < 1e-6 < distances[0, 1]


def test_masks_and_the_page_of_a_run(run: abe.Run, photos: Path, tmp_path: Path) -> None:
    masks = run.masks([photos / "thing 0" / "0.png"])
    assert masks.shape[:2] == (1, 2) and masks.min() > 0 and masks.max() < 1
    run.report(tmp_path / "x.html")
    assert "<html" in (tmp_path / "x.html").read_text()[:200]


def test_an_index_of_a_run_is_searched_and_loaded_again(
    run: abe.Run, photos: Path, tmp_path: Path
) -> None:
    index = abe.Index.build(tmp_path / "x.index", run, photos)
    assert len(index) == CLASSES * EACH
    query = photos / "thing 3" / "2.png"
    answer = index.search(query, k=3)
    assert answer.neighbours[0].row.path == str(query) and answer.neighbours[0].rank == 0
    loaded = abe.load(tmp_path / "x.index")
    assert isinstance(loaded, abe.Index)
    (again,) = loaded.search([query], k=3)
    assert [one.row.path for one in again.neighbours] == [one.row.path for one in answer.neighbours]


def test_a_training_goes_on_with_the_same_call_only(run: abe.Run, photos: Path) -> None:
    data = abe.data.folder(photos, test_share=0.5, validation_classes=2)
    with pytest.raises(abe.UserError, match="holds a run of another config"):
        abe.fit(
            run.recipe.model, abe.losses.Triplet(), data, steps=6, workdir=run.folder.path, **SMALL
        )


@pytest.mark.slow
def test_splits_of_ones_own_are_trained_on(photos: Path, tmp_path: Path) -> None:
    complete = abe.data.folder(photos, test_share=0.5, validation_classes=2)
    own = abe.data.Dataset.of_splits(
        train=complete.split("train"), val=complete.split("val"), test=complete.split("test")
    )
    model = abe.SingleHead(backbone="convnet", dim=8, width=4)
    run = abe.fit(model, abe.losses.Triplet(), own, steps=2, workdir=tmp_path / "own", **SMALL)
    assert 0 < run.evaluate("val").recall[1] <= 1
    with pytest.raises(abe.UserError, match="splits of a program's own"):
        abe.load(tmp_path / "own").evaluate("val")  # pyright: ignore
    again = abe.load(tmp_path / "own", own)
    assert isinstance(again, abe.Run)
    assert again.evaluate("val").recall == run.evaluate("val").recall


def test_one_path_in_the_place_of_a_list_is_one_sentence(run: abe.Run, photos: Path) -> None:
    for one in (photos, photos / "thing 0" / "0.png"):
        with pytest.raises(ValueError, match=r"^images: .* is one path; give a list"):
            run.embed(str(one))


def test_a_folder_that_is_neither_run_nor_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(abe.UserError, match="neither a run nor an index"):
        abe.load(tmp_path)


def code_blocks() -> list[str]:
    """The Python of README's section "As a library"."""
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## As a library") :]
    section = section[: section.index("\n## ", 5)]
    blocks = re.findall(r"((?:^    .*\n|^\n)+)", section, re.MULTILINE)
    return [
        "\n".join(line[4:] for line in block.splitlines())
        for block in blocks
        if block.strip().startswith(("import", "from"))
    ]


@pytest.mark.slow
def test_readmes_library_section_runs_as_printed(
    run: abe.Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As printed, but that the network is small and the training short."""
    blocks = code_blocks()
    assert len(blocks) == 3
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "photographs").symlink_to(run.folder.path)
    for file in ("a.jpg", "b.jpg", "query.jpg"):
        shutil.copy(photos / "thing 0" / "0.png", tmp_path / file)
    monkeypatch.chdir(tmp_path)
    large, fit = abe.ABE, abe.fit

    def small(**given: Any) -> abe.models.Ensemble:
        assert large(**given).cut.trunk  # what is printed makes a network
        return large(backbone="convnet", learners=2, dim=16, width=4)

    monkeypatch.setattr(abe, "ABE", small)
    monkeypatch.setattr(
        abe, "fit", lambda *parts, **given: fit(*parts, **given | {"steps": 2} | SMALL)
    )
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 2, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    labels = np.arange(40, dtype=np.int32) % 4
    names = {"vectors": vectors, "labels": labels, "q": vectors, "g": vectors}
    names |= {"queries": vectors, "gallery": vectors}
    for block in blocks:
        with warnings.catch_warnings():
            exec(compile(block, "README.md", "exec"), names)
    assert names["masks"].shape[:2] == (1, 2)
