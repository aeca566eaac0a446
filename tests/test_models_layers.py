"""Convolution, pooling and response normalisation against plain loops."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax.models.backbones.layers import (
    BatchNorm,
    Conv,
    local_response,
    max_pool,
    mean_pool,
)


def image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def caffe_max_pool(x: np.ndarray, size: int, stride: int, pad: int):
    """Caffe's loop; also where each maximum came from, for the gradient."""
    b, h, w, c = x.shape

    def length(n: int) -> int:
        out = int(np.ceil((n + 2 * pad - size) / stride)) + 1
        return out - 1 if pad and (out - 1) * stride >= n + pad else out

    out = np.zeros((b, length(h), length(w), c), np.float32)
    gradient = np.zeros_like(x)
    for n, i, j, k in np.ndindex(*out.shape):
        rows = range(max(i * stride - pad, 0), min(i * stride - pad + size, h))
        columns = range(max(j * stride - pad, 0), min(j * stride - pad + size, w))
        best = max(((r, s) for r in rows for s in columns), key=lambda at: x[n, at[0], at[1], k])
        out[n, i, j, k] = x[n, best[0], best[1], k]
        gradient[n, best[0], best[1], k] += 1 + i + 10 * j
    return out, gradient


@pytest.mark.parametrize(
    ("h", "w", "size", "stride", "pad"),
    [(7, 7, 3, 2, 0), (8, 9, 3, 2, 0), (14, 5, 3, 2, 0), (6, 7, 3, 1, 1), (5, 6, 2, 2, 1)],
)
def test_max_pool_against_caffes_loop(h, w, size, stride, pad):
    x = image(2, h, w, 3)
    expected, gradient = caffe_max_pool(x, size, stride, pad)
    found = max_pool(jnp.asarray(x), size=size, stride=stride, pad=pad)
    np.testing.assert_array_equal(found, expected)

    weights = 1 + np.arange(expected.shape[1])[:, None] + 10 * np.arange(expected.shape[2])[None]
    weights = jnp.asarray(np.broadcast_to(weights[None, :, :, None], expected.shape), jnp.float32)
    taken = jax.grad(lambda x: (max_pool(x, size=size, stride=stride, pad=pad) * weights).sum())
    np.testing.assert_allclose(taken(jnp.asarray(x)), gradient, rtol=1e-6)


def test_max_pool_shares_the_gradient_of_equal_entries():
    gradient = jax.grad(lambda x: max_pool(x, size=3, stride=2).sum())(jnp.ones((1, 6, 6, 1)))
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(), 9)  # one for each of the 3 x 3 windows


def test_mean_pool_against_a_loop():
    x = image(2, 4, 6, 3)
    expected = [
        [x[:, i : i + 2, j : j + 2].mean((1, 2)) for j in range(0, 6, 2)] for i in range(0, 4, 2)
    ]
    found = mean_pool(jnp.asarray(x), size=2)
    # Where four entries cancel, the order in which a processor adds them decides the relative
    # error: each of three sums of up to 10 is rounded by at most 5e-7, and a quarter of it is left.
    expected = np.array(expected).transpose(2, 0, 1, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=4e-7)


def test_local_response_against_a_loop():
    x = 30 * image(2, 3, 3, 8)  # large, so that the small alpha makes itself felt
    expected = np.zeros_like(x)
    for k in range(8):
        window = x[..., max(k - 2, 0) : k + 3].astype(np.float64)
        expected[..., k] = x[..., k] / (1 + 1e-4 / 5 * (window**2).sum(-1)) ** 0.75
    assert np.abs(expected / x - 1).max() > 0.02
    np.testing.assert_allclose(local_response(jnp.asarray(x)), expected, rtol=1e-5)


def loop_convolution(x, kernel, bias, stride):
    size = kernel.shape[0]
    pad = (size - 1) // 2
    wide = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    outs = []
    for i in range(0, wide.shape[1] - size + 1, stride):
        row = []
        for j in range(0, wide.shape[2] - size + 1, stride):
            window = wide[:, i : i + size, j : j + size]
            row.append(np.einsum("bhwc,hwck->bk", window, kernel) + bias)
        outs.append(row)
    return np.array(outs).transpose(2, 0, 1, 3)


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2)])
def test_convolution_against_a_loop(size, stride):
    x = image(2, 6, 7, 3)
    conv = Conv(4, size, stride=stride)
    kernel, bias = image(size, size, 3, 4, seed=1), np.arange(4, dtype=np.float32)
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
    found = conv.apply({"params": params}, jnp.asarray(x))
    expected = loop_convolution(x, kernel, bias, stride)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=1e-5)


def test_running_statistics_are_means_over_the_batch_divided_by_n():
    layer = BatchNorm(epsilon=1e-5)
    x = 3.0 * image(2, 3, 2, 4) + 1.0
    start = layer.init(jax.random.key(0), jnp.asarray(x), train=False)
    _, updated = layer.apply(start, jnp.asarray(x), train=True, mutable=["batch_stats"])
    for channel in range(4):
        values = [float(x[n, i, j, channel]) for n, i, j in np.ndindex(2, 3, 2)]
        mean = sum(values) / 12
        variance = sum((value - mean) ** 2 for value in values) / 12  # PyTorch keeps / 11
        statistics: Any = updated["batch_stats"]
        found = [float(statistics[name][channel]) for name in ("mean", "var")]
        assert found == pytest.approx([0.1 * mean, 0.9 + 0.1 * variance], rel=1e-5)
