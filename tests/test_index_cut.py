"""A state that is in use when one of its files is cut: an error, not the end of the process."""

from pathlib import Path

import index_cut
import processes


def test_a_file_cut_under_its_map_is_an_error_of_every_use(tmp_path: Path) -> None:
    done = processes.python("tests/index_cut.py", tmp_path / "index", data=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    said = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert said == {name: sorted([*uses, *uses]) for name, uses in index_cut.TOUCHED.items()}
