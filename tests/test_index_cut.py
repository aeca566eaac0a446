"""A state that is in use when one of its files is cut: an error, not the end of the process."""

import subprocess
import sys
from pathlib import Path

import index_cut
from processes import ROOT, environment


def test_a_file_cut_under_its_map_is_an_error_of_every_use(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "tests/index_cut.py", str(tmp_path / "index")],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert said == {name: sorted([*uses, *uses]) for name, uses in index_cut.TOUCHED.items()}
