"""A run on rectangles, from its training to the page over its index: height stays height."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from index_runs import noise
from matplotlib.image import AxesImage
from processes import TINY

from abe_jax.cli import evaluate, figures, index, resolution, search, train
from abe_jax.cli.figures import embedded
from abe_jax.config import stored
from abe_jax.errors import UserError
from abe_jax.evaluation.network import ROUNDING
from abe_jax.index.index import Index
from abe_jax.report.figures import attention
from abe_jax.serving.service import Service

FRAME, SHAPE = (40, 24), (32, 16)  # height and width of data.resize and of data.size
OVERRIDES = {
    "data.resize": FRAME,
    "data.size": SHAPE,
    "data.flip": True,
    "model.pooling": "gem",
    "model.neck": "batch",
    "objective": [
        {"name": "triplet", "reads": "before_neck", "mining": "batch_hard"},
        {"name": "cross_entropy", "bias": False},
    ],
    "optimizer.warmup": 0,
    "train.steps": 2,
    "train.evaluate_every": 0,
    "evaluate.grains": True,
    "evaluate.copies": 3,
}


def words(*more: Any) -> list[str]:
    return [str(word) for word in more]


def shapes(html: str) -> set[tuple[int, int]]:
    """Height and width of every picture of a retrieval sheet or of masks."""
    found = re.findall(r'<span class="shot[^"]*"><img src="data:image/\w+;base64,([^"]+)"', html)
    return {pixels(data).shape[:2] for data in found}


def pixels(data: str) -> np.ndarray:
    return decoded(base64.b64decode(data.rpartition(",")[2]))


def decoded(encoded: bytes) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("rectangles") / "run"
    overrides = [f"--config.{name}={value}" for name, value in OVERRIDES.items()]
    own = words("--config", TINY, "--workdir", folder, f"--config.data.root={tiny_data}")
    with jax.numpy_dtype_promotion("standard"):
        train.main([*own, *overrides])
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pictures of the frame's own size, so that nothing is resampled."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(6):
        coloured = np.frombuffer(noise(seed, *FRAME), np.uint8)
        grey = cv2.imdecode(coloured, cv2.IMREAD_GRAYSCALE)
        assert grey is not None and cv2.imwrite(str(folder / f"{seed}.png"), grey)
    return sorted(folder.glob("*.png"))


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("as_a_user")]


def by_hand(run: Any, paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """The vectors and masks of pictures of the frame's size, through OpenCV and the model alone."""
    top, left = ((high - low) // 2 for high, low in zip(FRAME, SHAPE, strict=True))
    images = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert image is not None and image.shape == FRAME
        images.append(image[top : top + SHAPE[0], left : left + SHAPE[1], None])
    x = (jnp.asarray(np.stack(images), jnp.float32) - 40.0) / 75.0
    state = run.embedder.state
    given = {"params": state.params["model"], "batch_stats": state.batch_stats}
    model = run.recipe.model
    masks = model.apply(given, x, method="masks")
    return np.asarray(model.apply(given, x).vectors), np.asarray(masks)


def test_a_run_and_its_report(trained: Path) -> None:
    made = json.loads((trained / "config.json").read_text())["data"]
    assert (made["resize"], made["size"]) == ([40, 24], [32, 16])
    assert shapes((trained / "report.html").read_text()) == {SHAPE, (112, 56)}  # images, masks
    run = stored.run(trained)
    assert run.embedder.network.preprocessing.shape == SHAPE
    found = json.loads((trained / "evaluation.json").read_text())["test"]
    assert 0 < found["metrics"]["ensemble"]["recall@1"] <= 1
    assert 0 < found["metrics"]["pixels"]["recall@1"] <= 1
    assert found["grains"]["copy"]


def test_vectors_and_masks_are_those_by_hand(trained: Path, photographs: list[Path]) -> None:
    run = stored.run(trained)
    vectors, masks = by_hand(run, photographs)
    np.testing.assert_allclose(run.embed(words(*photographs)), vectors, atol=ROUNDING)
    assert masks.shape[2:4] == (8, 4)
    np.testing.assert_allclose(run.masks(words(*photographs)), masks, atol=1e-5)


def test_it_is_tested_at_other_sizes(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for size in ("64", "48x24"):
        evaluate.main(words("--workdir", trained, "--size", size, "--split", "val"))
    found = json.loads((trained / "evaluation.json").read_text())
    assert {"val at 64 px", "val at 48 x 24 px"} < found.keys()
    seen = stored.run(trained).at(64).embedder.network.preprocessing
    assert (seen.shape, seen.frame) == ((64, 32), (80, 48))
    seen = stored.run(trained).at((48, 24)).embedder.network.preprocessing
    assert (seen.shape, seen.frame) == ((48, 24), (60, 36))
    capsys.readouterr()
    resolution.main(words("--workdir", trained, "--size", 64, "--p", "1,3"))
    *_, own, one, _, command = capsys.readouterr().out.splitlines()
    assert own.split("|")[2].strip() == "32 x 16" and one.split("|")[2].strip() == "64 x 32"
    assert "--size 64 --p" in command
    with pytest.raises(UserError, match=r"^--size a map of"):
        evaluate.main(words("--workdir", trained, "--size", "64x3"))


def test_an_index_of_it(
    trained: Path, photographs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, images = tmp_path / "x.index", photographs[0].parent
    index.main(words("build", "--workdir", trained, "--images", images, "--out", folder))
    opened = stored.index(folder)
    vectors, _ = by_hand(stored.run(trained), photographs)
    ids = opened.snapshot.ids()
    paths = [opened.snapshot.row(int(id_)).path for id_ in ids]
    assert paths == words(*photographs)
    np.testing.assert_allclose(opened.snapshot.vectors(ids), vectors, atol=ROUNDING)
    more = tmp_path / "more"
    more.mkdir()
    (more / "again.png").write_bytes(photographs[3].read_bytes())
    index.main(words("add", "--index", folder, "--images", more))
    capsys.readouterr()
    index.main(words("info", "--index", folder))
    assert "images of 32 x 16 px" in capsys.readouterr().out
    search.main(words("--index", folder, more / "again.png", "--k", 2, "--json"))
    (answer,) = json.loads(capsys.readouterr().out)["results"]
    assert answer["neighbours"][0]["path"] == str(photographs[3])
    (alike,) = Index(folder, opened.embedder).duplicates(cosine=0.99999)
    assert {row.path for _, row in alike} == {str(photographs[3]), str(more / "again.png")}
    index.main(words("sync", "--index", folder, "--images", images, "--dry-run"))
    assert "6 as they were" in capsys.readouterr().out
    larger = tmp_path / "larger.index"
    given = ("--workdir", trained, "--images", images, "--out", larger, "--size", "64")
    index.main(words("build", *given))
    assert stored.index(larger).embedder.network.preprocessing.shape == (64, 32)


def test_the_page_shows_masks_of_the_aspect(
    trained: Path, photographs: list[Path], tmp_path: Path
) -> None:
    folder, images = tmp_path / "x.index", photographs[0].parent
    index.main(words("build", "--workdir", trained, "--images", images, "--out", folder))
    service = Service(stored.index(folder), 3)
    service.warm_up()
    answer = service.search(photographs[2].read_bytes())
    assert pixels(answer["query"]["image"]).shape[:2] == SHAPE
    assert answer["neighbours"][0]["path"] == str(photographs[2])
    heats = answer["attention"]["masks"]["learners"]
    assert {pixels(one["image"]).shape[:2] for one in heats} == {(224, 112)}
    thumbnail = service.thumbnail(answer["neighbours"][0]["id"]).data
    assert decoded(thumbnail).shape[:2] == FRAME


def test_pictures_keep_the_aspect(trained: Path, tmp_path: Path) -> None:
    run = embedded(trained, "ours", "val")
    made: Any = attention.pictures(run)
    drawn = [image for image in made[0].figure.axes[0].get_images() if isinstance(image, AxesImage)]
    sides = [image.get_extent() for image in drawn[:-1]]  # the last is the scale of colours
    ratios = {round((bottom - top) / (right - left), 6) for left, right, bottom, top in sides}
    assert ratios == {2.0}
    given = ("--workdir", trained, "--split", "val", "--only", "attention,classes")
    figures.main(words(*given, "--out", tmp_path / "pictures"))
    assert (tmp_path / "pictures" / "attention_mean.png").exists()
