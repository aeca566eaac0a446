"""The last words of JAX's runtime in one line, as jaxlib 0.10.2 printed them; who is late."""

import errno

import jax
import pytest
from jax._src import distributed

from abe_jax.hosts import comparing, joining, lost, marks, runtime_log

OWN = "F1128 17:01:00.038466   27043 client.h:80] Terminating process because the JAX distributed "
OWN += "service detected fatal errors. This most likely indicates that another task died; see the "
OWN += "other task logs for more details. absl::Status: "

GONE = """UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):
1
The tasks have crashed. Check the task logs for an earlier error, or scheduler events to debug.

RPC: /xla.coordination.CoordinationService/PollForError
*** Check failure stack trace: ***
    @     0x7f0c78240634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
"""
FIRST_GONE = """UNAVAILABLE: Failed to send RPC to coordination service. Either the leader task was
preempted/died/restarted unexpectedly or this task is experiencing network issues.
:UNKNOWN:Error received from peer  {grpc_status:14, grpc_message:"Socket closed"}
"""
LATE = """DEADLINE_EXCEEDED: Barrier timed out. Id: [Init]Wait_for_all_tasks_to_register::0.
# of tasks that reached the barrier: 2/4.
The first task at the barrier: 0. Some timed out task names:
2
3


RPC: /xla.coordination.CoordinationService/RegisterTask
"""
AT_THE_END = LATE.replace("[Init]Wait_for_all_tasks_to_register", "Shutdown")
NO_FIRST = """DEADLINE_EXCEEDED: Deadline Exceeded

RPC: /xla.coordination.CoordinationService/RegisterTask
"""
UNANSWERED = "DEADLINE_EXCEEDED: Deadline Exceeded\n"
TWICE = "ALREADY_EXISTS: Aborted connect attempt as there is a request from a newer incarnation.\n"
OTHER = "INTERNAL: something new\n"


TAKEN = "E1129 01:42:06.884383    9773 add_port.cc:83] Failed to add port to server: No address "
TAKEN += "added out of total 1 resolved for '[::]:32823'\n"


def test_a_port_that_is_taken_becomes_one_line() -> None:
    assert runtime_log.is_own(TAKEN) and runtime_log.is_fatal(TAKEN)
    line = "the first host cannot listen on port 32823: another process has it"
    assert runtime_log.reason(TAKEN, wait=9.0) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (GONE, "host 1 is gone: it gives no sign of life"),
        (GONE.replace("\n1\n", "\n1\n2\n"), "hosts 1, 2 are gone: they give no sign of life"),
        (FIRST_GONE, "host 0 is gone: it gives no sign of life"),
        (UNANSWERED, "host 0 is gone: it gives no sign of life"),
        (LATE, "hosts 2, 3 did not join within 9 s"),
        (AT_THE_END, "hosts 2, 3 did not come to the barrier Shutdown of JAX's runtime"),
        (NO_FIRST, "host 0 could not be joined within 9 s: it or another is missing"),
        (TWICE, "another host joined with this host's number"),
        (OTHER, "the job is broken: INTERNAL: something new"),
    ],
)
def test_last_words_become_one_line(text: str, line: str) -> None:
    assert runtime_log.is_fatal(OWN + text)
    assert runtime_log.reason(OWN + text, 9.0) == line


def test_an_abort_by_gloo_becomes_one_line() -> None:
    words = "terminate called after throwing an instance of 'gloo::EnforceNotMet'\n"
    assert runtime_log.is_own(words) and runtime_log.is_fatal(words)
    assert all(runtime_log.may_begin(words[:end]) for end in (1, 20, 48, 60))
    assert runtime_log.reason(words, wait=9.0) == "lost touch with the other hosts"
    other = "terminate called after throwing an instance of 'std::bad_alloc'\n"
    assert not runtime_log.is_own(other) and not runtime_log.is_fatal(other)


def test_only_lines_of_the_coordination_service_are_its_own() -> None:
    assert runtime_log.is_own(OWN)
    for name in ("coordination_service.cc:1549", "coordination_service_agent.cc:289"):
        assert runtime_log.is_own(f"E1128 17:01:00.038331   27043 {name}] Polled")
    for line in (
        "error: a mistake",
        "F1128 17:01:00.038331   27043 hlo_instruction.cc:12] Check failed: x",
        "W1128 17:28:29.055817   27306 preemption_notifier.cc:90] SIGTERM caught",
    ):
        assert not runtime_log.is_own(line)


def test_who_is_late_is_named() -> None:
    told = {0: "8 the checkpoint of step 4", 1: "7 step 4", 2: "8 the checkpoint of step 4"}
    assert marks.late(told, 60.0) == (
        "no host has made progress for 60 s; the others wait at the checkpoint of step 4 for "
        "host 1 (at step 4)"
    )
    assert "all are at step 4" in marks.late({0: "7 step 4", 1: "7 step 4"}, 60.0)


def test_a_host_stands_still_when_no_host_tells_anything_new() -> None:
    still = marks.Standstill()
    still.note({0: "7.0 step 4", 1: "6.8 the data"}, 100.0)
    assert still.seconds == 0.0
    still.note({0: "7.0 step 4", 1: "6.8 the data"}, 130.0)
    assert still.seconds == 30.0
    still.note({0: "7.0 step 4", 1: "6.9 the data"}, 160.0)  # the other host is at work
    assert still.seconds == 0.0
    assert "wait at step 4 for host 1 (at the data)" in marks.late(still.told, 9.0)


def test_work_between_two_points_is_told_and_counts_as_no_point() -> None:
    marks.reached("the data")
    before = marks.told()
    marks.at_work()
    assert marks.told() != before
    assert marks.told().partition(".")[0] == before.partition(".")[0]


def test_who_differs_in_what_is_named() -> None:
    told = [{"a": "1", "b": "2"}, {"a": "1", "b": "3"}, {"a": "1", "b": "2"}]
    assert comparing.differences(told) == ["b: 2 on hosts 0, 2, 3 on host 1"]
    assert comparing.differences([{"a": "1"}, {}]) == ["a: 1 on host 0, nothing on host 1"]
    assert comparing.differences([told[0], told[0]]) == []


class Store:
    """What the comparison asks of the store of JAX's coordination service, which fails."""

    def __init__(self, error: Exception):
        self.error = error

    def key_value_set(self, key: str, value: str) -> None:
        """Takes anything."""

    def blocking_key_value_get(self, key: str, wait: int) -> str:
        """Fails."""
        raise self.error


def test_only_a_host_that_is_waited_for_in_vain_has_not_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 0)  # else JAX joins by the store's stand-in
    late = RuntimeError("DEADLINE_EXCEEDED: GetKeyValue() timed out with key: x")
    gone = RuntimeError("UNAVAILABLE: Failed to send RPC to coordination service")
    monkeypatch.setattr(distributed.global_state, "client", Store(late))
    with pytest.raises(lost.Lost, match="host 0 has not come to the comparison"):
        comparing.alike({"a": 1})
    monkeypatch.setattr(distributed.global_state, "client", Store(gone))
    with pytest.raises(RuntimeError) as found:
        comparing.alike({"a": 1})
    assert found.value is gone
    assert lost.is_loss(gone)


def test_an_error_of_the_runtime_is_a_loss_and_that_of_a_file_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gloo = ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer [127.0.0.1]:2752")
    assert not lost.is_loss(gloo)  # of one host alone
    monkeypatch.setattr(lost, "in_job", lambda: True)
    assert lost.is_loss(gloo)
    wrapped = RuntimeError("cannot save")
    wrapped.__cause__ = gloo
    assert lost.is_loss(wrapped)
    assert lost.is_loss(TimeoutError("Timed out while waiting for async_write_complete barrier."))
    assert not lost.is_loss(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))  # of NFS, say
    assert not lost.is_loss(TimeoutError("timed out"))  # of a socket, as of a download
    assert not lost.is_loss(RuntimeError("INTERNAL: CUDA error: an illegal memory access"))
    nccl = "INTERNAL: NCCL operation ncclAllReduce(buffer, count) failed: "
    assert lost.is_loss(RuntimeError(f"{nccl}remote process exited or there was a network error"))
    assert lost.is_loss(RuntimeError(f"{nccl}unhandled system error (run with NCCL_DEBUG=INFO)"))
    assert not lost.is_loss(RuntimeError(f"{nccl}invalid usage (run with NCCL_DEBUG=WARN)"))
    assert not lost.is_loss(RuntimeError(f"{nccl}unhandled cuda error (run with NCCL_DEBUG=INFO)"))
    assert not lost.is_loss(RuntimeError("INTERNAL: peer access is not supported between devices"))
    handled = ValueError("a mistake that was found while the first error was handled")
    handled.__context__, handled.__suppress_context__ = gloo, True
    assert not lost.is_loss(handled)
    handled.__suppress_context__ = False
    assert lost.is_loss(handled)
    assert not lost.is_loss(ValueError("shapes (3,) and (4,) do not fit"))
    assert not lost.is_loss(
        ValueError("FAILED_PRECONDITION: cannot open [source locations='tensorstore/kvstore']")
    )


def test_what_may_be_gone_at_another_try_is_no_mistake() -> None:
    assert joining.may_pass(RuntimeError("UNKNOWN: Failed to start RPC server"))
    assert joining.may_pass(RuntimeError("Getting metadata['agent-worker-number'] failed"))
    assert not joining.may_pass(ValueError("coordinator_address should be defined."))
    assert not joining.may_pass(RuntimeError("INVALID_ARGUMENT: no such address"))
    assert not joining.may_pass(RuntimeError("jobs must be indexed by setting `completionMode`"))


def test_a_line_that_has_only_begun_may_become_one_of_the_services() -> None:
    assert all(runtime_log.may_begin(OWN[:end]) for end in (0, 1, 3, 5, 20, 60))
    assert not any(runtime_log.may_begin(text) for text in (" 10%", "Epoch 1", "F12ab", "\r"))
