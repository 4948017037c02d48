"""What a manifest says: its document, checked for itself, every fault with its line.

`parse` reads the text; nothing of the data is read here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml

from fairprune_cli.errors import FairpruneError, Problems, nearest
from fairprune_cli.layouts import FORMATS
from fairprune_cli.tables import SPLITS

SMALLEST_SIDE = 8


@dataclass(frozen=True)
class AttributeSpec:
    """How an attribute's groups come out of a column: by `values`, by `bins`, or all that occur."""

    name: str
    column: str
    values: tuple[str, ...] | None = None
    bins: tuple[float, ...] | None = None
    missing: str = "drop"  # or "unknown", a group of its own


@dataclass(frozen=True)
class Transform:
    """An image as the model's input: size x size pixels, then (value / 255 - mean) / std per channel."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to_dict(self) -> dict[str, object]:
        return {"size": self.size, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object], where: str = "transform") -> Transform:
        """The transform that `to_dict` wrote.

        Raises:
            FairpruneError: a value is missing, of a wrong type or out of range.
        """
        problems = Problems(where)
        try:
            text = yaml.safe_dump(dict(values), default_flow_style=True, width=math.inf)
        except (TypeError, ValueError, yaml.YAMLError) as error:
            raise FairpruneError("expected size, mean and std", where=where) from error
        transform = _transform(_Section(yaml.compose(text, Loader=yaml.BaseLoader), "", problems))
        problems.texts = [text.removeprefix("line 1: ") for text in problems.texts]
        problems.raise_if_any()
        assert transform is not None
        return transform


@dataclass(frozen=True)
class Spec:
    """A manifest's document, checked for itself; nothing of the data has been read yet."""

    name: str
    format: str  # "table" or "folder"
    table: str  # the sidecar table under `folder`, "" for none
    images: str
    columns: Mapping[str, str]
    classes: tuple[str, ...]
    attributes: tuple[AttributeSpec, ...]
    fractions: tuple[float, float, float] | None
    seed: int
    by_person: bool
    transform: Transform


class _Section:
    """A mapping of the document with typed reading; a fault is noted with its line, never raised."""

    def __init__(self, node: yaml.Node | None, place: str, problems: Problems) -> None:
        self.place = place
        self.problems = problems
        self.nodes: dict[str, yaml.Node] = {}
        if not isinstance(node, yaml.MappingNode):
            if node is not None:
                problems.add(
                    f"line {_line(node)}: {place.rstrip('.') or 'the manifest'}: expected keys with "
                    f"values, found {_kind(node)}"
                )
            return
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problems.add(f"line {_line(key)}: {place}: a key must be a word")
            elif key.value in self.nodes:
                problems.add(f"line {_line(key)}: the key {place + key.value!r} stands twice")
            else:
                self.nodes[key.value] = value

    def fault(self, key: str, text: str) -> None:
        line = f"line {_line(self.nodes[key])}: " if key in self.nodes else ""
        self.problems.add(f"{line}{self.place}{key}: {text}")

    def only(self, *known: str) -> None:
        for key in self.nodes:
            if key not in known:
                self.fault(key, f"unknown key; {nearest(key, known)}")

    def section(self, key: str) -> _Section:
        return _Section(self.nodes.get(key), f"{self.place}{key}.", self.problems)

    def has(self, key: str) -> bool:
        """Whether the key stands there with a value; an empty one or a bare `null` counts as absent."""
        node = self.nodes.get(key)
        return node is not None and not (
            isinstance(node, yaml.ScalarNode) and not node.style and node.value in ("", "~", "null")
        )

    def text(self, key: str, default: str | None = None) -> str:
        """A printable string; a missing one is a fault unless there is a default. "" stands for a fault."""
        if not self.has(key):
            if default is None:
                self.fault(key, "is missing")
            return default or ""
        return self._scalar(key, self.nodes[key])

    def _scalar(self, key: str, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self.fault(key, f"expected text, found {_kind(node)}")
        elif not node.value.strip() or not node.value.isprintable():
            self.fault(key, f"expected printable text, found {node.value[:60]!r}")
        else:
            return node.value.strip()
        return ""

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of distinct strings; () stands for a fault."""
        node = self.nodes[key]
        if not isinstance(node, yaml.SequenceNode):
            self.fault(key, f"expected a list, found {_kind(node)}")
            return ()
        values = tuple(self._scalar(key, item) for item in node.value)
        if doubled := sorted({value for value in values if value and values.count(value) > 1}):
            self.fault(key, f"named twice: {', '.join(doubled)}")
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
        node = self.nodes[key]
        if not isinstance(node, yaml.SequenceNode):
            self.fault(key, f"expected a list of numbers, found {_kind(node)}")
            return ()
        values = tuple(self._number(key, self._scalar(key, item)) for item in node.value)
        return values if all(math.isfinite(value) for value in values) else ()

    def _number(self, key: str, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if text and not math.isfinite(number):
            self.fault(key, f"expected a number, found {text[:60]!r}")
        return number if math.isfinite(number) else math.nan


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "keys with values"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return repr(node.value[:60]) if node.value else "nothing"


def parse(text: str, folder: str, problems: Problems) -> Spec:
    """Read the document; faults go to `problems`, and faulty fields hold empty values."""
    try:
        # The base loader leaves every scalar the text it is: a class called `no` or `01` keeps its name,
        # and no tag can construct anything.
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark is not None else ""
        problems.add(f"{line}not valid YAML: {getattr(error, 'problem', None) or str(error).splitlines()[0]}")
        problems.raise_if_any()
        raise
    except (RecursionError, ValueError, OverflowError):
        problems.add("not valid YAML: an escape or number out of range, or nested too deeply")
        problems.raise_if_any()
        raise
    if not isinstance(root, yaml.MappingNode):
        problems.add("the manifest is empty" if root is None else f"expected keys with values, found {_kind(root)}")
        problems.raise_if_any()
    top = _Section(root, "", problems)
    if top.text("version", "1") != "1":
        top.fault("version", "this fairprune reads version 1")
    kind = top.text("format", "table")
    common = ("version", "name", "format", "classes", "attributes", "splits", "transform", "columns")
    needed: tuple[str, ...] = ()
    if kind == "table":
        top.only(*common, "table", "images")
        table, images, needed = top.text("table"), top.text("images", "."), ("image", "label")
    elif kind in FORMATS:
        top.only(*common, "root", "attributes_table")
        table, images = top.text("attributes_table", ""), top.text("root", ".")
    else:
        if kind:
            top.fault(
                "format",
                f"{kind!r} is not supported; supported: {', '.join(FORMATS)}, or, without "
                "`format`, a `table` (CSV or Parquet) with a row per image",
            )
        # What the other keys mean depends on the format, so nothing more can be said of them.
        problems.raise_if_any()
    columns = _columns(top, kind, needed)
    fractions, seed, by_person = _fractions(top, columns)
    classes = top.texts("classes") if top.has("classes") else ()
    if kind == "table" and not top.has("classes"):
        top.fault("classes", "is missing: the names of the labels, in the order of the model's outputs")
    elif len(classes) == 1:
        top.fault("classes", "a classifier needs at least two")
    attributes = _attributes(top, table)
    if not top.has("transform"):
        top.fault("transform", "is missing: {size: 64, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}")
    transform = _transform(top.section("transform")) if top.has("transform") else None
    return Spec(
        name=top.text("name", folder or "data"),
        format=kind,
        table=table,
        images=images,
        columns=columns,
        classes=classes,
        attributes=attributes,
        fractions=fractions,
        seed=seed,
        by_person=by_person,
        transform=transform or Transform(SMALLEST_SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    )


def _columns(top: _Section, kind: str, needed: Iterable[str]) -> dict[str, str]:
    section = top.section("columns")
    section.only("image", "person", *(("label", "split") if kind == "table" else ()))
    columns = {key: section.text(key) for key in section.nodes if section.has(key)}
    if kind == "folder":
        columns.setdefault("image", "file")
    for key in needed:
        if key not in columns:
            section.fault(key, "is missing: the name of the table's column")
    return {key: column for key, column in columns.items() if column}


def _fractions(top: _Section, columns: Mapping[str, str]) -> tuple[tuple[float, float, float] | None, int, bool]:
    if not top.has("splits"):
        return None, 0, False
    if "split" in columns:
        top.fault("splits", "a split column is named as well: remove one of the two")
    section = top.section("splits")
    section.only(*SPLITS, "seed", "by")
    seed = section.number("seed", 0)
    if not seed.is_integer():
        section.fault("seed", "expected a whole number")
        seed = 0
    by = section.text("by", "")
    if by and by != "person":
        section.fault("by", f"only `person` is known, found {by!r}")
    elif by and "person" not in columns:
        section.fault("by", "needs the column that tells persons apart, as in columns: {person: person_id}")
    train, val, test = (section.number(name, 0) for name in SPLITS)
    shares = (train, val, test)
    if any(math.isnan(share) for share in shares):
        return (1.0, 0.0, 0.0), int(seed), False
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        top.fault("splits", f"train, val and test must be shares that sum to 1, found {sum(shares):g}")
        return (1.0, 0.0, 0.0), int(seed), False
    return shares, int(seed), by == "person" and "person" in columns


def _attributes(top: _Section, table: str) -> tuple[AttributeSpec, ...]:
    found = []
    section = top.section("attributes")
    if section.nodes and not table and not top.has("table"):
        top.fault("attributes", "needs a table of their values: attributes_table: attributes.csv")
    for name in section.nodes:
        if not name.strip() or "*" in name or not name.isprintable():
            section.fault(name, "an attribute's name is printable and without `*`, which joins attributes")
            continue
        one = _Section(section.nodes[name] if section.has(name) else None, f"attributes.{name}.", top.problems)
        one.only("column", "values", "bins", "missing")
        values = one.texts("values") if one.has("values") else None
        bins = one.numbers("bins") if one.has("bins") else None
        missing = one.text("missing", "drop")
        if missing not in ("drop", "unknown"):
            one.fault("missing", f"expected drop or unknown, found {missing!r}")
        if values is not None and bins is not None:
            one.fault("bins", "give either values or bins")
        if bins and (len(bins) < 2 or any(b <= a for a, b in itertools.pairwise(bins))):
            one.fault("bins", "expected at least two edges in rising order")
            bins = ()
        if values is not None and any("*" in value for value in values):
            one.fault("values", "a group's name must not contain `*`, which joins attributes")
        if values == () or bins == ():
            continue
        found.append(AttributeSpec(name, one.text("column", name), values, bins, missing))
    return tuple(found)


def _transform(section: _Section) -> Transform | None:
    section.only("size", "mean", "std")
    size = section.number("size")
    means, deviations = section.numbers("mean"), section.numbers("std")
    if not math.isnan(size) and not (size.is_integer() and SMALLEST_SIDE <= size <= 4096):
        section.fault("size", f"expected a whole number from {SMALLEST_SIDE} to 4096, found {size:g}")
        size = math.nan
    for key, values in (("mean", means), ("std", deviations)):
        if values and len(values) != 3:
            section.fault(key, f"expected three numbers (red, green, blue), found {len(values)}")
    if deviations and min(deviations) <= 0:
        section.fault("std", "must be above 0")
    if math.isnan(size) or len(means) != 3 or len(deviations) != 3 or min(deviations) <= 0:
        return None
    mean, std = (means[0], means[1], means[2]), (deviations[0], deviations[1], deviations[2])
    return Transform(int(size), mean, std)
