"""Two hosts of four devices take the steps of one host of eight devices, and of one device.

Every loss and system, and an evaluation, in float64, where a mistake stands out. All of a process's
cases are computed in one start: of those that are asked for (`-k margin`), where it is not all.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import hosts_cases
import inshop_data
import numpy as np
import pytest
from hosts_cases import Written
from processes import ROOT, environment, port
from test_step_devices import assert_equal

from abe_jax.losses import TERMS

SCRIPT = ROOT / "tests" / "hosts_steps.py"
EACH = pytest.mark.parametrize("case", hosts_cases.CASES)
# Gloo adds up eight devices' gradients in another order than one process does. Measured: up to
# ORDER of an array's greatest value.
ORDER = 1e-12
ROUNDING = 1e-7  # test_step_devices.py's, for float64: of programs of other shapes


class Job:
    """The processes of one way to spread the cases over hosts and devices."""

    def __init__(self, hosts: int, devices: int, folder: Path, data: Path, cases: list[str]):
        """Starts the hosts, each with so many devices."""
        self._targets = [folder / f"{hosts} x {devices}, {host}.npz" for host in range(hosts)]
        own = dict(environment(data, devices=devices, quick=True))
        own |= {"PYTHONPATH": str(ROOT), "JAX_ENABLE_X64": "True"}
        own["JAX_COMPILATION_CACHE_DIR"] = os.environ["ABE_JAX_TESTS_COMPILED"]
        job = ["--coordinator", f"127.0.0.1:{port()}", "--processes", str(hosts), "--process"]
        self._processes = [
            subprocess.Popen(
                [sys.executable, str(SCRIPT), str(target), *cases]
                + ([*job, str(host)] if hosts > 1 else []),
                env=own,
                stderr=subprocess.PIPE,
                text=True,
            )
            for host, target in enumerate(self._targets)
        ]

    def written(self) -> list[Written]:
        """What each host wrote."""
        said = [process.communicate(timeout=1800)[1] for process in self._processes]
        assert [process.returncode for process in self._processes] == [0] * len(said), said
        return [dict(np.load(target)) for target in self._targets]

    def kill(self) -> None:
        """Ends what still runs."""
        for process in self._processes:
            process.kill()


@pytest.fixture(scope="module")
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_data: Path
) -> Mapping[str, Written]:
    """What each host found, by how many there are of how many devices, and its number."""
    inshop_data.prepare(tiny_data)
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    items = [item for item in items if item.module is request.module]
    asked = {item.callspec.params.get("case") for item in items if hasattr(item, "callspec")}
    cases = [case for case in hosts_cases.CASES if case in asked]
    folder, found = tmp_path_factory.mktemp("written"), {}
    for together in ([(1, 1), (1, 8)], [(2, 4)]):  # two processes at a time
        jobs = {spread: Job(*spread, folder, tiny_data, cases) for spread in together}
        try:
            of_each = {spread: job.written() for spread, job in jobs.items()}
        finally:
            for job in jobs.values():
                job.kill()
        for (hosts, devices), of_hosts in of_each.items():
            for host, own in enumerate(of_hosts):
                assert own.pop("devices").tolist() == [hosts * devices, devices]
                found[f"{hosts} x {devices}, {host}"] = own
    return found


def of(case: str, found: Written) -> Written:
    """The values of one case."""
    own = {key: value for key, value in found.items() if key.startswith(f"{case}: ")}
    assert own
    return own


@pytest.mark.slow
@EACH
def test_two_hosts_of_four_devices_are_one_of_eight(
    case: str, written: Mapping[str, Written]
) -> None:
    first, second, one = (of(case, written[host]) for host in ("2 x 4, 0", "2 x 4, 1", "1 x 8, 0"))
    for name, value in second.items():  # what the first host alone has, the other lacks
        np.testing.assert_array_equal(value, first[name], err_msg=name)
    assert_alike(one, first, ORDER)


@pytest.mark.slow
@EACH
def test_two_hosts_of_four_devices_are_one_device(
    case: str, written: Mapping[str, Written]
) -> None:
    one, two = of(case, written["1 x 1, 0"]), of(case, written["2 x 4, 0"])
    assert_alike(one, two, ROUNDING)
    if case in (*hosts_cases.LOSSES, *hosts_cases.TRAININGS):
        assert one[f"{case}: 0/gradient_norm"] > 0
        return
    assert 0 < one[f"{case}: measured.metrics.ensemble.map@r"] < 1


def assert_alike(one: Written, other: Written, rounding: float) -> None:
    """Neighbours and means of hits to the bit, all else but for rounding."""
    assert one.keys() == other.keys()
    assert all(np.isfinite(value).all() for value in one.values())
    exact = {name for name in one if "measured.metrics" in name or name.endswith("nearest")}
    for name in exact:
        np.testing.assert_array_equal(other[name], one[name], err_msg=name)
    rounded = one.keys() - exact
    few, many = ({name: found[name] for name in rounded} for found in (one, other))
    assert_equal(few, many, rounding, min(1e-8, rounding))


def test_no_loss_and_no_system_is_left_out() -> None:
    assert hosts_cases.LOSSES.keys() == TERMS.keys()
    systems = {"NormSoftmax", "MultiGrain", "MetaBIN", "HDC", "A-BIER", "FashionNet"}
    assert hosts_cases.TRAININGS.keys() == {"abe", *systems}
    others = {*hosts_cases.CASES} - {*hosts_cases.LOSSES, *hosts_cases.TRAININGS}
    assert others == {"evaluation"}
