"""What is imported when: the first word comes before JAX, a search without what it does not use."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from processes import ROOT

from abe_jax import choices
from abe_jax.data.sources import DATASETS
from abe_jax.data.sources.tfds_records import PREFIX
from abe_jax.pretrained import SOURCES
from abe_jax.report import figures

# Imports what a parser, its help and a mistake in the arguments need; says what else came along.
FIRST_WORD = """
import contextlib, io, sys
from abe_jax.errors import UserError

HEAVY = {"jax", "flax", "optax", "orbax", "grain", "tensorflow_datasets", "matplotlib", "cv2"}
HEAVY |= {"scipy", "PIL", "ml_collections", "tensorboardX", "numpy"}

def told(call, argv):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            call(argv)
        except (UserError, SystemExit):
            pass
        else:
            assert argv == ["--help"], f"{argv} was taken"
    heavy = sorted(HEAVY & {name.partition(".")[0] for name in sys.modules})
    assert not heavy, f"{argv} of {call.__module__} imports {heavy}"
    return out.getvalue()

import abe_jax
from abe_jax.cli import command, index, main
told(main.main, ["--help"])
for name, parser in index.COMMANDS.items():
    assert "example:" in told(index.main, [name, "--help"])
mistakes = {
    "train": ["--config nowhere.py --workdir x", "--config x"],
    "evaluate": ["--workdir nowhere", "--workdir nowhere --dataset cub --path x"],
    "figures": ["--workdir nowhere", "--workdir nowhere --only cosines"],
    "index": ["build --weights x --images x --out x --storage float23", "info --index nowhere",
              "build --weights x --images x --out x --batch 0", "remove --index nowhere"],
    "search": ["--index nowhere x.jpg", "--index nowhere x.jpg --html x.png"],
    "serve": ["--index nowhere", "--index nowhere --port 99999"],
    "compare": ["--config nowhere.py --workdir x --arm a:", "--config x --workdir x --vary y"],
    "sweep": ["--config nowhere.py --workdir x", "--config x --workdir x --depth y"],
    "resolution": ["--workdir nowhere --size 9", "--workdir x --size 9 --p 1,two"],
    "prepare": ["--dataset cup", "--dataset folder"],
    "convert": ["resnet x y.npz", "caffe_googlenet x y"],
    "complexity": ["--config nowhere.py"],
}
assert set(mistakes) == set(main.VERBS)
for verb, lines in mistakes.items():
    run = main.VERBS[verb][0]
    if verb != "index":
        assert "example:" in told(run, ["--help"]), verb
    for line in [*lines, "--no-such-thing", ""]:
        told(run, line.split())
"""

# A search and a server need no training's libraries; one batch needs no prefetching.
SEARCH = """
import sys
import abe_jax.cli.search_answers
import abe_jax.serving.server
from abe_jax.data import loader
assert list(loader.prefetched(lambda number: number, 3, 4, 2)) == [3]
heavy = {"orbax", "grain", "tensorflow_datasets", "matplotlib", "scipy", "tensorboardX", "optax"}
heavy |= {"ml_collections"}
came = sorted(heavy & {name.partition(".")[0] for name in sys.modules})
assert not came, came
"""

# That a training is finished is said without what trains, or decodes images.
FINISHED = """
import dataclasses, json, sys
from pathlib import Path
from abe_jax.cli import train
from abe_jax.config import load, write_json

config, folder = load("tests/tiny_config.py"), Path(sys.argv[1])
data = dataclasses.replace(config.data, classes=24, validation_classes=4)
for place in ("latest", "best"):
    (folder / "checkpoints" / place / str(config.train.steps)).mkdir(parents=True)
write_json(dataclasses.replace(config, data=data), folder / "config.json")
row = {"recall@1": 0.5, "r_precision": 0.4, "map@r": 0.3}
metrics = {"ensemble": row, "ensemble_mean_distance": row, "learners": [row, row]}
metrics |= {"learners_mean": row, "learners_std": row, "pixels": row}
measured = {"step": 16, "images": 9, "classes": 3, "queries": 9, "metrics": metrics}
(folder / "evaluation.json").write_text(json.dumps({"test": measured}))
(folder / "report.html").touch()
train.main(["--config", "tests/tiny_config.py", "--workdir", str(folder)])
heavy = {"flax", "optax", "orbax", "grain", "cv2", "PIL", "scipy", "matplotlib", "tensorboardX"}
came = sorted(heavy & {name.partition(".")[0] for name in sys.modules})
assert not came, came
"""


@pytest.mark.parametrize(
    ("program", "says"),
    [(FIRST_WORD, ""), (SEARCH, ""), (FINISHED, "finished before, all 16 steps; look at ")],
    ids=["first word", "search", "finished training"],
)
def test_what_is_not_used_is_not_imported(program: str, says: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


LAZY = (
    *(
        "",
        "comparison",
        "data",
        "data.sources",
        "evaluation",
        "hosts",
        "index",
        "pretrained",
        "report",
    ),
    "training",
)


def type_checked(path: Path) -> dict[str, str]:
    """The names that a package imports behind `if TYPE_CHECKING`, for `lazy_imports.lazy`."""
    (block,) = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If))
    homes = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            module, name = node.module or "", alias.asname or alias.name
            if isinstance(getattr(importlib.import_module(module), alias.name), ModuleType):
                homes[name] = f"{module}.{alias.name}:"
            else:
                homes[name] = module if name == alias.name else f"{module}:{alias.name}"
    return homes


@pytest.mark.parametrize("room", LAZY)
def test_a_lazy_package_says_its_names_alike(room: str) -> None:
    package = importlib.import_module(f"abe_jax.{room}".rstrip("."))
    path = Path(str(package.__file__))
    named = type_checked(path)
    (table,) = (
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Dict)
    )
    assert ast.literal_eval(table) == named
    assert sorted(package.__all__) == sorted(named)
    for name, home in named.items():
        found, (module, colon, own) = getattr(package, name), home.partition(":")
        imported = importlib.import_module(module)
        assert found is (imported if colon and not own else getattr(imported, own or name))
    assert set(named) <= set(dir(package))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018
    # A module of the package would take the name's place as soon as anything imports it.
    modules = {f.stem for f in path.parent.iterdir() if f.suffix == ".py" or f.is_dir()}
    assert not [
        n for n, home in named.items() if n in modules and home != f"{package.__name__}.{n}:"
    ]


def test_offered_names_are_those_of_the_tables() -> None:
    assert choices.FIGURES == figures.NAMES
    assert tuple(SOURCES) == choices.SOURCES
    assert tuple(DATASETS) == choices.DATASETS
    assert choices.TFDS == PREFIX
