"""The model of scaling.py by hand, and its rings against timed exchanges.

pytest benchmarks/test_scaling.py --rounds 31
"""

import math

import pytest
import scaling
from results import Table

from abe_jax.training.traffic import Exchange, Links, seconds

OWN = scaling.System(
    multiply_adds=1e9, parameters=1000, row=40, statistics=600, layers=3, learners=2
)


def test_a_step_takes_its_network_its_pairs_and_its_exchanges() -> None:
    links, n, batch = Links(bandwidth=1e6, latency=1e-3), 4, 80
    network = 6 * 1e9 * (batch / n) / (scaling.FLOPS * scaling.UTILISATION)
    pairs = scaling.PASSES * 4 * 2 * batch**2 / scaling.MEMORY
    gradients = 2 * 3 / 4 * 4000 / 1e6 + 6e-3
    gathered = 3 / 4 * 40 * batch / 1e6 + 3e-3
    sums = 6 * (2 * 3 / 4 * 200 / 1e6 + 6e-3)
    expected = network + pairs + gradients + gathered + sums
    assert OWN.step(batch, n, links) == pytest.approx(expected)
    assert OWN.step(batch, 1, links) == pytest.approx(4 * network + pairs)


def test_efficiency_falls_with_devices_and_rises_with_bandwidth() -> None:
    slow, fast = Links(1e9, 1e-5), Links(1e11, 1e-6)
    found = scaling.predicted({"own": OWN}, {"slow": slow, "fast": fast}).rows
    for row in found:
        grown = [float(cell.removesuffix(" %")) for cell in row[2:5]]
        assert grown == sorted(grown, reverse=True) and grown[0] <= 100
    for one, other in zip(*(row[2:] for row in found), strict=True):
        assert float(one.removesuffix(" %")) <= float(other.removesuffix(" %"))


def test_links_are_found_again_in_times_that_they_made() -> None:
    links = Links(bandwidth=2e9, latency=3e-6)
    times = {
        (kind, size): seconds([Exchange(kind, size)], 8, links)
        for kind in ("all-reduce", "all-gather")
        for size in scaling.SIZES
    }
    assert scaling.fitted(times, 8) == pytest.approx(links)
    _, factor = scaling.checked("made", {8: times})
    assert factor == pytest.approx(1)


ENOUGH = 11  # rounds: fewer are the noise of a machine that does something else as well


@pytest.mark.slow
@pytest.mark.parametrize("what", ["forced devices of one process", "processes"])
def test_rings_predict_timed_exchanges(what: str, rounds: int, tables: list[Table]) -> None:
    """Within a factor of 5 at the median: of shared memory and of loopback, not of links.

    With fewer than ENOUGH rounds only a table is made.
    """
    forced = what.startswith("forced")
    found = {
        n: scaling.timed(n if forced else 1, 1 if forced else n, rounds)
        for n in ((2, 4, 8) if forced else (2, 3, 4))
    }
    table, factor = scaling.checked(what, found)
    tables.append(table)
    assert factor < (5 if rounds >= ENOUGH else math.inf)
