"""Typed settings, merged in layers that remember where each value came from.

A group is a frozen dataclass of `setting(...)` fields beside the code that reads them; what they have in common stands
here. Precedence: flag > environment (FAIRPRUNE_<KEY>) > file (fairprune.yaml, or --config) > default.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from fairprune_cli.core.errors import Problems, cut_text, nearest
from fairprune_cli.core.plugins import Kind

CONFIG_FILE = "fairprune.yaml"
S = TypeVar("S")  # a group, or a union of groups


def setting(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    plugins: Kind | None = None,
    may_be_empty: bool = True,
) -> Any:
    """A field with its help text and range: low <= value <= high, above < value < below.

    Args:
        choices: the only values.
        plugins: whose names are values, beside others that are checked where they are used.
        may_be_empty: whether a key with nothing behind it, or an empty environment variable, stands for None. Where
            that would silently lose what was meant, it is an error; null, or no variable, says that nothing is meant.
    """
    meta = {
        "text": text, "low": low, "high": high, "above": above, "below": below, "choices": choices, "plugins": plugins,
        "may_be_empty": may_be_empty,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata=meta)


def fields_of(group: type) -> Mapping[str, dataclasses.Field[Any]]:
    """The settings of a group or union by key: group after group, as the union names them, each as it is declared."""
    fields = {field.name: field for field in dataclasses.fields(group)}
    order = [key for part in group.__mro__ for key in vars(part).get("__annotations__", {}) if key in fields]
    return {key: fields[key] for key in order}


def types_of(group: type) -> Mapping[str, Any]:
    """The type of each setting of a group or union."""
    return {key: kind for key, kind in typing.get_type_hints(group).items() if key in fields_of(group)}


def values_of(settings: Any) -> dict[str, Any]:
    """The value of each setting by key, in the order of `fields_of`."""
    return {key: getattr(settings, key) for key in fields_of(type(settings))}


def words_of(field: dataclasses.Field[Any]) -> tuple[str, ...]:
    """The words that a setting knows: its choices, or the plug-ins there are."""
    kind: Kind | None = field.metadata["plugins"]
    if kind is not None:
        return tuple(kind.names())
    choices: tuple[str, ...] = field.metadata["choices"]
    return choices


@dataclass(frozen=True)
class Resolved(Generic[S]):
    """Settings and, for each key, the layer its value came from."""

    settings: S
    sources: Mapping[str, str]

    def document(self) -> dict[str, dict[str, Any]]:
        """`config.yaml`: key -> value and source."""
        values = values_of(self.settings)
        return {
            key: {"value": list(v) if isinstance(v, tuple) else v, "source": self.sources[key]}
            for key, v in values.items()
        }


def merge(group: type[S], flags: Mapping[str, Any], env: Mapping[str, str], file: Path | None) -> Resolved[S]:
    """Merge the layers; flags that are None were not given.

    A class among the group's bases may have a `settle(values, sources, problems)` for what only several settings
    together decide; it sees the values that are not at their default, and may add to them.

    Args:
        group: a dataclass of settings.
        flags: values from the command line, by key.
        env: environment; FAIRPRUNE_SEED and the like.
        file: a YAML mapping, or None.

    Raises:
        FairpruneError: every unknown key, wrong type and value out of range at once.
    """
    fields, kinds = fields_of(group), types_of(group)
    values: dict[str, Any] = {}
    sources = dict.fromkeys(fields, "default")
    problems = Problems("settings")
    for source, layer in _layers(group, flags, env, file, problems):
        told: dict[str, str] = {}
        for key, raw in layer.items():
            name = key.replace("-", "_")
            if told.setdefault(name, key) != key:
                problems.add(f"{source}: {told[name]!r} and {key!r} are one setting: give it once")
                continue
            if name not in fields:
                hint = "" if problems.full else f"; {nearest(name, fields)}"
                problems.add(f"{source}: unknown key {cut_text(repr(key))}{hint}")
                continue
            try:
                values[name] = _checked(kinds[name], fields[name].metadata, raw, text=source == "environment")
            except ValueError as error:
                problems.add(f"{source}: {name}: {cut_text(str(error))}")
                continue
            sources[name] = source
    for part in group.__mro__:
        if "settle" in vars(part):
            part.settle(values, sources, problems)  # type: ignore[attr-defined]
    problems.raise_if_any()
    return Resolved(group(**values), sources)


def _layers(
    group: type, flags: Mapping[str, Any], env: Mapping[str, str], file: Path | None, problems: Problems
) -> list[tuple[str, Mapping[str, Any]]]:
    never = {key for key, field in fields_of(group).items() if not field.metadata["may_be_empty"]}
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if file is not None:
        layers.append((str(file), read_config(file, problems, never)))
    prefix = "FAIRPRUNE_"
    not_settings = {
        "FAIRPRUNE_CACHE",
        "FAIRPRUNE_CACHE_LIMIT",
        "FAIRPRUNE_DATA_ROOT",
        "FAIRPRUNE_DEBUG",
        "FAIRPRUNE_LIMITS",
    }
    found = {k[len(prefix) :].lower(): v for k, v in env.items() if k.startswith(prefix) and k not in not_settings}
    layers.append(("environment", found))
    layers.append(("flag", {k: v for k, v in flags.items() if v is not None and v != ()}))
    return layers


def read_config(file: Path, problems: Problems, never_empty: Container[str] = ()) -> Mapping[str, Any]:
    """The mapping in a YAML file; what is wrong with it goes to `problems`.

    Args:
        never_empty: settings that are "", and not None, where nothing stands behind their key.
    """
    import yaml

    from fairprune_cli.core.files import read_plain
    from fairprune_cli.core.yaml_text import yaml_nodes, yaml_values

    try:
        text = read_plain(file, "yaml_bytes").decode("utf-8")
        content = yaml_values(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        problems.add(f"{file}: cannot be read: {reason}")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(k, str) for k in content):
        problems.add(f"{file}: must be a mapping of keys to values")
        return {}
    if None not in content.values():
        return content
    # A key with nothing behind it is None as null is, and what may not be left empty has to be told from that.
    node = yaml_nodes(text)
    listed = node.value if isinstance(node, yaml.MappingNode) else []
    blank = {key.value for key, of in listed if isinstance(of, yaml.ScalarNode) and not of.value and not of.style}
    return content | {key: "" for key in content if key in blank and key.replace("-", "_") in never_empty}


def check_value(group: type, key: str, raw: Any) -> Any:
    """A value for a setting of the group, converted to the setting's type.

    Raises:
        ValueError: a wrong type or a value out of range, in words.
    """
    return _checked(types_of(group)[key], fields_of(group)[key].metadata, raw, text=False)


def _checked(kind: Any, meta: Mapping[str, Any], raw: Any, text: bool) -> Any:
    optional = isinstance(kind, types.UnionType)
    if optional:
        if raw == "" and not meta["may_be_empty"]:
            raise ValueError("is empty: give a value, or take it away")
        if raw is None or (text and raw == ""):
            return None
        kind = next(k for k in kind.__args__ if k is not type(None))
    value = _converted(kind, raw, text)
    if meta["choices"] and value not in meta["choices"]:
        raise ValueError(f"{value!r} is none of {', '.join(meta['choices'])}; {nearest(str(value), meta['choices'])}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{value} is not a finite number")
        for bound, wrong, sign in (
            ("low", lambda v, b: v < b, ">="), ("high", lambda v, b: v > b, "<="),
            ("above", lambda v, b: v <= b, ">"), ("below", lambda v, b: v >= b, "<"),
        ):  # fmt: skip
            limit = meta[bound]
            if limit is not None and wrong(value, limit):
                a_share = isinstance(value, float) and bound in ("high", "below") and limit == 1.0 < value <= 100.0
                hint = f"; it is a share: {value:g} of a hundred is {value / 100:g}" if a_share else ""
                raise ValueError(f"{value} must be {sign} {limit}{hint}")
    return value


def _converted(kind: Any, raw: Any, text: bool) -> Any:
    if kind == tuple[str, ...]:
        items = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(items, list | tuple) or not all(isinstance(i, str) for i in items):
            raise ValueError(f"{raw!r} is not a list of names")
        return tuple(item.strip() for item in items if item.strip())
    if kind is bool:
        if isinstance(raw, bool):
            return raw
        if text and raw.lower() in {"1", "true", "yes", "0", "false", "no"}:
            return raw.lower() in {"1", "true", "yes"}
        raise ValueError(f"{raw!r} is neither true nor false")
    if kind is str:
        if not isinstance(raw, str):
            raise ValueError(f"{raw!r} is not text")
        return raw
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(f"{raw!r} is not a number")
    try:
        number = kind(raw)
    except (ValueError, OverflowError):
        raise ValueError(f"{raw!r} is not a {'whole number' if kind is int else 'number'}") from None
    if kind is int and isinstance(raw, float) and raw != number:
        raise ValueError(f"{raw!r} is not a whole number")
    return number
