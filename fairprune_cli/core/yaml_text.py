"""YAML as data: bounded in size and depth, and without a key that stands twice, of which all but one would be lost.

Only numbers, text, dates, truth values, lists and mappings are made of it: every other tag is refused.

An alias (`*name`) stands for what its anchor holds, and is counted as that: a few lines of aliases of aliases would
else unfold to billions of values as soon as a message shows one.
"""

from __future__ import annotations

from typing import Any

import yaml

from fairprune_cli.core.errors import cut_text
from fairprune_cli.core.limits import how_to_raise, limit, refusal

_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_LONGEST_NUMBER = 1_000
_PLAIN = ("null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge", "value", "binary", "omap", "set",
          "pairs")  # fmt: skip
_TAGS = frozenset({None, "!", *(f"tag:yaml.org,2002:{name}" for name in _PLAIN)})


class _Bounded(yaml.composer.Composer):
    """Composes a document as long as it stays within the bounds."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)  # type: ignore[call-arg]
        self._count = self._depth = 0
        self._most, self._deepest = limit("yaml_values"), limit("yaml_depth")
        self._sizes: dict[int, int] = {}  # of the nodes that are whole, by identity

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark  # type: ignore[attr-defined]
        if self.check_event(yaml.AliasEvent):  # type: ignore[attr-defined]
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise yaml.MarkedYAMLError(problem="an alias stands within what it names", problem_mark=mark)
            self._count += self._sizes[id(node)]
            self._refuse_excess(mark)
            return node
        _refuse_tag(self.peek_event(), mark)  # type: ignore[attr-defined]
        before = self._count
        self._count += 1
        self._depth += 1
        self._refuse_excess(mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = self._count - before
        return node

    def _refuse_excess(self, mark: yaml.Mark) -> None:
        if self._depth > self._deepest:
            text, over = f"nested more than {self._deepest} deep", (self._depth, "yaml_depth")
        elif self._count > self._most:
            text = f"holds more than {self._most:,} values, each alias counted as what it stands for"
            over = self._count, "yaml_values"
        else:
            return
        raise yaml.MarkedYAMLError(problem=f"{text}; {how_to_raise(*over)}", problem_mark=mark)


def _refuse_tag(event: Any, mark: yaml.Mark) -> None:
    """Refuse a tag that asks for more than plain values: other programs run code for it."""
    tag = getattr(event, "tag", None)
    if tag not in _TAGS:
        text = f"the tag {cut_text(str(tag), 60)!r} is none of plain values, which are all that is read"
        raise yaml.MarkedYAMLError(problem=text, problem_mark=mark)


class _TextLoader(_Bounded, yaml.BaseLoader):
    """Leaves every scalar the text that it is."""


class _ValueLoader(_Bounded, yaml.SafeLoader):
    """Makes numbers, dates and truth values of scalars; refuses a key that stands twice."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        # Numbers in base 60 take the square of their length to make, and Python writes none of more digits.
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            text = f"a number of {len(node.value):,} digits; at most {_LONGEST_NUMBER:,} are read: out of range"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # a tag may say number or date of any text, and its reader raises nearly anything
            said = node.value[:40] if isinstance(node, yaml.ScalarNode) else node.tag
            kind = node.tag.rpartition(":")[2]
            text = f"{said!r} is no {kind}, or an escape, date or number out of range"
            raise yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark) from error

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    text = f"the key {key.value!r} stands twice"
                    raise yaml.MarkedYAMLError(problem=text, problem_mark=key.start_mark)
                seen.add(key.value)
        return node


def yaml_nodes(text: str) -> yaml.Node | None:
    """The nodes of a document with their lines, every scalar as the text that it is; None where it is empty.

    A class called `no` or `01` keeps its name so, and no tag can construct anything. Doubled keys are left for the
    reader of each mapping to name.

    Raises:
        yaml.YAMLError: it is no YAML, or beyond the limits of its size, values or depth; in one line that begins with
            the place.
    """
    return _loaded(_TextLoader, text, "get_single_node")


def yaml_values(text: str) -> Any:
    """The values of a document: mappings, lists, numbers and text alone.

    Raises:
        yaml.YAMLError: as `yaml_nodes`, or a key stands twice in a mapping.
    """
    return _loaded(_ValueLoader, text, "get_single_data")


def _loaded(kind: Any, text: str, what: str) -> Any:
    if over := refusal(len(text.encode("utf-8", "surrogatepass")), "yaml_bytes"):
        raise yaml.YAMLError(over)
    try:
        loader = kind(text)
        return getattr(loader, what)()
    except yaml.YAMLError as error:
        raise yaml.YAMLError(_in_one_line(error)) from error
    except (ValueError, OverflowError, RecursionError) as error:  # escapes, and numbers that the parser takes itself
        raise yaml.YAMLError(f"an escape, date or number out of range ({error})") from error


def _in_one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or (str(error).splitlines() or ["no reason given"])[0]
    return problem if mark is None else f"line {mark.line + 1}: {problem}"
