"""Strictness for every test: shapes and types are checked, promotion is refused."""

import jax
from jaxtyping import install_import_hook

install_import_hook("abe_jax", "typecheck.checker")

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
