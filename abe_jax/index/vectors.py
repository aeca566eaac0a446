"""Vectors on their way into an index or to its search: checked, and as they are stored."""

import numpy as np
from jaxtyping import Float, Shaped

from abe_jax.errors import UserError
from abe_jax.evaluation import binary_codes
from abe_jax.evaluation.knn import check_finite
from abe_jax.index.manifest import STORAGES, Spec

F16 = float(np.finfo(np.float16).max)
LONGEST = 1e15  # squared lengths up to its square have squared distances in float32


def flat(vectors: Float[np.ndarray, "..."], spec: Spec, what: str) -> Float[np.ndarray, "n w"]:
    """Vectors [n, m, d] as float32 [n, m * d].

    Raises UserError where the shape is not the index's or a number is not finite or too large.
    """
    if vectors.shape[1:] != (spec.learners, spec.dim):
        raise UserError(
            f"{what} of shape {vectors.shape} do not fit an index of {spec.learners} learners of "
            f"{spec.dim} dimensions: [n, {spec.learners}, {spec.dim}]"
        )
    x = np.asarray(vectors, np.float32).reshape(len(vectors), spec.learners * spec.dim)
    check_finite(x, what)
    if x.size and float(np.abs(x).max()) > LONGEST:
        raise UserError(f"{what} hold numbers beyond {LONGEST:g}, whose distances overflow")
    return x


def stored(vectors: Float[np.ndarray, "..."], spec: Spec) -> Shaped[np.ndarray, "n w"]:
    """Vectors [n, m, d] as the index's files hold them. Raises UserError as `flat`."""
    x = flat(vectors, spec, "vectors")
    if spec.storage == "binary":
        return np.asarray(binary_codes.pack(x)) if len(x) else np.zeros((0, spec.width), np.uint8)
    if spec.storage == "float16" and x.size and float(np.abs(x).max()) > F16:
        raise UserError("vectors hold numbers beyond float16: build the index with float32")
    return x.astype(STORAGES[spec.storage])
