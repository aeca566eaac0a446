"""Config files: defaults, overrides, and one line for every mistake."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

from abe_jax import config, losses
from abe_jax.config.memory import OF_CLASSES, check_memory
from abe_jax.errors import ArgumentError, UserError
from abe_jax.losses.batch import PlainVectors

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


TERMS_THAT_ARE_NONE = [
    ["contrastive"],
    {"contrastive": 1},
    {"name": ["contrastive"]},
    {"name": {"contrastive": 1}},
    {"name": None},
    {"name": "mine", "custom": True, "weight": ["1"]},
    {"name": "loss", "custom": True},
]


@pytest.mark.parametrize("term", TERMS_THAT_ARE_NONE, ids=str)
def test_what_cannot_name_a_loss_is_one_clear_line(file: Path, term: object) -> None:
    mapping = config.to_mapping(config.load(file))
    mapping["objective"] = [term]
    with pytest.raises(UserError, match=r"^config\.objective\[0\]") as caught:
        config.from_mapping(mapping)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optimizer.rate={[]: 1}", "expected float, got '{\\[\\]: 1}'"),
        ("optimizer.rate=" + "[" * 5000, r"expected float, got '\[\[.*\.\.\."),
        ("optimizer.rate=1" + "0" * 400, "inf is too large"),
        ("train.steps=1" + "0" * 400, r"train.steps: 10+\.\.\. is too large; at most 2147483647"),
        ("evaluate.ks=" + str([1] * 10_001), "10001 values; at most 10000"),
        ("objective.\u00b2.weight=1", "no such entry; choose from 0, 1"),
        ("data.path=" + "x" * 5000, "data.path: 5000 characters; at most 4096"),
        ("objective.0.mar\ngin=1", "written --config.NAME=VALUE"),
        ("data.std=(1e999,)", r"data.std\[0\]: inf is too large"),
    ],
    ids=lambda text: text[:24],
)
def test_odd_values_are_one_clear_line(file: Path, override: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        config.load(file, [override])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_value_that_is_no_number_or_a_file_that_ends_the_program_is_refused(file: Path) -> None:
    mapping = config.to_mapping(config.load(file))
    mapping["data"]["crop_scale"] = [float("nan"), 1.0]
    with pytest.raises(UserError, match=r"crop_scale\[0\]: nan is no number"):
        config.from_mapping(mapping)
    mapping["data"]["crop_scale"] = 10**5000
    with pytest.raises(UserError, match="expected a list, got a int too large to show"):
        config.from_mapping(mapping)
    file.write_text("def get_config():\n    exit('enough')\n")
    with pytest.raises(UserError, match="SystemExit: enough"):
        config.load(file)


LARGEST = {
    "evaluate.batch": 65_536,
    "evaluate.longest": 8_192,
    "evaluate.block": 65_536,
    "evaluate.side_step": 8_192,
    "train.batch": 65_536,
    "data.images_per_class": 65_536,
    "data.domains_per_batch": 65_536,
    "data.repeats": 65_536,
    "data.resize": 8_192,
    "data.size": 8_192,
    "data.padding": 8_192,
    "data.classes": 10_000_000,
    "data.threads": 1_024,
    "model.width": 1_024,
    "model.learners": 256,
    "model.dim": 65_536,
    "model.trunk_depth": 1_000,
}


@pytest.mark.parametrize(("name", "most"), LARGEST.items())
def test_numbers_beyond_all_sense_are_refused_with_the_largest_that_makes_some(
    file: Path, name: str, most: int
) -> None:
    config.load(file, [f"{name}={most}"])
    for value in (most + 1, 2**31 - 1, 10**20):
        with pytest.raises(UserError, match=f"{name}: {value} is too large; at most {most}$"):
            config.load(file, [f"{name}={value}"])


def test_every_whole_number_has_a_largest_value(file: Path) -> None:
    fine = config.to_mapping(config.load(file))
    fine["optimizer"]["boundaries"] = [7]
    fine["objective"] = [{"name": name} for name in losses.TERMS]
    fine = config.to_mapping(config.from_mapping(fine))
    tried = 0
    for node, key in whole_numbers(fine):
        before, node[key] = node[key], 99999999999999999999
        with pytest.raises(UserError, match=r"99999999999999999999 is too large; at most \d+$"):
            config.from_mapping(fine)
        node[key] = before
        tried += 1
    assert tried > 35


def whole_numbers(node: Any) -> Iterator[tuple[Any, Any]]:
    """Where whole numbers stand in nested dicts and lists."""
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if isinstance(value, dict | list):
            yield from whole_numbers(value)
        elif type(value) is int:
            yield node, key


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (
            ["train.batch=65536", "data.resize=8192", "data.size=8192"],
            "config.train.batch: the pix",
        ),
        (["evaluate.batch=65536", "evaluate.longest=8192"], "config.evaluate.batch: the pixels of"),
        (["data.threads=1024", "data.resize=8192", "data.padding=8192"], "config.data.threads"),
        (
            ["objective=[{'name':'proxy_nca'}]", "data.classes=10000000", "model.dim=65536"],
            "config.data.classes: a vector of 65536 numbers",
        ),
        (
            [
                "objective=[{'name':'soft_triple','centres':1024}]",
                "data.classes=1000000",
                "model.dim=65536",
            ],
            "config.data.classes: 1024 vectors of 65536 numbers",
        ),
        (
            [
                "objective=[{'name':'cos_face'},{'name':'arc_face','centres':2}]",
                "data.classes=10000000",
                "model.dim=65536",
            ],
            "config.data.classes: 3 vectors of 65536 numbers",
        ),
    ],
)
def test_products_that_no_memory_holds_are_refused(
    file: Path, overrides: list[str], says: str
) -> None:
    with pytest.raises(UserError, match=f"{says}.* of memory; at most [1-9]"):
        check_memory(config.load(file, overrides))
    check_memory(config.load(file, [*overrides[:-1], "data.size=64", "model.dim=64"][-2:]))


def test_every_loss_with_vectors_of_classes_is_counted() -> None:
    embeddings, counted = PlainVectors(*2 * [jnp.zeros((4, 2, 3))]), set()
    for name, term in losses.TERMS.items():
        try:
            term(name=name).parameters(embeddings, 0)
        except ArgumentError as error:
            assert error.argument == "classes"
            counted.add(term)
    assert counted == {*OF_CLASSES}
