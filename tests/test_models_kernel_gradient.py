"""The gradient of a kernel as a sum of matrix products, beside XLA's own and a loop in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from abe_jax.models.backbones import kernel_gradient
from abe_jax.models.backbones.kernel_gradient import convolved, products_of_windows


def numbers(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32))


def looped(x, g, size, stride, padding):
    x, g = np.asarray(x, np.float64), np.asarray(g, np.float64)
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    found = np.zeros((size, size, x.shape[-1], g.shape[-1]))
    for image in range(len(x)):
        for row in range(g.shape[1]):
            for column in range(g.shape[2]):
                seen = padded[image, row * stride :, column * stride :][:size, :size]
                found += seen[..., None] * g[image, row, column]
    return found


@pytest.mark.parametrize(
    ("height", "width", "size", "stride", "padding"),
    [
        (12, 12, 3, 1, ((1, 1), (1, 1))),
        (13, 9, 3, 2, ((0, 1), (1, 0))),  # uneven zeros, as TensorFlow's
        (11, 14, 5, 1, ((2, 2), (2, 2))),
        (9, 9, 2, 3, ((0, 0), (0, 0))),
    ],
)
@pytest.mark.parametrize("at_once", [1, 2**12, 2**30])  # a row, some, and a whole image at once
def test_is_the_loop_over_positions(height, width, size, stride, padding, at_once, monkeypatch):
    monkeypatch.setattr(kernel_gradient, "AT_ONCE", at_once)
    x = numbers(2, height, width, 4)
    rows, columns = (
        (n + sum(p) - size) // stride + 1 for n, p in zip(x.shape[1:3], padding, strict=True)
    )
    g = numbers(2, rows, columns, 5)
    found = products_of_windows(x, g, size=size, stride=stride, padding=padding)
    expected = looped(x, g, size, stride, padding)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def gradients(x, kernel, g, padding):
    """Those of x and of the kernel, as they are here and as XLA has them."""

    def plain(x, kernel):
        names = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=names)

    def ours(x, kernel):
        return convolved(x, kernel, 1, padding)

    return [jax.vjp(each, x, kernel)[1](g) for each in (ours, plain)]


def test_a_large_map_has_the_gradients_of_the_plain_convolution():
    x, kernel, g = numbers(2, 40, 40, 16), numbers(3, 3, 16, 8), numbers(2, 40, 40, 8)
    (to_x, to_kernel), (x_wanted, kernel_wanted) = gradients(x, kernel, g, ((1, 1), (1, 1)))
    np.testing.assert_array_equal(to_x, x_wanted)
    scale = float(np.abs(kernel_wanted).max())
    np.testing.assert_allclose(to_kernel, kernel_wanted, rtol=0, atol=2e-6 * scale)
    assert np.abs(np.asarray(to_kernel) - kernel_wanted).max() > 0  # it went the other way


@pytest.mark.parametrize(
    ("side", "channels", "dtype"), [(39, 16, "float32"), (40, 15, "float32"), (40, 16, "bfloat16")]
)
def test_smaller_maps_and_other_types_are_left_to_xla(side, channels, dtype):
    x, kernel, g = (
        numbers(*shape).astype(dtype)
        for shape in ((1, side, side, channels), (3, 3, channels, 2), (1, side, side, 2))
    )
    ours, plain = gradients(x, kernel, g, ((1, 1), (1, 1)))
    for found, expected in zip(ours, plain, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_learners_map_over_it():
    x, kernels, g = numbers(3, 1, 40, 40, 16), numbers(3, 3, 3, 16, 4), numbers(3, 1, 40, 40, 4)

    def to_kernel(x, kernel, g):
        return jax.vjp(lambda k: convolved(x, k, 1, ((1, 1), (1, 1))), kernel)[1](g)[0]

    found = jax.vmap(to_kernel)(x, kernels, g)
    for one, *given in zip(found, x, kernels, g, strict=True):
        expected = to_kernel(*given)
        np.testing.assert_allclose(one, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_other_platforms_have_a_plain_convolution():
    shapes = (1, 40, 40, 16), (3, 3, 16, 4)

    def loss(x, kernel):
        return convolved(x, kernel, 1, ((1, 1), (1, 1))).sum()

    arguments = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    traced = jax.jit(jax.grad(loss, argnums=1)).trace(*arguments)
    text = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cpu", "cuda", "tpu")
    }
    assert "stablehlo.while" in text["cpu"]
    for platform in ("cuda", "tpu"):
        assert "stablehlo.while" not in text[platform] and "dot_general" not in text[platform]
