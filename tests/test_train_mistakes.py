"""A user's mistake is one line on stderr and exit status 2, with no traceback and nothing lost."""

import dataclasses
import json
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from processes import ROOT, TINY, command, environment, run
from tiny_config import SMALLER

from abe_jax import config
from abe_jax.cli import evaluate, train
from abe_jax.data import Dataset, Split
from abe_jax.data.split import chosen
from abe_jax.errors import UserError
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder

SMALL = [*SMALLER, "train.checkpoint_every=1", "train.log_every=1"]

MISTAKES = [
    ("trian.steps=3", "did you mean 'train'"),
    ("train.steps=many", "config.train.steps: expected int"),
    ("seed=4294967296", "at most 4294967295"),
    ("optimizer.rate=1e999", "inf is too large"),
    ("optimizer.name=sdg", "did you mean 'sgd'"),
    ("optimizer.schedule=cosin", "did you mean 'cosine'"),
    ("optimizer.schedule=step", "config.optimizer.boundaries: ()"),
    ("optimizer.warmup=2", "leave nothing of 2 steps"),
    ("optimizer.new_only=2", "at most 1"),
    ("model.kind=atention", "did you mean 'attention'"),
    ("model.branch=pool3", "did you mean 'pool4'"),
    ("model.norm=lrn", "choose from batch, bin, none"),
    ("model.compute=float16", "did you mean 'bfloat16'"),
    ("model.weights=/nowhere", "is not the folder of a run"),
    ("train.batch=33", "the nearest is 32"),
    ("train.batch=400", "at most 140 fit"),
    ("data.repeats=3", "multiple of 12 (4 (images_per_class) times"),
    ("data.sampler=pars", "did you mean 'pairs'"),
    ("data.name=glpyhs_tiny", "did you mean 'glyphs_tiny'"),
    ("data.name=folder", "config.data.path: the data set 'folder' needs"),
    ("data.fit=covr", "did you mean 'cover'"),
    ("data.mean=(1,2)", "config.data.mean: 2 values for 1 channels"),
    ("evaluate.whiten=1", "1 image is too few"),
    ("evaluate.longest=36", "config.evaluate.longest: a map of 9 x 9"),
    ("data.std=(0,)", "every value must be above 0"),
    ("data.size=17", "has 1 to 16 px"),
    ("data.size=12", "multiples of 8"),
    ("data.classes=3", "leave it at 0 to have them counted"),
    ("data.root=/dev/null", "cannot write prepared data to /dev/null"),
    ("evaluate.select=recall@9", "did you mean 'recall@2'"),
    ("evaluate.ks=(1,143)", "at most 142"),
    ("evaluate.ks=()", "no metric is called 'recall@1'"),
    ("objective=[]", "needs at least one loss"),
    ("objective=[{'name':'adversarial'}]", "config.model.learners: 1, but an adversarial term"),
    ("model.dims=(8,8)", "config.model.dims: 2 sizes for 1 learners"),
    ("model.test_weights=(1,2)", "config.model.test_weights: 2 weights for 1 learners"),
    ("objective.0.reduction=meen", "did you mean 'mean'"),
    ("objective.0.pairs=al", "did you mean 'all'"),
]


pytestmark = pytest.mark.usefixtures("as_a_user")


def tried(workdir: Path, *overrides: str) -> None:
    train.run(config.load(TINY, [*SMALL, *overrides]), workdir)


def refused(workdir: Path, *overrides: str) -> str:
    """The one line that a training with these overrides ends in."""
    with pytest.raises(UserError) as caught:
        tried(workdir, *overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(folder: Path) -> list[int]:
    checkpoints = Checkpoints(folder, 2)
    steps = checkpoints.steps()
    checkpoints.close()
    return steps


@pytest.mark.parametrize(("override", "says"), MISTAKES)
def test_a_mistake_is_one_clear_line(override: str, says: str, tmp_path: Path) -> None:
    assert says in refused(tmp_path / "run", override)


def test_repeats_are_refused_where_a_term_reads_adjacent_rows(tmp_path: Path) -> None:
    says = refused(tmp_path / "run", "data.repeats=2", "objective.0.pairs=adjacent")
    assert "config.data.repeats is 2" in says and "set its pairs to 'all'" in says


def test_adjacent_pairs_of_one_class_are_refused(tmp_path: Path) -> None:
    says = refused(tmp_path / "run", "objective.0.pairs=adjacent")
    assert "no negative pair" in says and "the sampler to 'pairs'" in says


def test_a_class_with_one_image_under_pairs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Dataset.split

    def with_a_lone_image(self: Dataset, name: str) -> Split:
        split = read(self, name)
        labels = split.labels.copy()
        labels[np.flatnonzero(labels == 3)[1:]] = 4
        return dataclasses.replace(split, labels=labels)

    monkeypatch.setattr(Dataset, "split", with_a_lone_image)
    assert "class 3 has 1" in refused(tmp_path / "run", "data.sampler=pairs")


@pytest.mark.parametrize(
    ("part", "option", "says"),
    [
        ("val", "seed=0", "no class of val has two images"),
        ("test", "data.unseen_domains=('STIX',)", "name other config.data.unseen_domains"),
    ],
)
def test_what_has_nothing_to_be_found_is_refused_at_the_start(
    part: str, option: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Dataset.split

    def one_of_each(self: Dataset, name: str) -> Split:
        split = read(self, name)
        first = np.unique(split.labels, return_index=True)[1]
        return chosen(split, first) if name == part else split

    monkeypatch.setattr(Dataset, "split", one_of_each)
    assert says in refused(tmp_path / "run", option)
    assert not (tmp_path / "run" / "metrics.csv").exists()


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/run", "/dev/null"])
def test_a_workdir_that_cannot_be_is_named(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("something of mine")
    assert f"{tmp_path / place}: cannot be written" in refused(tmp_path / place)
    assert (tmp_path / "file").read_text() == "something of mine"


def test_a_mistake_put_right_goes_on_in_the_same_folder(tmp_path: Path) -> None:
    refused(tmp_path / "run", "evaluate.select=recall@9")
    tried(tmp_path / "run")
    assert (tmp_path / "run" / "evaluation.json").exists()


def test_a_run_of_another_config_stays_as_it_is(tmp_path: Path) -> None:
    tried(tmp_path / "run")
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    says = refused(tmp_path / "run", "train.steps=3", "optimizer.rate=1")
    assert "holds a run of another config" in says
    assert "config.train.steps: 2, 3" in says
    assert {path: path.read_bytes() for path in files} == before


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_loss_that_is_not_finite_stops_with_step_and_terms(
    optimizer: str, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    says = refused(workdir, f"optimizer.name={optimizer}", "optimizer.rate=1e30")
    assert "step 2: the loss is not finite (loss " in says
    assert "contrastive " in says
    assert "divergence " in says
    assert "step 1 is saved and intact" in says
    assert saved(RunFolder(workdir).latest) == [1]


def test_parameters_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    says = refused(tmp_path / "run", "optimizer.rate=1e30", "optimizer.new_rate=1e30")
    assert "step 1: opt_state" in says or "step 1: params" in says
    assert "nothing was saved" in says
    assert saved(RunFolder(tmp_path / "run").latest) == []
    assert saved(RunFolder(tmp_path / "run").best) == []


def damaged(monkeypatch: pytest.MonkeyPatch, part: str, indices: list[int]) -> None:
    """Makes some images of a split unreadable."""
    read = Dataset.split

    def with_damage(self: Dataset, name: str) -> Split:
        split = read(self, name)
        if name != part:
            return split
        images = [split.records[i] for i in range(len(split.labels))]
        for i in indices:
            images[i] = images[i][:40]
        return dataclasses.replace(split, records=images)

    monkeypatch.setattr(Dataset, "split", with_damage)


@pytest.mark.parametrize(
    "part", ["train", *(pytest.param(part, marks=pytest.mark.slow) for part in ("val", "test"))]
)
def test_unreadable_images_are_counted_and_named_and_the_run_goes_on(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged(monkeypatch, part, [7, 30, 60])
    tried(
        tmp_path / "run",
        "data.sampler=shuffle",
        "train.batch=43",
        "train.steps=13",
        "data.unreadable_share=0.05",
    )
    lines = (tmp_path / "run" / "unreadable.txt").read_text().splitlines()
    assert sorted(line.split("\t")[:2] for line in lines) == [[part, i] for i in ("30", "60", "7")]
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())["test"]
    assert found["images"] == 287 - 3 * (part == "test")
    assert "warning: 3 of" in capsys.readouterr().out
    evaluate.main(["--workdir", str(tmp_path / "run"), "--split", "val"])
    again = (tmp_path / "run" / "unreadable.txt").read_text().splitlines()
    assert again == lines  # each is named once


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_too_many_unreadable_images_stop_the_run(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged(monkeypatch, part, list(range(0, 140, 2)))
    says = refused(tmp_path / "run", "train.batch=128")
    assert f"images of {part} cannot be read" in says
    assert "unreadable_share=0.01" in says
    assert str(tmp_path / "run" / "unreadable.txt") in says


def test_a_deleted_best_checkpoint_is_replaced_by_the_last_state(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    tried(workdir)
    best = RunFolder(workdir).best
    (step,) = saved(best)
    (best / str(step) / "state" / "manifest.ocdbt").write_bytes(b"")
    with pytest.raises(UserError, match=f"best/{step}: the checkpoint is damaged; delete"):
        evaluate.main(["--workdir", str(workdir)])
    shutil.rmtree(best / str(step))
    tried(workdir)
    assert saved(best) == [2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workdir", "nowhere"], "is nowhere the folder of a run"),
        (["--workdir", __file__], "the folder of a run"),
        (["--workdir", "x", "--split", "tset"], "tset"),
        (["--workdir", "x", "--config.seed=3"], "config.seed=3: a run is evaluated as its"),
        (["--workdri", "x"], "--workdir"),
    ],
)
def test_evaluate_refuses_what_is_no_run(arguments: list[str], says: str) -> None:
    with pytest.raises(UserError) as caught:
        evaluate.main(arguments)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--config.model.dim=15"], "14 or 16"), (["--workdri=x"], "did you mean '--workdir'")],
)
def test_a_process_ends_with_one_line_and_exit_status_2(
    arguments: list[str], says: str, tmp_path: Path, tiny_data: Path
) -> None:
    done = run("train", "--config", TINY, "--workdir", tmp_path / "run", *arguments, data=tiny_data)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


@pytest.mark.slow
def test_a_full_disk_is_named_in_one_line_of_ours(tmp_path: Path, tiny_data: Path) -> None:
    train_it = command("train", "--config", TINY, "--workdir", tmp_path / "run")
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 40; exec "$@"', "bash", *train_it],  # no file over 40 KiB
        cwd=ROOT,
        env={**environment(tiny_data), "JAX_COMPILATION_CACHE_DIR": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    # TensorStore's own threads may complain beside it, even on the same line.
    assert done.stderr.count("those before are intact") == 1


@pytest.mark.slow
@pytest.mark.parametrize("printed", ["compiling", "step  5/"])
def test_ctrl_c_says_nothing_and_keeps_what_is_saved(
    printed: str, tmp_path: Path, tiny_data: Path
) -> None:
    train_it = command("train", "--config", TINY, "--workdir", tmp_path / "run")
    process = subprocess.Popen(
        # Where a shell started this in the background, an interrupt would be ignored.
        ["env", "--default-signal=INT", *train_it],
        cwd=ROOT,
        env=environment(tiny_data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if printed in line:
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130
    assert errors == ""
    said = json.loads(RunFolder(tmp_path / "run").status.read_text())
    assert (said["state"], said["line"]) == ("stopped", "interrupted")
    kept = saved(RunFolder(tmp_path / "run").latest)
    assert kept == ([] if printed == "compiling" else [4])
