"""Pickles read as data: nothing that a pickle names is imported, called or changed.

`pickletools` decodes the opcodes and a small stack machine builds what they describe out of plain
lists, tuples and dictionaries. An object of any class becomes a `Foreign`, which only keeps what it
was made of. The few names that a caller knows stand for functions of the caller's own.
"""

import dataclasses
import io
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from abe_jax.errors import UserError

MOST_STEPS = 2**20  # opcodes and what they are given; a network's are ten to fifty thousand
_LARGEST_KEY = 2**60  # integers from 2^61 - 1 on can be chosen to collide in a dictionary

Makers = Mapping[tuple[str, str], Callable[..., Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Name:
    """What a pickle names: a class or a function of some module, neither of them imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclasses.dataclass(slots=True, eq=False, repr=False)
class Foreign:
    """An object that a pickle would have made by calling something; nothing was called.

    As text it says nothing of what is inside: a short pickle can double that very often.
    """

    made_by: Any  # mostly a Name
    arguments: Any
    state: Any = None

    def __repr__(self) -> str:
        return str(self.made_by) if isinstance(self.made_by, Name) else "an object"


@dataclasses.dataclass(frozen=True, slots=True, eq=False, repr=False)
class OtherKey:
    """A key that is neither text nor a number: to hash one, or to write it, could take for ever."""

    value: Any

    def __repr__(self) -> str:
        return f"a key of type {type(self.value).__name__}"


def load(
    file: io.BytesIO,
    makers: Makers | None = None,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """What the pickle that begins at the file's position describes; the file is left behind it.

    Args:
        file: of bytes.
        makers: by module and name, what to call where the pickle calls that.
        persistent: from the identity of an object outside of the pickle to that object.

    Raises:
        UserError: it has more than MOST_STEPS.
        ValueError: it is damaged.
        Exception: whatever a maker raises, or a damaged pickle makes Python raise.
    """
    machine = _Machine(makers or {}, persistent)
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "STOP":
            return machine.stack.pop()
        machine.do(opcode.name, argument)
    raise ValueError("a pickle without an end")


def put(mapping: dict[Any, Any], key: Any, value: Any) -> None:
    """Sets an item; a key that is no text and no small integer becomes an `OtherKey`."""
    plain = isinstance(key, str) or (isinstance(key, int) and abs(key) < _LARGEST_KEY)
    mapping[key if plain else OtherKey(key)] = value


class _Machine:
    """The stack, the marks in it and the memo of a pickle that is read."""

    def __init__(self, makers: Makers, persistent: Callable[[Any], Any] | None):
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._makers, self._persistent = makers, persistent
        self._steps = 0

    def do(self, opcode: str, argument: Any) -> None:
        """Carries out one opcode."""
        self._spend(1)
        stack = self.stack
        if opcode in _VALUES:
            stack.append(argument)
        elif opcode in _CONSTANTS:
            stack.append(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            stack.append(_EMPTY[opcode]())
        elif opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = stack[-1]
        elif opcode == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memo[argument])
        elif opcode == "MARK":
            self._marks.append(len(stack))
        elif opcode in _FROM_MARK:
            _FROM_MARK[opcode](self, self._since_mark())
        elif opcode in _TUPLES:
            stack.append(tuple(self._popped(_TUPLES[opcode])))
        elif opcode in _OBJECTS:
            _OBJECTS[opcode](self, argument)
        elif opcode not in _NOTHING:
            raise ValueError(f"a pickle with the opcode {opcode}")

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise UserError(f"its pickle has more than {MOST_STEPS:,} steps; save a state_dict")

    def _popped(self, count: int) -> list[Any]:
        if not 0 <= count <= len(self.stack):
            raise ValueError("a pickle that takes more from its stack than is there")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def _since_mark(self) -> list[Any]:
        return self._popped(len(self.stack) - self._marks.pop())

    def pop(self) -> None:
        """Drops the mark, or else the value, that came last."""
        if self._marks and self._marks[-1] == len(self.stack):
            self._marks.pop()
        else:
            self.stack.pop()

    def add(self, items: list[Any]) -> None:
        """Adds to the list on top; what another object is given is left out."""
        if type(self.stack[-1]) is list:
            self.stack[-1].extend(items)

    def set(self, items: list[Any]) -> None:
        """Sets keys and values in the dictionary on top, likewise."""
        if len(items) % 2:
            raise ValueError("a pickle with a key without a value")
        if isinstance(self.stack[-1], dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                put(self.stack[-1], key, value)

    def call(self, function: Any, arguments: Any) -> None:
        """Puts on the stack what a call would make: a maker's object, or a Foreign."""
        known = (function.module, function.name) if isinstance(function, Name) else ("", "")
        if known not in self._makers or not isinstance(arguments, tuple):
            self.stack.append(Foreign(function, arguments))
            return
        self._spend(sum(_length(value) for value in arguments))
        self.stack.append(self._makers[known](*arguments))

    def build(self, _: Any) -> None:
        """Keeps the state that a Foreign is given; what others are given is left out."""
        made, state = self._popped(2)
        if isinstance(made, Foreign):
            made.state = state
        self.stack.append(made)

    def refer(self, identity: Any) -> None:
        """Puts an object from outside of the pickle on the stack."""
        if self._persistent is None:
            raise ValueError("a pickle with an object from outside of it")
        self._spend(_length(identity))
        self.stack.append(self._persistent(identity))

    def push(self, value: Any) -> None:
        """Puts a value on the stack."""
        self.stack.append(value)

    def keep(self, function: Any, arguments: Any) -> None:
        """Puts an object on the stack that nothing made."""
        self.stack.append(Foreign(function, arguments))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple | dict) else 1


def _named(argument: str) -> Name:
    module, _, name = argument.partition(" ")
    return Name(module, name)


def _stacked(module: Any, name: Any) -> Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise ValueError("a pickle with a name that is no text")
    return Name(module, name)


def _dictionary(machine: _Machine, items: list[Any]) -> None:
    machine.push({})
    machine.set(items)


_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BYTEARRAY8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = {"PROTO", "FRAME", "READONLY_BUFFER"}
_FROM_MARK: dict[str, Callable[[_Machine, list[Any]], None]] = {
    "TUPLE": lambda machine, items: machine.push(tuple(items)),
    "LIST": lambda machine, items: machine.push(items),
    "FROZENSET": lambda machine, items: machine.push(items),  # a set would hash its items
    "DICT": _dictionary,
    "APPENDS": _Machine.add,
    "ADDITEMS": _Machine.add,
    "SETITEMS": _Machine.set,
    "POP_MARK": lambda machine, items: None,
    "OBJ": lambda machine, items: machine.keep(items[0], tuple(items[1:])),
}
_OBJECTS: dict[str, Callable[[_Machine, Any], None]] = {
    "APPEND": lambda machine, _: machine.add(machine._popped(1)),
    "SETITEM": lambda machine, _: machine.set(machine._popped(2)),
    "POP": lambda machine, _: machine.pop(),
    "DUP": lambda machine, _: machine.push(machine.stack[-1]),
    "GLOBAL": lambda machine, argument: machine.push(_named(argument)),
    "STACK_GLOBAL": lambda machine, _: machine.push(_stacked(*machine._popped(2))),
    "INST": lambda machine, argument: machine.keep(_named(argument), tuple(machine._since_mark())),
    "REDUCE": lambda machine, _: machine.call(*machine._popped(2)),
    "NEWOBJ": lambda machine, _: machine.keep(*machine._popped(2)),
    "NEWOBJ_EX": lambda machine, _: machine.keep(*machine._popped(3)[:2]),
    "BUILD": lambda machine, _: machine.build(None),
    "PERSID": lambda machine, argument: machine.refer(argument),
    "BINPERSID": lambda machine, _: machine.refer(machine._popped(1)[0]),
}
