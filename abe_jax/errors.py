"""The exceptions for what a user can put right, and how a name nearly right is answered."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user asked for: one line that names the nearest right choice.

    The commands print it and exit with status 2; it never carries a traceback to the terminal.
    """


class ArgumentError(UserError, ValueError):
    """An invalid argument: its own name, and one sentence that says what is wrong with it.

    Where the argument comes from a config or a command line, `config/build.py` and
    `cli/command.py` re-raise it under the name that the user wrote.
    """

    def __init__(self, argument: str, text: str):
        super().__init__(f"{argument}: {text}")
        self.argument, self.text = argument, text


class Diverged(UserError):  # noqa: N818 (an outcome that a comparison counts)
    """A training whose loss or parameters are no longer finite."""


def nearest(name: object, choices: Iterable[str]) -> str:
    """The ending of an error line: the choice most like `name`, or all of them."""
    known = sorted(choices)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(known)}"


def require(argument: str, name: object, choices: Iterable[str]) -> None:
    """Raises ArgumentError unless `name` is among `choices`; the line names the nearest of them."""
    known = tuple(choices)
    if name not in known:
        raise ArgumentError(argument, f"nothing is called {name!r}; {nearest(name, known)}")
