"""A run measured on prepared data sets by their published protocols, beside loops in float64."""

import dataclasses
import zlib
from pathlib import Path

import benchmark_trees as trees
import cv2
import jax
import numpy as np
import oracles
import oracles_grains
import pytest
from states import created_state
from test_evaluate_other_data import PLAIN, asked_of, section
from test_evaluation_whitened import SINGLE, saved

from abe_jax import config
from abe_jax.config import build
from abe_jax.config.other_data import OtherData
from abe_jax.data import uncropped
from abe_jax.data.dataset import Split
from abe_jax.data.sources.benchmarks import builder, reading
from abe_jax.data.sources.benchmarks.table import BENCHMARKS
from abe_jax.data.split import chosen
from abe_jax.evaluation import whitening
from abe_jax.report.grains import cells
from abe_jax.training import step
from abe_jax.training.run_folder import RunFolder

NAMES = ("holidays", "ukbench", "copydays", "inshop")
DIVIDED = ("grid", "viper", "prid", "ilids")  # at random into training and test persons


def noise(name: str) -> bytes:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    picture = cv2.resize(rng.integers(0, 256, (4, 4, 3), np.uint8), (40, 30))
    return cv2.imencode(".jpg", picture)[1].tobytes()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sets prepared from archives as their authors lay them out, of a few images of noise."""
    found = tmp_path_factory.mktemp("root")
    for name in NAMES + DIVIDED:
        tree = trees.TREES[name]()
        archives = [
            archive._replace(
                files={
                    path: noise(path) if path.endswith(".jpg") else content
                    for path, content in archive.files.items()
                }
            )
            for archive in tree.archives
        ]
        source = trees.packed(tree._replace(archives=archives), tmp_path_factory.mktemp(name))
        original = BENCHMARKS[name]
        folder = reading.folder(original, str(found))
        assert builder.build(original, source, folder, any_counts=True)
    return found


pytestmark = pytest.mark.usefixtures("promotion")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    with jax.numpy_dtype_promotion("standard"):
        return saved(tmp_path_factory.mktemp("run"), *PLAIN, "data.channels=3", *UNNORMALISED)


UNNORMALISED = ("data.mean=()", "data.std=()")


def embedded(run: RunFolder, root: Path, name: str) -> tuple[Split, np.ndarray]:
    own = config.read_json(run.config)
    made = OtherData(name=name, options=[f"data.root={root}"]).applied(own)
    split = build.dataset(made.data).split("test")
    state = step.replicate(created_state(own))
    return split, build.network(made).vectors(state, split).vectors


def measured(run: RunFolder, root: Path, name: str) -> dict:
    asked_of(run, "--dataset", name, f"--config.data.root={root}")
    return section(run, f"test of {name}")


def test_holidays(run, root):
    """The first image of each group asks all others, those of other groups' queries too."""
    split, x = embedded(run, root, "holidays")
    assert [path[-6:-4] == "00" for path in split.paths] == [
        i in np.unique(split.labels, return_index=True)[1] for i in range(9)
    ]
    found = measured(run, root, "holidays")
    expected, queries = oracles_grains.holidays(x, split.labels)
    instance = found["grains"]["instance"]
    assert (instance["images"], instance["queries"], queries) == (9, 3, 3)
    assert instance["map"] == pytest.approx(expected) and 0 < expected < 1
    assert 0 < found["grains"]["pixels"]["instance"]["map"] < 1 and "gallery" not in found


def test_other_counts_than_published_are_told_with_the_figures(run, root, capsys):
    measured(run, root, "holidays")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "warning" in line)
    assert "holidays" in line and "is not as published: --allow-counts prepared it" in line


def test_ukbench(run, root):
    split, x = embedded(run, root, "ukbench")
    instance = measured(run, root, "ukbench")["grains"]["instance"]
    assert instance["ukbench"] == pytest.approx(oracles_grains.ukbench(x, split.labels))
    assert instance["ukbench_most"] == 4 and 1 < instance["ukbench"] < 4


def test_copydays(run, root, capsys):
    split, x = embedded(run, root, "copydays")
    found = measured(run, root, "copydays")
    assert split.gallery is not None and split.groups is not None
    asked = np.flatnonzero(split.gallery)
    hits = {}
    for i in np.flatnonzero(~split.gallery):
        order = oracles.ranking(x[i], x[asked])
        right = [bool(split.labels[asked[j]] == split.labels[i]) for j in order]
        hits.setdefault(split.group_names[split.groups[i]], []).append(right)
    copy = found["grains"]["copy"]
    assert (copy["queries"], copy["gallery"], found["gallery"]) == (9, 2, 2)
    assert set(copy["attacks"]) == set(hits) == {"strong", "crops/10", "crops/80", "jpegqual/3"}
    for name, of_attack in hits.items():
        expected = np.mean([oracles_grains.trapezoid(right) for right in of_attack])
        assert copy["attacks"][name]["map"] == pytest.approx(expected)
    assert "other_family" not in found  # an original is of no attack
    assert "crops/10" in capsys.readouterr().out and "crops/10" in run.report.read_text()


def test_inshop(run, root):
    """Queries ask the gallery; K as published, those that two images can give."""
    split, x = embedded(run, root, "inshop")
    found = measured(run, root, "inshop")
    expected, queries = oracles.retrieval(x, split.labels, (1,), gallery=split.gallery)
    assert (found["images"], found["queries"], found["gallery"]) == (6, queries, 2) == (6, 4, 2)
    assert found["metrics"]["ensemble"] == pytest.approx(expected)
    assert "grains" not in found
    alone = oracles.retrieval(x, split.labels, (1,))[0]
    assert alone != expected


def test_holidays_upright_and_whitened_by_other_photographs(root, tmp_path):
    """As published: the mAP by the cosine of vectors whitened on another collection."""
    run = saved(tmp_path / "run", *SINGLE, "model.width=4", "data.channels=3", *UNNORMALISED)
    (tmp_path / "photographs").mkdir()
    for at in range(24):
        (tmp_path / "photographs" / f"{at}.jpg").write_bytes(noise(f"photograph {at}"))
    (tmp_path / "list.txt").write_text("100000.jpg 90\n149902.jpg 180\n")
    rotations = f"data.rotations={tmp_path / 'list.txt'}"
    options = [f"data.root={root}", rotations]
    asked_of(
        run,
        "--dataset",
        "holidays",
        *(f"--config.{option}" for option in options),
        "--whiten-on",
        str(tmp_path / "photographs"),
        "--config.evaluate.whiten=0",
    )
    label = "of holidays, rotations list.txt whitened on photographs of photographs"
    found = section(run, f"test {label}")

    own = config.read_json(run.config)
    made = OtherData(name="holidays", options=options).applied(own)
    network, state = build.network(made), step.replicate(created_state(own))
    split = build.dataset(made.data).split("test")
    files = sorted((tmp_path / "photographs").iterdir())
    others = chosen(split, np.zeros(len(files), np.int64))
    others = dataclasses.replace(others, records=[file.read_bytes() for file in files])
    fitted = whitening.fit(network.with_unnormalised(state, others)[1][:, 0])
    embedded, raw = network.with_unnormalised(state, split)
    expected, _ = oracles_grains.holidays(embedded.vectors, split.labels)
    assert found["grains"]["instance"]["map"] == pytest.approx(expected, abs=1e-6)
    unit = whitening.unit_whitened(fitted, raw[:, 0])
    expected, _ = oracles_grains.holidays(unit[:, None], split.labels)
    assert found["grains"]["whitened"]["instance"]["map"] == pytest.approx(expected, abs=1e-6)
    assert ("  whitened", f"mAP {expected:.3f}") in [row[:2] for row in cells(found)]
    upright = [uncropped.size(split.records[row]) for row in (0, 1, 7)]
    assert upright == [(40, 30), (30, 40), (30, 40)]
