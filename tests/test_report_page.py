"""report.html: complete, self-contained, escaped, repeatable, and whole with parts missing."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import report_examples as examples

from abe_jax import report
from abe_jax.evaluation.examples import Attention, Gallery
from abe_jax.report import Report, cosines, curves, history, svg, tables

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """What a browser would see: balanced elements, their text, and all attributes."""

    def __init__(self, content: str):
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def all(self, tag: str, name: str) -> list[str]:
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]


def written(folder: Path, **changed) -> str:
    given = {
        "config": examples.config(),
        "metrics": examples.metrics(folder / "metrics.csv"),
        "evaluation": {"val": examples.result(), "test": examples.result()},
        "gallery": examples.shown(),
        "attention": examples.seen(),
        "environment": examples.ENVIRONMENT,
    } | changed
    report.write(folder / "report.html", Report(**given))
    return (folder / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> str:
    return written(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(content) -> Page:
    return Page(content)


def test_has_every_section(page):
    for title in (
        "ABE-4 on glyphs",
        "Evaluation",
        "Learning curves",
        "Nearest neighbours",
        "Where each learner looks",
        "What sets each learner apart",
        "How much the learners agree",
        "How to get this again",
    ):
        assert title in page.text
    assert examples.ENVIRONMENT["command"] in page.text
    assert '"branch": "pool2"' in page.text


def test_loads_nothing(content, page):
    assert "script" not in content.lower()
    assert not re.search(r"https?:|@import|<link|<iframe", content)
    sources = page.all("img", "src")
    assert len(sources) > 50 and all(s.startswith("data:image/") for s in sources)
    targets = re.findall(r"url\(([^)]*)\)", content) + page.all("use", "xlink:href")
    assert targets and all(target.startswith("#") for target in targets)


def test_ids_are_unique_and_exist_where_referred_to(content):
    targets = set(re.findall(r'url\(#([^)]*)\)|xlink:href="#([^"]*)"', content))
    ids = re.findall(r'\bid="([^"]*)"', content)
    assert targets and {a or b for a, b in targets} <= set(ids)
    assert len(ids) == len(set(ids))


def test_table_holds_the_printed_figures(page):
    printed = tables.evaluation_table(examples.result(), split="test").splitlines()[2:]
    printed = [re.split(r"\s{2,}", line.strip()) for line in printed if not line.endswith(":")]
    shown = [[cell for cell in row if cell] for row in page.rows]
    assert len(printed) == 11
    assert [row for row in shown if row in printed] == printed * 2  # test, then val


def test_headline(page):
    assert "84.7%" in page.text and "65.8%" in page.text and "0.45" in page.text
    figures = ["MAP@R of the ensemble0.577", "MAP@R of raw pixels0.388", "Recall@1 of the ensemble"]
    positions = [page.text.index(figure) for figure in figures]
    assert positions == sorted(positions)
    assert page.text.index("test · 11,904") < page.text.index("val · 11,904")


def test_marks_follow_the_labels(content, page):
    gallery = examples.shown()
    right = int(gallery.right().sum())
    alts = page.all("img", "alt")
    assert sum(alt.startswith("right: ") for alt in alts) == right == page.text.count("✓") - 1
    wrong = gallery.neighbours.size - right
    assert sum(alt.startswith("wrong: ") for alt in alts) == wrong == page.text.count("✗") - 1
    for query, near in zip(gallery.queries, gallery.neighbours, strict=True):
        start = alts.index(f"query: {gallery.name(int(query))}")
        row, alts = alts[start + 1 : start + 1 + len(near)], alts[start + 1 :]
        same = [gallery.labels[i] == gallery.labels[query] for i in near]
        assert [alt.startswith("right: ") for alt in row] == same
        assert [alt.split(": ")[1] for alt in row] == [gallery.name(int(i)) for i in near]


def test_every_picture_is_described(page):
    images = [tag for tag, name, _ in page.attributes if (tag, name) == ("img", "src")]
    assert len(page.all("img", "alt")) == len(images) and all(page.all("img", "alt"))
    drawings = page.all("svg", "viewbox")
    assert len(drawings) == len(page.all("svg", "aria-label")) == 5


def test_table_heads_have_scope(content):
    heads = re.findall(r"<th\b[^>]*>", content)
    assert heads and all("scope=" in head for head in heads)


def test_attention_has_a_column_for_each_learner(page):
    assert [row for row in page.rows if "learner 4" in row and row[0] == "image"] == [
        ["image", "learner 1", "learner 2", "learner 3", "learner 4"]
    ] * 2
    masks = examples.seen().masks
    assert f"{masks.min():.3f}" in page.text and f"{masks.max():.3f}" in page.text


def test_plots_follow_the_page(content):
    drawings = re.findall(r"<svg.*?</svg>", content, re.DOTALL)
    assert all("var(--sans)" in drawing for drawing in drawings)
    assert all("var(--soft)" in drawing and "#5b5f67" not in drawing for drawing in drawings)
    assert "best: step 1,800" in content and "raw pixels, R@1" in content and "margin 1" in content


def test_validation_is_drawn_in_percent_beside_its_baseline(tmp_path, monkeypatch):
    drawn = {}

    def keep(figure, described):
        drawn[described] = figure
        return ""

    monkeypatch.setattr(svg, "inline", keep)
    written(tmp_path)
    (figure,) = (figure for described, figure in drawn.items() if "in percent" in described)
    past = history.read(tmp_path / "metrics.csv")
    lines = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    for name, label in (("val_recall@1", "R@1"), ("val_map@r", "MAP@R")):
        assert lines[label].tolist() == (100 * history.measured(past, name)[1]).tolist()
    levels = [line.get_ydata() for line in figure.axes[0].lines if line.get_linewidth() == 1]
    assert any(np.allclose(level, 65.83) for level in levels)


def test_histograms_say_their_mean_and_spread(content):
    for kind, title in cosines.PAIRS.items():
        one = examples.cosine()[kind]
        assert f"{title}: mean {one['mean']:.3f}, std {one['std']:.3f}" in content


def test_best_checkpoint_is_the_evaluated_one_else_the_best_validated():
    past = {"step": np.array([10.0, 20.0, 30.0]), "val_map@r": np.array([0.2, 0.5, 0.4])}
    config = {"evaluate": {"select": "map@r"}}
    assert "best: step 30<" in curves.section(config, past, {"test": {"step": 30}})
    assert "best: step 20<" in curves.section(config, past, {})


def test_repeats_to_the_byte(tmp_path, content):
    assert written(tmp_path) == content


def test_leaves_nothing_else_behind(tmp_path):
    report.write(
        tmp_path / "report.html", Report(config={}, metrics=tmp_path / "no", evaluation={})
    )
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_failed_write_keeps_the_old_report(tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write(
            tmp_path / "report.html", Report(config={}, metrics=tmp_path / "no", evaluation={})
        )
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_text_from_outside_is_escaped(tmp_path):
    evil = "</style><img src=x onerror=alert(1)> & \"quoted\" 'too' \x07 漢字 עברית"
    gallery = dataclasses.replace(examples.shown(), class_names=[evil] * 10, details=[evil] * 99)
    attention = dataclasses.replace(examples.seen(), captions=[evil] * 4)
    config = examples.config()
    config["data"]["name"] = evil
    config["objective"][0]["name"] = evil
    content = written(
        tmp_path,
        config=config,
        gallery=gallery,
        attention=attention,
        environment={"command": evil, evil: evil},
        evaluation={evil: examples.result()},
    )
    page = Page(content)
    shown = evil.replace("\x07", "�")
    assert "<img src=x" not in content and "\x07" not in content
    assert page.all("img", "onerror") == []
    assert f"ABE-4 on {shown}" in page.text and f"query: {shown}" in page.all("img", "alt")
    assert content.count("</style>") == 1


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"attention": None}, "Where each learner looks"),
        ({"gallery": None}, "Nearest neighbours"),
        ({"environment": {}}, "0.12.8"),
        ({"evaluation": {}}, "Error ratio"),
        ({"evaluation": {"val": {"images": 3}}}, "R-prec"),
        ({"evaluation": {"val": {"images": 3}}}, "Evaluation"),
        ({"evaluation": {"val": examples.result(1)}}, "How much the learners agree"),
        ({"metrics": Path("nowhere.csv")}, "Cosine between learners"),
        ({"config": {}}, "ABE-4"),
    ],
)
def test_missing_parts_are_left_out(tmp_path, page, changed, missing):
    none = Path("nowhere.csv")
    given = {"gallery": None, "attention": None, "metrics": none} | changed
    shown = Page(written(tmp_path, **given))
    assert missing in page.text and missing not in shown.text
    assert "How to get this again" in shown.text


def test_nothing_at_all_is_still_a_page(tmp_path):
    report.write(tmp_path / "r.html", Report(config={}, metrics=tmp_path / "no", evaluation={}))
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert "Not yet evaluated." in page.text and "No step was logged." in page.text


def test_a_summary_over_divisions_heads_a_page_of_its_own_and_none_that_has_more(tmp_path):
    found = {"queries": 4, "gallery": 6, "divisions": 3, "std": {}}
    found["metrics"] = {"ensemble": {"rank-1": 0.5, "map": 0.625}}
    summary = {"metrics": {}, "reidentification": found}
    alone, beside = (
        Page(written(tmp_path, evaluation={"test of a, 3 divisions": summary} | more))
        for more in ({}, {"test of b": examples.result()})
    )
    head, other = (page.text.partition("Mean Average")[0] for page in (alone, beside))
    assert "mAP across cameras" in head and "0.625" in head and "3 divisions" in head
    assert "Not yet evaluated." not in head
    assert "MAP@R of the ensemble" in other


def test_unmeasured_figures_and_pairs(tmp_path):
    result = examples.result()
    result["metrics"]["pixels"] = {"recall@1": float("nan"), "map@r": None}
    result["cosine"]["negative"] = {"mean": None, "std": None, "histogram": [0] * 80}
    shown = Page(written(tmp_path, evaluation={"test": result}, gallery=None, attention=None))
    assert ["raw pixels, no training", "", "-", "-", "-", "-", "-", "-"] in shown.rows
    assert "Error ratio" not in shown.text and "nan" not in shown.text
    assert "images of two classes" not in shown.text and "same image: mean" in shown.text


def test_stays_small_with_large_images(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 224, 224, 3), np.uint8)
    gallery = Gallery(
        images=noise,
        labels=np.arange(40) % 5,
        class_names=[f"car {i}" for i in range(5)],
        queries=np.arange(16),
        neighbours=rng.integers(0, 40, (16, 8)),
    )
    attention = Attention(images=noise[:8], masks=examples.seen(8, 8).masks, captions=["car"] * 8)
    content = written(tmp_path, gallery=gallery, attention=attention)
    assert 500_000 < len(content) < 3_000_000
