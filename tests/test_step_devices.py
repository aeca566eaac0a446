"""One global batch gives one gradient, on however many devices it is spread."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import ROOT, environment

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


def steps_on(devices: int, folder: Path, data: Path, *overrides: str) -> dict[str, np.ndarray]:
    """Metrics and parameters after four steps, in a process of its own with so many devices."""
    target = folder / f"{devices}.npz"
    subprocess.run(
        [sys.executable, str(ROOT / "tests" / "device_steps.py"), str(target), SGD, OBJECTIVE]
        + list(overrides),
        env={**environment(data, devices=devices), "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=300,
    )
    with np.load(target) as written:
        return dict(written)


@pytest.fixture(scope="module")
def on_one(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> dict[str, np.ndarray]:
    return steps_on(1, tmp_path_factory.mktemp("one"), tiny_data)


@pytest.mark.parametrize(
    "devices",
    [pytest.param(2, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow), 8],
)
def test_loss_and_parameters_do_not_depend_on_the_number_of_devices(
    devices: int, on_one: dict[str, np.ndarray], tmp_path: Path, tiny_data: Path
) -> None:
    on_many = steps_on(devices, tmp_path, tiny_data)
    assert on_one["devices"] == 1
    assert on_many["devices"] == devices
    assert on_many.keys() == on_one.keys()
    for name in on_one.keys() - {"devices"}:
        scale = np.abs(on_one[name]).max()
        np.testing.assert_allclose(
            on_many[name], on_one[name], rtol=1e-4, atol=2e-5 * scale + 1e-8, err_msg=name
        )
