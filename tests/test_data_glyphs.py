"""The rules by which `glyphs` is drawn, merged, cleaned and split."""

import unicodedata

import numpy as np
import pytest

from abe_jax.data.sources.glyphs import builder, drawings, homoglyphs, typefaces
from abe_jax.errors import UserError

LOOKS_A, LOOKS_O, LOOKS_C = "A\u0391\u0410", "O\u039f\u041e", "C\u0421"  # of Latin, Greek, Cyrillic
FOUR = builder.TINY.families  # DejaVu Sans, Mono, Serif and STIX


def drawn(characters: str, families: int = 1, styles=None) -> drawings.Drawings:
    chosen = styles or typefaces.styles(FOUR)
    return drawings.draw(frozenset(characters), chosen, families)


def made(images, style, character) -> drawings.Drawings:
    return drawings.Drawings(
        images=np.array(images, np.uint8), style=np.array(style), character=np.array(character)
    )


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)


def nudged(image: np.ndarray, share: float) -> np.ndarray:
    """The image with a block of pixels moved, so that it lies so far off, by its own length."""
    other = image.astype(np.float64)
    step = share * np.linalg.norm(other) / 16
    other[8:24, 8:24] += np.where(other[8:24, 8:24] > 127, -step, step)
    return np.rint(other).astype(np.uint8)


def test_the_families_and_styles_are_those_counted():
    styles = typefaces.styles(typefaces.FAMILIES)
    assert len(typefaces.FAMILIES) == 16
    assert len({s.name for s in styles}) == len(styles) == 102
    per = {f.name: sum(s.family == f.name for s in styles) for f in typefaces.FAMILIES}
    assert per["DejaVu Sans"] == per["DejaVu Sans Mono"] == per["DejaVu Serif"] == 4
    assert per["STIX"] == 4 and per["Manrope"] == 7 and per["Roboto"] == 12


def test_each_family_has_its_licence_package_and_version():
    stated = typefaces.provenance(typefaces.FAMILIES)
    assert stated["Roboto"]["licence"] == "Apache-2.0"
    assert stated["Lato"] == {"licence": "OFL-1.1", "distribution": "font-lato", "version": "0.1.0"}
    assert stated["STIX"]["distribution"] == "matplotlib"
    assert all(all(fields.values()) for fields in stated.values())


def test_missing_fonts_name_the_extra():
    absent = typefaces.TypeFamily(
        name="X", distribution="font-x", package="font_x", pattern="*.ttf", licence="OFL-1.1"
    )
    with pytest.raises(UserError, match=r"font-x: pip install 'abe_jax\[quickstart\]'"):
        typefaces.styles((*FOUR, absent))


def test_drawings_are_white_on_black_centred_and_share_a_baseline():
    result = drawn("oOpg.")
    for image, code in zip(result.images, result.character, strict=True):
        assert image.max() > 100 and not image[0].any()
        ink = np.flatnonzero(image.any(axis=0))
        assert abs((ink[0] + ink[-1]) / 2 - 15.5) <= 1
        bottom = np.flatnonzero((image > 60).any(axis=1))[-1]
        if chr(code) in "oO.":
            assert abs(bottom - (drawings.BASELINE - 1)) <= 1
        else:
            assert bottom > drawings.BASELINE + 1
    heights = {c: np.ptp(np.flatnonzero(im.any(axis=1))) for c, im in pairs(result, style=0)}
    assert heights["O"] > 1.2 * heights["o"]


def pairs(result, style):
    rows = np.flatnonzero(result.style == style)
    return [(chr(result.character[r]), result.images[r]) for r in rows]


def test_what_draws_nothing_or_is_no_character_is_left_out():
    result = drawn("a \u00a0\u00ad\u0301\ue000\ufffd\n", families=1)
    assert set(result.character) == {ord("a")}


def test_what_too_few_families_have_is_left_out():
    # Armenian letters are in DejaVu's three families, STIX has none.
    assert "\u0531" in map(chr, drawn("a\u0531", families=3).character)
    assert "\u0531" not in map(chr, drawn("a\u0531", families=4).character)


def test_a_drawing_too_wide_or_too_tall_is_fitted_whole():
    result = drawn("\u2031\u1eaa\u2e3b")
    assert len(result.images)
    for image in result.images:
        assert image.any()
        edges = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert (edges < 255).any()
        columns, rows = np.flatnonzero(image.any(axis=0)), np.flatnonzero(image.any(axis=1))
        assert np.ptp(columns) < 32 and np.ptp(rows) < 32


@pytest.mark.parametrize(("share", "same"), [(0.08, True), (0.12, False)])
def test_alike_is_a_tenth_of_the_shorter_length(share, same):
    image = picture(0)
    other = nudged(image, share)
    distance = np.linalg.norm(image.astype(float) - other) / min(
        np.linalg.norm(image), np.linalg.norm(other)
    )
    assert abs(distance - share) < 0.01
    relation = homoglyphs.alike(np.stack([image, picture(1), other]))
    assert relation[0, 2] == relation[2, 0] == same
    assert relation.sum() == 2 * same


def test_alike_is_measured_by_the_shorter_of_the_two():
    image = picture(0) // 2
    brighter = np.rint(image * 1.105).astype(np.uint8)  # 0.105 of the one, 0.095 of the other
    assert not homoglyphs.alike(np.stack([image, brighter])).any()


def test_alike_agrees_with_the_definition_on_real_drawings():
    images = drawn(LOOKS_A + LOOKS_O + LOOKS_C + "B\u0392\u0412-\u2010\u2011Il|1ŎǑ0").images[:60]
    pixels = images.reshape(len(images), -1).astype(np.float64)
    lengths = np.linalg.norm(pixels, axis=1)
    distance = np.linalg.norm(pixels[:, None] - pixels[None], axis=2)
    expected = distance < 0.1 * np.minimum(lengths[:, None], lengths[None])
    np.fill_diagonal(expected, False)
    assert expected.sum() > 20
    np.testing.assert_array_equal(homoglyphs.alike(images), expected)


def test_components_are_connected_sets():
    edges = np.zeros((6, 6), bool)
    for a, b in [(0, 4), (4, 2), (3, 5)]:
        edges[a, b] = edges[b, a] = True
    np.testing.assert_array_equal(homoglyphs.components(edges), [0, 1, 0, 2, 0, 2])


def test_homoglyphs_are_those_that_half_the_styles_draw_alike():
    # A and B alike in two of three styles, A and C in one of three; D is in no style with A.
    images = [
        *(picture(0), picture(0), picture(1)),
        *(picture(2), picture(2), picture(3)),
        *(picture(4), picture(5), picture(4)),
        picture(6),
    ]
    style = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]
    points, shares = homoglyphs.alike_shares(made(images, style, [65, 66, 67] * 3 + [68]))
    np.testing.assert_array_equal(points, [65, 66, 67, 68])
    assert shares[0, 1] == pytest.approx(2 / 3) and shares[0, 2] == pytest.approx(1 / 3)
    assert shares[0, 3] == shares[1, 2] == shares[0, 0] == 0


def test_scripts_share_a_class_where_they_share_a_drawing():
    result = drawn(LOOKS_A + LOOKS_O + LOOKS_C + "0o6bИN")
    points, shares = homoglyphs.alike_shares(result)
    classes = homoglyphs.components(shares >= homoglyphs.SHARE)
    found = {"".join(map(chr, points[classes == c])) for c in range(classes.max() + 1)}
    assert found == {LOOKS_A, LOOKS_O, LOOKS_C, "0", "o", "6", "b", "N", "И"}


def test_kept_drawings_follow_the_rules():
    same, copy = picture(0), picture(1)
    result = made(
        #  A in style 0, its homoglyph there, B and C alike in style 1, A's copy in style 2, A
        [same, same, copy, copy, same, picture(2)],
        [0, 0, 1, 1, 2, 3],
        [65, 913, 66, 67, 65, 65],
    )
    classes = np.array([0, 0, 1, 2, 0, 0])
    np.testing.assert_array_equal(homoglyphs.kept_drawings(result, classes), [0, 5])


def test_kin_share_a_letter_or_a_drawing():
    characters = "Oo0ỐºIil1ÍßΩ"
    points = np.array(sorted(map(ord, characters)))
    where = {chr(p): i for i, p in enumerate(points)}
    shares = np.zeros((len(points), len(points)))
    shares[where["I"], where["l"]] = shares[where["l"], where["I"]] = 0.12
    shares[where["1"], where["l"]] = shares[where["l"], where["1"]] = 0.05
    groups = homoglyphs.kin(points, np.arange(len(points)), shares)
    found = {"".join(map(chr, points[groups == g])) for g in range(groups.max() + 1)}
    assert found == {"OoºỐ", "IilÍ", "0", "1", "ß", "Ω"}


def test_parts_are_disjoint_by_class_and_kin_and_met_in_size():
    styles = typefaces.styles(FOUR)
    result = drawings.draw(builder.TINY.characters, styles, 4)
    names = [family.name for family in FOUR]
    families = np.array([names.index(s.family) for s in styles])[result.style]
    split = builder.parts(result, families, 4)
    total = sum(len(part.names) for part in split.values())
    letters = {}
    for name, part in split.items():
        assert abs(len(part.names) - builder.PARTS[name] * total) <= 2
        np.testing.assert_array_equal(np.unique(part.labels), np.arange(len(part.names)))
        for row, label in zip(part.rows, part.labels, strict=True):
            assert chr(result.character[row]) in part.names[label]
        for label in range(len(part.names)):
            assert len(np.unique(families[part.rows[part.labels == label]])) == 4
        letters[name] = {unicodedata.normalize("NFKD", c).casefold() for c in part.names}
    assert not letters["train"] & letters["test"] and not letters["train"] & letters["val"]
    assert not letters["val"] & letters["test"]
    again = builder.parts(result, families, 4)
    for name, part in split.items():
        np.testing.assert_array_equal(part.rows, again[name].rows)
        assert part.names == again[name].names
