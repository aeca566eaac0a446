"""Every command under one name, and each as `python -m abe_jax.VERB` too."""

import importlib.metadata
import importlib.util

import pytest

from abe_jax.cli import main
from abe_jax.errors import UserError


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
