"""A package's names, each imported when it is first used."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose names are imported on first use (PEP 562).

    JAX and what stands on it take a second to import, so `import abe_jax`, which every command
    begins with, must not. A package names its modules twice: in `homes`, and behind
    `if TYPE_CHECKING` for type checkers and editors; tests/test_imports.py holds them equal. No
    name may be a module's of the same package, which Python would put in its place.

    Args:
        package: its `__name__`.
        homes: of each name, `module` or, where it is called otherwise there, `module:name`; a
            module that stands for itself is `module:`.
    """

    def getattr_(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, colon, own = homes[name].partition(":")
        found = importlib.import_module(module)
        value = found if colon and not own else getattr(found, own or name)
        vars(importlib.import_module(package))[name] = value  # not asked again
        return value

    return getattr_, lambda: sorted({*vars(importlib.import_module(package)), *homes})
