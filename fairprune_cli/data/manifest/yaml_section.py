"""A mapping of a YAML document read with its line numbers; faults are noted, never raised."""

from __future__ import annotations

import math
from collections import Counter

import yaml

from fairprune_cli.core.errors import Problems, cut_text, nearest
from fairprune_cli.core.limits import refusal
from fairprune_cli.core.printable import is_printable, tidy


class YamlSection:
    """A mapping of the document with typed reading; a fault is noted with its line, never raised."""

    def __init__(self, node: yaml.Node | None, place: str, problems: Problems) -> None:
        self.place = place
        self.problems = problems
        self.nodes: dict[str, yaml.Node] = {}
        if not isinstance(node, yaml.MappingNode):
            if node is not None:
                problems.add(
                    f"line {line_of(node)}: {place.rstrip('.') or 'the manifest'}: expected keys with "
                    f"values, found {kind_of(node)}"
                )
            return
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problems.add(f"line {line_of(key)}: {place}: a key must be a word")
            elif (name := tidy(key.value)) in self.nodes:
                problems.add(f"line {line_of(key)}: the key {place + name!r} stands twice")
            else:
                self.nodes[name] = value

    def fault(self, key: str, text: str) -> None:
        line = f"line {line_of(self.nodes[key])}: " if key in self.nodes else ""
        self.problems.add(f"{line}{self.place}{cut_text(key)}: {text}")

    def only(self, *known: str) -> None:
        for key in self.nodes:
            if key not in known:
                self.fault(key, "unknown key" if self.problems.full else f"unknown key; {nearest(key, known)}")

    def section(self, key: str) -> YamlSection:
        return YamlSection(self.nodes.get(key), f"{self.place}{key}.", self.problems)

    def within(self, most: str) -> bool:
        """Whether it has no more keys than the limit of this name allows; a fault is noted."""
        if over := refusal(len(self.nodes), most):
            self.problems.add(f"{self.place.rstrip('.')}: {over}")
        return not over

    def has(self, key: str) -> bool:
        """Whether the key stands there with a value; an empty one or a bare `null` counts as absent."""
        node = self.nodes.get(key)
        return node is not None and not (
            isinstance(node, yaml.ScalarNode) and not node.style and node.value in ("", "~", "null")
        )

    def is_mapping(self, key: str) -> bool:
        return isinstance(self.nodes.get(key), yaml.MappingNode)

    def is_list(self, key: str) -> bool:
        return isinstance(self.nodes.get(key), yaml.SequenceNode)

    def text(self, key: str, default: str | None = None) -> str:
        """A printable string; a missing one is a fault unless there is a default. "" stands for a fault."""
        if not self.has(key):
            if default is None:
                self.fault(key, "is missing")
            return default or ""
        return self._scalar(key, self.nodes[key])

    def _scalar(self, key: str, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self.fault(key, f"expected text, found {kind_of(node)}")
        elif not (text := tidy(node.value)) or not is_printable(text):
            self.fault(key, f"expected printable text, found {node.value[:60]!r}")
        else:
            return text
        return ""

    def _listed(self, key: str, of: str) -> list[yaml.Node]:
        """The entries of a list; [] stands for a fault, as an empty list is one."""
        node = self.nodes[key]
        if not isinstance(node, yaml.SequenceNode):
            self.fault(key, f"expected a list{of}, found {kind_of(node)}")
            return []
        if not node.value:
            self.fault(key, "is an empty list: give at least one entry, or remove the key")
        return list(node.value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of distinct strings; () stands for a fault."""
        values = tuple(self._scalar(key, item) for item in self._listed(key, ""))
        if doubled := sorted(value for value, times in Counter(values).items() if value and times > 1):
            self.fault(key, f"named twice: {cut_text(', '.join(doubled))}")
        return values if all(values) and not doubled else ()

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number; NaN stands for a fault."""
        text = self.text(key, None if default is None else str(default))
        return self._number(key, text) if text else math.nan

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers; () stands for a fault."""
        if not self.has(key):
            self.fault(key, "is missing")
            return ()
        values = tuple(self._number(key, self._scalar(key, item)) for item in self._listed(key, " of numbers"))
        return values if all(math.isfinite(value) for value in values) else ()

    def _number(self, key: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if text and not math.isfinite(number):
            self.fault(key, f"expected a number, found {text[:60]!r}")
        return number if math.isfinite(number) else math.nan


def line_of(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def kind_of(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "keys with values"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return repr(node.value[:60]) if node.value else "nothing"
