"""Files and folders that a config names: what hosts compare of them."""

from pathlib import Path

import pytest
from processes import TINY

from abe_jax import config
from abe_jax.config.local_files import contents


def of(*overrides: str, begun: bool = False) -> dict[str, str]:
    return contents(config.load(TINY, overrides), begun=begun)


def test_a_files_bytes_count_and_a_name_counts_as_nothing(tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    given = f"data.points_path={points}"
    assert of() == of(given) == of("model.weights=efficientnet-lite0") == {}
    points.write_text("path,points\n")
    first = of(given)
    assert list(first) == ["what config.data.points_path holds"]
    points.write_text("path,Points\n")
    assert of(given) != first


def test_of_a_folder_names_and_sizes_count(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.jpg").write_bytes(b"some")
    given = f"evaluate.whiten_path={tmp_path}"
    first = of(given)
    assert list(first) == ["what config.evaluate.whiten_path holds"]
    (tmp_path / "a" / "0.jpg").rename(tmp_path / "a" / "1.jpg")
    second = of(given)
    (tmp_path / "a" / "1.jpg").write_bytes(b"some more")
    assert len({str(found) for found in (first, second, of(given))}) == 3


@pytest.mark.parametrize(
    ("setting", "asked"),
    [
        ("model.weights", {"begun": False}),
        ("evaluate.near_weights", {"begun": True}),
    ],
)
def test_weights_count_where_they_are_asked_for(
    setting: str, asked: dict[str, bool], tmp_path: Path
) -> None:
    (tmp_path / "weights.npz").write_bytes(b"some")
    given = (f"{setting}={tmp_path / 'weights.npz'}", "evaluate.near_duplicates=distance")
    assert list(of(*given, **asked)) == [f"what config.{setting} holds"]
    if setting == "model.weights":
        assert of(*given, begun=True) == {}
    else:
        assert of(given[0]) == {}
