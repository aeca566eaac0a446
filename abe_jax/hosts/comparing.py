"""Hosts of one job that were started differently are refused, and told who differs in what."""

import functools
import hashlib
import itertools
import json
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax._src import distributed  # the store of JAX's coordination service has no public name

from abe_jax.errors import UserError
from abe_jax.hosts import marks
from abe_jax.hosts.lost import Lost

WAIT = 600.0  # seconds: listing a large data set on a slow file system takes minutes
PAUSE = 2.0  # seconds between two looks at what may still become the same
SHOWN = 3  # differences that a line names
_rounds = itertools.count()

Facts = Mapping[str, Any]  # by name, what must be the same on every host; compared as text


def alike(facts: Facts | Callable[[], Facts], patience: float = 0.0) -> None:
    """Refuses hosts whose facts differ; with one host, nothing. All hosts call it.

    It goes through the store and not through collectives: those would need programs that are equal.

    Args:
        facts: this host's, or what gives them: with one host it is not called.
        patience: the seconds in which facts that differ are looked up again, all hosts together,
            as of files that a network file system shows late.

    Raises:
        UserError: on all hosts the same line, which names who differs in what.
        Lost: a host did not say its own in time.
    """
    if jax.process_count() == 1:
        return
    marks.reached("the comparison of what the hosts were started with")
    different: list[str] = []
    for left in reversed(range(1 + int(patience / PAUSE))):
        different = differences(_told_by_all(facts() if callable(facts) else facts))
        if not different:
            return
        if left:  # what was told is the same on all hosts, so all look again or none
            time.sleep(PAUSE)
    more = f" (and {len(different) - SHOWN} more)" if len(different) > SHOWN else ""
    raise UserError(f"the hosts were started differently: {'; '.join(different[:SHOWN])}{more}")


def _told_by_all(facts: Facts) -> list[dict[str, str]]:
    """The facts of each host as text, by its number."""
    store: Any = distributed.global_state.client
    place = f"abe_jax/alike/{next(_rounds)}"
    own = json.dumps({name: str(value) for name, value in facts.items()})
    store.key_value_set(f"{place}/{jax.process_index()}", own)
    told = []
    for host in range(jax.process_count()):
        try:
            heard = store.blocking_key_value_get(f"{place}/{host}", int(WAIT * 1e3))
        except Exception as error:  # of the service's own kinds
            if "DEADLINE_EXCEEDED" not in str(error):
                raise  # the host or the store is gone, and `is_loss` tells
            raise Lost(
                f"host {host} has not come to the comparison of the hosts in {WAIT:.0f} s"
            ) from None
        told.append(json.loads(heard))
    return told


def differences(told: list[dict[str, str]]) -> list[str]:
    """What differs: `name: this on hosts 0 and 2, that on host 1`."""
    found = []
    for name in dict.fromkeys(name for facts in told for name in facts):
        by_value: dict[str, list[int]] = {}
        for host, facts in enumerate(told):
            by_value.setdefault(facts.get(name, "nothing"), []).append(host)
        if len(by_value) > 1:
            shown = [f"{value[:80]} on {_hosts(hosts)}" for value, hosts in by_value.items()]
            found.append(f"{name}: {', '.join(shown)}")
    return found


def _hosts(numbers: list[int]) -> str:
    first = ", ".join(map(str, numbers[:4])) + (", ..." if len(numbers) > 4 else "")
    return f"host {first}" if len(numbers) == 1 else f"hosts {first}"


def versions() -> dict[str, str]:
    """What this host runs: versions, the package's own source by its digest, and its devices."""
    return {
        "code of abe_jax": _source(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "numpy": np.__version__,
        "devices": f"{jax.local_device_count()} of {jax.local_devices()[0].platform}",
    }


@functools.cache
def _source() -> str:
    """The first digits of the SHA-256 over the package's files of code, by their names."""
    root, hashed = Path(__file__).parent.parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        hashed.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()[:12]
