"""Mistakes in an argument, named by the option of the command line that gives it."""

import contextlib
from collections.abc import Iterator

from abe_jax.errors import ArgumentError, UserError


@contextlib.contextmanager
def named_as_options(**options: str) -> Iterator[None]:
    """Turns an ArgumentError inside into a UserError that names the option.

    `options` are the options that are not called as their argument is, by argument.
    """
    try:
        yield
    except ArgumentError as error:
        option = options.get(error.argument, "--" + error.argument.replace("_", "-"))
        raise UserError(f"{option}: {error.text}") from None
