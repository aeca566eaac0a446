"""Queries are divided among hosts so that each is ranked once, and products come one at a time."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from abe_jax import hosts
from abe_jax.errors import UserError
from abe_jax.evaluation import divided, frame
from abe_jax.hosts import agreement

HOSTS = 3


def of(positions):
    """Two values of each query, of which float32 would keep neither."""
    return np.stack([1 / (positions + 3.0), positions + 2.0**40 + 1])


@pytest.fixture
def told(monkeypatch):
    """What each host has told, of three that are this process in turn."""
    told = {}

    def gather(values):
        told[jax.process_index()] = values
        return np.stack([told.get(host, np.zeros_like(values)) for host in range(HOSTS)])

    monkeypatch.setattr(jax, "process_count", lambda: HOSTS)
    monkeypatch.setattr(hosts, "gather_bits", gather)
    monkeypatch.setattr(agreement, "gather_rows", lambda values: values)  # as `together` calls it
    return told


def ranked(count, block, of=of, split=True):
    """The values of all queries, of which this host asked for its own."""
    values, own = np.zeros((2, count)), divided.own_queries(count, block, split)
    with divided.together(split):
        values[:, own] = of(own)
    return divided.of_all_hosts(values, block, split)


def each(monkeypatch, *arguments):
    """What every host has, once all have told what they know."""
    for host in 2 * [*range(HOSTS)]:
        monkeypatch.setattr(jax, "process_index", lambda host=host: host)
        yield ranked(*arguments)


@pytest.mark.parametrize(("count", "block"), [(41, 8), (48, 4), (5, 8), (9, 8), (0, 8)])
def test_all_hosts_know_every_value_and_each_query_was_ranked_once(count, block, told, monkeypatch):
    asked = []

    def noted(positions):
        asked.extend(positions)
        return of(positions)

    for found in [*each(monkeypatch, count, block, noted)][HOSTS:]:
        np.testing.assert_array_equal(found, of(np.arange(count)))
    assert sorted(asked) == sorted(2 * [*range(count)])
    shares = [np.count_nonzero(values[0]) for values in told.values()]
    assert not shares or max(shares) - min(shares) <= block


def test_one_host_and_undivided_queries_meet_nobody(told, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    np.testing.assert_array_equal(ranked(9, 2, split=False), of(np.arange(9)))
    monkeypatch.setattr(jax, "process_count", lambda: 1)
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    np.testing.assert_array_equal(ranked(9, 2), of(np.arange(9)))
    assert not told


def test_what_another_host_refuses_this_one_refuses(told, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 0)
    monkeypatch.setattr(agreement, "gather_rows", lambda values: np.array([*values, True]))
    with pytest.raises(UserError, match="host 1 stopped"):
        ranked(9, 2)


def test_float64_multiplies_once_at_a_time():
    at_once, most, here = 0, 0, threading.Lock()

    class Slow(np.ndarray):
        def __matmul__(self, other):
            nonlocal at_once, most
            with here:
                at_once += 1
                most = max(most, at_once)
            time.sleep(0.05)
            with here:
                at_once -= 1
            return np.asarray(self) @ np.asarray(other)

    x = np.random.default_rng(0).normal(size=(1, 4, 3))
    fixed = frame.frame(x.astype(np.float32), x.astype(np.float32))
    expected = frame.bounds(fixed, x, x, rooted=False)
    with ThreadPoolExecutor(3) as threads:
        for own in threads.map(lambda _: frame.bounds(fixed, x.view(Slow), x, False), range(3)):
            np.testing.assert_array_equal(own, expected)
    assert most == 1
