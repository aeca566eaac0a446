"""A user's mistake is one line on stderr and exit status 2, with no traceback and nothing lost."""

from pathlib import Path

import pytest
from processes import TINY, run

MISTAKES = [
    (["--config.trian.steps=3"], "did you mean 'train'"),
    (["--config.train.steps=many"], "config.train.steps: expected int"),
    (["--config.model.dim=15"], "14 or 16"),
    (["--config.train.batch=33"], "the nearest is 32"),
    (["--workdri=x"], "did you mean '--workdir'"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "says"), MISTAKES)
def test_a_mistake_is_one_line_and_exit_status_2(
    arguments: list[str], says: str, tmp_path: Path, tiny_data: Path
) -> None:
    done = run(
        "train", "--config", TINY, "--workdir", tmp_path / "run", *arguments, data=tiny_data
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
