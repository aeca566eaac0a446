"""Arguments of a command that runs on several hosts, and how it joins them."""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from abe_jax.cli import command, ending
from abe_jax.errors import UserError
from abe_jax.hosts import Lost, joining, supervisor

WHO = ("hosts", "coordinator", "processes", "process")  # arguments by which a host joins a job


def add_hosts(parser: command.Parser) -> None:
    """Arguments of a run on several hosts; on clusters that JAX knows --hosts is enough."""
    parser.add_argument("--hosts", action="store_true", help="join the other hosts of this job")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="where the first host listens")
    parser.add_argument("--processes", type=int, metavar="N", help="number of hosts")
    parser.add_argument("--process", type=int, metavar="I", help="this host's number, from 0")
    parser.add_argument(
        "--join-within",
        type=_seconds,
        default=joining.WAIT,
        metavar="S",
        help=f"the time that the start waits for late hosts; default: {joining.WAIT:.0f}",
    )
    parser.add_argument(
        "--stalled-after",
        type=_seconds,
        default=ending.STALLED,
        metavar="S",
        help="the time without progress on any host after which all end; default: "
        f"{ending.STALLED:.0f}, for the longest compilation or evaluation",
    )


def _seconds(text: str) -> float:
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 1 to 1,000,000")
    return float(text)


def asks_for_hosts(arguments: argparse.Namespace) -> bool:
    """Whether any argument of `WHO` is given."""
    return any(command.is_given(arguments, name) for name in WHO)


def join_hosts(arguments: argparse.Namespace) -> None:
    """Connects to the other hosts, where the command line asks for it; called before JAX is used.

    Raises:
        UserError: no cluster was recognised, what names the hosts cannot be, or they differ.
        Lost: they cannot be joined now, as where another process has the port.
    """
    if not asks_for_hosts(arguments):
        return
    workdir: Path | list[Path] | None = getattr(arguments, "workdir", None)

    def told(pid: int, line: str) -> None:
        from abe_jax.training import ended
        from abe_jax.training.run_folder import RunFolder

        if isinstance(workdir, Path):  # several are runs to read: none has a status of ours
            ended.fallen(RunFolder(workdir), pid, line)

    supervisor.supervise(arguments.join_within, told)
    named = (arguments.coordinator, arguments.processes, arguments.process)
    try:
        joining.join(*named, arguments.join_within)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        kind = Lost if joining.may_pass(error) else UserError
        raise kind(f"cannot join the other hosts: {reason}") from None
    ending.watch_others(arguments.stalled_after)
    from abe_jax.hosts.comparing import alike, versions

    alike(versions())


@contextlib.contextmanager
def together(arguments: argparse.Namespace) -> Iterator[None]:
    """Joins the other hosts, if asked to; what one host refuses inside, all refuse."""
    join_hosts(arguments)
    if not asks_for_hosts(arguments):
        yield
        return
    from abe_jax import hosts

    with hosts.together():
        yield
