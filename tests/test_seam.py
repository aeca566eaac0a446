"""From a config file through a real training to numbers: every setting reaches what it names.

Each test fails where one wire between config and step is cut: a seed made 0, a mask left out, a
rate ignored. The pictures are few and tiny, so that what a number must be can be said beforehand.
"""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import abe_jax as abe
from abe_jax.cli import evaluate, train
from abe_jax.errors import UserError

SIDE = 16
RANGE: dict[str, Any] = {"mean": (127.0,), "std": (80.0,)}
PLAIN: dict[str, Any] = {
    "data": {"name": "folder", "resize": SIDE, "size": SIDE, "channels": 1, **RANGE},
    "model": {
        "backbone": "convnet",
        "norm": "none",  # no image of a batch changes another's vector
        "kind": "single",
        "dim": 8,
        "branch": "pool2",
        "width": 8,
    },
    "objective": [{"name": "contrastive"}],
    "optimizer": {"name": "sgd", "rate": 0.0, "momentum": 0.0},
    "train": {"steps": 2, "batch": 12, "log_every": 1},
    "evaluate": {"ks": (1,), "batch": 8},
}
HEADS = {"kind": "heads", "learners": 2}


pytestmark = pytest.mark.usefixtures("promotion")


def encoded(seed: int) -> bytes:
    """A picture of 16 squares."""
    squares = np.random.default_rng(seed).integers(0, 255, (4, 4), np.uint8)
    picture = cv2.resize(squares, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return cv2.imencode(".png", picture)[1].tobytes()


def photographs(folder: Path, classes: int, images: int, *, alike: bool = False) -> Path:
    """`images` training pictures in each class, all the same one if `alike`; few to evaluate."""
    for split, number, each in (("train", classes, images), ("val", 2, 4), ("test", 2, 3)):
        for label in range(number):
            path = folder / split / f"{split}{label}"
            path.mkdir(parents=True)
            for i in range(each):
                seed = 0 if alike and split == "train" else 100 * label + i
                (path / f"{i}.png").write_bytes(encoded(seed))
    return folder


def trained(workdir: Path, images: Path, *overrides: str, **sections: Any) -> Path:
    """The run that PLAIN, changed by sections and overrides, leaves behind or goes on with."""
    config = PLAIN | {
        name: value if isinstance(value, list) else PLAIN[name] | value
        for name, value in sections.items()
    }
    file = workdir.with_suffix(".py")
    file.write_text(f"def get_config():\n    return {config!r}\n")
    arguments = ["--config", str(file), "--workdir", str(workdir)]
    changes = [f"--config.{name}" for name in (f"data.path={images}", *overrides)]
    train.main([*arguments, *changes])
    return workdir


def rows(run: Path) -> list[dict[str, float]]:
    """metrics.csv without what a step did not measure."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


def best(run: Path) -> list[int]:
    """The steps of the best checkpoints."""
    return [int(path.name) for path in (run / "checkpoints" / "best").iterdir()]


def forked(run: Path, step: int, seed: int) -> Path:
    """A copy of the run whose last step is not yet taken, to go on from `step` with another seed.

    What seeds decide from there on can be compared: both go on from the same parameters.
    """
    copy = run.with_name(f"{run.name}_{seed}")
    shutil.copytree(run, copy)
    (last,) = (p for p in (copy / "checkpoints" / "latest").iterdir() if int(p.name) > step)
    shutil.rmtree(last)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"seed": seed}))
    return copy


@pytest.mark.slow
def test_an_unreadable_image_is_to_losses_and_diagnostics_as_if_it_were_not_there(
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {
        "data": {"sampler": "shuffle", "unreadable_share": 0.5},  # all images make each batch
        "model": HEADS,
        "objective": [{"name": n} for n in ("contrastive", "divergence", "cross_entropy")],
        "optimizer": {"rate": 0.01},
    }
    images = photographs(tmp_path / "images", 3, 4)
    odd = images / "train" / "train1" / "2.png"
    odd.write_bytes(b"no image")
    masked = rows(trained(tmp_path / "masked", images, **settings))
    odd.unlink()
    without = rows(trained(tmp_path / "without", images, "train.batch=11", **settings))
    assert masked[0].keys() >= {"loss", "cosine", "positive_distance", "negative_distance"}
    for one, other in zip(masked, without, strict=True):
        # Sums of a hundred terms in another order: a few units in the last of float32's 7 digits.
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.slow
def test_what_a_loss_draws_hangs_on_seed_and_step_and_what_is_sampled_on_the_seed(
    tmp_path: Path,
) -> None:
    # A batch is one picture under one class, and nothing learns: cross-entropy tells the class,
    # and NormSoftmax what classes it drew beside it, 2 of 5.
    images = photographs(tmp_path / "images", 6, 2, alike=True)
    settings: dict[str, Any] = {
        "data": {"sampler": "class_balanced", "images_per_class": 2},
        "objective": [{"name": "norm_softmax", "subsample": 3}, {"name": "cross_entropy"}],
        "train": {"steps": 80, "batch": 2, "checkpoint_every": 40},
    }
    first = trained(tmp_path / "run", images, "seed=1", **settings)
    second = trained(forked(first, step=40, seed=2), images, "seed=2", **settings)
    one, two = (rows(run)[40:] for run in (first, second))
    assert [row["step"] for row in one] == [row["step"] for row in two]
    classes = [row["cross_entropy"] for row in one]
    assert len(set(classes)) == 6
    assert classes != [row["cross_entropy"] for row in two], "the sampler's seed"
    alike = [
        (a, b) for a, b in zip(one, two, strict=True) if a["cross_entropy"] == b["cross_entropy"]
    ]
    assert len(alike) >= 4
    assert any(a["norm_softmax"] != b["norm_softmax"] for a, b in alike), "the losses' seed"
    drawn = {(row["cross_entropy"], row["norm_softmax"]) for row in one}
    assert len(drawn) > 2 * len(set(classes)), "the step in the losses' key"


@pytest.mark.slow
def test_augmentation_hangs_on_the_seed(tmp_path: Path) -> None:
    # One picture, nothing learns, and the divergence of learners asks for no labels: what is left
    # is where each crop was taken.
    images = photographs(tmp_path / "images", 3, 4, alike=True)
    settings: dict[str, Any] = {
        "data": {"sampler": "shuffle", "padding": 5},
        "model": HEADS,
        "objective": [{"name": "divergence"}],
        "train": {"steps": 6, "checkpoint_every": 3},
    }
    first = trained(tmp_path / "run", images, "seed=1", **settings)
    second = trained(forked(first, step=3, seed=2), images, "seed=2", **settings)
    one, two = ([row["divergence"] for row in rows(run)] for run in (first, second))
    assert one[:3] == two[:3] and len(set(one)) == 6
    assert all(a != b for a, b in zip(one[3:], two[3:], strict=True))


def test_every_step_between_two_lines_is_proved_finite(tmp_path: Path) -> None:
    # The first step is finite, its update so long that the second overflows, as do all behind it.
    images = photographs(tmp_path / "images", 3, 4)
    settings: dict[str, Any] = {
        "data": {"sampler": "shuffle"},
        "optimizer": {"rate": 1e30},
        "train": {"steps": 8, "log_every": 4},
    }
    with pytest.raises(UserError, match="step 2: the loss is not finite"):
        trained(tmp_path / "run", images, **settings)


def test_a_resumed_run_knows_its_best_value(tmp_path: Path) -> None:
    # Nothing learns, so no validation is better than the first.
    images = photographs(tmp_path / "images", 3, 4)
    settings: dict[str, Any] = {
        "data": {"sampler": "shuffle"},
        "train": {"steps": 6, "evaluate_every": 2, "checkpoint_every": 2},
    }
    run = trained(tmp_path / "run", images, **settings)
    assert best(run) == [2]
    shutil.rmtree(run / "checkpoints" / "latest" / "6")
    (run / "evaluation.json").unlink()
    trained(run, images, **settings)
    assert [row["step"] for row in rows(run)] == [1, 2, 3, 4, 5, 6]
    assert best(run) == [2]
    assert json.loads((run / "evaluation.json").read_text())["test"]["step"] == 2


def test_what_is_evaluated_is_the_best_checkpoint_and_not_the_latest(tmp_path: Path) -> None:
    # Of a picture's 7 others 3 are of its class and 4 are not, so the 5 nearest always hold a right
    # one: no validation is better than the first, and the other metrics tell which is which.
    images = photographs(tmp_path / "images", 3, 4)
    settings: dict[str, Any] = {
        "data": {"sampler": "shuffle"},
        "optimizer": {"rate": 0.3},
        "train": {"steps": 6, "evaluate_every": 2},
        "evaluate": {"ks": (1, 2, 5), "select": "recall@5"},
    }
    run = trained(tmp_path / "run", images, **settings)
    assert best(run) == [2]
    evaluate.main(["--workdir", str(run), "--split", "val"])
    found = json.loads((run / "evaluation.json").read_text())["val"]["metrics"]["ensemble"]
    validated = {
        int(row["step"]): {name: row[f"val_{name}"] for name in found}
        for row in rows(run)
        if "val_map@r" in row
    }
    assert found == pytest.approx(validated[2])
    assert found != pytest.approx(validated[6])


@pytest.mark.slow
def test_the_rate_of_new_layers_is_a_multiple_of_the_rate(tmp_path: Path) -> None:
    images = photographs(tmp_path / "images", 3, 4)
    settings: dict[str, Any] = {
        "data": {"sampler": "shuffle"},
        "optimizer": {"new_only": 3},  # of 4 steps: new layers alone move
        "train": {"steps": 4},
    }
    course = []
    for rates in (("rate=0.2", "new_rate=3.0"), ("rate=0.6", "new_rate=1.0")):
        overrides = [f"optimizer.{one}" for one in rates]
        run = trained(tmp_path / rates[0], images, *overrides, **settings)
        course.append([row["loss"] for row in rows(run)])
    assert course[0] == pytest.approx(course[1], rel=1e-4)
    assert abs(course[0][3] / course[0][0] - 1) > 3e-3  # of which a third would show


def test_validation_and_selection_ask_the_gallery_of_their_split(tmp_path: Path) -> None:
    # Two pictures: a class's queries look like the other class's gallery, so each query finds a
    # wrong picture there, while beside it among the queries stands a right one.
    one, other = encoded(1), encoded(2)

    def split(name: str, gallery: list[bool] | None) -> abe.data.Split:
        return abe.data.Split(
            name=name,
            records=[one, one, other, other, other, one],
            labels=np.array([0, 0, 1, 1, 0, 1], np.int32),
            class_names=("first", "second"),
            gallery=None if gallery is None else np.array(gallery),
        )

    asked = split("val", [False, False, False, False, True, True])
    run = abe.fit(
        abe.SingleHead("convnet", dim=8, norm="none", branch="pool2", width=8),
        abe.losses.Contrastive(),
        abe.data.Dataset.of_splits(split("train", None), val=asked, test=split("test", None)),
        steps=1,
        workdir=tmp_path / "run",
        batch=4,
        preprocessing=abe.data.Preprocessing(resize=SIDE, size=SIDE, channels=1, **RANGE),
        sampling=abe.data.Sampling(sampler="class_balanced", images_per_class=2),
        ks=(1,),
    )
    assert [row["val_recall@1"] for row in rows(tmp_path / "run")] == [0.0]
    selected = tmp_path / "run" / "checkpoints" / "best" / "1" / "about" / "metadata"
    assert json.loads(selected.read_text())["value"] == 0.0
    assert run.evaluate("val").recall[1] == 0.0
    assert run.evaluate("test").recall[1] == pytest.approx(4 / 6)
