"""Combinations of options such that every two values of two options meet (not a test)."""

import itertools
from collections.abc import Callable, Mapping, Sequence

Row = dict[str, str]


def rows(factors: Mapping[str, Sequence[str]], allowed: Callable[[Row], bool]) -> list[Row]:
    """Few rows of one value for each factor in which every pair that is allowed occurs.

    Greedy: a row is begun with a pair that no row has yet, and each further factor takes the value
    that meets most such pairs. `allowed` judges rows, also of some factors only.
    """
    names = list(factors)
    missing = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(names, 2)
        for x in factors[a]
        for y in factors[b]
        if allowed({a: x, b: y})
    }
    found = []
    while missing:
        row: Row = dict(min(missing))
        for name in names:
            if name not in row:
                choices = [value for value in factors[name] if allowed({**row, name: value})]
                row[name] = max(choices, key=lambda v, n=name: _met({**row, n: v}, names, missing))
        missing -= pairs(row, names)
        found.append(row)
    return found


def _met(row: Row, names: Sequence[str], missing: set) -> int:
    return len(pairs(row, names) & missing)


def pairs(row: Row, names: Sequence[str]) -> set:
    present = [(name, row[name]) for name in names if name in row]
    return set(itertools.combinations(present, 2))
