"""What JAX's runtime writes before it aborts a process of a broken job, in one line of ours.

The runtime (jaxlib 0.10) has no other way to say which host is gone: a callback in Python for it
ends in `std::bad_cast`, and the process is aborted either way. The texts are of its coordination
service and of Gloo, which joins CPUs; `tests/test_hosts_log.py` has them as they were printed.
"""

import re

# Begins a line of its own files, such as `E1128 17:01:00.03   27043 coordination_service.cc:1549]`
_OWN = re.compile(
    r"[WEF]\d{4} [\d:.]+\s+\d+ "
    r"(coordination_service\w*|preemption_sync_manager|client|add_port)\.(cc|h):\d+\] "
)
_BEGINS = re.compile(r"[WEF]\d{0,4}( .*)?", re.DOTALL)  # such a line, as far as it goes
# Gloo on CPUs, where a host has gone and another sends what is not waited for: it throws in a
# thread of its own, and C++ aborts the process.
_GLOO = "terminate called after throwing an instance of 'gloo::"
_GONE = re.compile(r"unhealthy \(stopped sending heartbeats\):\n((?:\d+\n)+)")
_BARRIER = re.compile(r"Barrier timed out\. Id: (\S+?)(?:::\d+)?\.\s")
_ABSENT = re.compile(r"Some timed out task names:\n((?:\d+\n)+)")
_START = "[Init]Wait_for_all_tasks_to_register"  # the barrier to which all come who join
_UNANSWERED = "DEADLINE_EXCEEDED: Deadline Exceeded"  # of a message to the first host
_FATAL = re.compile(r"absl::Status: (.*)")
# The first host's service cannot listen; JAX's runtime crashes behind that, at once.
_PORT = re.compile(r"Failed to add port to server: .*:(\d+)'?\s")


def is_own(line: str) -> bool:
    """Whether a line begins what the runtime says of a broken job."""
    return _OWN.match(line) is not None or line.startswith(_GLOO)


def may_begin(text: str) -> bool:
    """Whether a line without its end can still become one that `is_own`."""
    gloo = _GLOO.startswith(text) or text.startswith(_GLOO)
    return gloo or _BEGINS.fullmatch(text) is not None


def is_fatal(text: str) -> bool:
    """Whether the runtime says in `text` that it ends the process, or what ends it."""
    fatal = "JAX distributed service detected fatal errors"
    return fatal in text or _GLOO in text or bool(_PORT.search(text))


def reason(text: str, wait: float) -> str:
    """Why the runtime ended this process, of everything that it wrote.

    Args:
        text: its lines.
        wait: the seconds that the start waits for late hosts.
    """
    if found := _PORT.search(text):
        return f"the first host cannot listen on port {found[1]}: another process has it"
    if found := _GONE.search(text):
        gone = found[1].split()
        are, their = ("are", "they give") if len(gone) > 1 else ("is", "it gives")
        return f"{hosts(gone)} {are} gone: {their} no sign of life"
    if found := _ABSENT.search(text):
        return _absent(found[1].split(), text, wait)
    if "newer incarnation" in text:
        return "another host joined with this host's number"
    if "RegisterTask" in text and "DEADLINE_EXCEEDED" in text:
        return f"host 0 could not be joined within {wait:.0f} s: it or another is missing"
    if "Failed to send RPC to coordination service" in text or _UNANSWERED in text:
        return "host 0 is gone: it gives no sign of life"
    if _GLOO in text:
        return "lost touch with the other hosts"
    found = _FATAL.search(text)
    return f"the job is broken: {found[1] if found else 'the runtime gave no reason'}"


def _absent(numbers: list[str], text: str, wait: float) -> str:
    """Who did not come to a barrier: that of the start, or another of the runtime's own."""
    found = _BARRIER.search(text)
    barrier = found[1] if found else _START
    if barrier == _START:
        return f"{hosts(numbers)} did not join within {wait:.0f} s"
    return f"{hosts(numbers)} did not come to the barrier {barrier} of JAX's runtime"


def hosts(numbers: list[str]) -> str:
    """`host 1`, or `hosts 1, 2`."""
    listed = ", ".join(sorted(numbers, key=int))
    return f"host{'s' if len(numbers) > 1 else ''} {listed}"
