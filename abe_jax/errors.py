"""The exceptions for what a user can put right."""


class UserError(Exception):
    """A mistake in what the user asked for: one line that names the nearest right choice.

    Entry points print it and exit with status 2; it never carries a traceback to the terminal.
    """


class Diverged(UserError):  # noqa: N818 (an outcome that a comparison counts)
    """A training whose loss or parameters are no longer finite."""
