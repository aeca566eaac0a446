"""Joining the other hosts of a job, with a bound for every wait of JAX's runtime."""

import contextlib
import functools
import re
from collections.abc import Iterator

HEARTBEAT = 25  # seconds without a sign of life after which a host is gone
WAIT = 300.0  # seconds that the start waits for late hosts, unless told otherwise
END = 300  # seconds that hosts which are done wait for the others, which are as well
_MORE = 30  # seconds that a host waits longer than the first, which names those that are missing


def join(coordinator: str | None, processes: int | None, process: int | None, wait: float) -> None:
    """Connects to the other hosts.

    Where they are not all there in time, JAX's runtime aborts the process, and its supervisor says
    which ones are missing.

    Args:
        coordinator: HOST:PORT where the first host listens; None, and the others too: JAX's own
            detection of a cluster.
        processes: the number of hosts.
        process: this host's, from 0.
        wait: the seconds that it waits for late hosts.

    Raises:
        ValueError, RuntimeError: JAX's own; see `may_pass`.
    """
    import jax

    with _registered_within(int(wait)):
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            initialization_timeout=int(wait) + _MORE,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=END,
        )


# What JAX's runtime says begins with a status code; the others are its questions to a cluster.
_PASSES = re.compile(
    r"(ABORTED|ALREADY_EXISTS|CANCELLED|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE|UNKNOWN): "
    r"|Getting metadata|Retry failed"
)


def may_pass(error: Exception) -> bool:
    """Whether an error of `join` may be gone at another try, as a port that is taken.

    What else JAX refuses to join, such as hosts that nobody named, is a mistake.
    """
    return _PASSES.match(str(error)) is not None


@contextlib.contextmanager
def _registered_within(seconds: int) -> Iterator[None]:
    """The first host's service gives up after so many seconds and says who is missing.

    `jax.distributed.initialize` has no argument for it; a version without this one under its
    private name waits `_MORE` longer and names nobody.
    """
    from jax._src import distributed

    name = "get_distributed_runtime_service"
    library = getattr(distributed, "_jax", None)
    made = getattr(library, name, None)
    if library is None or made is None:
        yield
        return
    setattr(library, name, functools.partial(made, cluster_register_timeout=seconds))
    try:
        yield
    finally:
        setattr(library, name, made)
