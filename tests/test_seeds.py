"""docs/SEEDS.md: every command is one that there is, and runs on tiny data."""

import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path

import inshop_data
import jax
import pytest
import seed_rows
from processes import ROOT
from seed_rows import Row
from test_evaluate_benchmarks import noise
from test_evaluate_benchmarks import root as benchmarks  # noqa: F401 (a fixture)

from abe_jax import config, files
from abe_jax.cli import compare, complexity, evaluate, figures, main, resolution, sweep, train
from abe_jax.training.run_folder import RunFolder

PARSERS = {
    "train": train.parser,
    "evaluate": evaluate.parser,
    "compare": compare.parser,
    "figures": figures.parser,
    "complexity": complexity.parser,
    "resolution": resolution.parser,
    "sweep": sweep.parser,
}
SECTIONS = seed_rows.sections()
ROWS = [row for rows in SECTIONS.values() for row in rows]
TRAINS = ("train", "compare", "sweep")  # commands that make the folder they name


def name(row: Row) -> str:
    return f"{row.verb}-line{row.line}"


def test_the_four_texts_have_their_tables() -> None:
    assert list(SECTIONS) == ["ABE-M", "NormSoftmax", "MultiGrain", "MetaBIN"]
    lines = (ROOT / "docs" / "SEEDS.md").read_text().splitlines()
    tabled = {n for n, line in enumerate(lines, start=1) if line.startswith("| ")}
    told = {row.line for row in ROWS}
    for number in sorted(tabled - told):  # what has no command refers to a row that has
        line = lines[number - 1]
        assert "row" in line.split("|")[3] or "command" in line or ":--" in line, line


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_row_names_a_command_its_options_and_configs_that_there_are(row: Row) -> None:
    assert row.verb in main.VERBS
    arguments, overrides = PARSERS[row.verb]().parse(row.arguments)
    assert bool(overrides) <= (row.verb in (*TRAINS, "evaluate"))
    for file in row.files:
        config.load(ROOT / file, overrides)
    if row.verb == "compare":
        made = compare.arms(arguments.arm, arguments.vary)
        rows = [files.row_of(arm.file)[1] for arm in made if arm.file]
        assert len(made) == len(arguments.arm) and all(rows)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_run_is_trained_before_it_is_looked_at(section: str) -> None:
    made: set[str] = set()
    for row in SECTIONS[section]:
        if row.verb in TRAINS:
            assert len(row.runs) == 1 and row.runs[0] not in made, row
            made |= set(row.runs)
        assert made >= set(row.runs), row


def test_every_row_of_a_config_with_rows_is_named() -> None:
    text = (ROOT / "docs" / "SEEDS.md").read_text()
    for row in runpy.run_path(str(ROOT / "configs" / "cars196_abe.py"))["ROWS"]:
        assert f"`{row}`" in text, row


class Stage:
    """Runs the rows of a section, whose runs lie in a folder of its own."""

    def __init__(self, folder: Path, data: Path, sets: Path):
        self.folder, self.data, self.sets = folder, data, sets
        self.trained: dict[str, Path] = {}  # a config as it was trained -> its folder
        photographs, self.rotations = folder / "photographs", folder / "rotations.txt"
        photographs.mkdir()
        for number in range(3):
            (photographs / f"{number}.jpg").write_bytes(noise(str(number)))
        self.rotations.write_text("100000.jpg 90\n")
        # In the place of values that the small runs have not, and of a user's own files.
        self.small = {"--size": "24", "--longest": "24", "--channel": "3"}
        self.small["--whiten-on"] = str(photographs)

    def run(self, row: Row) -> None:
        trains = row.verb in TRAINS
        arguments = seed_rows.small(row, self.data) if trains else list(row.arguments)
        arguments = [self._placed(argument) for argument in arguments]
        for option, value in self.small.items():
            if option in arguments:
                arguments[arguments.index(option) + 1] = value
        # A small run was trained on other images than its config's.
        if "--divisions" in arguments and not row.value("--dataset"):
            arguments += ["--dataset", "grid", f"--config.data.root={self.sets}"]
        if row.value("--dataset"):
            arguments.append(f"--config.data.root={self.sets}")
        if row.verb == "train" and self._copied(arguments):
            return
        main.VERBS[row.verb][0](arguments)

    def _placed(self, argument: str) -> str:
        """Runs and lists in the section's folder, and config files by their whole path."""
        if argument.startswith("runs/"):
            return str(self.folder / argument)
        own = argument.replace("rotations=ROTATIONS", f"rotations={self.rotations}")
        return own.replace("configs/", f"{ROOT}/configs/")

    def _copied(self, arguments: list[str]) -> bool:
        """Whether what is asked for was trained already under another name."""
        parsed, overrides = train.parser().parse(arguments)
        made = config.load(parsed.config, overrides)
        before = self.trained.setdefault(repr(config.to_mapping(made)), parsed.workdir)
        if before == parsed.workdir:
            return False
        shutil.copytree(before, parsed.workdir)
        return True


@pytest.fixture
def quickly_compiled() -> Iterator[None]:
    """Programs that take longer to optimise than to run are not optimised."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.slow
@pytest.mark.usefixtures("as_a_user", "quickly_compiled")
@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_runs_on_tiny_data(
    section: str,
    tmp_path: Path,
    tiny_data: Path,
    benchmarks: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    inshop_data.prepare(tiny_data)
    stage = Stage(tmp_path, tiny_data, benchmarks)
    for row in SECTIONS[section]:
        stage.run(row)
        said = capsys.readouterr().out
        assert said or row.verb == "train", row
        for run in row.runs if row.verb == "train" else ():
            assert "test" in RunFolder(tmp_path / run).evaluations(), row
    pictures = {path.name for path in tmp_path.glob("runs/*/figures/*.png")}
    if section == "ABE-M":
        attention = {f"attention_{what}.png" for what in ("channel", "mean", "product")}
        assert pictures >= attention | {"cosine.png", "recall.png", "bars.png"}
        folder = tmp_path / "runs" / "compare" / "figures"
        assert all((folder / f"learners.{form}").exists() for form in ("md", "csv", "tex"))
