"""One global batch gives one gradient, on however many devices it is spread."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import inshop_data
import numpy as np
import pytest
from processes import ROOT, environment
from step_cases import BOOSTING, OBJECTIVE, OVER_DOMAINS, RUNS, SGD, STEPS, Run

from abe_jax.losses import OF_PREDICTIONS, TERMS
from abe_jax.models.backbones.table import BACKBONES

Written = dict[str, np.ndarray]
Steps = Callable[[str, int], Written]


def taken(run: Run, devices: int, target: Path, data: Path, compiled: Path) -> Written:
    """What a run comes to on so many devices, in a process of its own that writes to `target`;
    `compiled` keeps programs."""
    overrides = [*SGD, f"objective={list(run.objective)}", *run.overrides]
    script = ROOT / "tests" / "device_steps.py"
    arguments = (target, STEPS, json.dumps(overrides), json.dumps(run.samplers))
    own = {
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_ENABLE_X64": str(run.double),
    }
    subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env={**environment(data, devices=devices), **own},
        check=True,
        timeout=600,
    )
    with np.load(target) as written:
        return dict(written)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Steps:
    """What a run comes to on so many devices, each in a process of its own and once."""
    inshop_data.prepare(tiny_data)
    compiled = tmp_path_factory.mktemp("compiled")  # the first state is computed alike by all

    @functools.cache
    def steps(kind: str, devices: int) -> Written:
        target = tmp_path_factory.mktemp("steps") / "written.npz"
        return taken(RUNS[kind], devices, target, tiny_data, compiled)

    return steps


slow = pytest.mark.slow
FAST = ("few losses", 8)


@pytest.mark.parametrize(
    ("kind", "devices"),
    [
        FAST,
        *(
            pytest.param(kind, devices, marks=slow)
            for kind in RUNS
            # Rows are divided alike whatever network and losses: those of all numbers are here for
            # one batch and for one in blocks of domains, the rest on eight devices.
            for devices in ((2, 4, 8) if kind in ("every loss", "two levels") else (8,))
            if (kind, devices) != FAST
        ),
    ],
)
def test_loss_and_parameters_do_not_depend_on_the_number_of_devices(
    kind: str, devices: int, compared: Steps
) -> None:
    few, many = compared(kind, 1), compared(kind, devices)
    assert few["devices"] == 1
    assert many["devices"] == devices
    assert_equal(few, many, 1e-7 if RUNS[kind].double else 1e-4)


def assert_equal(few: Written, many: Written, rounding: float, least: float = 1e-8) -> None:
    """Metrics of each step, parameters and running statistics, but for rounding."""
    assert many.keys() == few.keys()
    for name in few.keys() - {"devices"}:
        bound = rounding / 5 * np.abs(few[name]).max() + least
        np.testing.assert_allclose(many[name], few[name], rounding, bound, err_msg=name)


def test_no_loss_and_no_backbone_is_left_out() -> None:
    every = (*OBJECTIVE, *OVER_DOMAINS, *BOOSTING)
    assert {str(term["name"]) for term in every} == {*TERMS} - {*OF_PREDICTIONS}
    assert {str(term["name"]) for term in inshop_data.TERMS} > {*OF_PREDICTIONS}
    same_code = {"efficientnet_lite1", "efficientnet_lite2"}
    same_code |= {"mobilenet_v2_1.4", "mobilenet_v2_1.4_reid"}
    without_norm = {"convnet", "googlenet", "vgg16", "vit_s16"}  # of the convnet "every loss" has
    fashion = {"fashion", "fashion, given points"}
    assert (
        RUNS.keys()
        - {"every loss", "few losses", "two levels", "boosting", "cascade", "neck", "samplers"}
        - fashion
        == BACKBONES.keys() - same_code - without_norm
    )
