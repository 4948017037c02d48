"""Typed settings, merged in layers that remember where each value came from.

A group is a frozen dataclass of `setting(...)` fields beside the code that reads them; what they have in common stands
here. Precedence: flag > environment (FAIRPRUNE_<KEY>) > file (fairprune.yaml, or --config) > default.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from fairprune_cli.core.errors import MOST_SHOWN, FairpruneError, Problems, cut_text, nearest
from fairprune_cli.core.plugins import Kind
from fairprune_cli.core.setting_values import Wrong, checked

CONFIG_FILE = "fairprune.yaml"
PREFIX = "FAIRPRUNE_"  # of the variables of the environment
S = TypeVar("S")  # a group, or a union of groups


@dataclass(frozen=True)
class Need:
    """What has to be so for a setting to have an effect.

    Attributes:
        key: of another setting; values: of which it has one; any but its default where there are no values.
    """

    key: str
    values: tuple[str, ...] = ()

    def met(self, settings: Any) -> bool:
        value = getattr(settings, self.key)
        return value in self.values if self.values else value != getattr(type(settings), self.key)


def setting(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    share: bool = False,
    choices: tuple[str, ...] = (),
    also: Mapping[str, str] | None = None,
    plugins: Kind | None = None,
    form: str = "",
    metavar: str = "",
    may_be_empty: bool = True,
    needs: tuple[Need, ...] = (),
    by_method: bool = False,
    besides: tuple[Need, ...] = (),
) -> Any:
    """A field with its help text and range: low <= value <= high, above < value < below.

    Args:
        share: of a whole, which people also write in per cent.
        choices: the only values; also: other words for them, that hints know.
        plugins: whose names are the only values beside `package.module:name`.
        form: a regular expression that text has to match; `text` says what may be given, `metavar` what it is.
        metavar: what --help calls its value, where its type does not say it.
        may_be_empty: whether a key with nothing behind it, or an empty environment variable, stands for None. Where
            that would silently lose what was meant, it is an error; null, or no variable, says that nothing is meant.
        needs: it has an effect where any of them is met; always where there are none.
        by_method: it has an effect where the pruning method reads it.
        besides: it has an effect where any of them is met, whatever the method and the needs are.
    """
    meta = {
        "text": text, "low": low, "high": high, "above": above, "below": below, "share": share, "choices": choices,
        "also": also or {}, "plugins": plugins, "form": form, "metavar": metavar, "may_be_empty": may_be_empty,
        "needs": needs, "by_method": by_method, "besides": besides,
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


@dataclass(frozen=True)
class Fault:
    """What is wrong with a setting, where it was given, and how to mend it; "" where nothing useful can be said."""

    where: str
    what: str
    hint: str = ""


def flag_of(key: str) -> str:
    """The flag of a setting."""
    return "--" + key.replace("_", "-")


def merge(
    group: type[S], flags: Mapping[str, Any], env: Mapping[str, str], file: Path | None,
    spelled: Callable[[str], str] = flag_of,
) -> Resolved[S]:  # fmt: skip
    """Merge the layers; flags that are None were not given.

    A class among the group's bases may have a `settle(values, sources)` for what only several settings together decide;
    it sees the values that are not at their default, may add to them, and gives what is wrong with them.

    Args:
        group: a dataclass of settings.
        flags: values from the command line, by key.
        env: environment; FAIRPRUNE_SEED and the like.
        file: a YAML mapping, or None.
        spelled: what messages call a key among the flags.

    Raises:
        FairpruneError: every unknown key, wrong type and value out of range at once.
    """
    fields, kinds = fields_of(group), types_of(group)
    values: dict[str, Any] = {}
    sources = dict.fromkeys(fields, "default")
    unreadable = Problems("")
    faults: list[Fault] = []

    def place(source: str, key: str) -> str:
        return {"flag": spelled(key), "environment": f"{PREFIX}{key.upper()}"}.get(source, f"{source}: {key}")

    for source, layer in _layers(group, flags, env, file, unreadable):
        told: dict[str, str] = {}
        for key, raw in layer.items():
            name = key.replace("-", "_")
            if told.setdefault(name, key) != key:
                faults.append(Fault(source, f"{told[name]!r} and {key!r} are one setting", "give it once"))
                continue
            if name not in fields:
                hint = "" if len(faults) >= MOST_SHOWN else nearest(name, fields)
                faults.append(Fault(source, f"unknown key {cut_text(repr(key))}", hint))
                continue
            try:
                values[name] = checked(kinds[name], fields[name].metadata, raw, text=source == "environment")
            except Wrong as wrong:
                faults.append(Fault(place(source, name), cut_text(wrong.what), wrong.hint))
                continue
            sources[name] = source
    for part in group.__mro__:
        if "settle" in vars(part):
            found = part.settle(values, sources)  # type: ignore[attr-defined]
            faults += [Fault(place(sources[key], key), what, hint) for key, what, hint in found]
    _raise_if_any([*(Fault("", text) for text in unreadable.texts), *faults])
    return Resolved(group(**values), sources)


def _raise_if_any(faults: Sequence[Fault]) -> None:
    """Raise one FairpruneError of them all."""
    if len(faults) == 1:
        raise FairpruneError(faults[0].what, where=faults[0].where, hint=faults[0].hint)
    problems = Problems("settings")
    for one in faults:
        text = f"{one.where}: {one.what}" if one.where else one.what
        problems.add(f"{text}; {one.hint}" if one.hint else text)
    problems.raise_if_any()


def _layers(
    group: type, flags: Mapping[str, Any], env: Mapping[str, str], file: Path | None, problems: Problems
) -> list[tuple[str, Mapping[str, Any]]]:
    never = {key for key, field in fields_of(group).items() if not field.metadata["may_be_empty"]}
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if file is not None:
        layers.append((str(file), read_config(file, problems, never)))
    not_settings = {
        "FAIRPRUNE_CACHE",
        "FAIRPRUNE_CACHE_LIMIT",
        "FAIRPRUNE_DATA_ROOT",
        "FAIRPRUNE_DEBUG",
        "FAIRPRUNE_LIMITS",
    }
    found = {k[len(PREFIX) :].lower(): v for k, v in env.items() if k.startswith(PREFIX) and k not in not_settings}
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
    return checked(types_of(group)[key], fields_of(group)[key].metadata, raw, text=False)
