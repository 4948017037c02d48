"""Records that stand in for the objects of a pickle, and what a call in a pickle means as data.

Only the few functions that rebuild tensors, parameters, bytes and plain containers mean anything; every other class
becomes an `Inert` record. Nothing is imported and nothing of the file is called.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from fairprune_cli.core import limits

LIMIT = "pickle_instructions"
SIZE_LIMIT = 1 << 62
"""No size of a tensor reaches it; products of numbers without a limit would take hours."""


class PickleError(ValueError):
    """The pickle is damaged or does something that no checkpoint does."""


@dataclass(frozen=True)
class Global:
    """A class or function that the file names. Never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Inert:
    """What stands in for an object of an unknown class: its class's name and what was stored in it."""

    origin: Global
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class StorageRef:
    """A block of numbers outside the pickle: its key, and the name of its type in torch."""

    key: str
    type_name: str


@dataclass(eq=False)
class TensorRef:
    """A tensor whose numbers have not been read yet; offset and stride count elements of the storage.

    `frozen`: it is a parameter that asks for no gradient.
    """

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    type_name: str
    frozen: bool = False


def printable(text: object, limit: int) -> str:
    """Text out of a file, safe to print: cut, and without characters that command a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:limit])


_CONTAINERS = {"set": set, "frozenset": frozenset, "list": list, "tuple": tuple}
_TENSOR_BUILDERS = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"}
_PARAMETER_BUILDERS = {"_rebuild_parameter", "_rebuild_parameter_with_state"}


class Copies:
    """Counts the values copied while a pickle is read: copies of copies would outgrow any file."""

    def __init__(self) -> None:
        self.count = 0
        self.most = limits.limit(LIMIT)
        self.letters = 0  # of the texts in the pickle that have not become bytes yet
        self.compound_keys = 0

    def of(self, values: Any) -> Any:
        """`values`, a sequence that is about to be copied."""
        if not isinstance(values, list | tuple | set | frozenset):
            raise PickleError("the pickle in it makes a container of something that is no sequence")
        self.add(len(values))
        return values

    def add(self, count: int) -> None:
        """So many values more."""
        self.count += count
        if self.count > self.most:
            limits.refuse_above(self.count, LIMIT, what="the pickle in it copies values as if it")

    def encoded(self, text: str) -> bytes:
        """The bytes that a text stands for; each text of a pickle may become bytes once."""
        self.letters -= len(text)
        if self.letters < 0:
            raise PickleError("the pickle in it makes more bytes than it has")
        return text.encode("latin1")


def make(function: Any, arguments: Any, copies: Copies) -> Any:
    """What calling `function` would have given, as data. Only these few names mean anything here."""
    arguments = arguments if isinstance(arguments, tuple) else (arguments,)
    if not isinstance(function, Global):
        return Inert(Global("", "object"), arguments)
    module, name = function.module, function.name
    if (module, name) == ("collections", "OrderedDict"):
        pairs = copies.of(arguments[0]) if arguments else ()
        return {hashable(key, copies): value for key, value in pairs}
    if module in ("builtins", "__builtin__") and name in _CONTAINERS:
        values = copies.of(arguments[0]) if arguments else ()
        if name.endswith("set"):
            values = [hashable(value, copies) for value in values]
        return _CONTAINERS[name](values)
    # How bytes are written by the protocol that torch.save uses.
    if (module, name) == ("_codecs", "encode") and arguments[1:] == ("latin1",) and isinstance(arguments[0], str):
        return copies.encoded(arguments[0])
    if (module, name) == ("torch", "Size"):
        return tuple(copies.of(arguments[0]))
    if module == "torch._utils" and name in _TENSOR_BUILDERS:
        return _tensor(name, arguments)
    if module == "torch._utils" and name in _PARAMETER_BUILDERS:
        tensor = arguments[0]
        frozen = isinstance(tensor, TensorRef) and arguments[1:2] == (False,)
        return replace(tensor, frozen=True) if frozen else tensor
    if module == "torch._tensor" and name.startswith("_rebuild_from_type") and len(arguments) >= 3:
        # A tensor of a subclass; the arguments of its plain form are inside. One level, so no recursion.
        inner = arguments[0]
        if isinstance(inner, Global) and not inner.name.startswith("_rebuild_from_type"):
            return make(inner, arguments[2], copies)
    return Inert(function, arguments)


_DEEPEST_KEY = 4
_LARGEST_KEY = 1000  # values on one level of it, each counted as often as it is met
_MOST_COMPOUND_KEYS = 5000


def hashable(value: Any, copies: Copies) -> Any:
    """A value that may be a key.

    Python hashes and compares a tuple or frozenset with all that is in it, so that one that holds another twice, and so
    on, would take 2^n steps. All tuples of -1 and -2 have one hash, and so have numbers that differ by 2^61 - 1: many
    such keys would each be compared with each.
    """
    inside, depth = [value], 0
    while inside:
        if any(isinstance(part, int) and part.bit_length() > 64 for part in inside):
            raise PickleError("the pickle in it has huge numbers as dictionary keys")
        groups = [part for part in inside if isinstance(part, tuple | frozenset)]
        count = sum(map(len, groups))
        if count > _LARGEST_KEY or (groups and depth == _DEEPEST_KEY):
            raise PickleError(f"the pickle in it has keys of {_LARGEST_KEY} values, or nested {_DEEPEST_KEY} deep")
        copies.add(count)
        copies.compound_keys += bool(groups) and not depth
        inside, depth = [part for group in groups for part in group], depth + 1
    if copies.compound_keys > _MOST_COMPOUND_KEYS:
        raise PickleError(f"the pickle in it has more than {_MOST_COMPOUND_KEYS} keys that are tuples or sets")
    return value


def _tensor(name: str, arguments: tuple[Any, ...]) -> TensorRef:
    storage, offset, size, stride = arguments[:4]
    if not isinstance(storage, StorageRef):
        raise PickleError("the pickle in it makes a tensor of something that is no storage")
    type_name = storage.type_name
    if name == "_rebuild_tensor_v3":
        if not isinstance(arguments[6], Global):
            raise PickleError("the pickle in it gives a tensor no number type")
        type_name = arguments[6].name
    for numbers in (size, stride):
        listed = isinstance(numbers, tuple | list) and len(numbers) <= 64
        if not listed or any(type(number) is not int for number in numbers):
            raise PickleError("the pickle in it gives a tensor a shape that is no list of whole numbers")
    if type(offset) is not int or len(size) != len(stride):
        raise PickleError("the pickle in it gives a tensor an impossible shape")
    if not all(0 <= number < SIZE_LIMIT for number in (offset, *size, *stride)):
        raise PickleError("the pickle in it gives a tensor an impossible shape")
    return TensorRef(storage, offset, tuple(size), tuple(stride), type_name)
