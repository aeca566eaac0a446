"""Strictness for every test: shapes and types are checked, promotion is refused."""

from pathlib import Path

import jax
import pytest
from jaxtyping import install_import_hook

install_import_hook("abe_jax", "typecheck.checker")

from abe_jax.config import Data  # noqa: E402 (after the hook, which checks what is imported)
from abe_jax.data import datasets  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of prepared data with glyphs_tiny in it."""
    root = tmp_path_factory.mktemp("data")
    datasets.prepare(Data(name="glyphs_tiny", root=str(root)))
    return root
