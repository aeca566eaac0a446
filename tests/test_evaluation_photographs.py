"""A whitening fitted on photographs in a folder of their own, kept and read again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import created_state
from test_evaluation_whitened import SINGLE, TINY, embeddings, saved, split_of

from abe_jax import config, evaluation
from abe_jax.config import Config, build, checks, stored
from abe_jax.errors import UserError
from abe_jax.evaluation import whitening
from abe_jax.runs.fitted_whitening import Fitting

pytestmark = pytest.mark.usefixtures("as_a_user")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Thirty pictures at two depths, of no class, and one that cannot be read."""
    folder = tmp_path / "elsewhere"
    for at in range(30):
        path = folder / ("deeper" if at % 2 else "") / f"{at:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(at).integers(0, 256, (4, 5), np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (40, 36), interpolation=cv2.INTER_CUBIC))
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


def whitened_by(made: Config, files: Sequence[Path]) -> dict[str, float]:
    """The test split's metrics, whitened by what a loop embeds of these files."""
    network, state = build.network(made), created_state(made)
    variables = {"params": state.params["model"], "batch_stats": state.batch_stats}
    pixels = np.stack([network.preprocessing.crop(path.read_bytes()) for path in files])
    found = jax.jit(network.model.apply)(
        variables, network.preprocessing.normalise(jnp.asarray(pixels))
    )
    fitted = whitening.fit(np.asarray(found.unnormalised)[:, 0])
    raw, labels = embeddings(made, "test")
    return evaluation.scores(whitening.unit_whitened(fitted, raw), labels, (1, 2)).means()


@pytest.mark.slow
def test_a_whitening_is_fitted_on_other_photographs_and_outlives_them(
    photographs: Path, tmp_path: Path
) -> None:
    run = saved(tmp_path / "run", *SINGLE, "model.width=4", "data.unreadable_share=0.1")
    said: list[str] = []

    def row(**options: Any) -> dict[str, float]:
        said.clear()
        tested = stored.run(run.path, **options)
        return tested.measure("test", said.append).results.numbers["metrics"]["whitened"]

    asked = {"evaluate": [f"evaluate.whiten_path={photographs}", "evaluate.whiten=0"]}
    found, made = row(**asked), config.read_json(run.config)
    expected = whitened_by(made, sorted(photographs.rglob("*[0-9].png")))
    assert found == pytest.approx(expected, abs=0.003)  # two programs round an embedding apart
    assert said[0].startswith("warning: 1 of 31 images cannot be read")
    assert said[1].startswith("whitening fitted on 30 photographs of elsewhere: ")
    assert row(**asked) == found and not said  # kept
    tested = stored.run(run.path).whitened_on(photographs)
    assert tested.measure("test").name == "test whitened on photographs of elsewhere"
    assert tested.evaluate().numbers["metrics"]["whitened"] == found
    photographs.rename(tmp_path / "away")
    assert row(**asked) == found and not said  # and read again without the folder
    (tmp_path / "away" / "29.png").unlink(missing_ok=True)
    (tmp_path / "away" / "28.png").unlink()
    (tmp_path / "away").rename(photographs)
    assert row(**asked) != found and "29 photographs" in said[1]  # others: fitted anew
    asked["evaluate"][1] = "evaluate.whiten=20"
    row(**asked)
    assert "fitted on 20 photographs" in said[-1] or "fitted on 19 photographs" in said[-1]


def test_a_folder_without_photographs_is_one_line(tmp_path: Path) -> None:
    run = saved(tmp_path / "run", *SINGLE)
    (tmp_path / "empty").mkdir()
    for path, message in (("nowhere", "no such folder"), ("empty", "no image lies there")):
        where = tmp_path / path
        tested = stored.run(run.path).whitened_on(where)
        with pytest.raises(UserError, match=f"^whiten_path: {where}: {message}"):
            tested.measure("test")
        made = config.load(TINY, [f"evaluate.whiten_path={where}"])
        with pytest.raises(UserError, match=f"^config.evaluate.whiten_path: {where}: {message}"):
            checks.check(made, split_of(made, "train"), [])


def test_a_binding_to_photographs_is_to_their_names_and_sizes(photographs: Path) -> None:
    def bound(**options: Any) -> dict[str, str]:
        return Fitting(path=str(photographs), **options).source()

    first = bound()
    assert set(first) == {"images", "folder", "contents"} and bound() == first
    assert bound(images=9) != first
    (photographs / "00.png").rename(photographs / "000.png")
    second = bound()
    assert second["contents"] != first["contents"]
    (photographs / "000.png").write_bytes(b"other")
    assert bound()["contents"] != second["contents"]
    assert Fitting(images=40).source() == {}  # as it was before there were such folders
    assert Fitting(images=40).file == "" and not Fitting()
