"""The values of settings: what one takes, in words, and whether something that was given is one."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any

from fairprune_cli.core.errors import nearest
from fairprune_cli.core.plugins import Kind, is_import_path

_PER_CENT = re.compile(r"(-?\d+(?:[.,]\d+)?) *%")
_WITH_COMMA = re.compile(r"-?\d+,\d+")


class Wrong(ValueError):
    """A value that a setting does not take, and how to mend it; "" where nothing useful can be said."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what}; {hint}" if hint else what)
        self.what, self.hint = what, hint


def range_in_words(kind: type, meta: Mapping[str, Any]) -> str:
    """What numbers a setting takes, such as "share below 1" or "whole number of at least 1"."""
    noun = "share" if meta["share"] else "whole number" if kind is int else "number"
    low, high, above, below = (meta[name] for name in ("low", "high", "above", "below"))
    if low is not None and high is not None:
        return f"{noun} from {low:g} to {high:g}" if abs(high) < 1e6 else f"{noun} from {low:g} to {high}"
    told = [] if low is None or (low == 0 and meta["share"]) else [f"of at least {low:g}"]
    told += [] if above is None else [f"above {above:g}"]
    told += [] if high is None else [f"of at most {high:g}"]
    told += [] if below is None else [f"below {below:g}"]
    return f"{noun} {' and '.join(told)}".rstrip()


def checked(kind: Any, meta: Mapping[str, Any], raw: Any, text: bool) -> Any:
    """A value converted to the setting's type.

    Args:
        kind: the type, or the type or None; meta: as `settings.setting` has it.
        text: whether all values are text, as those of the environment.

    Raises:
        Wrong: it is no such value.
    """
    if isinstance(kind, types.UnionType):
        if raw == "" and not meta["may_be_empty"]:
            raise Wrong("is empty: give a value, or take it away")
        if raw is None or (text and raw == ""):
            return None
        kind = next(k for k in kind.__args__ if k is not type(None))
    if kind is int or kind is float:
        return _number(kind, meta, raw)
    value = _named(kind, raw, text)
    if meta["choices"] and value not in meta["choices"]:
        hint = nearest(value, meta["choices"], meta["also"])
        hint = hint if hint.startswith("did") else ""  # another list of them says nothing new
        raise Wrong(f"{value!r} is none of {', '.join(meta['choices'])}", hint)
    plugins: Kind | None = meta["plugins"]
    if plugins is not None and isinstance(value, tuple):
        value = tuple(name.strip() for item in value for name in item.split(",") if name.strip())
        for name in value:
            if name not in meta["also"]:
                _refuse_unknown(name, plugins)
    elif plugins is not None and not is_import_path(value):
        _refuse_unknown(value, plugins)
    if meta["form"] and not re.fullmatch(meta["form"], value):
        meant = meta["also"].get(value.casefold())
        hint = meta["text"] if meant is None else f"did you mean {meant!r}?"
        raise Wrong(f"unknown {meta['metavar']} {value!r}", hint)
    return value


def _refuse_unknown(name: str, plugins: Kind) -> None:
    if name not in plugins.names():
        raise Wrong(f"unknown {plugins.word} {name!r}", plugins.nearest(name))


def _named(kind: Any, raw: Any, text: bool) -> Any:
    """Names, a truth value or text."""
    if kind == tuple[str, ...]:
        items = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(items, list | tuple) or not all(isinstance(i, str) for i in items):
            raise Wrong(f"{raw!r} is not a list of names")
        return tuple(item.strip() for item in items if item.strip())
    if kind is bool:
        if isinstance(raw, bool):
            return raw
        if text and raw.lower() in {"1", "true", "yes", "0", "false", "no"}:
            return raw.lower() in {"1", "true", "yes"}
        raise Wrong(f"{raw!r} is neither true nor false")
    if not isinstance(raw, str):
        raise Wrong(f"{raw!r} is not text")
    return raw


def _number(kind: type, meta: Mapping[str, Any], raw: Any) -> Any:
    wanted = range_in_words(kind, meta)
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise Wrong(f"{raw!r} is not a {wanted}")
    try:
        number = kind(raw)
    except (ValueError, OverflowError):
        raise _not_a_number(meta, raw, wanted) from None
    if kind is int and isinstance(raw, float) and raw != number:
        raise Wrong(f"{raw!r} is not a {wanted}")
    if _within(number, meta):
        return number
    if meta["share"] and 1.0 < number <= 100.0:
        raise _in_per_cent(number, meta, wanted)
    raise Wrong(f"{number} is not a {wanted}")


def _within(number: float, meta: Mapping[str, Any]) -> bool:
    low, high, above, below = (meta[name] for name in ("low", "high", "above", "below"))
    return (
        abs(number) < float("inf")  # which NaN is not either
        and (low is None or number >= low) and (high is None or number <= high)
        and (above is None or number > above) and (below is None or number < below)
    )  # fmt: skip


def _in_per_cent(number: float, meta: Mapping[str, Any], wanted: str) -> Wrong:
    written = f"; {number:g} % is written {number / 100:g}" if _within(number / 100, meta) else f", and not {number:g}"
    return Wrong(f"a {wanted}{written}")


def _not_a_number(meta: Mapping[str, Any], raw: Any, wanted: str) -> Wrong:
    told = raw.strip() if isinstance(raw, str) else ""
    if meta["share"] and (found := _PER_CENT.fullmatch(told)):
        return _in_per_cent(float(found[1].replace(",", ".")), meta, wanted)
    if _WITH_COMMA.fullmatch(told):
        return Wrong(f"a {wanted}; {told} is written {told.replace(',', '.')}")
    return Wrong(f"{raw!r} is not a {wanted}")
