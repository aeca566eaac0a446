"""A run measured on other images than its own: galleries, published figures, single images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import oracles
import oracles_grains
import pytest
from states import created_state
from test_evaluation_whitened import SINGLE, TINY, saved

from abe_jax import config
from abe_jax.cli import evaluate
from abe_jax.config import build, stored
from abe_jax.config.other_data import OtherData
from abe_jax.data.dataset import Split
from abe_jax.data.split import chosen, subset
from abe_jax.errors import UserError
from abe_jax.evaluation import Measures, benchmark_figures
from abe_jax.runs.evaluation import within_reach
from abe_jax.training import step
from abe_jax.training.run_folder import RunFolder

PLAIN = ("model.kind=heads", "model.width=4", "evaluate.whiten=0", "data.threads=1")


pytestmark = pytest.mark.usefixtures("as_a_user")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Twelve classes of three pictures, as a folder."""
    rng = np.random.default_rng(0)
    for label in range(12):
        folder = tmp_path / "photographs" / f"thing {label}"
        folder.mkdir(parents=True)
        own = rng.integers(0, 256, (6, 6, 3))
        for at in range(3):
            noisy = np.clip(own + rng.normal(0, 60, own.shape), 0, 255).astype(np.uint8)
            picture = cv2.resize(noisy, (40, 30), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(folder / f"{at}.png"), picture)
    return tmp_path / "photographs"


def section(run: RunFolder, name: str) -> dict[str, Any]:
    return json.loads(run.evaluation.read_text())[name]


def asked_of(run: RunFolder, *arguments: str) -> None:
    evaluate.main(["--workdir", str(run.path), *arguments])


def test_another_folder_has_a_section_of_its_own(photographs, tmp_path, capsys):
    run = saved(tmp_path / "run", *PLAIN, "evaluate.ks=(1,2,40)")
    asked_of(run, "--path", str(photographs))
    name = f"test of {photographs}"
    found = section(run, name)
    assert list(json.loads(run.evaluation.read_text())) == [name]
    assert (found["images"], found["classes"], found["step"]) == (36, 12, 0)
    assert f"{name} · 36 images, 12 classes" in capsys.readouterr().out
    assert name in run.report.read_text()

    made = OtherData(name="folder", path=str(photographs)).applied(config.read_json(run.config))
    split = build.dataset(made.data).split("test")
    state = step.replicate(created_state(config.read_json(run.config)))
    vectors = build.network(made).vectors(state, split).vectors
    expected, _ = oracles.retrieval(vectors, split.labels, (1, 2))
    assert found["metrics"]["ensemble"] == pytest.approx(expected)  # K = 40 is beyond these 36

    asked_of(run, "--path", str(photographs), "--config.data.test_share=0.25")
    assert section(run, name)["classes"] == 3
    stored.run(run.path).write_evaluation("test", lambda line: None)
    assert list(json.loads(run.evaluation.read_text())) == [name, "test"]
    assert section(run, "test")["classes"] == 18


def test_other_images_without_domains_are_measured_without_them(photographs, tmp_path):
    run = saved(tmp_path / "run", *PLAIN, "evaluate.ks=(1,)", "evaluate.domains=True")
    asked_of(run, "--path", str(photographs))
    found = section(run, f"test of {photographs}")
    assert found["images"] == 36 and "domains" not in found


def test_what_a_run_was_trained_on_is_not_asked_of_other_images(photographs):
    own = config.load(
        TINY,
        [
            "data.unseen_domains=('x',)",
            "data.held_out=0.2",
            "data.validation_classes=3",
            "data.classes=34",
            "data.resize=48",
            "evaluate.whiten=9",
        ],
    )
    made = OtherData(name="folder", path=str(photographs), options=["data.root=r"]).applied(own)
    assert (made.data.unseen_domains, made.data.held_out, made.data.validation_classes) == (
        (),
        0.0,
        0,
    )
    assert (made.data.resize, made.data.root, made.data.classes) == (48, "r", 34)
    assert (made.model, made.objective, made.evaluate) == (own.model, own.objective, own.evaluate)
    assert OtherData(name="inshop").applied(own).evaluate.ks == (1, 10, 20, 30, 40, 50)
    several = config.overridden(own, ["data.sources=('cuhk03_labeled','market1501')"])
    for name in ("market1501", "cuhk03_detected"):  # the second has the first source's persons
        with pytest.raises(UserError, match=f"^{name}: the run was trained on "):
            OtherData(name=name).applied(several)
    assert OtherData(name="viper").applied(several).data.name == "viper"
    for name in ("", ":1.0.0", "/config:1.0.0"):
        other = OtherData(name=f"tfds:stanford_online_products{name}").applied(own)
        assert other.evaluate.ks[-1] == 1000


def test_options_of_the_runs_own_images_leave_its_training_classes_out(photographs):
    own = config.load(TINY, ["data.name=folder", f"data.path={photographs}", "data.test_share=0.5"])
    for option in ("data.unreadable_share=0.5", "data.root=r", "data.label_column=label"):
        made = OtherData(name="folder", path=f"{photographs}/.", options=[option]).applied(own)
        assert made == config.overridden(own, [option])
    tested = build.dataset(made.data).split("test").class_names
    assert len(tested) == 6 and not set(tested) & set(
        build.dataset(own.data).split("train").class_names
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--dataset", "holiday"), "unknown data set 'holiday'"),
        (("--dataset", "glyphs_tiny", "--config.data.size=3"), "config.json says; of another"),
        (("--config.data.test_share=0.2",), "a run is evaluated as its config.json says"),
        (("--dataset", "glyphs_tiny"), "is the run's own: leave out --dataset and --path"),
        (("--path", "nowhere"), "nothing is at nowhere"),
        (("--dataset", "sop", "--path", "."), "--path: sop has been prepared and is found by its"),
        (
            ("--dataset", "glyphs_tiny", "--split", "held", "--config.data.test_share=0.3"),
            "held_out: 0",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments: Sequence[str], line):
    run = saved(tmp_path / "run", *PLAIN)
    with pytest.raises(UserError, match=line) as raised:
        asked_of(run, *arguments)
    assert "\n" not in str(raised.value)
    assert not run.evaluation.exists()


def images_of(object_ids: Sequence[int], **known: Any) -> Split:
    labels = np.array(object_ids, np.int32)
    names = tuple(f"thing {i}" for i in range(max(object_ids) + 1))
    records = [b""] * len(labels)
    return Split(name="test", records=records, labels=labels, class_names=names, **known)


def whole_numbers(n: int) -> np.ndarray:
    """Vectors whose distances are exact, many of them equal."""
    return np.random.default_rng(2).integers(-2, 3, (n, 2, 3)).astype(np.float32)


def test_holidays_and_ukbench_are_measured_as_published():
    rng = np.random.default_rng(3)
    object_ids = rng.permutation(np.repeat(np.arange(9), 4))
    split, x = images_of(object_ids.tolist(), groups=None), whole_numbers(36)
    read = np.flatnonzero(rng.random(36) < 0.8)
    found = benchmark_figures.measure("ukbench", split, read, x[read])["instance"]
    mean, queries = oracles_grains.holidays(x[read], object_ids[read])
    assert found["queries"] == queries and found["images"] == len(read)
    assert found["map"] == pytest.approx(mean)
    assert found["ukbench"] == pytest.approx(oracles_grains.ukbench(x[read], object_ids[read]))
    assert benchmark_figures.measure("holidays", split, read, x[read])["instance"] == found
    assert benchmark_figures.measure("cars196", split, read, x[read]) == {}
    assert (
        benchmark_figures.measure("ukbench", images_of(range(3), groups=None), np.arange(3), x[:3])
        == {}
    )


def test_copies_ask_for_their_original_by_attack():
    """Seven originals, two attacks of each, four distractors; original 2 cannot be read."""
    labels = np.array([*range(7), *range(7), *range(7), 7, 8, 9, 10], np.int32)
    groups = np.repeat([0, 1, 2, 0], [7, 7, 7, 4]).astype(np.int32)
    gallery = groups == 0
    order = np.random.default_rng(4).permutation(25)
    split = images_of(
        labels[order].tolist(),
        groups=groups[order],
        group_names=("original", "jpeg 3", "strong"),
        gallery=gallery[order],
    )
    labels, groups, gallery, x = labels[order], groups[order], gallery[order], whole_numbers(25)
    read = np.flatnonzero(~(gallery & (labels == 2)))
    found = benchmark_figures.measure("copydays", split, read, x[read])["copy"]
    asked = [i for i in read if gallery[i]]
    hits: dict[str, list[list[bool]]] = {"jpeg 3": [], "strong": []}
    for i in read:
        if not gallery[i] and labels[i] != 2:
            ranked = oracles.ranking(x[i], x[asked])
            hits[split.group_names[groups[i]]].append(
                [bool(labels[asked[j]] == labels[i]) for j in ranked]
            )
    assert (found["queries"], found["gallery"]) == (12, 10)
    assert list(found["attacks"]) == ["jpeg 3", "strong"]
    for name, of_attack in hits.items():
        expected = np.mean([oracles_grains.trapezoid(hit) for hit in of_attack])
        assert found["attacks"][name]["map"] == pytest.approx(expected)
        assert found["attacks"][name]["recall@1"] == pytest.approx(
            np.mean([hit[0] for hit in of_attack])
        )
    every = [hit for of_attack in hits.values() for hit in of_attack]
    assert found["map"] == pytest.approx(np.mean([oracles_grains.trapezoid(h) for h in every]))


def test_k_beyond_the_gallery_are_left_out():
    own = Measures(ks=(1, 2, 3, 50))
    split = images_of([0, 0, 1, 1], groups=None)
    assert within_reach(own, split).ks == (1, 2, 3)
    gallery = np.array([True, False, True, False])
    asked = images_of([0, 0, 1, 1], groups=None, gallery=gallery)
    assert within_reach(own, asked).ks == (1, 2)
    assert within_reach(Measures(ks=(9,)), asked).ks == (1,)
    with pytest.raises(UserError, match="one image alone"):
        within_reach(own, images_of([0], groups=None))


def test_a_split_keeps_its_gallery_when_it_shrinks():
    gallery = np.array([True, False, True, False])
    split = images_of([0, 0, 1, 1], groups=None, gallery=gallery)
    for shrunk in (chosen(split, np.array([3, 0])), subset(split, np.array([3, 0]))):
        assert shrunk.gallery is not None and shrunk.gallery.tolist() == [False, True]
    assert chosen(images_of([0], groups=None), np.array([0])).gallery is None


HELD_ONE = ("data.held_out=0.05", "evaluate.binary=True", *PLAIN)


def test_single_images_held_out_are_classified(tmp_path, capsys):
    run = saved(tmp_path / "run", *SINGLE, *HELD_ONE, "model.kind=single")
    asked_of(run, "--split", "held")
    found = section(run, "held")
    assert found["queries"] == 0 and found["images"] == found["classes"]
    assert found["metrics"] == {} and found["grains"]["class"]["images"] == found["images"]
    assert "top-1" in capsys.readouterr().out and "held" in run.report.read_text()


def test_single_images_without_a_classifier_are_refused_in_one_line(tmp_path):
    run = saved(tmp_path / "run", *HELD_ONE)
    with pytest.raises(UserError, match=r"held_out: no class has two.*greater share"):
        asked_of(run, "--split", "held")


@pytest.mark.parametrize("signs", ["one", "both"])
def test_codes_of_features_without_signs_are_warned_of(tmp_path, capsys, signs):
    head = ("model.head=none", "model.dim=16") if signs == "one" else ()
    run = saved(
        tmp_path / "run", *SINGLE, *PLAIN, "model.kind=single", "evaluate.binary=True", *head
    )
    asked_of(run)
    warned = "warning: binary codes: no number" in capsys.readouterr().out
    assert warned == (signs == "one")


def sides(photographs: Path) -> Path:
    """A CSV file of two training classes and nine whose pictures ask or are asked."""
    lines = ["path,label,split,kind"]
    for path in sorted(photographs.rglob("*.png")):
        label, at = int(path.parent.name.removeprefix("thing ")), int(path.stem)
        part = ("gallery", "query", "gallery")[at] if label > 2 else "train"
        if label == 11:
            part = "gallery"  # distractors
        if label < 11 or at:
            lines.append(f"{path.relative_to(photographs)},{label},{part},{at}")
    (photographs / "sides.csv").write_text("\n".join(lines) + "\n")
    return photographs / "sides.csv"


def test_a_csv_file_with_queries_and_a_gallery(photographs, tmp_path, capsys):
    run = saved(tmp_path / "run", *PLAIN, "evaluate.grains=True", "evaluate.copies=2")
    path = sides(photographs)
    asked_of(run, "--path", str(path), "--config.data.instance_column=kind")
    found = section(run, f"test of {path}")
    assert (found["images"], found["queries"], found["gallery"]) == (26, 8, 18)
    assert "26 images, 9 classes, 8 queries, 18 in the gallery" in capsys.readouterr().out
    assert "the others are the queries" in run.report.read_text()
    made = OtherData(name="folder", path=str(path)).applied(config.read_json(run.config))
    split = build.dataset(made.data).split("test")
    assert split.gallery is not None and split.gallery.sum() == 18
    state = step.replicate(created_state(config.read_json(run.config)))
    vectors = build.network(made).vectors(state, split).vectors
    expected, _ = oracles.retrieval(vectors, split.labels, (1, 2), gallery=split.gallery)
    assert found["metrics"]["ensemble"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("was", "becomes", "line"),
    [
        ("query", "gallery", "no image of 'query'"),
        ("gallery", "query", "no image of 'gallery'"),
        ("8,query", "8,test", "images of 'test' as well"),
    ],
)
def test_a_side_without_the_other_is_refused(photographs, was, becomes, line):
    path = sides(photographs)
    path.write_text(path.read_text().replace(was, becomes))
    made = OtherData(name="folder", path=str(path)).applied(config.load(TINY, []))
    with pytest.raises(UserError, match=f"a query and a gallery side of its test, and {line}"):
        build.dataset(made.data).split("test")
    build.dataset(made.data).split("train")


def test_all_classes_for_the_test_leave_none_to_train_on(photographs):
    made = OtherData(name="folder", path=str(photographs)).applied(config.load(TINY, []))
    assert len(build.dataset(made.data).split("test").class_names) == 12
    with pytest.raises(UserError, match=r"test_share: 1 leaves no class of .* 'train'"):
        build.dataset(made.data).split("train")
