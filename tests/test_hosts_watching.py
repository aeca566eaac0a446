"""The thread that watches the other hosts, over a store that fails now and then."""

import subprocess
import sys

from processes import ROOT

PROGRAM = """
from types import SimpleNamespace
from abe_jax.cli import ending

class Store:  # what the thread asks of that of JAX's coordination service
    kept, fails = {}, 3

    def key_value_set(self, key, value, allow_overwrite=False):
        self.kept[key] = value

    def key_value_dir_get(self, folder):
        if folder.startswith(ending.MARK) and self.fails:
            self.fails -= 1
            raise RuntimeError("UNAVAILABLE: try again")
        return [(key, value) for key, value in self.kept.items() if key.startswith(folder)]

job = SimpleNamespace(client=Store(), process_id=0, num_processes=1)
ending._job = lambda: job
ending._watch(1.0)
"""


def test_a_store_that_fails_for_a_moment_does_not_end_the_watching() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 75, done.stderr
    assert done.stderr.startswith("error: no host has made progress for 1 s; all are at the start")
