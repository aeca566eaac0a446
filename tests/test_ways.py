"""Which way a piece goes: by platform, by the environment, by who measures."""

import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from processes import ROOT, command, environment

from abe_jax import hosts, ways
from abe_jax.config import checks
from abe_jax.errors import UserError
from abe_jax.models.backbones.layers import Conv
from abe_jax.models.backbones.siblings import rectified_siblings
from abe_jax.training import norms

EVERY = ways.PIECES


class OfOne(nn.Module):
    """One sibling."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return rectified_siblings(x, {"one": 4}, dtype=x.dtype)["one"]


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
            ("none,", set()),
            ("", set()),
        ):
            monkeypatch.setenv(ways.VARIABLE, text)
            assert {piece for piece in ways.PIECES if ways.taken(piece)} == expected


def test_an_unknown_piece_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ways.VARIABLE, "fats")
    with pytest.raises(UserError, match=r"'fats'.*did you mean 'fast'"):
        ways.taken("slow")
    monkeypatch.setenv(ways.VARIABLE, "fast,none")
    with pytest.raises(UserError, match="'none' stands alone"):
        ways.taken("slow")


def test_a_command_ends_with_one_line_before_it_begins(tmp_path: Path) -> None:
    words = command("train", "--config", "nowhere.py", "--workdir", tmp_path)
    env = {**environment(tmp_path), ways.VARIABLE: "poling"}
    ended = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and not ended.stdout
    line = "error: ABE_JAX_GPU_WAYS: no piece is called 'poling'; did you mean 'pooling'?\n"
    assert ended.stderr == line


def test_hosts_that_go_different_ways_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ways.VARIABLE, "fast")
    checks.check_ways()
    for others, refused in (([True, False], False), ([False, False], True), ([True, True], True)):
        monkeypatch.setattr(
            hosts, "gather_rows", lambda rows, others=others: np.vstack([rows, others])
        )
        with pytest.raises(UserError, match="alike on all") if refused else nullcontext():
            checks.check_ways()


def test_who_measures_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ways.VARIABLE, "fast")
    with ways.only("slow"):
        assert ways.taken("slow") and not ways.taken("fast")
        with ways.only():
            assert not ways.taken("slow")
    assert ways.taken("fast")


@pytest.mark.parametrize("transformed", [jax.jit, jax.pmap, jax.checkpoint])
def test_a_function_traced_one_way_is_traced_again_the_other(transformed: Any) -> None:
    found, zeros = [], jnp.zeros(jax.local_device_count())
    step = transformed(lambda x: x + (1 if ways.taken("fast") else 2))
    for chosen in ((), ("fast",), ()):
        with ways.only(*chosen):
            found.append(int(step(zeros)[0]))
    assert found == [2, 1, 2]


def test_parameters_may_be_of_numpy_on_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    params = {
        "kernel": np.ones((3, 3, 2, 4), np.float32),
        "bias": np.full(4, 0.5, np.float32),
    }
    single = {"one": {"kernel": np.ones((1, 1, 2, 4), np.float32), "bias": params["bias"]}}
    x = jnp.ones((1, 3, 3, 2))
    gradients = {"bias": np.full(4, 3.0, np.float32)}
    monkeypatch.setattr(ways, "PIECES", EVERY)
    for way in ((), EVERY):
        with ways.only(*way):
            y: Any = Conv(4, 3, rectify=True).apply({"params": params}, x)
            assert y[0, 1, 1, 0] == 18.5
            clip = norms.clipped(1.0)
            clipped: Any = clip.update(gradients, clip.init(gradients))
            assert np.allclose(clipped[0]["bias"], 0.5)
    together: Any = OfOne().apply({"params": single}, x)
    assert together[0, 0, 0, 0] == 2.5
