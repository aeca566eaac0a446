"""Whole networks with every piece on its way for GPUs, against the way of all platforms."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import ROOT, environment

pytestmark = pytest.mark.slow  # a process that compiles two steps


@pytest.mark.parametrize("kind", ["attention", "heads"])
def test_steps_on_two_devices_agree_and_the_checkpoint_goes_on(kind: str, tmp_path: Path) -> None:
    target, script = tmp_path / "written.npz", ROOT / "tests" / "ways_steps.py"
    # What is compared is the numbers, so the compiler need not take its time.
    env = dict(environment(tmp_path, devices=2, quick=True))
    env |= {"PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "True"}
    env.pop("ABE_JAX_GPU_WAYS", None)
    words = [sys.executable, script, target, tmp_path / "latest", kind]
    subprocess.run(list(map(os.fspath, words)), env=env, check=True, timeout=300)
    with np.load(target) as file:
        found = dict(file)
    assert found.pop("devices") == 2
    names = [name.removeprefix("plain") for name in found if name.startswith("plain")]
    assert sum("bias" in name for name in names) > 10
    for name in names:
        plain, other = found["plain" + name], found["for GPUs" + name]
        assert plain.dtype == other.dtype and plain.dtype in (np.float64, np.int32)
        largest = np.abs(plain).max()
        np.testing.assert_allclose(other, plain, 1e-7, 1e-8 * largest, err_msg=name)
        if "/" not in name:  # parameters, on both devices
            assert largest > 0
            for way in ("plain", "for GPUs"):
                first, second = found[way + name]
                np.testing.assert_array_equal(first, second, err_msg=name)
            np.testing.assert_array_equal(found["read" + name], other, err_msg=name)
            assert np.isfinite(found["on" + name]).all()
    moved = [
        (found["on" + name] != found["read" + name]).any() for name in names if "/" not in name
    ]
    assert np.mean(moved) > 0.5  # of so few channels some are never above zero
