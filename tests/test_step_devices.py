"""One global batch gives one gradient, on however many devices it is spread."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from processes import ROOT, environment

Steps = Callable[[str], dict[str, np.ndarray]]

SGD = "optimizer.name=sgd"  # its update is linear in the gradient, so parameters show gradients
# Every kind of loss at once: of pairs, with parameters, with negatives and with classes drawn at
# random (the batch has 8 classes of its own). Each term's value is compared on its own as well.
TERMS = [
    {"name": "contrastive"},
    {"name": "margin", "beta": 0.9, "rate": 5.0},
    {"name": "norm_softmax", "subsample": 12, "weight": 0.5},
    {"name": "cross_entropy", "smoothing": 0.1, "rate": 10.0},
    {"name": "proxy_nca", "weight": 0.3},
    {"name": "divergence"},
]
OBJECTIVE = f"objective={TERMS}"


# By what is special about a run: its steps, and what else is set. A sampler or a backbone joins by
# a row. The first step's rate is 0, so two steps show two batches' losses, the statistics and one
# gradient of the first parameters; deep networks magnify rounding from one update to the next.
SMALL = ("model.kind=single", "model.learners=1", "train.batch=16")
RUNS = {
    "every loss": (4, ()),
    "sampler pairs": (4, ("data.sampler=pairs", *SMALL)),
    "sampler shuffle": (4, ("data.sampler=shuffle", *SMALL)),
    "googlenet_bn": (2, ("model.backbone=googlenet_bn", "model.norm=", *SMALL)),
}
# Of a leaf's largest value. In so deep a network rounding alone makes 2.3e-5 of a gradient.
BOUND, DEEP = 2e-5, {"googlenet_bn": 1e-4}


def steps_on(devices: int, folder: Path, data: Path, kind: str) -> dict[str, np.ndarray]:
    """Metrics, and parameters at the end, in a process of its own with so many devices."""
    steps, overrides = RUNS[kind]
    script, target = ROOT / "tests" / "device_steps.py", folder / f"{devices}.npz"
    subprocess.run(
        [sys.executable, str(script), str(target), str(steps), SGD, OBJECTIVE, *overrides],
        env={**environment(data, devices=devices), "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=600,
    )
    with np.load(target) as written:
        return dict(written)


@pytest.fixture(scope="module")
def on_one(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Steps:
    @functools.cache
    def steps(kind: str) -> dict[str, np.ndarray]:
        return steps_on(1, tmp_path_factory.mktemp("one"), tiny_data, kind)

    return steps


slow = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "devices"),
    [
        ("every loss", 8),
        *(pytest.param("every loss", devices, marks=slow) for devices in (2, 4)),
        *(pytest.param(kind, 2, marks=slow) for kind in RUNS if kind != "every loss"),
    ],
)
def test_loss_and_parameters_do_not_depend_on_the_number_of_devices(
    kind: str, devices: int, on_one: Steps, tmp_path: Path, tiny_data: Path
) -> None:
    few, many = on_one(kind), steps_on(devices, tmp_path, tiny_data, kind)
    assert few["devices"] == 1
    assert many["devices"] == devices
    assert many.keys() == few.keys()
    for name in few.keys() - {"devices"}:
        bound = DEEP.get(kind, BOUND) * np.abs(few[name]).max() + 1e-8
        np.testing.assert_allclose(many[name], few[name], rtol=1e-4, atol=bound, err_msg=name)
