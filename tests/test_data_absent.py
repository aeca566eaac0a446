"""Rows of a CSV file whose file is not there, and the one that was meant."""

import unicodedata
from pathlib import Path

import pytest

from abe_jax.data.sources.listing import listing
from abe_jax.errors import UserError, closest, nearest

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def refused(base: Path, there: list[str], *rows: str) -> str:
    for path in there:
        (base / path).parent.mkdir(parents=True, exist_ok=True)
        (base / path).write_bytes(b"x")
    lines = [f'"{row}",x' for row in rows]
    (base / "list.csv").write_text("\n".join(["path,label", *lines]) + "\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        listing(str(base / "list.csv"), "label")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("there", "row"),
    [
        ("a/1.jpg", "a/1.JPG"),
        ("a/1.jpg", "A/1.jpg"),
        ("Bilder/Große/IMG_1.JPG", "bilder/GROSSE/img_1.jpg"),
        ("a/1.jpg", " a/1.jpg"),
        ("a/1.jpg", "a/1.jpg "),
        ("a/1.jpg", "a /\u00a01.jpg"),
        ("a/ 1.jpg", "a/1.jpg"),
        ("a/12345.jpg", "a/12346.jpg"),
        ("apples/1.jpg", "apple/1.jpg"),
        ("a/1.jpeg", "a/1.jpg"),
        (f"a/{NFC}.jpg", f"A/{NFD}.JPG"),
    ],
)
def test_the_nearest_name_is_suggested(tmp_path, there, row):
    others = ["zzz/9.png", "list.txt"]
    said = refused(tmp_path, [there, *others], row)
    assert said.endswith(f"not there, the first: {row}; did you mean '{there}'?")


@pytest.mark.parametrize(
    ("there", "row", "form"),
    [
        (f"{NFC}/1.jpg", f"{NFD}/1.jpg", "NFC"),
        (f"{NFD}/1.jpg", f"{NFC}/1.jpg", "NFD"),
        (f"a/{NFD}.jpg", f"a/{NFC}.jpg", "NFD"),
    ],
)
def test_another_unicode_form_is_told_since_it_cannot_be_seen(tmp_path, there, row, form):
    said = refused(tmp_path, [there], row)
    assert said.endswith(f"the first: {row}; it is there in another Unicode form ({form})")


def test_the_exact_name_is_taken_among_those_that_differ_in_case(tmp_path):
    said = refused(tmp_path, ["a/x/1.jpg", "A/x/2.jpg"], "A/X/2.jpg")
    assert said.endswith("did you mean 'A/x/2.jpg'?")


def test_where_nothing_is_alike_nothing_is_suggested(tmp_path):
    said = refused(tmp_path, ["a/1.jpg"], "a/photograph.png", "b/1.jpg", "a/1.jpg/2.jpg")
    assert "3 rows" in said and said.endswith("the first: a/photograph.png")


def test_a_name_in_another_case_is_the_nearest():
    assert nearest("FLOAT32", ["float16", "float32", "binary"]) == "did you mean 'float32'?"
    assert closest("b", ["B", "b"]) in ("B", "b") and closest("zebra", ["ant"]) is None
    assert nearest("zebra", ["bee", "ant"]) == "choose from ant, bee"
