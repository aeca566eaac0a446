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
from pytorch_metric_learning import regularizers  # noqa: E402

B, C, D = 10, 6, 8
RNG = np.random.default_rng(0)
X = (2 * RNG.normal(size=(B, D))).astype(np.float32)
LABELS = RNG.integers(0, C, B).astype(np.int32)
PROXIES = RNG.normal(size=(C, D)).astype(np.float32)
BIAS = RNG.normal(size=C).astype(np.float32)
CENTRES = RNG.normal(size=(3 * C, D)).astype(np.float32)  # three for each class


def theirs(loss, x, parameters):
    """Value and gradients, by the vectors and then by the parameters, of a PyTorch loss."""
    x = torch.tensor(x, requires_grad=True)
    for parameter in parameters:
        parameter.grad = None  # of an earlier call
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


def assert_agree(actual, expected, rounding=1e-5):
    assert actual[0] == pytest.approx(expected[0], rel=rounding)
    for mine, their in zip(actual[1], expected[1], strict=True):
        assert np.abs(their).max() > 1e-2
        np.testing.assert_allclose(mine, their, atol=rounding * np.abs(their).max())


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


def assert_agree_by_columns(loss, x, weights, actual, rounding=1e-5):
    """Where theirs has a proxy in each column of `loss.W`."""
    loss.W.data = torch.tensor(weights.T.copy())
    value, (of_x, of_w) = theirs(loss, x, [loss.W])
    assert_agree(ours(actual, x, weights), (value, [of_x, of_w.T]), rounding)


@pytest.mark.slow
# Rounding of a cosine, 1e-7, is multiplied by the scale: in the loss, and relative in its gradient.
@pytest.mark.parametrize(("scale", "rounding"), [(16.0, 1e-5), (64.0, 5e-5)])
def test_cos_face_is_cos_face_loss(scale, rounding):
    loss = pml.CosFaceLoss(C, D, margin=0.35, scale=scale)

    def actual(x, p, y):
        return losses.cos_face(x, p, y, scale=scale)

    assert_agree_by_columns(loss, X, PROXIES, actual, rounding)


@pytest.mark.slow
@pytest.mark.parametrize(("margin", "scale", "rounding"), [(0.5, 64.0, 5e-5), (1.2, 16.0, 1e-5)])
def test_arc_face_is_arc_face_loss_with_its_margin_in_degrees(margin, scale, rounding):
    loss = pml.ArcFaceLoss(C, D, margin=np.degrees(margin), scale=scale)

    def actual(x, p, y):
        return losses.arc_face(x, p, y, margin=margin, scale=scale)

    assert_agree_by_columns(loss, X, PROXIES, actual, rounding)
    # Images beyond pi - margin from their proxy, where the margin changes its form.
    beyond = X - 3 * PROXIES[LABELS] * np.linalg.norm(X, axis=1, keepdims=True)
    cosines = np.sum(beyond * PROXIES[LABELS], axis=1)
    cosines /= np.linalg.norm(beyond, axis=1) * np.linalg.norm(PROXIES[LABELS], axis=1)
    assert (cosines < -np.cos(margin)).any()
    assert_agree_by_columns(loss, beyond, PROXIES, actual, rounding)


@pytest.mark.slow
def test_arc_face_with_centres_is_sub_center_arc_face_loss():
    loss = pml.SubCenterArcFaceLoss(
        num_classes=C, embedding_size=D, margin=np.degrees(0.5), scale=16.0, sub_centers=3
    )

    def actual(x, p, y):
        return losses.arc_face(x, p, y, scale=16.0, centres=3)

    assert_agree_by_columns(loss, X, CENTRES, actual)


@pytest.mark.slow
@pytest.mark.parametrize(("margin", "scale"), [(0.1, 32.0), (0.3, 8.0)])
def test_proxy_anchor_is_proxy_anchor_loss(margin, scale):
    loss = pml.ProxyAnchorLoss(C, D, margin=margin, alpha=scale)
    loss.proxies.data = torch.tensor(PROXIES)
    expected = theirs(loss, X, [loss.proxies])

    def actual(x, p, y):
        return losses.proxy_anchor(x, p, y, margin=margin, scale=scale)

    assert_agree(ours(actual, X, PROXIES), expected, 3e-5)


@pytest.mark.slow
@pytest.mark.parametrize("tau", [0.0, 0.2])
def test_soft_triple_is_soft_triple_loss_with_the_regulariser_of_its_centres(tau):
    spread = regularizers.SparseCentersRegularizer(C, 3) if tau else None
    loss = pml.SoftTripleLoss(
        C, D, centers_per_class=3, weight_regularizer=spread, weight_reg_weight=tau
    )
    loss.fc.data = torch.tensor(CENTRES.T.copy())
    value, (of_x, of_w) = theirs(loss, X, [loss.fc])

    def actual(x, p, y):
        return losses.soft_triple(x, p, y, centres=3, tau=tau)

    assert_agree(ours(actual, X, CENTRES), (value, [of_x, of_w.T]), 2e-5)


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
