"""How an unreadable file of weights is reported: in one line that any terminal can show."""

import contextlib
from collections.abc import Iterator

from abe_jax.errors import UserError

_LONGEST = 300  # characters of a reason


@contextlib.contextmanager
def told(name: str, kind: str) -> Iterator[None]:
    """Turns whatever is raised while a file is read into a UserError of one line.

    Args:
        name: what to call the file.
        kind: what it should have been.
    """
    try:
        yield
    except UserError as error:
        raise UserError(f"{name}: {one_line(str(error))}") from None
    except MemoryError:
        raise UserError(f"{name}: no {kind}, or one that asks for too much memory") from None
    except Exception as error:  # damage can make a reader fail in every way
        reason = one_line(str(error)) or type(error).__name__
        raise UserError(f"{name}: no {kind}, or a damaged one ({reason})") from None


def one_line(text: str) -> str:
    """The text in one line, cut where it is long, with what cannot be printed as escapes."""
    line = " ".join(text[: 2 * _LONGEST].split())
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
