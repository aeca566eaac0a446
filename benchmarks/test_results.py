"""The file of results: a run replaces its own section and leaves the others."""

from pathlib import Path

from results import SIZES, Table, machine, number, replaced, write

TABLE = Table(title="Step", note="How.", head=("system", "ms"), rows=[("single", "7"), ("a", "12")])


def test_a_table_is_aligned_markdown() -> None:
    assert str(TABLE).splitlines()[-4:] == [
        "| system |  ms |",
        "| -----: | --: |",
        "| single |   7 |",
        "|      a |  12 |",
    ]


def test_a_section_is_replaced_in_its_place_and_the_rest_stays() -> None:
    text = "# Results\n\nBy hand.\n\n## One\n\nold\n\n## Two\n\nkept\n"
    found = replaced(text, "## One\n\n### New\n")
    assert found == "# Results\n\nBy hand.\n\n## One\n\n### New\n\n## Two\n\nkept\n"
    assert replaced(found, "## One\n\n### New\n") == found
    assert replaced(text, "## Three\n\nnew\n") == text + "\n## Three\n\nnew\n"


def test_both_sizes_stand_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    for full in (False, True, False):
        write(path, [TABLE], heading=SIZES[full], facts=machine())
    text = path.read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Small sizes",
        "## The paper's sizes",
    ]
    assert text.count("### Step") == 2
    assert "jaxlib" in text


def test_numbers_keep_three_digits() -> None:
    found = [number(value) for value in (0.012345, 1.0, 12.345, 123.45, 999.7, 12345.6)]
    assert found == ["0.0123", "1.00", "12.3", "123", "1,000", "12,346"]
