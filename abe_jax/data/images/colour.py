"""The colours of training images, changed at random: jitter and PCA lighting."""

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

# Eigenvalues and eigenvectors (columns; rows are red, green, blue) of the covariance of ImageNet's
# pixels in units of 0..1, as Facebook's ResNets in Torch publish them (fb.resnet.torch). Krizhevsky
# et al. describe the method and print no figures.
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
EIGENVECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
)


def jitter(
    image: UInt8[np.ndarray, "h w c"], strength: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w c"]:
    """Brightness, contrast and saturation in random order, each times uniform [1 - s, 1 + s].

    From Howard 2013 (arXiv 1312.5402); MultiGrain's `strength` s is 0.3 (Berman et al. 2019). Hue
    stays. The image is rounded once, at the end. A grey image has no saturation to change. Six
    numbers are drawn from the generator, whatever the image.
    """
    factors = 1 + strength * (2 * rng.random(3) - 1)
    order = np.argsort(rng.random(3))
    changes = (brightness, contrast, saturation)
    pixels = image.astype(np.float32)
    for i in order:
        pixels = changes[i](pixels, float(factors[i]))
    return rounded(pixels)


def lighting(
    image: UInt8[np.ndarray, "h w 3"], strength: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """x + sum_i alpha_i lambda_i p_i, one shift for all of an image, with alpha ~ N(0, s).

    p_i and lambda_i are EIGENVECTORS and EIGENVALUES, so the light becomes stronger or weaker,
    warmer or colder as it does between photographs (Krizhevsky et al., NIPS 2012, section 4.1;
    `strength` s is 0.1 there and in MultiGrain). MultiGrain's public code then divides by 1 + s,
    which darkens every training image beside those of the test; this does not.
    """
    shift = EIGENVECTORS @ (EIGENVALUES * rng.normal(0, strength, 3)) * 255
    return rounded(np.clip(image + shift.astype(np.float32), 0, 255))


def brightness(pixels: Float32[np.ndarray, "h w c"], factor: float) -> Float32[np.ndarray, "h w c"]:
    """f x, within 0..255: blended with black where the factor is below 1."""
    return np.clip(pixels * np.float32(factor), 0, 255)


def contrast(pixels: Float32[np.ndarray, "h w c"], factor: float) -> Float32[np.ndarray, "h w c"]:
    """m + f (x - m), within 0..255, where m is the mean grey of the image."""
    return _between(np.float32(_grey(pixels).mean()), pixels, factor)


def saturation(pixels: Float32[np.ndarray, "h w c"], factor: float) -> Float32[np.ndarray, "h w c"]:
    """g + f (x - g), within 0..255, where g is each pixel's grey; a grey image stays as it is."""
    if pixels.shape[2] == 1:
        return pixels
    # Three equal channels: NumPy would spread one over the others many times slower.
    return _between(cv2.cvtColor(_grey(pixels), cv2.COLOR_GRAY2RGB), pixels, factor)


def rounded(pixels: Float32[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w c"]:
    """Pixels within 0..255, rounded to whole numbers."""
    return np.rint(pixels).astype(np.uint8)


def _between(low: np.ndarray | np.float32, pixels: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(low + np.float32(factor) * (pixels - low), 0, 255)


def _grey(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
