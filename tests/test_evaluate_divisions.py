"""A run measured on persons by its commands, by one division and by all, and trained on sources."""

import json
import zlib
from pathlib import Path

import benchmark_trees as trees
import cv2
import jax
import numpy as np
import pytest
from states import created_state
from test_evaluate_other_data import PLAIN, asked_of, section
from test_evaluation_across_cameras import looped
from test_evaluation_whitened import TINY, saved
from tiny_config import SMALLER

from abe_jax import config
from abe_jax.cli import evaluate, train
from abe_jax.config import build
from abe_jax.config.other_data import OtherData
from abe_jax.data.sources.benchmarks import builder, reading
from abe_jax.data.sources.benchmarks.table import BENCHMARKS
from abe_jax.errors import UserError
from abe_jax.training import step
from abe_jax.training.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("promotion")


def noise(name: str) -> bytes:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return cv2.imencode(".png", rng.integers(0, 256, (12, 6, 3), np.uint8))[1].tobytes()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sets prepared from archives as their authors lay them out, of a few images of noise."""
    found = tmp_path_factory.mktemp("root")
    for name in ("market1501", "cuhk02", "viper"):
        tree = trees.TREES[name]()
        (archive,) = tree.archives
        files = {
            path: noise(path) if path.endswith(("jpg", "png", "bmp")) else content
            for path, content in archive.files.items()
        }
        tree = tree._replace(archives=[archive._replace(files=files)])
        source = trees.packed(tree, tmp_path_factory.mktemp(name))
        original = BENCHMARKS[name]
        folder = reading.folder(original, str(found))
        assert builder.build(original, source, folder, any_counts=True)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    with jax.numpy_dtype_promotion("standard"):
        options = (*PLAIN, "data.channels=3", "data.mean=()", "data.std=()")
        return saved(tmp_path_factory.mktemp("run"), *options)


def figures(run: RunFolder, root: Path, name: str, division: int = 0) -> tuple[dict, int]:
    """By a loop over the run's own vectors."""
    own = config.read_json(run.config)
    options = [f"data.root={root}", f"data.division={division}"]
    made = OtherData(name=name, options=options).applied(own)
    split = build.dataset(made.data).split("test")
    x = build.network(made).vectors(step.replicate(created_state(own)), split).vectors
    return looped(x, split.labels, split.cameras, split.gallery)


def test_market_is_asked_across_cameras(run, root, capsys):
    asked_of(run, "--dataset", "market1501", f"--config.data.root={root}")
    found = section(run, "test of market1501")["reidentification"]
    expected, queries = figures(run, root, "market1501")
    del expected["rank-10"]  # five images in the gallery
    assert (found["queries"], found["gallery"]) == (queries, 5) == (2, 5)
    assert found["metrics"]["ensemble"] == pytest.approx(expected)
    assert 0 < found["metrics"]["pixels"]["map"] <= 1
    assert "across cameras (re-identification), 2 queries, 5 in" in capsys.readouterr().out
    assert "Across cameras" in run.report.read_text()


def test_all_divisions_are_measured_and_their_mean_and_spread_told(run, root, capsys):
    asked_of(run, "--dataset", "viper", "--divisions", "3", f"--config.data.root={root}")
    complete = section(run, "test of viper, 3 divisions")
    found, each = (
        complete["reidentification"],
        [figures(run, root, "viper", d)[0] for d in range(3)],
    )
    assert (found["divisions"], found["queries"], found["gallery"]) == (3, 3, 3)
    assert found["measured"] == 3
    for name in ("rank-1", "map", "minp"):
        values = [one[name] for one in each]
        assert found["metrics"]["ensemble"][name] == pytest.approx(np.mean(values))
        assert found["std"]["ensemble"][name] == pytest.approx(np.std(values))
        assert [
            one["reidentification"]["metrics"]["ensemble"][name] for one in complete["each"]
        ] == pytest.approx(values)
    assert len({one["map"] for one in each}) > 1
    out = capsys.readouterr().out
    assert "test of viper, division 2: rank-1 " in out and "mean ± std of 3 divisions:" in out
    assert "mean ± std of 3 divisions" in run.report.read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--dataset", "market1501"), "--divisions: market1501 has one division; leave it out"),
        (("--dataset", "viper", "--divisions", "11"), "viper has 10 of them; name 1 to 10"),
        (("--dataset", "viper", "--split", "val"), "goes with --split test, not with val"),
        ((), "--divisions: glyphs_tiny has one division"),
    ],
)
def test_divisions_that_cannot_be_measured_are_refused(run, root, arguments, says):
    before = run.evaluation.read_text() if run.evaluation.exists() else ""
    given = [*arguments, *([] if "--divisions" in arguments else ["--divisions", "10"])]
    if arguments:
        given.append(f"--config.data.root={root}")
    with pytest.raises(UserError, match=says):
        evaluate.main(["--workdir", str(run.path), *given])
    assert (run.evaluation.read_text() if run.evaluation.exists() else "") == before


SOURCES = (
    "data.name=viper",
    "data.sources=('market1501','cuhk02')",
    "data.validation_classes=3",
    "data.channels=3",
    "data.mean=()",
    "data.std=()",
    "data.padding=0",
    "data.sampler=domains",
    "data.domains_per_batch=2",
    "data.images_per_class=2",
    "train.batch=8",
    "train.evaluate_every=1",
    "evaluate.ks=(1,)",
    "objective=[{'name': 'cross_entropy', 'smoothing': 0.1, 'smoothed': 'others'}]",
)


@pytest.mark.slow
def test_sources_train_and_the_set_that_they_stand_before_is_tested(root, tmp_path):
    made = config.load(TINY, [*SMALLER, *SOURCES, f"data.root={root}"])
    train.run(made, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    test = section(run, "test")
    assert test["reidentification"]["queries"] == 3 and test["gallery"] == 3
    assert config.read_json(run.config).data.classes == 4 + 4 - 3
    evaluate.main(["--workdir", str(run.path), "--divisions", "10"])
    found = json.loads(run.evaluation.read_text())
    assert set(found) == {"test", "test of viper, 10 divisions"}
    first = found["test of viper, 10 divisions"]["each"][0]["reidentification"]
    assert first == test["reidentification"]


@pytest.mark.slow
def test_persons_that_a_run_was_trained_on_are_no_test(root, tmp_path):
    own = [*SOURCES, "data.sources=()", "data.sampler=class_balanced", "data.validation_classes=1"]
    made = config.load(TINY, [*SMALLER, *own, f"data.root={root}", "train.batch=4"])
    train.run(made, tmp_path / "run")
    with pytest.raises(UserError, match="the run was trained on viper, whose other divisions"):
        evaluate.main(["--workdir", str(tmp_path / "run"), "--divisions", "10"])
    again = ["--dataset", "viper", f"--config.data.root={root}", "--divisions", "10"]
    with pytest.raises(UserError, match="the run was trained on viper, whose other divisions"):
        evaluate.main(["--workdir", str(tmp_path / "run"), *again])
