"""Shapes and types checked at run time in every test, once a call.

jaxtyping's own decorator binds a call's arguments and checks them twice, for its messages: an
eighth of the time of tests that trace networks. Here beartype checks them, and the result, within
one context of jaxtyping's, in which an axis has one length.
"""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

# An int is a float too, as in PEP 484.
checker = beartype(conf=BeartypeConf(is_pep484_tower=True))
_whole = jaxtyping.jaxtyped


def checked(fn: Any = None, *, typechecker: Any = None) -> Any:
    """`jaxtyping.jaxtyped(typechecker=checker)` of a function; of all else it is that itself."""
    if fn is None:
        return functools.partial(checked, typechecker=typechecker)
    if not isinstance(fn, types.FunctionType) or _needs_more(fn):
        return _whole(fn, typechecker=typechecker)
    once: Callable = checker(fn)
    if once is fn:  # without annotations
        return fn

    @functools.wraps(fn)
    def in_one_context(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with _whole("context"):
            return once(*args, **kwargs)

    return in_one_context


def _needs_more(fn: types.FunctionType) -> bool:
    """Of a generator, which runs behind its context; of names that a type checker alone imports."""
    quoted = any(isinstance(hint, str) for hint in fn.__annotations__.values())
    return quoted or inspect.isgeneratorfunction(fn)


def install(package: str) -> None:
    """Checks every function of a package that is imported from here on."""
    jaxtyping.jaxtyped = checked  # by this name the hook decorates functions
    jaxtyping.install_import_hook(package, "typecheck.checker")
