"""Strictness for every test: shapes and types are checked, promotion is refused."""

import atexit
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
import typecheck

typecheck.install("abe_jax")

from abe_jax import data  # noqa: E402 (after the hook, which checks what is imported)

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# What several tests compile alike is compiled once for this session, in whichever of its processes:
# the first of them, which starts the others, makes the folder and removes it.
COMPILED = "ABE_JAX_TESTS_COMPILED"
if COMPILED not in os.environ:
    folder = tempfile.TemporaryDirectory()
    os.environ[COMPILED] = folder.name
    atexit.register(folder.cleanup)
jax.config.update("jax_compilation_cache_dir", os.environ[COMPILED])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-pixels", action="store_true", help="write docs/PIXELS.md anew")
    parser.addoption(
        "--kills", type=int, default=3, help="how often test_train_host_dies.py kills a host"
    )
    parser.addoption("--kill-seed", type=int, help="what its kills are drawn by; default: drawn")


@pytest.fixture(scope="module", autouse=True)
def _programs_let_go() -> Iterator[None]:
    """Programs are kept on disk: in memory each takes pieces of the address space, whose number
    is limited, and after some thousand of them the compiler crashed."""
    yield
    jax.clear_caches()


@pytest.fixture
def promotion() -> Iterator[None]:
    """Types are promoted as in a program of a user's: optax promotes its counters."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def as_a_user(promotion: None, tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`promotion`, and prepared data where a command looks for it."""
    monkeypatch.setenv("ABE_JAX_DATA", str(tiny_data))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of prepared data with glyphs_tiny in it."""
    root = tmp_path_factory.mktemp("data")
    data.glyphs(root, tiny=True).prepare()
    return root
