"""A host of a job that trains nothing: it joins the others as commands do, and does one thing.

python tests/hosts_program.py DOES --coordinator HOST:PORT --processes N --process I [...]
"""

import os
import signal
import time
from collections.abc import Sequence

import numpy as np

from abe_jax.cli import command, several
from abe_jax.errors import UserError

ENDS = {
    "fault": ValueError("a fault of the program's"),
    "mistake": UserError("a mistake"),
    "unread": BrokenPipeError(),
    "interrupt": KeyboardInterrupt(),
}


def exchange() -> None:
    """Exchanges rows with the other hosts for ever."""
    from abe_jax import hosts

    print("joined", flush=True)
    while True:
        hosts.gather_rows(np.zeros(3))
        time.sleep(0.02)


def main(argv: Sequence[str]) -> None:
    """Does what the first argument says."""
    does, *rest = argv
    parser = command.Parser("hosts", __doc__, example="")
    several.add_hosts(parser)
    arguments, _ = parser.parse(rest)
    several.join_hosts(arguments)
    from abe_jax import hosts
    from abe_jax.hosts import marks

    own = arguments.process
    if does == "exchange":
        exchange()
    if does == "mismatch":  # as where one host is in another exchange, behind one that failed
        hosts.gather_rows(np.zeros((3, 100 if own else 1)))
        exchange()  # one that took what was too short goes on until the other's end is noticed
    if does == "stall":  # host 1 never comes
        marks.reached("step 7")
        if own == 1:
            print("joined", flush=True)
            time.sleep(600)
        hosts.gather_rows(np.zeros(3))
    if does == "busy":  # host 1 prepares something for longer than all may stand still
        end = time.monotonic() + 25.0
        while own == 1 and time.monotonic() < end:
            hosts.at_work()
            time.sleep(0.1)
        hosts.gather_rows(np.zeros(3))
    if does == "differ":
        hosts.alike({"config.seed": own, "config.train.steps": 3})
    if does == "lag":  # as a network file system shows host 1 a file late
        shown = iter(["old"] if own == 1 else [])
        hosts.alike(lambda: {"config.json": next(shown, "new")}, patience=10.0)
    if does == "save":  # as Orbax does whose barrier fails
        hosts.gather_rows(np.zeros(3))
        if own == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            exchange()
        except Exception as error:
            raise TimeoutError("Timed out while waiting for a barrier.") from error
    if does in ENDS:
        if own == 1:
            raise ENDS[does]
        exchange()
    if does == "abort":
        if own == 1:
            os.abort()
        exchange()
    if does == "end" and own == 0:  # others are done, and wait for the first
        time.sleep(5)


command.run(main)
