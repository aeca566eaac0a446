"""Configs changed at random: each is accepted or refused in one line, through all that a training
checks before it reads an image."""

import contextlib
import copy
import pickle
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import ROOT, TINY

from abe_jax import config
from abe_jax.config import build
from abe_jax.config.training import prepare_training
from abe_jax.data import Dataset, Split
from abe_jax.errors import UserError

OVERRIDES = (  # so that every config can be trained on the images below, but for what is changed
    "model.weights=",
    "data.unseen_domains=()",
    "data.validation_domains=()",
    "data.images_per_class=4",
    "data.held_out=0.0",
    "data.repeats=1",
    "data.path=x",
    "train.batch=40",
    "evaluate.ks=(1, 2)",
    "evaluate.select=recall@1",
)
NAMES = ("quickstart", "photographs", "metabin_glyphs", "normsoftmax_sop", "multigrain_imagenet")
FILES = (TINY, *(ROOT / "configs" / f"{name}.py" for name in NAMES))
ODD = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 64, 1000, 65_537, 2**31 - 1, 2**31, -(2**31), 10**30),
    *(0.0, -0.5, 0.5, 1.0, 1e-30, 1e30, 3.5e38, float("inf"), float("-inf"), float("nan")),
    *(
        "",
        " ",
        "x",
        "1",
        "None",
        "\0",
        "\n",
        "é",
        "a" * 300,
        "a" * 5000,
        "../..",
        "~",
        "/dev/null",
        "1e999",
    ),
    *([], [[]], [0], [1, 2], ["x"], {}, {"name": "x"}, {"x": []}, [None] * 20, (), b"x", 1j, {1}),
    *("contrastive", "margin", "cosine", "step", "domains", "pairs", "gem", "heads", "single"),
)
FILE = """
import pathlib, pickle
def get_config():
    return pickle.loads(pathlib.Path(__file__).with_suffix(".pickle").read_bytes())
"""
SECONDS = 20  # that one config may take


pytestmark = pytest.mark.usefixtures("promotion")


@pytest.fixture(scope="module")
def images() -> Dataset:
    """Splits of 40 classes in 8 domains; none of their images is there."""

    def split(name: str) -> Split:
        labels = np.repeat(np.arange(40, dtype=np.int32), 8)
        return Split(
            name=name,
            records=[b""] * len(labels),
            labels=labels,
            groups=np.tile(np.arange(8, dtype=np.int32), 40),
            class_names=tuple(f"{name}{i}" for i in range(40)),
            group_names=tuple(f"domain{i}" for i in range(8)),
        )

    return Dataset.of_splits(split("train"), split("val"), split("test"))


def positions(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in nested dicts and lists, as its holder and its key."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from positions(value)


def mutated(mapping: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    changed = copy.deepcopy(mapping)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        node, key = rng.choice(list(positions(changed)))
        kind = rng.random()
        if kind < 0.6:
            node[key] = copy.deepcopy(rng.choice(ODD))
        elif kind < 0.75 and isinstance(node[key], int | float):
            node[key] = node[key] * rng.choice((-1, 2, 10, 0.5, 1000)) + rng.choice((0, 1))
        elif kind < 0.85:
            other, name = rng.choice(list(positions(changed)))
            node[key] = copy.deepcopy(other[name])
        elif isinstance(node, dict):
            node[rng.choice(("x", "name", "steps", "custom", "", "a\nb", "é"))] = node.pop(key)
        else:
            node.insert(key, copy.deepcopy(node[key]))
        if not any(True for _ in positions(changed)):
            break
    return changed


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(mapping: dict[str, Any], file: Path, images: Dataset) -> str:
    """ "accepted", or the one line of a refusal."""
    file.with_suffix(".pickle").write_bytes(pickle.dumps(mapping))
    try:
        with limited(SECONDS):
            made = config.load(file)
            build.dataset(made.data)
            prepare_training(made, file.parent / "run", lambda line: None, images).close()
    except UserError as error:
        return str(error)
    except OSError as error:  # which a command tells in one line
        return f"{error.filename}: {error.strerror}"
    return "accepted"


def fuzz(number: int, seed: int, images: Dataset, folder: Path) -> dict[str, int]:
    rng, found = random.Random(seed), {"accepted": 0, "refused": 0}
    file = folder / "made.py"
    file.write_text(FILE)
    bases = [config.to_mapping(config.load(path, OVERRIDES)) for path in FILES]
    assert [outcome(base, file, images) for base in bases] == ["accepted"] * len(bases)
    for i in range(number):
        mapping = mutated(rng.choice(bases), rng)
        try:
            said = outcome(mapping, file, images)
        except Exception as error:
            raise AssertionError(f"{i} of seed {seed}: {error!r} for {mapping}") from error
        assert "\n" not in said and len(said) < 1_000, (said, mapping)
        found["accepted" if said == "accepted" else "refused"] += 1
    return found


def test_three_hundred_changed_configs(images: Dataset, tmp_path: Path) -> None:
    found = fuzz(300, 1, images, tmp_path)
    assert min(found.values()) > 10, found  # about one in fifteen is accepted


@pytest.mark.slow
def test_ten_thousand_changed_configs(images: Dataset, tmp_path: Path) -> None:
    found = fuzz(10_000, 2, images, tmp_path)
    assert min(found.values()) > 500, found
