"""Where a network lies in a checkpoint: in the dictionary it is saved in, and under which prefix.

A training's checkpoint holds more than the network (an optimizer, arguments, an average of the
weights), and a network that was wrapped, compiled or a part of another has a prefix to its names.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from abe_jax.errors import UserError
from abe_jax.pretrained.pickled import Foreign

_USUAL = ("state_dict", "model", "model_state_dict")  # where checkpoints keep a network
# The word in the name of an average of weights; it is a part of other words, as "semantic".
_AVERAGE = re.compile(r"(?:(?<![A-Za-z])ema|(?<![A-Z])(?:Ema|EMA))(?![a-z])")
_DEEPEST = 4  # dictionaries in one another
_LONGEST = 200  # characters of a name; longer ones have no prefix that could be meant

T = TypeVar("T")


def network(content: Any, is_tensor: Callable[[Any], bool]) -> tuple[dict[str, Any], str]:
    """The tensors of the network in what a checkpoint holds, and a line on what else it holds.

    It is `content` itself, or what lies under one of the usual names, or else the one dictionary
    of tensors in it. An average of the weights (`ema`) is taken where there is nothing else.

    Raises:
        UserError: there is no network, or several and none under a usual name.
    """
    said = ""
    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            raise UserError(f"holds a {_kind(content)}, not a state_dict; save that alone")
        found = _networks(content, is_tensor)
        key = _chosen(content, found)
        if key is None:
            return _tensors(content, is_tensor), said
        others = [repr(name) for name in found if name != key]
        if others:
            said = f"the network under {key!r} is taken, what lies under {_several(others)} is not"
        content = content[key]
    raise UserError("holds dictionaries in dictionaries, but no state_dict")


def unprefixed(arrays: Mapping[str, T], needed: Collection[str]) -> tuple[dict[str, T], str]:
    """The arrays of the part of a network that has the needed names, and a line that says so.

    That part is where most of them are found under one prefix that ends with a dot; what lies
    elsewhere is left out. Arrays that have no prefix, or fewer than half of the names, stay.

    Raises:
        UserError: as many are found under each of several prefixes.
    """
    counts = Counter(prefix for name in arrays for prefix in _prefixes(name, needed))
    most = max(counts.values(), default=0)
    best = [prefix for prefix, count in counts.items() if count == most]
    best = [prefix for prefix in best if not _AVERAGE.search(prefix)] or best
    if most < len(needed) / 2 or "" in best:
        return dict(arrays), ""
    if len(best) > 1:
        raise UserError(f"holds a network under each of {_several(best)}; save one of them alone")
    prefix = best[0]
    kept = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    others = [name for name in arrays if not name.startswith(prefix)]
    left = f", and without {len(others)} others: {_several(others)}" if others else ""
    return kept, f"the names under {prefix!r} are taken, without that prefix{left}"


def _prefixes(name: str, needed: Collection[str]) -> list[str]:
    """What stands before a needed name, wherever `name` ends in one; itself gives an empty one."""
    if len(name) > _LONGEST:
        return []
    starts = [0, *(at + 1 for at, letter in enumerate(name) if letter == ".")]
    return [name[:at] for at in starts if name[at:] in needed]


def _networks(content: Mapping[Any, Any], is_tensor: Callable[[Any], bool]) -> list[str]:
    """The names under which dictionaries of nothing but tensors lie."""
    proved: dict[int, bool] = {}  # a pickle can name one dictionary very often
    for value in content.values():
        if id(value) not in proved:
            filled = isinstance(value, Mapping) and bool(value)
            proved[id(value)] = filled and all(map(is_tensor, value.values()))
    return [key for key, value in content.items() if isinstance(key, str) and proved[id(value)]]


def _chosen(content: Mapping[Any, Any], found: list[str]) -> str | None:
    """The name to look under, of those that were found; None: the tensors lie here, if anywhere."""
    plain = [name for name in found if not _AVERAGE.search(name)]
    for name in _USUAL:
        if name in plain:
            return name
    nested = [name for name in _USUAL if isinstance(content.get(name), Mapping)]
    several = plain or ([] if nested else found)
    if len(several) > 1:
        raise UserError(f"holds several networks ({_several(several)}); save one of them alone")
    return next(iter(several or nested), None)


def _tensors(content: Mapping[Any, Any], is_tensor: Callable[[Any], bool]) -> dict[str, Any]:
    others = [str(key) for key, value in content.items() if not is_tensor(value)]
    if others or not content:
        what = f"{_several(others)} are no tensors" if others else "it is empty"
        raise UserError(f"no state_dict of a network ({what})")
    return {str(key): value for key, value in content.items()}


def _kind(content: Any) -> str:
    return str(content) if isinstance(content, Foreign) else type(content).__name__


def _several(names: list[str], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
