"""The exceptions for what a user can put right, and how a name nearly right is answered."""

import difflib
import unicodedata
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
    close = closest(str(name), known)
    return f"choose from {', '.join(known)}" if close is None else f"did you mean '{close}'?"


def closest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like a name, whatever its case or Unicode form; None where none is."""
    # Of several that are folded alike the first stands.
    known = {folded(choice): choice for choice in sorted(choices, reverse=True)}
    close = difflib.get_close_matches(folded(name), known, n=1, cutoff=0.5)
    return known[close[0]] if close else None


def folded(name: str) -> str:
    """A name without what is easily written otherwise: case, Unicode form, spaces at the ends."""
    composed = unicodedata.normalize("NFC", name.strip())
    return unicodedata.normalize("NFC", composed.casefold())


def require(argument: str, name: object, choices: Iterable[str]) -> None:
    """Raises ArgumentError unless `name` is among `choices`; the line names the nearest of them."""
    known = tuple(choices)
    if name not in known:
        raise ArgumentError(argument, f"nothing is called {name!r}; {nearest(name, known)}")
