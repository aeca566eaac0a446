"""A job that has lost a host: no mistake of the user's, and no fault of the program's either."""

import re
import sys

# The status of a run that was asked to stop and has saved, and of a host whose job is broken:
# sysexits' EX_TEMPFAIL, try again. Schedulers requeue what ends with it (docs/CLUSTER.md).
GO_ON = 75

# What comes from JAX's collectives, its store and its barriers begins with a status code of absl.
# Some of these say nothing else; others are those of a fault in a program as well.
_STATUS = re.compile(r"\b(ABORTED|CANCELLED|DEADLINE_EXCEEDED|UNAVAILABLE): ")
_OTHER = re.compile(r"\b(FAILED_PRECONDITION|INTERNAL|UNKNOWN): ")
_NETWORK = re.compile(
    r"gloo|coordination|barrier|connection|socket|\brpc\b|(another|other|following) tasks?\b"
    r"|nccl.*(remote|network|system) error|nccl.*remote process",
    re.IGNORECASE | re.DOTALL,
)
# Of Orbax's waits for other hosts, and for its threads that do. A socket's time-out has other
# words, and that of a network disk a number.
_ORBAX = re.compile(
    r"barrier|ChainedFuture|waiting for key|Timed out after|did not complete within"
)


class Lost(Exception):  # noqa: N818 (an outcome)
    """The other hosts cannot be waited for any longer: one line; the command ends with GO_ON."""


def is_loss(error: BaseException) -> bool:
    """Whether an error is what a collective, a barrier or the store raises when a host has gone.

    With one host: never. What the error came from counts as well: libraries wrap it.
    """
    if not in_job():
        return False
    chain: list[BaseException] = []
    next_one: BaseException | None = error
    while next_one is not None and next_one not in chain:
        chain.append(next_one)
        hidden = next_one.__suppress_context__  # by `from`: it was another error's handling
        next_one = next_one.__cause__ or (None if hidden else next_one.__context__)
    return any(isinstance(one, Lost) or _of_orbax(one) or _of_runtime(str(one)) for one in chain)


def _of_orbax(error: BaseException) -> bool:
    return (
        isinstance(error, TimeoutError)
        and error.errno is None
        and _ORBAX.search(str(error)) is not None
    )


def _of_runtime(text: str) -> bool:
    begins = text[:200]
    if "tensorstore" in text:  # a file that it cannot read or write has a status code as well
        return False
    return bool(_STATUS.search(begins) or (_OTHER.search(begins) and _NETWORK.search(begins)))


def in_job() -> bool:
    """Whether this process has joined other hosts; asked without importing JAX."""
    module = sys.modules.get("jax._src.distributed")
    return bool(module and module.global_state.client)
