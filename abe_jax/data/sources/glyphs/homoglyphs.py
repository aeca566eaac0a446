"""Which characters are one class, and which drawings say nothing: rules on the drawings alone.

Two drawings are alike when the distance of their pixel vectors is below a tenth of the shorter
one's length. From that, in this order:

1. Two characters that are alike in at least half of the styles that have both are homoglyphs and,
   with their homoglyphs, one class (A of Latin, Greek and Cyrillic; hyphen and its unbroken twin).
   Shares lie near 0 or near 1 (few between 0.5 and 0.7), so the half is no fine judgement.
2. A style draws a class once: by the lowest code point that it has.
3. A drawing that is alike to the same style's drawing of another class is left out, and so is the
   other: nobody can say which it is (I and l in some sans serifs).
4. Of drawings of one class that are alike, whichever style they come from, the first stays:
   otherwise a nearest neighbour would be found by a copy (symbols that italics share).
5. A class that is left in too few families goes.
"""

import unicodedata

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from abe_jax.data.sources.glyphs.drawings import Drawings

ALIKE = 0.1  # of the shorter vector's length
SHARE = 0.5  # of the styles that have both: from here on, one class
KIN = 0.1  # of the styles that have both: from here on, never apart in training and test


def alike(images: UInt8[np.ndarray, "n h w"]) -> Bool[np.ndarray, "n n"]:
    """Which drawings are alike: |a - b| < ALIKE * min(|a|, |b|) over pixels; false for itself.

    Sides are multiples of 4: sums over 4x4 blocks, over 4, never lie further apart than the
    pixels do, so they single out the few pairs whose pixels are then compared exactly.
    """
    n, h, w = images.shape
    pixels = images.reshape(n, -1).astype(np.float32)
    rows, columns = (np.kron(np.eye(k // 4), np.ones((4, 1))) for k in (h, w))
    blocks = pixels @ (np.kron(rows, columns) / 4).astype(np.float32)
    lengths = np.square(blocks).sum(axis=1)
    distances = lengths[:, None] + lengths[None, :] - 2 * blocks @ blocks.T
    squares = np.square(pixels).sum(axis=1)
    bound = ALIKE**2 * np.minimum(squares[:, None], squares[None, :])
    # 2 % above the bound: far more than float32 loses in the product.
    first, second = np.nonzero(np.triu(distances < 1.02 * bound, k=1))
    exact = np.square(pixels[first] - pixels[second]).sum(axis=1) < bound[first, second]
    result = np.zeros((n, n), bool)
    result[first[exact], second[exact]] = True
    return result | result.T


def alike_shares(drawings: Drawings) -> tuple[np.ndarray, Float[np.ndarray, "c c"]]:
    """The characters, sorted, and for each two the share of styles with both that draw them alike.

    Where no style has both the share is 0.
    """
    points, index = np.unique(drawings.character, return_inverse=True)
    together = np.zeros((len(points), len(points)), np.int32)
    same = np.zeros_like(together)
    for style in np.unique(drawings.style):
        rows = np.flatnonzero(drawings.style == style)
        block = np.ix_(index[rows], index[rows])
        together[block] += 1
        same[block] += alike(drawings.images[rows])
    return points, same / np.maximum(together, 1)


def components(edges: Bool[np.ndarray, "n n"]) -> Int[np.ndarray, "n"]:
    """The connected components of a symmetric relation, numbered by their first member."""
    label = np.arange(len(edges))
    while True:
        # Every node takes the least label next to it, until nothing moves.
        least = np.where(edges, label[None, :], len(edges)).min(axis=1)
        moved = np.minimum(label, least)
        if np.array_equal(moved, label):
            return np.unique(label, return_inverse=True)[1]
        label = moved


def kept_drawings(drawings: Drawings, classes: Int[np.ndarray, "n"]) -> Int[np.ndarray, "k"]:
    """Rows of the drawings that rules 2 to 4 leave, ordered by class, then by style."""
    order = np.lexsort((drawings.character, drawings.style, classes))
    pairs = np.stack([classes[order], drawings.style[order]], axis=1)
    rows = order[np.sort(np.unique(pairs, axis=0, return_index=True)[1])]
    clear = np.ones(len(drawings.images), bool)
    for style in np.unique(drawings.style):
        of_style = rows[drawings.style[rows] == style]
        clear[of_style] = ~alike(drawings.images[of_style]).any(axis=1)
    rows = rows[clear[rows]]
    parts = np.split(rows, np.flatnonzero(np.diff(classes[rows])) + 1)
    return np.concatenate([part[_first_of_copies(drawings.images[part])] for part in parts])


def _first_of_copies(images: np.ndarray) -> Int[np.ndarray, "k"]:
    copies = alike(images)
    kept: list[int] = []
    for i in range(len(images)):
        if not copies[i, kept].any():
            kept.append(i)
    return np.array(kept, dtype=np.intp)


def kin(
    points: np.ndarray, classes: Int[np.ndarray, "c"], shares: Float[np.ndarray, "c c"]
) -> Int[np.ndarray, "c"]:
    """Groups of characters that must fall into the same part of the data.

    Kin are characters of one class, characters with the same base letter (case, accents and
    compatibility forms taken off: O, o, ố and the ordinal º) and characters that at least a share
    KIN of the styles that have both draw alike; and the kin of kin. A test class thus has no
    near twin among the training classes.
    """
    bases = np.array([_base(chr(point)) for point in points])
    edges = (classes[:, None] == classes[None, :]) | (bases[:, None] == bases[None, :])
    return components(edges | (shares >= KIN))


def _base(character: str) -> str:
    parts = unicodedata.normalize("NFKD", character)
    return "".join(p for p in parts if not unicodedata.combining(p)).casefold()
