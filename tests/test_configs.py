"""Every shipped config says what it is, and takes two steps on tiny data."""

import ast
import math
from pathlib import Path

import jax
import pytest
from processes import ROOT

from abe_jax import config, step
from abe_jax.data import datasets, loader, sampling

FILES = sorted((ROOT / "configs").glob("*.py"))
SMALL = (
    "data.name=glyphs_tiny",
    "data.validation_classes=0",
    "data.unseen_domains=()",
    "data.validation_domains=()",
    "data.domains_per_batch=2",
    "data.resize=64",
    "data.size=64",
    "train.batch=8",
    "train.steps=2",
    "optimizer.warmup=1",
)


def test_there_are_configs_to_test() -> None:
    assert {file.stem for file in FILES} >= {
        "quickstart",
        "cars196_abe",
        "cars196_heads",
        "cars196_single",
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_config_opens_with_what_command_and_expected_result(file: Path) -> None:
    header = ast.get_docstring(ast.parse(file.read_text())) or ""
    assert f"python -m abe_jax.train --config configs/{file.name}" in header
    assert "Expected" in header
    assert "Time" in header or "minutes" in header
    config.load(file)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_config_takes_two_steps(file: Path, tiny_data: Path) -> None:
    learners = min(2, config.load(file).model.learners)  # each compiles a decoder of its own
    made = config.load(file, [*SMALL, f"data.root={tiny_data}", f"model.learners={learners}"])
    split = datasets.load(made.data, "train")
    sample = sampling.sampler(
        made.data, split.labels, made.train.batch, made.seed, groups=split.groups
    )
    state, run = step.replicate(step.create(made)), step.train_step(made)
    before = step.unreplicate(state).params
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules promote their counters
        for batch in loader.training(split, made.data, sample, seed=made.seed, start=0, steps=2):
            state, metrics = run(state, batch)
            assert math.isfinite(step.fetch(metrics)["loss"])
    after = step.unreplicate(state)
    assert after.step == 2
    assert (after.params["model"]["head"]["kernel"] != before["model"]["head"]["kernel"]).any()
