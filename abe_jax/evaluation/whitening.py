"""PCA whitening of embeddings with a bias channel, and a linear classifier folded into it.

In NumPy: it is fitted in float64, which JAX has only behind a flag of the whole process.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from abe_jax.errors import UserError

# A direction of less than this share of the largest variance is left out: its standard deviation
# is below 1e-5 of the largest, where the rounding of float32 embeddings (6e-8) begins to show.
LEAST_VARIANCE = 1e-10
ALIKE = 1e-14  # variance of unit vectors that differ by the rounding of float32 alone
ROWS = 4096  # whitened at once by `unit_whitened`, in float64


class Whitening(NamedTuple):
    """y = (z - mean) projection, with z = [e; 1] / |[e; 1]| of an embedding e of D numbers."""

    mean: Float[np.ndarray, " D+1"]
    projection: Float[np.ndarray, "D+1 k"]  # components / standard deviation, the largest first


class FoldedClassifier(NamedTuple):
    """A linear classifier of y: logits y weight^T + bias."""

    weight: Float[np.ndarray, "classes k"]
    bias: Float[np.ndarray, " classes"]


def fit(embeddings: Float[np.ndarray, "n D"], dim: int | None = None) -> Whitening:
    """The whitening whose y of these embeddings have mean 0 and the identity as covariance.

    P = components^T / sqrt(variance) of z's principal components, in float64; the covariance is
    divided by n - 1. A direction of less than LEAST_VARIANCE of the largest variance is dropped, so
    k is the rank of the data: at most D + 1, and n - 1 for few embeddings. `dim` keeps the `dim`
    leading directions. Embeddings of constant length (several learners' unit vectors side by side)
    have a bias channel without variance, which is dropped as well.

    Raises UserError for fewer than two embeddings, embeddings all alike or not finite, and a `dim`
    that there are not as many directions for.
    Source: Berman et al., MultiGrain, arXiv 1902.05509, the whitening that is folded into the
    classifier.
    """
    if len(embeddings) < 2:
        raise UserError(f"a whitening is fitted on 2 embeddings or more, not on {len(embeddings)}")
    if not np.isfinite(embeddings).all():
        raise UserError("a whitening is fitted on finite embeddings; some are not")
    z = lifted(embeddings.astype(np.float64))
    mean = z.mean(axis=0)
    z -= mean
    variance, components = np.linalg.eigh(z.T @ z / (len(z) - 1))
    variance, components = variance[::-1], components[:, ::-1]
    if variance[0] < ALIKE:
        raise UserError("a whitening cannot be fitted: the embeddings are all alike")
    rank = int((variance > LEAST_VARIANCE * variance[0]).sum())
    if dim is not None and not 1 <= dim <= rank:
        raise UserError(f"a whitening of these embeddings has 1 to {rank} directions, not {dim}")
    kept = slice(rank if dim is None else dim)
    return Whitening(mean, components[:, kept] / np.sqrt(variance[kept]))


def lifted(embeddings: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D+1"]:
    """z = [e; 1] / |[e; 1]|: it keeps the length of e, which the cosine alone would lose."""
    ones = np.ones((len(embeddings), 1), embeddings.dtype)
    z = np.concatenate([embeddings, ones], axis=1)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return z


def apply(whitening: Whitening, embeddings: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n k"]:
    """y = (z - mean) P, computed and returned in the type of `embeddings`."""
    mean, projection = (part.astype(embeddings.dtype) for part in whitening)
    z = lifted(embeddings)
    z -= mean
    return z @ projection


def unit_whitened(
    whitening: Whitening, embeddings: Float[np.ndarray, "n D"]
) -> Float[np.ndarray, "n k"]:
    """y / |y| in float32, computed in float64: nearest by these is nearest by the cosine of y."""
    whitened = np.empty((len(embeddings), whitening.projection.shape[1]), np.float32)
    for start in range(0, len(whitened), ROWS):
        rows = slice(start, start + ROWS)
        y = apply(whitening, embeddings[rows].astype(np.float64))
        length = np.linalg.norm(y, axis=1, keepdims=True)
        whitened[rows] = y / np.where(length == 0.0, 1.0, length)
    return whitened


def fold(
    whitening: Whitening,
    weight: Float[np.ndarray, "classes D"],
    bias: Float[np.ndarray, " classes"],
) -> FoldedClassifier:
    """The classifier of y that says of e what `weight` e + `bias` says, divided by |[e; 1]|.

    W' = W~ (P^T)^+ and b' = W~ mean with W~ = [weight, bias], so that W' y + b' = W~ z. The
    division leaves the order of the classes as it is, and so the argmax, but not the
    probabilities. Where the whitening dropped directions, W' y + b' = W~ (mean + the part of
    z - mean along those kept): the same wherever z differs from the mean along these alone, as
    it does by the rank of the data it was fitted on, and else off by W~ times the part left out.

    Computed in float64. Source: as of `fit`.
    """
    joined = np.concatenate([weight, bias[:, None]], axis=1).astype(np.float64)
    p = whitening.projection
    # P's columns are orthogonal and 1 / sqrt(variance) long: (P^T)^+ is P diag(variance).
    inverse = p / (p * p).sum(axis=0)
    return FoldedClassifier(joined @ inverse, joined @ whitening.mean)
