"""Every command under one name, and each as `python -m abe_jax.VERB` too."""

import importlib.metadata
import importlib.util
import os
import threading
from pathlib import Path

import pytest

from abe_jax import data
from abe_jax.cli import command, ending, main
from abe_jax.config import stored
from abe_jax.data.sources import prepared
from abe_jax.errors import UserError
from abe_jax.index import ingest
from abe_jax.index.image_list import list_images
from abe_jax.pretrained import named


def test_help_lists_the_verbs_on_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    for asked in ([], ["--help"], ["-h"]):
        main.main(asked)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 24 and max(map(len, lines)) <= 80
        assert all(any(line.split()[:1] == [verb] for line in lines) for verb in main.VERBS)


def test_a_verb_gets_the_arguments_behind_it() -> None:
    with pytest.raises(UserError, match="--workdir"):
        main.main(["evaluate", "--split", "val"])


def test_a_verb_that_is_none_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^evalute: no such verb; did you mean 'evaluate'\?$"):
        main.main(["evalute"])


@pytest.mark.parametrize("verb", main.VERBS)
def test_a_verb_is_a_module_as_well(verb: str) -> None:
    spec = importlib.util.find_spec(f"abe_jax.{verb}")
    assert spec is not None
    if spec.submodule_search_locations:  # a room with a command of its own
        assert importlib.util.find_spec(f"abe_jax.{verb}.__main__") is not None


def test_the_console_script_is_installed() -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="abe-jax")
    assert script.load() is main.script


def left(status: int) -> None:
    raise SystemExit(status)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("old\nnew: no such folder", r"old\nnew: no such folder"),
        ("\x1b[2Jx.jpg: no such file", r"\x1b[2Jx.jpg: no such file"),
        ("caf\udce9.jpg: no such file", r"caf\xe9.jpg: no such file"),
        ("a\u2028b\r: no such file", r"a\u2028b\r: no such file"),
        ("café 'x': no such file", "café 'x': no such file"),
    ],
)
def test_an_error_is_one_line_whatever_a_file_is_called(
    line: str, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "_exit", left)
    monkeypatch.setattr(ending, "_speaking", threading.Lock())
    with pytest.raises(SystemExit, match="2"):
        ending.refuse(line)
    assert capsys.readouterr().err == f"error: {told}\n"


NOBODY = "~nobody_is_called_so"


@pytest.mark.parametrize(
    "read",
    [
        lambda path: list_images(Path(path)),
        lambda path: ingest.require_free(Path(path)),
        lambda path: stored.load(path),
        lambda path: named.load(path),
        lambda path: data.folder(path),
        prepared.data_root,
    ],
    ids=["images", "index", "load", "weights", "folder", "root"],
)
@pytest.mark.parametrize("path", [NOBODY, f"{NOBODY}/photos"])
def test_a_home_folder_of_nobody_is_one_line(read, path: str) -> None:
    with pytest.raises(UserError, match=f"{path}: {NOBODY} is no user's home folder here"):
        read(path)


def test_without_a_home_folder_nothing_compiled_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", unknown)
    monkeypatch.setattr(Path, "home", lambda: unknown(Path()))
    monkeypatch.setattr(os, "environ", {})
    command._set_up_jax()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
