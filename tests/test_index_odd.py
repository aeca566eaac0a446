"""200 odd and broken files through an index: each good one found again, each other one named."""

from pathlib import Path

import odd_files
import pytest
from index_runs import as_run, tiny

from abe_jax.cli import index, search
from abe_jax.data.sources.csv_file import shown
from abe_jax.data.sources.image_kinds import SUFFIXES
from abe_jax.index import snapshot


def test_every_good_file_is_indexed_and_every_other_named(
    tmp_path: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = odd_files.write(tmp_path / "odd")
    run, folder = as_run(tmp_path / "run", tiny(tiny_data)), tmp_path / "index"
    words = ["--workdir", run, "--images", tmp_path / "odd", "--out", folder]
    index.main(["build", *map(str, words)])
    indexed = {row.path for _, row in snapshot.read(folder).rows()}
    offered = [odd for odd in made if Path(odd.path).suffix.lower() in SUFFIXES]
    assert len(offered) > 150
    good = {str(tmp_path / "odd" / odd.path) for odd in offered if odd.size}
    assert good <= indexed
    named = (tmp_path / "index" / "unreadable.txt").read_text().splitlines()
    unreadable = {line.split("\t")[0] for line in named}
    bad = {shown(str(tmp_path / "odd" / odd.path)) for odd in offered if not odd.size}
    assert bad <= unreadable and not unreadable & set(map(shown, indexed))
    assert f"{len(unreadable)} files cannot be read" in capsys.readouterr().out
    asked = sorted(good)[::9]
    search.main(["--index", str(folder), *asked, "--k", "1", "--html", str(tmp_path / "x.html")])
    assert capsys.readouterr().out.count("itself") == len(asked)
    index.main(["add", "--index", str(folder), "--images", str(tmp_path / "odd")])
    assert f"0 added, {len(indexed)} unchanged" in capsys.readouterr().out
