"""Agreement with pytorch-metric-learning and PyTorch where their definitions are the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from abe_jax import losses

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pml = pytest.importorskip(
    "pytorch_metric_learning.losses", reason="pytorch-metric-learning is not installed"
)

B, C, D = 10, 6, 8
RNG = np.random.default_rng(0)
X = (2 * RNG.normal(size=(B, D))).astype(np.float32)
LABELS = RNG.integers(0, C, B).astype(np.int32)
PROXIES = RNG.normal(size=(C, D)).astype(np.float32)
BIAS = RNG.normal(size=C).astype(np.float32)


def theirs(loss, x, parameters):
    """Value and gradients, by the vectors and then by the parameters, of a PyTorch loss."""
    x = torch.tensor(x, requires_grad=True)
    value = loss(x, torch.tensor(LABELS, dtype=torch.int64))
    value.backward()
    gradients = [p.grad.numpy() for p in (x, *parameters)]
    return float(value.detach()), gradients


def ours(loss, *arrays):
    """The same of ours, where the labels follow the vectors and the parameters."""

    def of(*arrays):
        return loss(*arrays, jnp.asarray(LABELS))

    positions = tuple(range(len(arrays)))
    value, gradients = jax.jit(jax.value_and_grad(of, positions))(*map(jnp.asarray, arrays))
    return float(value), [np.asarray(g) for g in gradients]


def assert_agree(actual, expected):
    assert actual[0] == pytest.approx(expected[0], rel=1e-5)
    for mine, their in zip(actual[1], expected[1], strict=True):
        assert np.abs(their).max() > 1e-2
        np.testing.assert_allclose(mine, their, atol=1e-5 * np.abs(their).max())


@pytest.mark.parametrize("temperature", [0.05, 0.3])
def test_norm_softmax_is_normalized_softmax_loss(temperature):
    loss = pml.NormalizedSoftmaxLoss(C, D, temperature=temperature)
    loss.W.data = torch.tensor(PROXIES.T.copy())
    value, (of_x, of_w) = theirs(loss, X, [loss.W])
    actual = ours(lambda x, p, y: losses.norm_softmax(x, p, y, temperature=temperature), X, PROXIES)
    assert_agree(actual, (value, [of_x, of_w.T]))


def test_proxy_nca_loss_differs_by_the_positive_in_the_denominator():
    """With e the term of ours, theirs is log(1 + exp(e)); the factor of distances is scale^2."""
    loss = pml.ProxyNCALoss(C, D, softmax_scale=4.0)
    loss.proxies.data = torch.tensor(PROXIES)
    expected = theirs(loss, X, [loss.proxies])

    def with_positive(x, proxies, labels):
        each = jax.vmap(lambda a, y: losses.proxy_nca(a[None], proxies, y[None], scale=2.0))
        return jnp.mean(jax.nn.softplus(each(x, labels)))

    assert_agree(ours(with_positive, X, PROXIES), expected)
    plain = losses.proxy_nca(jnp.asarray(X), jnp.asarray(PROXIES), jnp.asarray(LABELS), scale=2.0)
    assert abs(float(plain) - expected[0]) > 0.01


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_pytorchs(smoothing):
    kernel = torch.tensor(PROXIES.T.copy(), requires_grad=True)
    bias = torch.tensor(BIAS, requires_grad=True)
    function = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
    expected = theirs(lambda x, y: function(x @ kernel + bias, y), X, [kernel, bias])
    actual = ours(
        lambda x, w, b, y: losses.cross_entropy(x, w, b, y, smoothing=smoothing),
        X,
        PROXIES.T,
        BIAS,
    )
    assert_agree(actual, expected)
