"""Mutated manifests through the commands: one line or an answer, no traceback and no hang."""

import copy
import json
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_examples import MODEL, built, drawn, named
from index_forged import signed

from abe_jax import index
from abe_jax.cli import index as index_command
from abe_jax.cli import search as search_command
from abe_jax.config import stored
from abe_jax.errors import UserError
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.network import Embedded
from abe_jax.index import Threshold

SECONDS = 20  # that no command on an index of 33 rows may take
VALUES = (
    *(None, True, False, 0, 1, -1, 2, 9, 2.0, -0.5, 1e308, float("nan"), float("inf")),
    *(2**31, -(2**31), 2**63, 10**30, 10**4000, "", "x", "0", "binary", "float16", "a\nb", "\0"),
    *("../../x", "/etc/passwd", "..", "\ud800", "é" * 3000, "f" * 64),
    *([], [1], [{}], [None], [[]], {}, {"a": 1}, {"name": "x"}, {"": None}),
)


class Drawn(Embedder):
    """Stands for the network of the index: vectors without pixels."""

    def __init__(self) -> None:
        """Needs no parameters."""

    @property
    def fingerprint(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the network that the index names."""
        return MODEL

    def embed(self, images: Any) -> Embedded:
        """As many vectors as images."""
        n = len(images)
        return Embedded(drawn(n, seed=3), np.arange(n), np.zeros(0, np.int64))


def positions(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every value below, by what holds it and under which name or number."""
    names = content if isinstance(content, dict) else range(len(content))
    for name in list(names):
        yield content, name
        if isinstance(content[name], dict | list):
            yield from positions(content[name])


def mutated(complete: bytes, rng: random.Random) -> bytes:
    """The manifest with one to three changes; mostly under a checksum that fits."""
    content = json.loads(complete)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change(content, rng)
    text = signed(content) if rng.random() < 0.8 else json.dumps(content).encode()
    return in_bytes(text, rng) if rng.random() < 0.15 else text


def change(content: dict[str, Any], rng: random.Random) -> None:
    found = list(positions(content))
    if not found:
        return
    inside, name = rng.choice(found)
    value = inside[name]
    others = [(a, b) for a, b in found if type(a[b]) is type(value)]
    other, its = rng.choice(others)
    match rng.choice(("drop", "retype", "retype", "retype", "number", "nest", "rename", "copy")):
        case "drop":
            del inside[name]
        case "number" if type(value) is int:
            inside[name] = rng.choice((-value, value + 1, value - 1, value * 2**40, float(value)))
        case "nest":
            for _ in range(rng.choice((1, 2, 50, 400))):
                value = rng.choice(([value], {"a": value}))
            inside[name] = value
        case "rename" if isinstance(inside, dict):
            inside[rng.choice((f"{name}s", name.upper(), "", "name", "count"))] = inside.pop(name)
        case "copy":
            inside[name] = copy.deepcopy(other[its])  # of this kind, from another place
        case _:
            inside[name] = copy.deepcopy(rng.choice(VALUES))


def in_bytes(text: bytes, rng: random.Random) -> bytes:
    """The text cut, with other bytes in it, nested too deeply, or with a name that stands twice."""
    at = rng.randrange(len(text))
    return rng.choice(
        (
            text[:at],
            text[:at] + rng.randbytes(3) + text[at:],
            text[:at] + bytes([text[at] ^ 1 << rng.randrange(8)]) + text[at + 1 :],
            text[:at] + b"[" * 100_000 + text[at:],
            text.replace(b"{", b'{"learners": 3, ', 1),
            text.replace(b"{", b'{"name": "x", ', 4),
            text.replace(b"1", b"1" * 5000, 1),
            text * 2,
        )
    )


def too_long(*_: object) -> None:
    raise AssertionError(f"longer than {SECONDS} seconds")


@pytest.mark.parametrize(
    "numbers",
    [range(40), pytest.param(range(40, 2040), marks=pytest.mark.slow)],
    ids=lambda numbers: len(numbers),
)
def test_a_mutated_manifest_is_one_line_or_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: range
) -> None:
    folder = built(tmp_path / "index", drawn(30), pieces=1)
    index.add(folder, drawn(3, seed=1), named("abc"), MODEL)
    index.remove(folder, np.array([4]))
    index.set_threshold(folder, Threshold(0.5, "precision 0.9", {"precision": 0.91, "n": 7}))
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text("{}")
    (tmp_path / "image.png").write_bytes(b"drawn")
    monkeypatch.setattr(stored, "embedder_of_index", lambda *_: Drawn())
    before = signal.signal(signal.SIGALRM, too_long)
    complete, answered = (folder / "index.json").read_bytes(), 0
    try:
        for number in numbers:
            text = mutated(complete, random.Random(number))
            (folder / "index.json").write_bytes(text)
            signal.alarm(SECONDS)
            failed = [one for one in commands(folder, tmp_path / "image.png") if not answers(*one)]
            signal.alarm(0)
            answered += not failed
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    # Most must be refused, but not for what every manifest has in common.
    assert 0.01 * len(numbers) < answered < 0.3 * len(numbers)


def commands(folder: Path, image: Path) -> list[tuple[Any, list[str]]]:
    """What is asked of each index; what would change it is asked of a copy."""
    other = shutil.copytree(folder, folder.parent / "copy", dirs_exist_ok=True)
    return [
        (index_command.main, ["info", "--index", str(folder), "--verify"]),
        (index_command.main, ["info", "--index", str(folder), "--json"]),
        (search_command.main, ["--index", str(folder), str(image), "--all"]),
        (search_command.main, ["--index", str(folder), "--duplicates", "--distance", "0.1"]),
        (index_command.main, ["remove", "--index", str(other), "--ids", "0"]),
    ]


def answers(command: Any, words: list[str]) -> bool:
    """Whether a command answers; what it refuses must be one line that is not endless."""
    try:
        command(words)
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000, str(error)[:2000]
        return False
    return True
