"""What settings are, for people and for editors: groups, values in words, and a JSON schema."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

from fairprune_cli.core.setting_values import range_in_words
from fairprune_cli.core.settings import fields_of, types_of, words_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string"}
_RANGE = {"low": "minimum", "high": "maximum", "above": "exclusiveMinimum", "below": "exclusiveMaximum"}


def group_of(union: type, key: str) -> type:
    """The group that a setting belongs to: the class that declares it."""
    return next(part for part in reversed(union.__mro__) if key in vars(part).get("__annotations__", {}))


def title_of(group: type) -> str:
    """What a group is about: the first line of its docstring."""
    return (group.__doc__ or group.__name__).partition("\n")[0].rstrip(".")


def groups_of(union: type) -> dict[type, list[str]]:
    """The keys of each group, groups in the order of their first key."""
    found: dict[type, list[str]] = {}
    for key in fields_of(union):
        found.setdefault(group_of(union, key), []).append(key)
    return found


def value_in_words(union: type, key: str) -> str:
    """Type and range of a setting, such as "share below 1"."""
    field, (kind, optional) = fields_of(union)[key], _kind(union, key)
    if words := words_of(field):
        text = ", ".join(words)
    elif kind in (int, float):
        text = range_in_words(kind, field.metadata)
    else:
        text = {bool: "true or false", str: "text"}.get(kind, "names")
    return text + (", or none" if optional else "")


def kind_in_words(union: type, key: str) -> str:
    """The kind of a setting's value in a word: share, number, integer, choice, name, path, text."""
    field, (kind, _) = fields_of(union)[key], _kind(union, key)
    meta = field.metadata
    if meta["metavar"]:
        return str(meta["metavar"])
    if meta["choices"] or meta["plugins"]:
        return "choice" if meta["choices"] else "name"
    if kind is float:
        return "share" if meta["share"] else "number"
    return {int: "integer", str: "text"}.get(kind, "names")


def default_in_words(field: dataclasses.Field[Any]) -> str:
    """A default as a settings file would have it."""
    if field.default is None or field.default == ():
        return "none"
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def record_of(union: type, key: str) -> dict[str, Any]:
    """Everything known about a setting: key, group, meaning, default, and its JSON schema's type, range and choices."""
    return {"key": key, "group": title_of(group_of(union, key)), **property_of(union, key)}


def property_of(union: type, key: str) -> dict[str, Any]:
    """The JSON schema of one setting."""
    field, (kind, optional) = fields_of(union)[key], _kind(union, key)
    meta, default = field.metadata, field.default
    made: dict[str, Any] = {"description": meta["text"]}
    if kind in _NAMES:
        made["type"] = [_NAMES[kind], "null"] if optional else _NAMES[kind]
    else:  # names: a list, or one text with commas
        made |= {"type": ["array", "string"], "items": {"type": "string"}}
    if meta["choices"]:
        made["enum"] = list(meta["choices"])
    if meta["plugins"]:  # not an enum: one's own are values too
        made["examples"] = list(words_of(field))
    made |= {name: meta[bound] for bound, name in _RANGE.items() if meta[bound] is not None}
    return made | {"default": list(default) if isinstance(default, tuple) else default}


def schema_of(union: type, title: str) -> Mapping[str, Any]:
    """A JSON schema (draft 2020-12) of a settings file."""
    return {
        "$schema": DIALECT, "title": title, "type": "object", "additionalProperties": False,
        "properties": {key: property_of(union, key) for key in fields_of(union)},
    }  # fmt: skip


def _kind(union: type, key: str) -> tuple[Any, bool]:
    """The type of a setting without None, and whether None is a value too."""
    kind = types_of(union)[key]
    if not isinstance(kind, types.UnionType):
        return kind, False
    return next(part for part in kind.__args__ if part is not type(None)), True
