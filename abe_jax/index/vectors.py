"""Vectors on their way into an index or to its search: checked, and as they are stored."""

import math

import numpy as np
from jaxtyping import Float, Shaped

from abe_jax.errors import UserError
from abe_jax.evaluation import binary_codes
from abe_jax.evaluation.knn import check_finite
from abe_jax.evaluation.network import ROUNDING
from abe_jax.index.manifest import STORAGES, VectorSpec

F16 = float(np.finfo(np.float16).max)
LONGEST = 1e15  # squared lengths up to its square have squared distances in float32
# Of a learner's unit vector: the squared distance that a second embedding of the same image stays
# below. float16 rounds each number by 2^-11 of itself at most, so the vector by 2^-22, squared;
# another batch or device in float32 (ROUNDING) adds 4e-12.
COPY = 1e-6


def copy_distance(spec: VectorSpec) -> float:
    """The distance up to which a stored image may be a copy of the query; 0 bits of a code."""
    return 0.0 if spec.storage == "binary" else COPY * spec.learners


def is_match(distance: float, threshold: float, spec: VectorSpec) -> bool:
    """Whether a distance is within a threshold, up to the rounding of a query's embedding.

    A query q of m vectors, of unit length or their squares summing to m, that is embedded again, in
    another batch, is another by e = ROUNDING sqrt(m) at most, and a squared distance t to it by
    2 e sqrt(t) + e^2.
    """
    if spec.storage == "binary":
        return distance <= threshold
    error = ROUNDING * math.sqrt(spec.learners)
    return distance <= threshold + 2 * error * math.sqrt(max(threshold, 0.0)) + error**2


def flattened(
    vectors: Float[np.ndarray, "..."], spec: VectorSpec, what: str
) -> Float[np.ndarray, "n w"]:
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


def as_stored(vectors: Float[np.ndarray, "..."], spec: VectorSpec) -> Shaped[np.ndarray, "n w"]:
    """Vectors [n, m, d] as the index's files hold them. Raises UserError as `flattened`."""
    x = flattened(vectors, spec, "vectors")
    if spec.storage == "binary":
        return np.asarray(binary_codes.pack(x)) if len(x) else np.zeros((0, spec.width), np.uint8)
    if spec.storage == "float16" and x.size and float(np.abs(x).max()) > F16:
        raise UserError("vectors hold numbers beyond float16: build the index with float32")
    return x.astype(STORAGES[spec.storage])
