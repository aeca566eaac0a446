"""The bars and the table of a comparison: they show what its runs' evaluation.json say."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from processes import TINY

from abe_jax import config
from abe_jax.cli import figures as cli
from abe_jax.comparison import reached
from abe_jax.errors import UserError
from abe_jax.report import ensemble_table
from abe_jax.report.ensemble_table import Reached
from abe_jax.report.figures import bars, layout
from abe_jax.report.figures.embedded_run import Skipped


def evaluation(recall: float, learners: int = 1) -> dict:
    """As evaluation.json has it: R@1 as given, R@2 a little more, each learner 0.1 below."""

    def values(of: float) -> dict[str, float]:
        return {"recall@1": of, "recall@2": of + 0.05, "map@r": of / 2}

    own = {"learners_mean": values(recall - 0.1)} if learners > 1 else {}
    alone = {"learners": [values(recall - 0.1)] * learners}
    return {"metrics": {"ensemble": values(recall), "pixels": values(0.25), **alone, **own}}


ROWS = [
    Reached("single_50%", [evaluation(0.5), evaluation(0.6)], "single"),
    Reached("ABE-4", [evaluation(0.7, 4), evaluation(0.8, 4)], "attention"),
]


def test_the_table_has_the_ensemble_then_its_learners_over_the_seeds() -> None:
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in ensemble_table.markdown(ROWS).splitlines()
    ]
    assert lines[0] == [
        "",
        "seeds",
        "ensemble R@1 %",
        "ensemble R@2 %",
        "individual learners R@1 %",
        "individual learners R@2 %",
    ]
    assert lines[2] == ["single_50%", "2", "55.0 ± 7.1", "60.0 ± 7.1", "-", "-"]
    assert lines[3] == ["ABE-4", "2", "75.0 ± 7.1", "80.0 ± 7.1", "65.0 ± 7.1", "70.0 ± 7.1"]


def test_the_csv_has_mean_and_spread_as_numbers() -> None:
    single, ours = csv.DictReader(io.StringIO(ensemble_table.as_csv(ROWS)))
    assert single["name"] == "single_50%" and single["learners_mean recall@1 mean"] == ""
    assert float(ours["ensemble recall@2 mean"]) == pytest.approx(80)
    assert float(ours["learners_mean recall@1 std"]) == pytest.approx(50**0.5, abs=1e-4)


def test_the_latex_is_a_whole_tabular_whatever_the_names_are() -> None:
    text = ensemble_table.latex([*ROWS, Reached("a\\b~^{&}", [evaluation(0.4)])])
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrr}" and lines[-1] == r"\end{tabular}"
    assert lines[2] == (
        r" & \multicolumn{2}{c}{ensemble} & \multicolumn{2}{c}{individual learners} \\"
    )
    assert lines[5] == r"single\_50\% & $55.0 \pm 7.1$ & $60.0 \pm 7.1$ & -- & -- \\"
    last = r"a\textbackslash{}b\textasciitilde{}\textasciicircum{}\{\&\} & $40.0$ & $45.0$"
    assert lines[7] == last + r" & -- & -- \\"
    assert {line.count("&") - line.count(r"\&") for line in lines[3:8] if "&" in line} == {4}


def drawn(rows: list[Reached], ours: set[str]) -> Figure:
    made = bars.pictures(rows, ours, "test")
    assert not isinstance(made, Skipped)
    return made[0].figure


def test_every_row_has_a_bar_as_long_as_its_recall_and_ours_alone_have_colour() -> None:
    (plot,) = drawn(ROWS, {"ABE-4"}).axes
    lengths = [patch.get_width() for patch in plot.patches]  # pyright: ignore
    assert lengths == pytest.approx([55, 75])
    assert [text.get_text() for text in plot.get_yticklabels()] == ["single_50%", "ABE-4"]
    assert [patch.get_hatch() for patch in plot.patches] == ["////", None]
    assert plot.patches[0].get_facecolor() != plot.patches[1].get_facecolor()
    dots = [line for line in plot.lines if line.get_marker() == "o" and len(line.get_xdata())]  # pyright: ignore
    (dot,) = dots  # of the only row with several learners
    assert np.ravel(dot.get_xdata()) == pytest.approx([65]) and np.ravel(dot.get_ydata()) == [1]
    assert 25.0 in [line.get_xdata()[0] for line in plot.lines if len(line.get_xdata()) == 2]  # pyright: ignore
    low, high = plot.get_xlim()
    assert low == 0 and high > 75 + 50**0.5  # a bar from elsewhere would tell another proportion
    said = {text.get_text() for text in plot.texts}
    assert said == {"55.0", "75.0"}


def folder_of(root: Path, rows: list[Reached]) -> Path:
    for row in rows:
        for seed, found in enumerate(row.evaluations):
            run = root / f"{row.name.replace('/', '_')} seed {seed}"
            run.mkdir(parents=True)
            changes = [f"model.kind={row.kind}"] + ["model.learners=1"] * (row.kind == "single")
            config.write_json(config.load(TINY, changes), run / "config.json")
            (run / "evaluation.json").write_text(json.dumps({"test": found}))
    return root


def test_a_comparisons_folder_is_read_in_the_order_of_its_table(tmp_path: Path) -> None:
    rows = [*ROWS, Reached("x/y|z", [evaluation(0.3)], "single")]
    folder = folder_of(tmp_path / "runs", [*rows, Reached("tuned 0.1", [evaluation(0.2)], "heads")])
    names = ("x/y\\|z", "ABE-4", "single_50%", "not there")
    table = "\n".join(["| arm | a |", "|---|--:|", *(f"| {name} | 1 |" for name in names)])
    assert [row.name for row in reached.read(folder, "test")] == [
        "ABE-4",
        "single_50%",
        "tuned 0.1",
        "x_y|z",
    ]
    (folder / "table.md").write_text(table + "\n")
    found = reached.read(folder, "test")
    assert [row.name for row in found] == ["x/y|z", "ABE-4", "single_50%"]
    assert found[1] == ROWS[1] and found[2].kind == "single"
    for wrong, split in ((folder, "val"), (tmp_path / "other", "test")):
        with pytest.raises(UserError, match="no run of a comparison that was measured on the"):
            reached.read(wrong, split)


def test_the_command_leaves_bars_and_the_table_in_three_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(layout, "DPI", 40)
    folder = folder_of(tmp_path / "runs", ROWS)
    cli.main(["--comparison", str(folder), "--out", str(tmp_path / "out")])
    made = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {"learners.md", "learners.csv", "learners.tex"}
    assert made == {"bars.png", "bars.pdf", "figures.md", *tables}
    told = (tmp_path / "out" / "figures.md").read_text()
    assert f"--comparison {folder}" in told and "In colour: ABE-4." in told
    assert "bars.png and .pdf" in capsys.readouterr().out
    for extra, says in (
        (["--channel", "3"], "--channel: goes with --workdir"),
        (["--hosts"], "--hosts: goes with --workdir, not with --comparison"),
        (["--process", "0"], "--process: goes with --workdir"),
        (["--ours", "ABE-5"], "--ours: nothing is called 'ABE-5'; did you mean 'ABE-4'"),
        (["--workdir", str(folder)], "not allowed with argument"),
    ):
        with pytest.raises(UserError, match=says):
            cli.main(["--comparison", str(folder), *extra])
    with pytest.raises(UserError, match="one of the arguments --workdir --comparison is required"):
        cli.main([])
