"""Pictures for papers: they show what was measured, come out alike, and say what they leave out."""

import dataclasses
import json
import re
import sys
import zlib
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from processes import TINY
from processes import run as started

from abe_jax import config
from abe_jax.cli import figures as cli
from abe_jax.config import build, stored
from abe_jax.data.split import Split
from abe_jax.errors import ArgumentError, UserError
from abe_jax.evaluation import cosine as cosine_measure
from abe_jax.evaluation.embedder import Embedder
from abe_jax.evaluation.examples import evenly
from abe_jax.evaluation.network import Embedded
from abe_jax.evaluation.options import Measures
from abe_jax.report import figures, plots
from abe_jax.report.figures import (
    attention,
    attention_product,
    captions,
    class_ranking,
    classes,
    cosine,
    drawing,
    embedding_map,
    recall,
)
from abe_jax.report.figures.canvas import canvas
from abe_jax.report.figures.embedded_run import Drawn, EmbeddedRun, Picture, Skipped
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder

SINGLE = ("model.kind=single", "model.learners=1", "objective=[{'name': 'contrastive'}]")


pytestmark = pytest.mark.usefixtures("promotion")


def saved(folder: Path, data: Path, *overrides: str) -> Path:
    """A run's folder with a checkpoint, untrained: pictures are drawn of any."""
    made = config.load(TINY, (f"data.root={data}", "evaluate.ks=(1, 3, 10)", *overrides))
    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    config.write_json(made, run.config)
    best = Checkpoints(run.best, 1)
    best.save(jax.tree.map(np.asarray, build.recipe(made).create()), {"value": 0.5})
    best.close()
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> tuple[Path, Path]:
    """A run with attention, evaluated, and one of a single learner."""
    root = tmp_path_factory.mktemp("runs")
    with jax.numpy_dtype_promotion("standard"):
        several = saved(root / "attention", tiny_data)
        run = stored.run(several)
        run.record(run.measure("val"))
        return several, saved(root / "single", tiny_data, *SINGLE)


@pytest.fixture(scope="module")
def opened(folders: tuple[Path, Path]) -> EmbeddedRun:
    with jax.numpy_dtype_promotion("standard"):
        return cli.embedded(folders[0], "ours", "val")


def evaluation(folder: Path) -> dict:
    return json.loads((folder / "evaluation.json").read_text())["val"]


def all_of(drawn: Drawn) -> list[Picture]:
    assert not isinstance(drawn, Skipped)
    return drawn


def only(drawn: Drawn) -> Picture:
    (picture,) = all_of(drawn)
    return picture


def test_recall_curves_are_of_the_evaluation(
    folders: tuple[Path, Path], opened: EmbeddedRun
) -> None:
    curves = recall.measured(opened)
    assert curves.ks == (1, 2, 3, 4, 8, 10, 16, 32, 64)
    (plot,) = only(recall.pictures([curves])).figure.axes
    expected = evaluation(folders[0])["metrics"]
    lines = [line for line in plot.lines if len(np.asarray(line.get_xdata())) == len(curves.ks)]
    parts = ("ensemble", "learners_mean", "pixels")
    assert len(lines) == len(parts)
    for line, part in zip(lines, parts, strict=True):
        drawn = dict(zip(curves.ks, np.asarray(line.get_ydata()), strict=True))
        for k in (1, 3, 10):
            assert drawn[k] == 100 * expected[part][f"recall@{k}"], (part, k)
    assert len({tuple(np.asarray(line.get_ydata())) for line in lines}) == 3


def spread(run: EmbeddedRun) -> EmbeddedRun:
    """The run with vectors of its own for each class, some classes closer together than others."""
    shape = run.embedded.vectors.shape
    width = np.random.default_rng(0).uniform(0.5, 3, run.labels.max() + 1)[run.labels]
    noise = np.random.default_rng(1).normal(size=shape)
    centres = np.random.default_rng(2).normal(size=(len(width), 1, shape[2]))[run.labels]
    vectors = (centres + width[:, None, None] * noise).astype(np.float32)
    return dataclasses.replace(run, embedded=run.embedded._replace(vectors=vectors))


def test_histograms_count_what_the_evaluation_counted(
    folders: tuple[Path, Path], opened: EmbeddedRun
) -> None:
    expected = evaluation(folders[0])["cosine"]
    own = cosine.measured(opened).histograms
    assert set(own) == {"same_image", "positive", "negative"}
    for kind, one in own.items():
        counts = np.array(expected[kind]["histogram"])
        assert one.percent.tolist() == (100 * counts / counts.sum()).tolist()
        assert (one.mean, one.std) == (expected[kind]["mean"], expected[kind]["std"])
        assert one.edges.tolist() == expected["edges"]
    run = spread(opened)
    expected = cosine_measure.between_learners(run.embedded.vectors, run.labels)
    (plot,) = only(cosine.pictures([cosine.measured(run)])).figure.axes
    steps = [patch.get_data() for patch in plot.patches if patch.get_label()]  # pyright: ignore
    assert len(steps) == 2 and np.abs(steps[0].values - steps[1].values).max() > 1
    for step, kind in zip(steps, ("same_image", "positive"), strict=True):
        counts = np.array(expected[kind]["histogram"])
        assert np.allclose(step.values, 100 * counts / counts.sum(), rtol=1e-12)
        assert step.edges.tolist() == expected["edges"]


def test_several_runs_stand_in_one_plot_for_each_kind_of_pairs(opened: EmbeddedRun) -> None:
    own = cosine.measured(opened)
    moved = {**own.histograms, "same_image": own.histograms["same_image"]._replace(mean=-0.25)}
    other = cosine.RunCosines("漢字 without", "other words", moved)
    alone = cosine.RunCosines("single", "", {})
    picture = only(cosine.pictures([own, other, alone]))
    assert [plot.get_title(loc="left").split(":")[0] for plot in picture.figure.axes] == [
        "same image",
        "two images of one class",
    ]
    assert "-0.25" in picture.figure.axes[0].get_title(loc="left")
    assert "without such a cosine: single" in picture.caption
    picture.figure.canvas.draw()  # no warning of characters that the font lacks
    assert isinstance(cosine.pictures([alone]), Skipped)


def pixels_of(figure: Figure) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:, :, :3]  # pyright: ignore


def test_a_mask_is_seen_in_its_own_cell_and_there_alone() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (3, 32, 32, 3), np.uint8)
    masks = rng.uniform(0.2, 0.8, (3, 4, 5, 5)).astype(np.float32)
    masks[0, 0, 0, :2] = 0.0, 1.0  # the scale stays
    changed = masks.copy()
    changed[2, 1] = 1 - changed[2, 1]
    names = ["a", "long name", "漢"]
    before, after = (pixels_of(attention.grid(images, m, names, [])) for m in (masks, changed))
    rows, columns = np.nonzero((before != after).any(axis=2))
    height, width = before.shape[:2]
    assert len(rows) > 0.01 * height * width
    # of three rows the last, of five columns (an image, four learners) the third
    assert height * 0.55 < rows.min() and rows.max() < height * 0.95
    assert width * 0.40 < columns.min() and columns.max() < width * 0.64
    assert rows.max() - rows.min() > 0.2 * height


def test_the_channel_shown_is_the_one_that_varies_most() -> None:
    masks = np.full((2, 3, 4, 4, 6), 0.5, np.float32)
    masks[:, 0, :, :, 4] = np.linspace(0, 1, 32).reshape(2, 4, 4)
    masks[0, 1, :, :, 2], masks[1, 1, :, :, 2] = 0.0, 1.0  # constant on each image
    masks[:, 1, :, :, 3] = np.linspace(0.4, 0.6, 32).reshape(2, 4, 4)
    assert attention.channels(masks).tolist() == [4, 2, 0]


def test_a_product_shows_the_image_where_the_mask_is_largest_and_nothing_where_it_is_0() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(1, 255, (2, 256, 256, 3), np.uint8)  # as large as the product
    masks = np.zeros((2, 3, 2, 2), np.float32)
    masks[0, 1], masks[1, 2] = 0.8, 0.2  # the same everywhere
    made = attention_product.products(images, masks)
    assert (made[0, 1] == images[0]).all() and not made[0, 0].any()
    assert np.abs(made[1, 2] - images[1] / 4).max() <= 0.5


def test_one_channel_of_all_masks_can_be_named(opened: EmbeddedRun) -> None:
    made = {picture.name: picture for picture in all_of(attention.pictures(opened, channel=3))}
    assert set(made) == {"attention_channel", "attention_mean", "attention_product"}
    product = made["attention_product"].figure
    said = [text.get_text() for text in product.axes[0].texts]
    assert said.count("channel 3") == 2  # of both learners
    assert said.count("channel") == said.count("mean") == 4  # the two lines of each image
    assert "above one channel, channel 3, below" in made["attention_product"].caption
    rows = evenly(len(opened.labels), attention.ROWS)[: attention_product.ROWS]
    masks = opened.embedder.masks(opened.images(rows))
    expected = attention_product.products(opened.images(rows), masks[..., 2].astype(np.float32))
    placed = [np.asarray(image.get_array()).mean() for image in product.axes[0].images]
    assert len(placed) == 4 * 5  # an image, two learners in two lines
    assert placed[1] == pytest.approx(expected[0, 0].mean(), rel=0.02)
    assert placed[2] == pytest.approx(expected[0, 1].mean(), rel=0.02)
    with pytest.raises(ArgumentError, match="channel: 33: the masks have the channels 1 to 8"):
        attention.pictures(opened, channel=33)


def test_attention_of_four_learners_takes_a_column_and_of_more_the_page() -> None:
    images = np.zeros((1, 8, 8, 1), np.uint8)
    for learners, width in ((2, 2.44), (4, 3.3), (5, 4.78), (8, 6.9)):
        masks = np.random.default_rng(0).random((1, learners, 2, 2)).astype(np.float32)
        drawn = attention.grid(images, masks, ["a"], []).get_figwidth()
        assert drawn == pytest.approx(width)


def average_precision_at_r(match: np.ndarray) -> float:
    """The mean over the R first points of the precision there, where they are right."""
    number, hits, total = int(match.sum()), 0, 0.0
    for place, right in enumerate(match[:number], start=1):
        hits += int(right)
        total += hits / place if right else 0.0
    return total / number


def brute(run: EmbeddedRun) -> dict[int, tuple[float, float]]:
    """R@1 and MAP@R of each class, query by query."""
    x = run.flat.astype(np.float64)
    values: dict[int, list] = {}
    for i, label in enumerate(run.labels):
        others = np.delete(np.arange(len(x)), i)
        order = others[np.argsort(((x[others] - x[i]) ** 2).sum(axis=1), kind="stable")]
        match = run.labels[order] == label
        if match.any():
            average = average_precision_at_r(match)
            values.setdefault(int(label), []).append((float(match[0]), average))
    return {label: tuple(np.mean(scores, axis=0)) for label, scores in values.items()}


def test_classes_are_ranked_by_their_own_queries(opened: EmbeddedRun) -> None:
    run = spread(opened)
    means = class_ranking.by_class(run.labels, class_ranking.query_scores(run))
    best, worst = class_ranking.ends(means)
    expected = brute(run)
    for label, (r, m) in expected.items():
        assert means.recall[label] == pytest.approx(r)
        assert means.map_at_r[label] == pytest.approx(m)
    order = sorted(expected, key=lambda label: expected[label][1])
    assert worst.tolist() == order[:4] and best.tolist() == order[:-5:-1]
    told = only(classes.pictures(run)).caption
    assert f"{run.split.class_names[order[0]]} " in told and f"{expected[order[0]][1]:.3f}" in told


def test_queries_of_a_gallery_find_its_images_alone() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(20, 2, 4)).astype(np.float32)
    split = Split(
        name="test",
        records=[
            cv2.imencode(".png", np.full((8, 8), 9 * i, np.uint8))[1].tobytes() for i in range(20)
        ],
        labels=np.repeat(np.arange(5), 4).astype(np.int32),
        groups=None,
        class_names=tuple("abcde"),
        gallery=np.arange(20) % 2 == 1,
    )
    made = config.load(TINY, ("data.size=8", "data.resize=8"))
    embedded = Embedded(vectors, np.arange(20), np.zeros(0, np.int64))
    run = EmbeddedRun(
        name="r",
        embedder=Embedder.of(build.network(made), {}, {}, {}),
        step=1,
        split=split,
        embedded=embedded,
        measures=Measures(ks=(1,)),
    )
    rows = np.array([0, 6])
    nearest = class_ranking.neighbours(run, rows)
    assert nearest.shape == (2, 7) and (nearest % 2 == 1).all()
    for row, near in zip(rows, nearest, strict=True):
        distances = ((run.flat[1::2] - run.flat[row]) ** 2).sum(axis=1)
        assert near.tolist() == (1 + 2 * np.argsort(distances)[:7]).tolist()
    assert set(class_ranking.query_scores(run).rows.tolist()) == set(range(0, 20, 2))
    assert "2 queries" not in only(classes.pictures(run)).caption
    assert recall.measured(run).ks == (1, 2, 4, 8)


def test_thumbnails_have_room_and_no_room_is_left() -> None:
    at = np.random.default_rng(0).uniform(0, 3, (300, 2))
    first = np.arange(300) >= 250
    shown = embedding_map.without_overlap(at, first, 0.3)
    taken = at[shown]
    distance = np.abs(taken[:, None] - taken[None]).max(axis=2) + 9 * np.eye(len(taken))
    assert distance.min() >= 0.3
    left = np.abs(at[~shown][:, None] - taken[None]).max(axis=2)
    assert (left.min(axis=1) < 0.31).all()
    assert shown[first].sum() > shown[~first].sum() / 4


def test_neighbours_are_neighbours_on_the_map() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 60)).astype(np.float32)
    of = np.repeat(np.arange(4), 25)
    vectors = centres[of] + 0.05 * rng.normal(size=(100, 60)).astype(np.float32)
    points = embedding_map.projected(vectors)
    assert (points == embedding_map.projected(vectors)).all()
    distance = ((points[:, None] - points[None]) ** 2).sum(axis=2) + 1e9 * np.eye(100)
    assert (of[distance.argmin(axis=1)] == of).all()
    inside = embedding_map.scaled(points, 6.9, 5.6)
    assert inside.min() >= embedding_map.MARGIN - 1e-9
    assert (inside.max(axis=0) <= np.array([6.9, 5.6]) - embedding_map.MARGIN + 1e-9).all()


def test_vectors_that_are_all_alike_make_a_map_too() -> None:
    pytest.importorskip("sklearn")
    points = embedding_map.projected(np.ones((12, 8), np.float32))
    assert np.isfinite(embedding_map.scaled(points, 6.9, 5.6)).all()


def test_points_keep_the_coloured_classes_whole() -> None:
    labels = np.repeat(np.arange(100), 100)
    chosen = embedding_map.classes(labels)
    rows = embedding_map.mapped(labels, chosen)
    assert len(chosen) == 6 and len(rows) == embedding_map.POINTS == len(set(rows.tolist()))
    assert np.isin(np.flatnonzero(np.isin(labels, chosen)), rows).all()
    assert len(embedding_map.classes(np.arange(9))) == 0


@pytest.mark.slow
def test_the_same_pictures_are_the_same_bytes(opened: EmbeddedRun, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    kept = []
    for at in range(2):
        folder = tmp_path / str(at)
        folder.mkdir()
        drawn = [one for kind in drawing.OF_EACH.values() for one in all_of(kind(opened))]
        drawn += all_of(cosine.pictures([cosine.measured(opened)]))
        for picture in drawn:
            figures.write(picture.figure, folder, picture.name)
        kept.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert len(kept[0]) == 12 and kept[0] == kept[1]


@pytest.mark.slow
def test_a_command_draws_several_runs_and_says_what_it_leaves_out(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("sklearn")
    arguments = ["--workdir", *map(str, folders), "--split", "val", "--out", str(tmp_path)]
    cli.main(arguments)
    parts = ("attention_channel-attention", "attention_mean-attention")
    parts += ("attention_product-attention", "map-attention", "classes-attention")
    parts += ("map-single", "classes-single", "cosine", "recall")
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {f"{p}.{k}" for p in parts for k in ("png", "pdf")} | {"figures.md"}
    said = capsys.readouterr().out
    assert "no picture of attention of single: a model of kind 'single' has no attention" in said
    words = (tmp_path / "figures.md").read_text()
    assert "attention of single: a model" in words and f"--split val --out {tmp_path}" in words
    assert all(f"]({part}.png)" in words for part in parts)
    expected = evaluation(folders[0])["metrics"]["ensemble"]["recall@10"]
    assert f"{100 * expected:.2f}" in words


def test_a_pdf_has_its_fonts_and_no_date(folders: tuple[Path, Path], tmp_path: Path) -> None:
    cli.main(
        ["--workdir", str(folders[0]), "--split", "val", "--only", "cosine", "--out", str(tmp_path)]
    )
    assert {path.name for path in tmp_path.iterdir()} == {"cosine.png", "cosine.pdf", "figures.md"}
    pdf = (tmp_path / "cosine.pdf").read_bytes()
    assert b"/Type3" not in pdf and b"/FontFile2" in pdf and b"CreationDate" not in pdf
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    drawn = b"".join(zlib.decompress(s) for s in streams if s.startswith(b"x"))
    assert b"TJ" in drawn or b"Tj" in drawn  # text, not outlines
    image = cv2.imread(str(tmp_path / "cosine.png"))
    assert image is not None and image.shape[1] == 990  # 3.3 inches at 300 dpi


def test_pictures_go_into_the_run_unless_told_otherwise(folders: tuple[Path, Path]) -> None:
    cli.main(["--workdir", str(folders[0]), "--split", "val", "--only", "cosine"])
    assert (folders[0] / "figures" / "cosine.pdf").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--only", "cosines"], "--only cosines: no such picture; did you mean 'cosine'?"),
        (["--split", "train"], "invalid choice: 'train'"),
        (["--config.seed=1"], "a run is drawn as its config.json says"),
        (["--only", "attention,cosine"], "nothing could be drawn (attention: a model of kind"),
    ],
)
def test_mistakes_are_one_line(
    folders: tuple[Path, Path], tmp_path: Path, arguments: list[str], line: str
) -> None:
    with pytest.raises(UserError) as error:
        cli.main(["--workdir", str(folders[1]), "--out", str(tmp_path), *arguments])
    assert line in str(error.value) and "\n" not in str(error.value)


def test_a_folder_that_is_no_run_is_said_before_anything_is_drawn(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    done = started(
        "figures",
        "--workdir",
        folders[0],
        tmp_path / "none",
        "--out",
        tmp_path / "out",
        data=tmp_path,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert str(tmp_path / "none") in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_without_scikit_learn_the_map_alone_is_missing(
    folders: tuple[Path, Path], opened: EmbeddedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    drawn = embedding_map.pictures(opened)
    assert isinstance(drawn, Skipped) and "pip install 'abe_jax[figures]'" in drawn.reason
    with pytest.raises(UserError, match=r"the picture 'map' needs sklearn"):
        cli.main(["--workdir", str(folders[0]), "--only", "map", "--out", str(tmp_path)])


def test_a_run_that_is_named_twice_is_refused(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match=r"single: named twice"):
        cli.main(["--workdir", str(folders[1]), str(folders[0]), str(folders[1])])


def test_nothing_to_find_is_no_curve_and_no_class(opened: EmbeddedRun) -> None:
    rows = np.unique(opened.labels, return_index=True)[1]  # one image of each class
    few = Embedded(
        opened.embedded.vectors[rows], opened.embedded.image_ids[rows], np.zeros(0, np.int64)
    )
    run = dataclasses.replace(opened, embedded=few)
    for drawn in (classes.pictures(run), recall.pictures([recall.measured(run)])):
        assert drawn == Skipped("no query has an image of its class to find")
    only(cosine.pictures([cosine.measured(run)]))  # without positive pairs


def test_images_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for at in range(2):
            (tmp_path / "images" / label / f"{at}.png").write_bytes(b"no picture")
    own = (*SINGLE, "data.name=folder", f"data.path={tmp_path / 'images'}", "data.test_share=1.0")
    run = saved(tmp_path / "run", tmp_path, *own)
    with pytest.raises(UserError, match="none of the 4 images of test can be read"):
        cli.embedded(run, "run", "test")
    for label in ("cat", "dog"):
        picture = np.full((8, 8, 3), 90, np.uint8)
        cv2.imwrite(str(tmp_path / "images" / label / "0.png"), picture)
    embedded = cli.embedded(run, "run", "test")
    assert "2 images (without 2 that cannot be read) of 2 classes" in embedded.words
    assert (embedded.images(np.arange(2)) == 90).all()  # one that cannot be read would be black


def test_few_classes_have_no_worst(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for at in range(2):
            picture = np.full((8, 8, 3), 90 * at, np.uint8)
            cv2.imwrite(str(tmp_path / "images" / label / f"{at}.png"), picture)
    own = (*SINGLE, "data.name=folder", f"data.path={tmp_path / 'images'}", "data.test_share=1.0")
    run = saved(tmp_path / "run", tmp_path, *own)
    caption = only(classes.pictures(cli.embedded(run, "run", "test"))).caption
    assert caption.startswith("All classes by MAP@R, the highest first; of equals")


def test_eight_runs_in_one_plot_look_different(opened: EmbeddedRun) -> None:
    looks = [tuple(map(str, plots.marks(at).values())) for at in range(36)]
    assert len(set(looks)) == 36
    own = cosine.measured(opened)
    many = [own._replace(name=f"run {at}") for at in range(8)]
    figure = only(cosine.pictures(many)).figure
    figure.canvas.draw()
    assert min(plot.get_window_extent().height for plot in figure.axes) > 0.6 * figure.dpi


def test_names_from_outside_are_no_markdown() -> None:
    assert captions.escaped("a_b <i>*c*\n[d](e)") == r"a\_b \<i\>\*c\* \[d\](e)"


def test_runs_are_told_apart() -> None:
    paths = [Path("/a/one/run"), Path("/a/two/run"), Path("/b/other 0.5")]
    assert cli.names(paths) == ["one/run", "two/run", "other 0.5"]
    assert cli.names([Path("/x"), Path("/a/x")]) == ["x", "a/x"]
    assert drawing.slugs(["one/run", "ONE run", "other 0.5", "漢字", "..."]) == [
        "one-run",
        "ONE-run-2",
        "other-0-5",
        "漢字",
        "5",
    ]


def test_characters_that_the_font_lacks_are_written_by_number(tmp_path: Path) -> None:
    drawn = canvas(2.0, 1.0)
    drawn.text(0.1, 0.1, "漢 $x_1$ é")
    assert drawn.axes.texts[0].get_text() == "U+6F22 $x_1$ é"
    figures.write(drawn.figure, tmp_path, "words")


def test_a_picture_lies_in_the_middle_of_its_square() -> None:
    drawn = canvas(4.0, 4.0)
    drawn.image(1.0, 2.0, 0.5, np.zeros((40, 20, 1), np.uint8))
    drawn.image(1.0, 3.0, 0.5, np.zeros((30, 30, 1), np.uint8))
    tall, square = (tuple(image.get_extent()) for image in drawn.axes.get_images())
    assert tall == (1.125, 1.375, 2.5, 2.0) and square == (1.0, 1.5, 3.5, 3.0)
