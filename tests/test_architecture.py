"""The arrows between the rooms point one way, and files and functions stay small."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "abe_jax"

# A file imports from its own room and from the rooms before it.
ORDER = (
    "lazy_imports",
    "errors",
    "bounds",
    "choices",
    "files",
    "hosts",
    "ways",
    "data",
    "models",
    "pretrained",
    "losses",
    "training",
    "evaluation",
    "index",
    "report",
    "runs",
    "serving",
    "config",
    "comparison",
    "cli",
)
FILE_LINES, FUNCTION_LINES = 250, 40

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
DOOR = Path("__init__.py")  # the library's names: it imports from every room
# `python -m abe_jax.VERB`: a few lines that run a command of cli/.
SHIMS = {path for path in FILES if 'if __name__ == "__main__"' in (PACKAGE / path).read_text()}


def room(name: str) -> str:
    """The room of a file or of a module, both below the package."""
    return name.split("/")[0].split(".")[0]


def imported(tree: ast.AST, inside: Path) -> Iterator[str]:
    """The modules of this package that a file imports, below the package, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{inside}: imports are written from the package's name on"
            module = node.module or ""
            named = [f"{module}.{a.name}" for a in node.names] if module == "abe_jax" else [module]
        else:
            continue
        yield from (n.removeprefix("abe_jax.") for n in named if n.startswith("abe_jax."))


def backwards(path: Path, text: str) -> list[str]:
    """The imports of a file that the order forbids."""
    here = room(path.as_posix().removesuffix(".py"))
    reach = len(ORDER) if path in SHIMS else ORDER.index(here)
    wrong = []
    for module in imported(ast.parse(text), path):
        there = room(module)
        if there != here and (there not in ORDER or ORDER.index(there) > reach):
            wrong.append(f"{path} imports {module}")
    return wrong


def test_every_file_has_its_room() -> None:
    assert {room(path.as_posix().removesuffix(".py")) for path in {*FILES} - SHIMS - {DOOR}} == {
        *ORDER
    }
    for path in SHIMS:
        assert len((PACKAGE / path).read_text().splitlines()) <= 6, path
        assert path.name == "__main__.py" or path.parent == Path()


@pytest.mark.parametrize("path", [path for path in FILES if path != DOOR], ids=str)
def test_no_arrow_points_backwards(path: Path) -> None:
    assert backwards(path, (PACKAGE / path).read_text()) == []


def test_an_arrow_backwards_is_seen() -> None:
    for text in (
        "from abe_jax.training import step",
        "import abe_jax.training.step",
        "from abe_jax.training.step import train_step",
        "def late():\n    from abe_jax.report.page import write",
        "from abe_jax.cli.train import run",
        "from abe_jax.train import main",
    ):
        assert len(backwards(Path("losses/new.py"), text)) == 1, text
    assert backwards(Path("losses/new.py"), "from abe_jax.models import build\nimport jax") == []


# Folders that the tree of ARCHITECTURE.md names as a whole: they have a file for each of a kind.
A_FILE_FOR_EACH = {
    Path("data/sources/benchmarks"),
    Path("data/sources/glyphs"),
    Path("losses"),
    Path("models/backbones"),
    Path("report/figures"),
}


def test_the_tree_names_every_file() -> None:
    text = (PACKAGE.parent / "ARCHITECTURE.md").read_text()
    tree = text[text.index("    abe_jax/\n") : text.index("## Decisions")]
    named = set(re.findall(r"\w+\.(?:py|html|css)", tree))
    there = {path.name for path in PACKAGE.rglob("*") if path.suffix in (".py", ".html", ".css")}
    assert named <= there, named - there
    assert {
        path
        for path in {*FILES} - SHIMS
        if path.parent not in A_FILE_FOR_EACH and path.name != "__init__.py"
        if path.name not in named
    } == set()


def test_config_is_known_where_a_command_line_is_read_alone() -> None:
    for path in FILES:
        if path.parts[0] in ("config", "cli") or path == DOOR:
            continue
        modules = imported(ast.parse((PACKAGE / path).read_text()), path)
        assert not [module for module in modules if room(module) == "config"], path


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def test_files_and_functions_stay_small() -> None:
    for path in FILES:
        text = (PACKAGE / path).read_text()
        assert len(text.splitlines()) <= FILE_LINES, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert body_lines(node) <= FUNCTION_LINES, f"{path}: {node.name}"


ARGUMENTS = 6


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The arguments that a caller has to think of: an option with a default by name is none."""
    given = function.args
    named = [
        option
        for option, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
        if default is None
    ]
    own = [*given.posonlyargs, *given.args, *named]
    return len([argument for argument in own if argument.arg not in ("self", "cls")])


def test_argument_lists_stay_short() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert arguments(node) <= ARGUMENTS, f"{path}: {node.name}"


def test_no_class_name_stands_twice() -> None:
    where: dict[str, Path] = {}
    for path in FILES:
        for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert where.setdefault(node.name, path) == path, node.name


# Names that say nothing to somebody of the field: none may come back.
GONE = {
    "conclude", "watch", "wanted", "synced", "_taken", "apart", "Place", "At", "Eye", "everywhere",
    "filling", "places", "elsewhere", "published", "held", "floor", "objects", "survey",
    "originals", "three_grains", "whole", "episode", "Found",
}  # fmt: skip


def test_names_are_the_fields() -> None:
    project = PACKAGE.parent
    for room in ("abe_jax", "benchmarks", "configs", "tests"):
        for path in sorted((project / room).rglob("*.py")):
            assert path.stem not in GONE, path
            for node in ast.walk(ast.parse(path.read_text())):
                name = ""
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    name = node.name
                elif isinstance(node, ast.Name | ast.arg):
                    name = node.id if isinstance(node, ast.Name) else node.arg
                assert name not in GONE, f"{path}: {name}"


def test_only_step_knows_pmap() -> None:
    for path in FILES:
        if path != Path("training/step.py"):
            names = [n for n in ast.walk(ast.parse((PACKAGE / path).read_text()))]
            assert not any(isinstance(n, ast.Attribute) and n.attr == "pmap" for n in names), path
