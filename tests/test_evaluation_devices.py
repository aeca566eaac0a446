"""A ranking is the same to the bit on however many devices, and hosts, it is computed."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import device_rankings
import jax
import numpy as np
import pytest
from processes import ROOT, environment, port

from abe_jax import evaluation
from abe_jax.evaluation import search
from abe_jax.evaluation.binary_codes import HAMMING
from abe_jax.evaluation.knn import ENSEMBLES

Ranked = Callable[[int], dict[str, np.ndarray]]
SCRIPT = ROOT / "tests" / "device_rankings.py"


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Ranked:
    """What so many devices of one process come to."""
    folder = tmp_path_factory.mktemp("ranked")

    @functools.cache
    def on(devices: int) -> dict[str, np.ndarray]:
        target = folder / f"{devices}.npz"
        own = {"PYTHONPATH": str(ROOT)}
        subprocess.run(
            [sys.executable, str(SCRIPT), str(target)],
            env={**environment(folder, devices=devices), **own},
            check=True,
            timeout=300,
        )
        return read(target)

    return on


def read(target: Path) -> dict[str, np.ndarray]:
    with np.load(target) as written:
        return dict(written)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_several_devices_rank_as_one_to_the_bit(devices: int, ranked: Ranked) -> None:
    one, several = ranked(1), ranked(devices)
    assert (one["devices"], several["devices"]) == (1, devices)
    assert several["a remainder: spread"] == devices  # or nothing is proved
    assert several["fewer rows than devices: spread"] == 1
    assert several["named"] and several.keys() == one.keys()
    for name in one:
        if name not in ("devices", "calls") and not name.endswith("spread"):
            np.testing.assert_array_equal(several[name], one[name], err_msg=name)


@pytest.mark.slow
def test_two_hosts_that_divide_the_queries_rank_as_one_to_the_bit(
    ranked: Ranked, tmp_path: Path
) -> None:
    devices = 3  # of each host
    targets, address = [tmp_path / "0.npz", tmp_path / "1.npz"], f"127.0.0.1:{port()}"
    hosts = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(target), address, str(i)],
            env={**environment(tmp_path, devices=devices), "PYTHONPATH": str(ROOT)},
        )
        for i, target in enumerate(targets)
    ]
    try:
        assert [host.wait(timeout=300) for host in hosts] == [0, 0]
    finally:
        for host in hosts:
            host.kill()
    one, found = ranked(1), [read(target) for target in targets]
    assert sum(each["calls"] for each in found) == one["calls"]
    assert min(each["calls"] for each in found) > one["calls"] / 3
    damaged = "hold a value that is not finite, first in row 5"
    for each, said in zip(found, ("host 1 stopped", damaged), strict=True):
        assert each["devices"] == 2 * devices
        assert [said in line for line in each["refused"]] == [True, True], each["refused"]
        for name in one.keys() - {"devices", "calls"}:
            if not name.endswith("spread"):
                np.testing.assert_array_equal(each[name], one[name], err_msg=name)


@pytest.fixture(scope="module")
def here() -> dict[str, np.ndarray]:
    """What this process comes to, its one device taken as three."""
    several = 3 * tuple(jax.local_devices()[:1])
    with mock.patch.object(search, "_devices", lambda: several):
        return device_rankings.in_small_chunks()


@pytest.mark.parametrize("ensemble", [*ENSEMBLES, HAMMING])
def test_shares_rank_as_a_loop(ensemble: str, here: dict[str, np.ndarray]) -> None:
    for name, x, labels in device_rankings.sets():
        found = {
            key.rsplit(": ")[-1]: value
            for key, value in here.items()
            if key.startswith(f"{name}: {ensemble}: ")
        }
        distances, hits = by_loop(ensemble, x, labels, grouped=ensemble != HAMMING)
        order = np.argsort(distances, axis=1, kind="stable")[:, : device_rankings.depth(len(x))]
        nearest = np.take_along_axis(distances, order, axis=1)
        np.testing.assert_allclose(found["distances"][np.isfinite(nearest)], finite(nearest), 1e-12)
        np.testing.assert_array_equal(found["indices"], np.where(np.isinf(nearest), -1, order))
        assert sorted(found["rows"]) == sorted(hits)
        for at, row in enumerate(found["rows"]):
            own, right = hits[row], sum(hits[row])
            precision = np.cumsum(own[:right]) / np.arange(1, right + 1)
            assert [found[f"recall@{k}"][at] for k in (1, 4)] == [any(own[:1]), any(own[:4])]
            assert found["r_precision"][at] == pytest.approx(np.mean(own[:right]), rel=1e-12)
            average = (precision * own[:right]).sum() / right
            assert found["average_precision"][at] == pytest.approx(average, rel=1e-12)


def by_loop(
    ensemble: str, x: np.ndarray, labels: np.ndarray, grouped: bool
) -> tuple[np.ndarray, dict[int, list[bool]]]:
    """Distances in float64, infinite to what does not count; and whether each of the others, from
    the nearest on and groups aside, is of the query's class, where one of them is."""
    codes = np.unpackbits(evaluation.pack(x), axis=1).astype(np.float64)
    rows, hits, kinds = [], {}, device_rankings.groups(len(x))
    for i in range(len(x)):
        squares = ((x.astype(np.float64) - x[i].astype(np.float64)) ** 2).sum(axis=-1)
        by = {
            "concatenation": squares.sum(axis=1),
            "mean_distance": np.sqrt(squares).mean(axis=1),
            HAMMING: np.abs(codes - codes[i]).sum(axis=1),
        }[ensemble]
        by[i] = np.inf
        order = np.argsort(by, kind="stable")[:-1]
        own = (labels[order] == labels[i]).tolist()
        if any(own):
            hits[i] = own
        rows.append(np.where(kinds == kinds[i], np.inf, by) if grouped else by)
    return np.array(rows), hits


def finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
