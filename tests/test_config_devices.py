"""Batches that do not divide over the devices: which would, and with how many a run goes on."""

from pathlib import Path

import jax
import pytest

from abe_jax.config import devices, files
from abe_jax.errors import UserError

TINY = Path(__file__).with_name("tiny_config.py")
META = (
    "model.norm=bin",
    "data.sampler=domains",
    "data.domains_per_batch=4",
    "data.images_per_class=2",
    "meta.domains=3",
)


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "device_count", lambda: 8)


def check(*overrides: str, begun: tuple[str, ...] | None = None) -> None:
    run = None if begun is None else files.load(TINY, begun)
    devices.check_devices(files.load(TINY, overrides), run)


def refused(*overrides: str, begun: tuple[str, ...] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        check(*overrides, begun=begun)
    return str(caught.value)


def test_the_nearest_batch_is_named() -> None:
    check("train.batch=48", "evaluate.batch=60")  # that of an evaluation grows
    assert refused("train.batch=49").endswith("do not divide over 8 devices; the nearest is 48")
    assert refused("train.batch=3").endswith("the nearest is 8")


def test_both_parts_of_a_batch_divide() -> None:
    said = refused(*META, "train.batch=48")
    assert "36 meta-train rows of 48 do" in said and said.endswith("a multiple of 32 does")
    check(*META, "train.batch=64")
    said = refused(*META, "train.batch=48", "data.images_per_class=3")
    assert said.endswith("a multiple of 96 does")  # of 4 domains x 3 images too


@pytest.mark.parametrize(
    ("number", "overrides", "says"),
    [
        (3, ("train.batch=32",), "32 images do not divide over 3 devices; # 2 or 4 devices"),
        (64, ("train.batch=32",), "32 images do not divide over 64 devices; # 32 devices"),
        (2, ("train.batch=5",), "5 images do not divide over 2 devices; # 1 or 5 devices"),
        (2, ("train.batch=6", "train.chunks=6"), "3 rows a device, but 6 chunks; # 1 device"),
        (5, (*META, "train.batch=48"), "36 meta-train rows of 48 do not * 5 devices; # 4 or 6 dev"),
        (8, ("train.batch=32", "train.chunks=8"), "4 rows a device, but 8 chunks; # 4 devices"),
    ],
)
def test_of_a_run_that_goes_on_numbers_of_devices_are_named(
    number: int, overrides: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For its batch stays what it is, and so do its chunks."""
    monkeypatch.setattr(jax, "device_count", lambda: number)
    said = refused(*overrides, begun=overrides)
    first, _, last = says.replace("#", "this run goes on with").partition(" * ")
    assert first in said and last in said and "\n" not in said


def test_another_batch_than_the_begun_runs_is_told_as_a_new_one() -> None:
    said = refused("train.batch=33", begun=("train.batch=32",))
    assert said.endswith("33 images do not divide over 8 devices; the nearest is 32")
    never = ("train.batch=32", "train.chunks=5")
    assert refused(*never, begun=never).endswith("4 rows a device, but 5 chunks; the nearest is 4")
