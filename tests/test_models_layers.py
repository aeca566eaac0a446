"""Convolution, pooling and response normalisation against plain loops."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax.models.backbones.layers import (
    BatchNorm,
    Conv,
    mean_pool,
)


def image(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


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
