"""What libraries print beside a command's one line."""

import subprocess
import sys

from processes import ROOT

# A write whose waiter has given up: TensorStore is done with it when the loop is closed. Then
# something else that Python can tell nobody either.
PROGRAM = """
import asyncio, tensorstore
from abe_jax.cli import quiet
quiet.libraries()
promise, future = tensorstore.Promise.new()
loop = asyncio.new_event_loop()
async def wait():
    await future
waiting = loop.create_task(wait())
loop.run_until_complete(asyncio.sleep(0))
loop.close()
promise.set_result(1)
class Faulty:
    def __del__(self):
        raise RuntimeError("a fault")
Faulty()
"""


def test_a_write_that_was_given_up_is_not_heard_and_other_faults_are() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "RuntimeError: a fault" in done.stderr
    assert "Event loop is closed" not in done.stderr
