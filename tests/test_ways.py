"""Which way a piece goes: by platform, by the environment, by who measures."""

import jax
import jax.numpy as jnp
import pytest

from abe_jax import ways
from abe_jax.errors import UserError


@pytest.fixture(autouse=True)
def _two_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ways.VARIABLE, raising=False)
    monkeypatch.setattr(ways, "PIECES", ("fast", "slow"))
    monkeypatch.setattr(ways, "ON_GPU", frozenset({"fast"}))


def test_the_platform_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    for platform, expected in (("cpu", False), ("gpu", True), ("tpu", False)):
        monkeypatch.setattr(jax, "default_backend", lambda platform=platform: platform)
        assert ways.taken("fast") is expected
        assert not ways.taken("slow")


def test_the_environment_decides_on_any_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    for platform in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda platform=platform: platform)
        for text, expected in (
            ("slow", {"slow"}),
            (" slow, fast", {"slow", "fast"}),
            ("none", set()),
            ("", set()),
        ):
            monkeypatch.setenv(ways.VARIABLE, text)
            assert {piece for piece in ways.PIECES if ways.taken(piece)} == expected


def test_an_unknown_piece_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ways.VARIABLE, "fats")
    with pytest.raises(UserError, match=r"'fats'.*did you mean 'fast'"):
        ways.taken("slow")


def test_who_measures_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ways.VARIABLE, "fast")
    with ways.only("slow"):
        assert ways.taken("slow") and not ways.taken("fast")
        with ways.only():
            assert not ways.taken("slow")
    assert ways.taken("fast")


def test_a_function_traced_one_way_is_traced_again_the_other() -> None:
    compiled = jax.jit(lambda x: x + (1 if ways.taken("fast") else 2))
    assert compiled(jnp.float32(0)) == 2
    with ways.only("fast"):
        assert compiled(jnp.float32(0)) == 1
    assert compiled(jnp.float32(0)) == 2
