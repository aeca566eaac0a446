"""Two hosts draw what one process draws: both embed, the first alone draws and writes.

The map is not among the pictures: it takes long, of vectors and images alone.
"""

import re
from pathlib import Path

import jax
import pytest
from processes import run
from test_report_figures import SINGLE, saved
from test_train_hosts import finish, said, start
from test_train_hosts_refused import DIFFERENT, ended

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> tuple[Path, Path]:
    """A run with attention and one of a single learner, both untrained."""
    root = tmp_path_factory.mktemp("runs")
    with jax.numpy_dtype_promotion("standard"):
        return saved(root / "attention", tiny_data), saved(root / "single", tiny_data, *SINGLE)


def files(folder: Path) -> dict[str, bytes]:
    there = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in there}


def test_two_hosts_draw_what_one_draws(
    folders: tuple[Path, Path], tmp_path: Path, tiny_data: Path
) -> None:
    own, other = folders
    one, two, of_second = (tmp_path / name for name in ("one", "two", "second"))
    asked = (other, "--split", "val", "--only", "attention,cosine,recall")
    before = files(own.parent)
    alone = run("figures", "--workdir", own, *asked, "--out", one, data=tiny_data, devices=2)
    assert alone.returncode == 0, alone.stderr
    outs = [("--out", folder) for folder in (two, of_second)]
    first, second = finish(start("figures", own, tiny_data, *asked, own=outs))
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert said(first[1].replace(str(two), str(one))) == said(alone.stdout)
    assert said(second[1]) == [] and not of_second.exists()
    drawn, expected = files(two), files(one)
    assert len(expected) == 11 and drawn.keys() == expected.keys()
    command = "figures.md"  # names the folder
    assert drawn.pop(command).replace(bytes(two), bytes(one)) == expected.pop(command)
    assert drawn == expected
    assert files(own.parent) == before


def test_hosts_that_are_asked_for_other_pictures_are_refused(tmp_path: Path) -> None:
    asked = [["--only", "cosine", "--split", "val"], ["--only", "recall"]]
    first, second = ended(tmp_path / "run", asked, does=("figures",))
    differ = "--split: val on host 0, test on host 1; --only: cosine on host 0, recall on host 1"
    assert first == second == [f"{DIFFERENT}{differ}"]


def test_what_the_first_host_cannot_draw_ends_both(
    folders: tuple[Path, Path], tmp_path: Path, tiny_data: Path
) -> None:
    out = tmp_path / "out"
    asked = ("--only", "attention", "--channel", 99, "--out", out)
    hosts = finish(start("figures", folders[0], tiny_data, "--split", "val", *asked))
    assert [status for status, *_ in hosts] == [2, 2], hosts
    (line,) = (line for line in said(hosts[0][2]) if line.startswith("error"))
    assert re.fullmatch(r"error: --channel 99: the masks have the channels 1 to 8", line)
    assert said(hosts[1][2])[-1] == "error: host 0 stopped; what it printed says why"
    assert not list(out.iterdir())
