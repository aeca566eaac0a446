"""Config files: defaults, overrides, and one line for every mistake."""

import json
from pathlib import Path

import pytest

from abe_jax import config, losses
from abe_jax.errors import UserError

FILE = """
from ml_collections import ConfigDict
def get_config():
    c = ConfigDict()
    c.data = dict(name="glyphs", mean=(1,), std=[2.5])
    c.model = dict(backbone="convnet", kind="attention", learners=4, dim=64)
    c.objective = [dict(name="contrastive"), dict(name="divergence", weight=0.5)]
    c.train = dict(steps=10)
    return c
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.py"
    path.write_text(FILE)
    return path


def test_what_the_file_leaves_out_takes_its_default(file: Path) -> None:
    made = config.load(file)
    assert made.data.mean == (1.0,)
    assert made.data.std == (2.5,)
    assert made.train == config.Train(steps=10)
    assert made.objective == (losses.Contrastive(), losses.Divergence(weight=0.5))


def test_overrides_reach_what_the_file_leaves_out_and_terms_by_name(file: Path) -> None:
    made = config.load(
        file,
        [
            "optimizer.clip=1",
            "evaluate.ks=(1,10)",
            "data.flip=true",
            "objective.divergence.weight=2",
            "objective[0].margin=0.5",
            "data.root=/1/2",
        ],
    )
    first = made.objective[0]
    assert made.optimizer.clip == 1.0
    assert made.evaluate.ks == (1, 10)
    assert made.data.flip is True
    assert [term.weight for term in made.objective] == [1.0, 2.0]
    assert isinstance(first, losses.Contrastive) and first.margin == 0.5
    assert made.data.root == "/1/2"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("trian.steps=3", "config.trian: no such name; did you mean 'train'"),
        ("train.stpes=3", "config.train.stpes: no such name; did you mean 'steps'"),
        ("train.steps=abc", "config.train.steps: expected int, got 'abc'"),
        ("train.steps=1.5", "config.train.steps: expected int, got 1.5"),
        ("data.flip=1", "config.data.flip: expected bool, got 1"),
        ("objective.7.weight=1", "config.objective.7: no such entry; choose from 0, 1"),
        ("objective.divergnce.weight=1", "did you mean 'divergence'"),
        ("objective.0.name=tripplet", "no loss is called 'tripplet'"),
        ("train=3", "config.train: expected named values, got 3"),
        ("train.steps", "written --config.NAME=VALUE"),
        ("model.dim.x=3", "config.model.dim is a single value"),
        ("train.batch=-4", "config.train.batch: -4 is too small; at least 1"),
        ("evaluate.ks=(0,)", r"config.evaluate.ks\[0\]: 0 is too small; at least 1"),
        ("optimizer.rate=-0.1", "config.optimizer.rate: -0.1 is too small; at least 0"),
    ],
)
def test_a_wrong_override_is_one_clear_line(file: Path, override: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        config.load(file, [override])
    assert "\n" not in str(caught.value)


def test_a_wrong_file_is_one_clear_line(file: Path) -> None:
    with pytest.raises(UserError, match="did you mean"):
        config.load(file.with_name("sme.py"))
    file.write_text("x = 1")
    with pytest.raises(UserError, match="get_config"):
        config.load(file)
    file.write_text("def get_config():\n    return undefined\n")
    with pytest.raises(UserError, match=r"NameError: .*some.py:2"):
        config.load(file)
    file.write_text(FILE.replace("c.train = dict(steps=10)", ""))
    with pytest.raises(UserError, match=r"config.train: missing"):
        config.load(file)


def test_json_gives_the_same_config_back(file: Path, tmp_path: Path) -> None:
    made = config.load(file, ["optimizer.rate=0.1"])
    config.write_json(made, tmp_path / "config.json")
    assert config.read_json(tmp_path / "config.json") == made


def test_damaged_or_missing_json_is_one_clear_line(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is .* the folder of a run"):
        config.read_json(tmp_path / "config.json")
    config.write_json(config.load(file), tmp_path / "config.json")
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text[:50])
    with pytest.raises(UserError, match="damaged"):
        config.read_json(tmp_path / "config.json")


def test_differences_name_what_differs(file: Path) -> None:
    found = config.differences(config.load(file), config.load(file, ["train.steps=11", "seed=2"]))
    assert found == ["config.seed: 0, 2", "config.train.steps: 10, 11"]
    assert json.dumps(found)
