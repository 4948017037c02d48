"""Read a pickle as data: no class of the file is imported, no function of it is called.

A pickle is a small program. Python's own loader runs it with the real classes, which is how a checkpoint
can execute code. Here the same program runs on a machine whose every class is an inert record, so that a
whole pickled network, even of a class that no longer exists, gives up its weights and does nothing else.

Reference: the opcode table of the standard library's `pickletools`, which also parses the arguments.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

from fairprune_cli.core import limits
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.checkpoint.inert import (
    LIMIT,
    Copies,
    Global,
    Inert,
    PickleError,
    StorageRef,
    hashable,
    make,
)

_MARK = object()
_LONGEST_NUMBER = 1024


def read_pickle(stream: BinaryIO, storages: dict[str, str] | None = None, most: int | None = None) -> Any:
    """Read one pickle from `stream`, which stands behind its last byte afterwards.

    Args:
        stream: the pickle's bytes.
        storages: where given, filled with key -> type name of every storage the pickle refers to.
        most: instructions that such a pickle has; as the limit says where None.

    Returns:
        Plain Python values, `Inert` for objects of any class, `Global` for classes, `TensorRef` for tensors.

    Raises:
        PickleError: damaged, or with an opcode that no checkpoint uses.
        FairpruneError: more instructions than the limit.
    """
    try:
        return _Machine({} if storages is None else storages).run(stream, most)
    except (PickleError, FairpruneError):
        raise
    # pickletools answers damaged bytes with ValueError, UnicodeError, struct.error, OverflowError and others.
    except Exception as error:
        raise PickleError(f"the pickle in it is damaged ({type(error).__name__})") from error


class _Machine:
    """The stack, the memo, and one method per group of opcodes."""

    def __init__(self, storages: dict[str, str]) -> None:
        self.storages = storages
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.copies = Copies()

    def run(self, stream: BinaryIO, few: int | None) -> Any:
        most = limits.limit(LIMIT) if few is None else few
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count > most:
                if few is not None:
                    raise PickleError(f"a pickle in it has more than {few} instructions, where {few} are too many")
                limits.refuse_above(count, LIMIT, what="the pickle in it, as far as it was read,")
            name = opcode.name
            if name in _VALUES:
                self.stack.append(argument)
                if isinstance(argument, str):
                    self.copies.letters += len(argument)
                elif isinstance(argument, int) and argument.bit_length() > _LONGEST_NUMBER:
                    # No message could say it: Python writes no number of thousands of digits.
                    raise PickleError(f"the pickle in it has a number of more than {_LONGEST_NUMBER} bits")
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            elif name not in _IGNORED:
                raise PickleError(f"the pickle in it uses {name}, which no checkpoint needs")
            if name == "STOP":
                return self.pop()
        raise PickleError("the pickle in it ends too early")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError("the pickle in it has a mark where a value belongs")
        return value

    def pop_to_mark(self) -> list[Any]:
        stack = self.stack
        place = len(stack) - 1
        while stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise PickleError("the pickle in it lacks a mark")
        values = stack[place + 1 :]
        del stack[place:]
        return values

    def top(self) -> Any:
        return self.stack[-1]

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def push_dict(self) -> None:
        values = self.pop_to_mark()
        self.push({})
        self.set_items(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        table = target.items if isinstance(target, Inert) else target
        if not isinstance(table, dict) or len(values) % 2:
            raise PickleError("the pickle in it sets items of something that holds none")
        for key, value in zip(values[::2], values[1::2], strict=True):
            table[hashable(key, self.copies)] = value

    def extend(self, values: list[Any]) -> None:
        target = self.top()
        elements = target.elements if isinstance(target, Inert) else target
        if isinstance(elements, set):
            elements.update(hashable(value, self.copies) for value in values)
        elif isinstance(elements, list):
            elements.extend(values)
        else:
            raise PickleError("the pickle in it appends to something that is no list")

    def build(self) -> None:
        state = self.pop()
        if isinstance(self.top(), Inert):
            self.top().state = state

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.push(make(function, arguments, self.copies))

    def new_object_ex(self) -> None:
        keywords, arguments, kind = self.pop(), self.pop(), self.pop()
        made = make(kind, arguments, self.copies)
        if isinstance(made, Inert):
            made.state = keywords
        self.push(made)

    def old_object(self) -> None:
        values = self.pop_to_mark()
        self.push(make(values[0], tuple(values[1:]), self.copies))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise PickleError("the pickle in it names a class by something that is no text")
        self.push(Global(module, name))

    def persistent(self) -> None:
        """torch's ids: ("storage", type, key, location, count, ...) and, long ago, ("module", class, ...)."""
        identity = self.pop()
        if isinstance(identity, tuple) and len(identity) >= 5 and identity[0] == "storage":
            kind, key = identity[1], identity[2]
            if len(identity) > 5 and identity[5] is not None:
                raise PickleError("it holds storages that are views of others, as torch 0.3 wrote them")
            if isinstance(kind, Global) and isinstance(key, str):
                self.storages[key] = kind.name
                return self.push(StorageRef(key, kind.name))
        elif isinstance(identity, tuple) and len(identity) >= 2 and identity[0] == "module":
            return self.push(identity[1])
        raise PickleError("the pickle in it refers to something outside of it that is no storage")


def _global(text: str) -> Global:
    module, _, name = text.partition(" ")
    return Global(module, name)


# fmt: off
_VALUES = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING",
    "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
))
# fmt: on
_IGNORED = frozenset(("PROTO", "FRAME", "STOP"))
_ACTIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_SET": lambda m, _: m.push(set()),
    "MARK": lambda m, _: m.push(_MARK),
    "POP": lambda m, _: m.stack.pop(),
    "POP_MARK": lambda m, _: m.pop_to_mark(),
    "DUP": lambda m, _: m.push(m.top()),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m, _: m.push(m.pop_many(1)),
    "TUPLE2": lambda m, _: m.push(m.pop_many(2)),
    "TUPLE3": lambda m, _: m.push(m.pop_many(3)),
    "LIST": lambda m, _: m.push(m.pop_to_mark()),
    "FROZENSET": lambda m, _: m.push(frozenset(hashable(value, m.copies) for value in m.pop_to_mark())),
    "DICT": lambda m, _: m.push_dict(),
    "APPEND": lambda m, _: m.extend([m.pop()]),
    "APPENDS": lambda m, _: m.extend(m.pop_to_mark()),
    "ADDITEMS": lambda m, _: m.extend(m.pop_to_mark()),
    "SETITEM": lambda m, _: m.set_items(list(m.pop_many(2))),
    "SETITEMS": lambda m, _: m.set_items(m.pop_to_mark()),
    "GET": lambda m, key: m.push(m.memo[key]),
    "BINGET": lambda m, key: m.push(m.memo[key]),
    "LONG_BINGET": lambda m, key: m.push(m.memo[key]),
    "PUT": lambda m, key: m.remember(key),
    "BINPUT": lambda m, key: m.remember(key),
    "LONG_BINPUT": lambda m, key: m.remember(key),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    "GLOBAL": lambda m, text: m.push(_global(text)),
    "STACK_GLOBAL": lambda m, _: m.stack_global(),
    "REDUCE": lambda m, _: m.reduce(),
    "BUILD": lambda m, _: m.build(),
    "INST": lambda m, text: m.push(make(_global(text), tuple(m.pop_to_mark()), m.copies)),
    "OBJ": lambda m, _: m.old_object(),
    "NEWOBJ": lambda m, _: m.reduce(),
    "NEWOBJ_EX": lambda m, _: m.new_object_ex(),
    "BINPERSID": lambda m, _: m.persistent(),
}
