"""Damage inside an image file that its decoder gives a picture of all the same.

PNG, GIF and AVIF files are not here: their decoders refuse what is damaged. Neither are those in
which nobody can tell it, WebP, BMP, PNM and TIFF files: docs/PIXELS.md has the table.
"""

from abe_jax.data.images import headers, heif, jpeg, jpeg_2000


def found(encoded: bytes) -> str:
    """What is wrong in a file's data, as far as it shows; empty where nothing is found."""
    if encoded.startswith(headers.JPEG):
        return jpeg.damage(encoded)
    if encoded.startswith(headers.JPEG_2000):
        return jpeg_2000.damage(encoded)
    return heif.damage(encoded) if heif.is_heif(encoded) else ""
