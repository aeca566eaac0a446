"""What every entry point's command line shares: arguments, one-line errors, the JAX setup."""

import argparse
import contextlib
import io
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from abe_jax import files, ways
from abe_jax.cli import ending, quiet
from abe_jax.errors import ArgumentError, UserError, nearest

# A mistake and --help are told before JAX and what stands on it, seconds of them, are imported:
# commands import the rooms that do their work in the functions that do it.
if TYPE_CHECKING:
    from abe_jax.config import Config

SCRIPT = "abe-jax"  # the console script, under which every command is a verb


class _Help(argparse.RawDescriptionHelpFormatter):
    """Fills a description's paragraphs to the terminal's width; an example's lines stay."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = textwrap.dedent(text).strip().split("\n\n")
        return "\n\n".join(
            textwrap.indent(part, indent)
            if any(line.startswith(" ") for line in part.splitlines())
            else textwrap.fill(part, width, initial_indent=indent, subsequent_indent=indent)
            for part in paragraphs
        )


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are UserErrors, with `--config.NAME=VALUE` set aside."""

    def __init__(self, verb: str, description: str | None, *, example: str):
        """The parser of a command.

        Args:
            verb: the command, such as `train` or `index build`.
            description: what it does, in paragraphs.
            example: the arguments of one call, or of several, a line each.
        """
        program = SCRIPT if sys.argv[0] == SCRIPT else "python -m"
        self.command = f"{program} {verb}" if program == SCRIPT else f"{program} abe_jax.{verb}"
        calls = "\n".join(f"  {self.command} {line}" for line in example.splitlines())
        super().__init__(
            prog=self.command,
            description=description,
            epilog=f"example:\n{calls}",
            allow_abbrev=False,
            formatter_class=_Help,
        )

    def error(self, message: str) -> NoReturn:
        """Raises what the user did wrong, without the usage text."""
        raise UserError(f"{message} (see --help)")

    def parse(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """The arguments, and the overrides without their `--config.`."""
        arguments, rest = self.parse_known_args(argv)
        overrides = []
        words = iter(rest)
        for word in words:
            if not word.startswith("--config."):
                options = [o for a in self._actions for o in a.option_strings]
                raise UserError(f"{word}: no such argument; {nearest(word, options)}")
            if "=" not in word:
                word = f"{word}={next(words, '')}"
            overrides.append(word.removeprefix("--config."))
        return arguments, overrides


def with_config(verb: str, description: str | None, *, example: str) -> Parser:
    """A parser that takes --config and overrides."""
    parser = Parser(verb, description, example=example)
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="a config file, or FILE.py:ROW where it has several; --config.NAME=VALUE overrides "
        "any value",
    )
    return parser


def configuration(path: str, overrides: Sequence[str]) -> "Config":
    """The configuration that a command line names."""
    files.require(files.row_of(path)[0], "config file")
    from abe_jax.config import load

    return load(path, overrides)


def size(text: str) -> int | tuple[int, int]:
    """The value of --size: one number of px, or height and width with an x or a comma between."""
    words = text.replace("x", ",").split(",")
    if len(words) > 2 or not all(word.strip().isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not PX or HEIGHTxWIDTH, such as 256x128")
    height, width = int(words[0]), int(words[-1])
    return height if height == width else (height, width)


@contextlib.contextmanager
def options_named(**options: str) -> Iterator[None]:
    """Re-raises an ArgumentError under the option of the command line.

    `options` are those options, by argument, that are called otherwise than their argument.

    Raises:
        UserError: in the place of an ArgumentError inside.
    """
    try:
        yield
    except ArgumentError as error:
        option = options.get(error.argument, f"--{error.argument.replace('_', '-')}")
        raise UserError(f"{option} {error.text}") from None


def run(main: Callable[[Sequence[str]], None]) -> NoReturn:
    """Runs an entry point; a user's mistake becomes one line and exit status 2.

    Where nobody reads on (`... | head -3`) it ends without a word.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be no valid text
        sys.stdout.reconfigure(errors="backslashreplace")
    _set_up_jax()
    quiet.libraries()
    _show_progress()
    try:
        ways.by_environment()  # a mistake in it, before anything is computed
        status = _status(main)
        ending.flush()
    except UserError as error:
        ending.refuse(str(error))
    except BrokenPipeError:
        ending.leave_quietly()
    except OSError as error:  # a full disk, a folder that is a file, rights: no bug
        if ending.is_loss(error):  # Orbax's TimeoutError is one as well
            ending.failed(error)
        where = f"{error.filename}: " if error.filename else ""
        ending.refuse(f"{where}{error.strerror or error}")
    except KeyboardInterrupt:
        ending.interrupted()
    except Exception as error:
        ending.failed(error)
        raise
    ending.over()
    sys.exit(status)


def _status(main: Callable[[Sequence[str]], None]) -> str | int | None:
    """The status that an entry point ends with; --help ends it from within."""
    try:
        main(sys.argv[1:])
    except SystemExit as asked:
        return asked.code
    return 0


def _show_progress() -> None:
    """What the package logs is for who waits; standard output is what was asked for."""
    logger = logging.getLogger("abe_jax")
    logger.setLevel(logging.INFO)
    logger.propagate = False  # Orbax gives the root a handler
    logger.addHandler(logging.StreamHandler(sys.stderr))


def _set_up_jax() -> None:
    """Keeps compiled programs between runs: on CPU a second start compiles ten times faster.

    JAX reads these when it is imported.
    """
    with contextlib.suppress(UserError):  # of a user without a home folder nothing is kept
        cache = files.expanded("~/.cache/abe_jax/compiled")
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"


def say(line: str) -> None:
    """Prints a line at once, on the first host alone."""
    from abe_jax import hosts

    if hosts.is_first():
        print(line, flush=True)


def is_given(arguments: argparse.Namespace, name: str) -> bool:
    """Whether an argument whose default is None, or of a flag False, is on the command line."""
    value = getattr(arguments, name)
    return value is not None and value is not False


def add_longest(group: "argparse._MutuallyExclusiveGroup") -> None:
    """The argument for images seen whole, in the place of --size."""
    group.add_argument(
        "--longest", type=int, metavar="PX", help="images whole, uncropped: their longest side"
    )
