"""What who waits for an index to be built is told: the rate, the time left, a smaller size."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from abe_jax.cli import index, index_commands
from abe_jax.config import stored
from abe_jax.config.weights import embedder_of_weights
from abe_jax.errors import UserError
from abe_jax.index import model_files, progress


def test_lines_say_the_rate_behind_the_compilation_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now)
    caplog.set_level(logging.INFO, "abe_jax")
    lines = progress.Lines(5932)
    now = 100.0  # the first batch, compiled
    lines.told(32)
    for _ in range(10):
        now += 8.0
        lines.told(64)
    assert caplog.messages == [
        "embedded 288 of 5,932 images, 8.0 images/s, 11m46s left",
        "embedded 544 of 5,932 images, 8.0 images/s, 11m14s left",
    ]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of 48 px."""
    folder, rng = tmp_path_factory.mktemp("small"), np.random.default_rng(0)
    for i in range(6):
        pixels = rng.integers(0, 256, (48, 60, 3)).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{i}.png"), pixels)
    return folder


def test_the_pictures_own_size_is_suggested_and_taken(small: Path, tmp_path: Path) -> None:
    rows = index_commands.list_images(small, None).rows
    embedder = embedder_of_weights("efficientnet-lite0")
    line = index_commands.smaller_size(embedder.network, rows)
    assert "sees 224 px, the pictures have 48 px: with --size 48" in line and "22 times" in line
    half = stored.at_size(embedder, 96)  # twice the pictures', no more
    assert index_commands.smaller_size(half.network, rows) == ""
    assert index_commands.smaller_size(stored.at_size(embedder, 98).network, rows)
    own = stored.at_size(embedder, 48)
    model_files.save(own, tmp_path / "model")  # as an index keeps it
    kept = stored.embedder_of_index(tmp_path / "model")
    seen = kept.network.preprocessing
    assert (seen.size, seen.resize) == (48, 55)
    assert kept.fingerprint == own.fingerprint != embedder.fingerprint


def test_a_size_that_the_network_does_not_take_is_one_line(small: Path, tmp_path: Path) -> None:
    words = ["build", "--weights", "efficientnet-lite0", "--images", str(small)]
    with pytest.raises(UserError, match=r"^--size 0; the side of an image"):
        index.main([*words, "--out", str(tmp_path / "x.index"), "--size", "0"])
