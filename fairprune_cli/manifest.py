"""The manifest: which images there are, their labels, groups and splits; every mistake in it found at once.

A manifest is a YAML file beside the data. `load_manifest` checks it and the table or folder it names in full,
except for the images' content, which `check_images` looks at. Nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import yaml
from PIL import Image

from fairprune_cli.errors import FairpruneError, Problems, nearest
from fairprune_cli.layouts import FORMATS, check_files, guess, list_folder, quoted
from fairprune_cli.tables import (
    MISSING,
    SPLIT_NAMES,
    SPLITS,
    Table,
    assign_parts,
    bin_names,
    distinct,
    encode,
    encode_bins,
    random_keys,
    read_table,
    some_rows,
)

__all__ = [
    "SPLITS",
    "AttributeSpec",
    "Finding",
    "Grouping",
    "ImageFault",
    "Manifest",
    "Transform",
    "check_images",
    "find_manifest",
    "init_manifest",
    "load_manifest",
    "open_image",
]

Progress = Callable[[int, int], None]
SMALLEST_SIDE = 8
_T = TypeVar("_T")


# --- what a manifest says -----------------------------------------------------------------------------------


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
class _Spec:
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


def _parse(text: str, folder: str, problems: Problems) -> _Spec:
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
    return _Spec(
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


# --- the manifest with its data -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Grouping:
    """One way to divide the images: `index` is int64 [N], a position in `groups`, -1 for in no group."""

    name: str
    groups: tuple[str, ...]
    index: np.ndarray


@dataclass(frozen=True, eq=False)
class Manifest:
    """A checked manifest with its N images; arrays run in the order of the table or folder listing."""

    path: Path
    name: str
    images: Path  # root of the image paths
    classes: tuple[str, ...]
    transform: Transform
    sha256: str  # of the manifest's bytes and the table's (or the folder's list of files)
    files: tuple[str, ...]  # relative to `images`, [N]
    labels: np.ndarray  # int64 [N], 0..K-1
    splits: np.ndarray  # int8 [N], index into SPLITS
    rows: np.ndarray  # int64 [N], line in the table, 0 where there is none
    attributes: Mapping[str, Grouping]
    persons: np.ndarray | None  # int64 [N], a number per person
    table: str  # file name of the table, for messages
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)

    def where(self, i: int) -> str:
        """Where image i is named: `table.csv row 7`, or the folder's name."""
        return f"{self.table} row {self.rows[i]}" if self.rows[i] else self.images.absolute().name

    def rows_of(self, split: str) -> np.ndarray:
        """Positions of the images in a split ("train", "val" or "test"), int64, ascending."""
        if split not in SPLITS:
            raise FairpruneError(f"unknown split {split!r}", hint=nearest(split, SPLITS))
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def grouping(self, name: str) -> Grouping:
        """The groups of an attribute, or of an intersection such as `gender*age`.

        An intersection has the combinations that occur, named as "male*old"; an image that one of the
        attributes leaves out is in no group.

        Raises:
            FairpruneError: unknown attribute, or a combination that occurs but has no test image.
        """
        parts = [part.strip() for part in name.split("*")]
        for part in parts:
            if part not in self.attributes:
                raise FairpruneError(
                    f"no attribute {part!r} in the manifest",
                    where=str(self.path),
                    hint=nearest(part, self.attributes),
                )
        if len(parts) == 1:
            return self.attributes[parts[0]]
        if len(set(parts)) < len(parts):
            raise FairpruneError(f"{name!r} names an attribute twice", where=str(self.path))
        names, index = list(self.attributes[parts[0]].groups), self.attributes[parts[0]].index
        for part in parts[1:]:
            other = self.attributes[part]
            names = [f"{a}*{b}" for a in names for b in other.groups]
            index = np.where((index < 0) | (other.index < 0), -1, index * len(other.groups) + other.index)
        held = np.bincount(index[index >= 0], minlength=len(names)) > 0
        position = np.append(np.cumsum(held) - 1, -1)
        joined = "*".join(parts)
        groups = tuple(name for name, there in zip(names, held, strict=True) if there)
        grouping = Grouping(joined, groups, position[index].astype(np.int64))
        problems = Problems(str(self.path))
        problems.extend(_untested(grouping, self.splits))
        problems.raise_if_any("leave the intersection out, or merge its small groups")
        return grouping

    def counts(self, attributes: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
        """{split: {"n", "labels": {class: n}, "attributes": {attribute: {group: {"n", "labels"}}}}}.

        Args:
            attributes: names for `grouping`, intersections included; all attributes when None.
        """
        names = self.attributes if attributes is None else attributes
        groupings = [self.grouping(name) for name in names]
        return {split: self._count(self.splits == code, groupings) for code, split in enumerate(SPLITS)}

    def _count(self, chosen: np.ndarray, groupings: Sequence[Grouping]) -> dict[str, Any]:
        size = len(self.classes)
        labels = self.labels[chosen]
        attributes: dict[str, dict[str, object]] = {}
        for grouping in groupings:
            index = grouping.index[chosen]
            held = index >= 0
            cells = np.bincount(index[held] * size + labels[held], minlength=len(grouping.groups) * size)
            attributes[grouping.name] = {
                group: {"n": int(row.sum()), "labels": self._by_class(row)}
                for group, row in zip(grouping.groups, cells.reshape(-1, size), strict=True)
            }
        by_class = self._by_class(np.bincount(labels, minlength=size))
        return {"n": len(labels), "labels": by_class, "attributes": attributes}

    def _by_class(self, counts: np.ndarray) -> dict[str, int]:
        return dict(zip(self.classes, counts.tolist(), strict=True))

    @cached_property
    def root(self) -> str:
        """The image root as text, for joining many paths quickly."""
        return os.path.abspath(self.images)


def load_manifest(path: Path) -> Manifest:
    """Read and check a manifest, its table or folder, and that every image exists inside the image root.

    Raises:
        FairpruneError: lists every problem found, each with its line or row.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "manifest.yaml"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FairpruneError(
            f"the manifest cannot be read: {error.strerror or error}",
            where=str(path),
            hint="write one with `fairprune data init PATH`",
        ) from error
    return _build(data, path)


def _build(data: bytes, path: Path) -> Manifest:
    problems = Problems(str(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FairpruneError(
            f"line {line}: byte 0x{data[error.start]:02x} is not UTF-8",
            where=str(path),
            hint="save it as UTF-8",
        ) from error
    spec = _parse(text, path.absolute().parent.name, problems)
    digest = hashlib.sha256(data)
    records = _read_records(spec, path.parent, digest, problems)
    if records is None or (not spec.classes and spec.format == "table"):
        problems.raise_if_any()
        raise AssertionError("a manifest without records has a problem")
    return _check(spec, path, records, digest.hexdigest(), problems)


@dataclass(frozen=True, eq=False)
class _Records:
    """The rows as text, the same for every layout; a column that could not be found is None."""

    table: str
    files: list[str] | None
    labels: list[str] | None
    splits: list[str] | None
    persons: list[str] | None
    attributes: Mapping[str, list[str]]
    rows: np.ndarray
    warnings: tuple[str, ...] = ()


def _read_records(spec: _Spec, base: Path, digest: hashlib._Hash, problems: Problems) -> _Records | None:
    wanted = [*spec.columns.values(), *(attribute.column for attribute in spec.attributes)]
    table = read_table(base / spec.table, problems, wanted) if spec.table else None
    if table is not None:
        digest.update(table.sha256.encode())
    elif spec.table:
        return None
    if spec.format == "folder":
        return _folder_records(spec, base / spec.images, table, digest, problems)
    if table is None:
        return None
    found = {
        key: table.column(spec.columns[key], key, problems) if key in spec.columns else None
        for key in ("image", "label", "split", "person")
    }
    attributes = {}
    for attribute in spec.attributes:
        cells = table.column(attribute.column, f"attribute {attribute.name}", problems)
        if cells is not None:
            attributes[attribute.name] = cells
    return _Records(table.name, found["image"], found["label"], found["split"], found["person"], attributes, table.rows)


def _folder_records(
    spec: _Spec, root: Path, table: Table | None, digest: hashlib._Hash, problems: Problems
) -> _Records | None:
    listing = list_folder(root, problems)
    if listing is None:
        return None
    digest.update("\0".join(listing.files).encode("utf-8", "surrogateescape"))
    if problems:
        return None  # names that cannot be encoded would only stumble further on
    warnings = list(listing.warnings)
    count = len(listing.files)
    rows = np.zeros(count, dtype=np.int64)
    splits = listing.splits
    if splits is not None and spec.fractions is not None:
        problems.add("splits: the folders name the splits already (train, val, test): remove the key")
    persons: list[str] | None = None
    attributes: dict[str, list[str]] = {}
    if table is not None:
        image = table.column(spec.columns["image"], "columns.image, the images' paths below root", problems)
        person = spec.columns.get("person")
        columns = {
            attribute.name: table.column(attribute.column, f"attribute {attribute.name}", problems)
            for attribute in spec.attributes
        }
        person_cells = table.column(person, "person", problems) if person else None
        if image is not None:
            at = _match(image, listing.files, table, problems)
            known = [i for i in at if i >= 0]
            rows[[n for n, i in enumerate(at) if i >= 0]] = table.rows[known]
            for name, cells in columns.items():
                if cells is not None:
                    attributes[name] = [cells[i] if i >= 0 else "" for i in at]
            if person_cells is not None:
                persons = [person_cells[i] if i >= 0 else "" for i in at]
            if len(known) < count:
                warnings.append(f"{count - len(known):,} images have no row in {table.name}")
    return _Records(
        table.name if table is not None else root.absolute().name,
        listing.files, listing.labels, splits, persons, attributes, rows, tuple(warnings),
    )  # fmt: skip


def _match(image: Sequence[str], files: Sequence[str], table: Table, problems: Problems) -> list[int]:
    """For each file the table's record that names it, -1 for none."""
    known = set(files)
    place: dict[str, int] = {}
    absent, doubled = [], []
    for i, name in enumerate(image):
        name = name.removeprefix("./")
        if name not in known:
            absent.append(int(table.rows[i]))
        elif place.setdefault(name, i) != i:
            doubled.append(int(table.rows[i]))
    if absent:
        name = image[int(np.flatnonzero(table.rows == absent[0])[0])]
        problems.add(f"{some_rows(table.name, absent)}: no such image in the class folders, as {name!r}")
    if doubled:
        problems.add(f"{some_rows(table.name, doubled)}: the image stands in an earlier row already")
    return [place.get(name, -1) for name in files]


def _check(spec: _Spec, path: Path, records: _Records, sha256: str, problems: Problems) -> Manifest:
    warnings = list(records.warnings)
    root = path.parent / spec.images
    rows = records.rows.tolist()
    count = len(rows)
    labels = np.zeros(count, dtype=np.int64)
    classes = spec.classes or tuple(sorted(set(records.labels or ())))
    if records.labels is not None:
        # Class folders give the labels even where a table gives the rest.
        named = spec.format == "table"
        source, at = (records.table, rows) if named else (root.absolute().name, [0] * count)
        labels = encode(records.labels, classes, "label", source, at, problems)
        if len(classes) < 2:
            problems.add(f"only one class, {''.join(classes)!r}: a classifier needs at least two")
        absent = [name for k, name in enumerate(classes) if not (labels == k).any()]
        if absent:
            warnings.append(f"no image of class {', '.join(absent)}")
    persons = _person_numbers(records, warnings)
    groupings = {}
    for attribute in spec.attributes:
        if attribute.name in records.attributes:
            cells = records.attributes[attribute.name]
            groupings[attribute.name] = _group(attribute, cells, records.table, rows, warnings, problems)
    before = len(problems.texts)
    splits = _split(spec, records, labels, persons, rows, warnings, problems)
    split_faults = len(problems.texts) > before
    files: tuple[str, ...] = ()
    if records.files is not None and not root.is_dir():
        problems.add(f"the image root {str(root)!r} is not a folder")
    elif records.files is not None:
        places = [f"{records.table} row {row}" if row else records.table for row in rows]
        known = None if splits is None else splits.tolist()
        files = check_files(root, records.files, known, places, problems)
    if splits is not None and not split_faults:
        if not (splits == SPLITS.index("test")).any():
            problems.add("no image is in the test split")
        else:
            for grouping in groupings.values():
                problems.extend(_untested(grouping, splits))
        empty = [name for k, name in enumerate(SPLITS[:2]) if not (splits == k).any()]
        warnings += [f"no image is in the {name} split" for name in empty]
    problems.raise_if_any("run `fairprune data check` again after mending them")
    assert splits is not None
    return Manifest(
        path=path,
        name=spec.name,
        images=root,
        classes=classes,
        transform=spec.transform,
        sha256=sha256,
        files=files,
        labels=labels,
        splits=splits.astype(np.int8),
        rows=records.rows,
        attributes=groupings,
        persons=persons,
        table=records.table,
        warnings=tuple(warnings),
    )


def _person_numbers(records: _Records, warnings: list[str]) -> np.ndarray | None:
    """A number per person; a row that names nobody gets one of its own."""
    if records.persons is None:
        return None
    numbers: dict[str, int] = {}
    result = np.empty(len(records.persons), dtype=np.int64)
    nameless = 0
    for i, person in enumerate(records.persons):
        if person.lower() in MISSING:
            nameless += 1
            result[i] = -nameless
        else:
            result[i] = numbers.setdefault(person, len(numbers))
    if nameless:
        warnings.append(f"{nameless:,} rows name no person; each is taken for another person")
        result[result < 0] = len(numbers) - 1 - result[result < 0]
    return result


def _group(
    spec: AttributeSpec,
    cells: Sequence[str],
    table: str,
    rows: Sequence[int],
    warnings: list[str],
    problems: Problems,
) -> Grouping:
    place = f"{table}: {spec.name}"
    if spec.bins is not None:
        groups = bin_names(spec.bins)
        index = encode_bins(cells, spec.bins, spec.name, table, rows, problems)
    else:
        groups = spec.values if spec.values is not None else distinct(cells)
        if not groups:
            problems.add(f"{place}: every cell is empty")
        if spec.values is None and len(groups) > 100:
            problems.add(f"{place}: {len(groups):,} distinct values: name `values`, or `bins` for numbers")
            return Grouping(spec.name, (), np.full(len(cells), -1, dtype=np.int64))
        if joined := [value for value in groups if "*" in value and spec.values is None]:
            problems.add(f"{place} {joined[0]!r}: a group's name must not contain `*`")
        index = encode(cells, groups, spec.name, table, rows, problems, missing=-1)
    empty = int((index < 0).sum())
    if empty and spec.missing == "unknown":
        groups = groups if "unknown" in groups else (*groups, "unknown")
        index = np.where(index < 0, groups.index("unknown"), index)
    elif empty:
        warnings.append(f"{spec.name}: {empty:,} of {len(cells):,} images have no value and are in no group")
    if len(groups) == 1:
        warnings.append(f"{spec.name}: all images are in one group, {groups[0]}: there is no gap to measure")
    return Grouping(spec.name, groups, index)


def _split(
    spec: _Spec,
    records: _Records,
    labels: np.ndarray,
    persons: np.ndarray | None,
    rows: Sequence[int],
    warnings: list[str],
    problems: Problems,
) -> np.ndarray | None:
    if records.splits is not None:
        splits = encode(records.splits, SPLITS, "split", records.table, rows, problems, codes=SPLIT_NAMES)
        if persons is not None:
            pairs = np.unique(np.stack([persons, splits]), axis=1)[0]
            twice = len(pairs) - len(np.unique(pairs))
            if twice:
                warnings.append(f"{twice:,} persons stand in more than one split")
        return splits
    if spec.fractions is not None and records.files is not None:
        # By name and class alone: neither the order of the rows nor an attribute added later moves an image.
        keys = random_keys(records.files, spec.seed)
        return assign_parts(np.maximum(labels, 0), persons if spec.by_person else None, spec.fractions, keys)
    if spec.fractions is None and "split" not in spec.columns:
        problems.add("no splits: name a split column, or give splits: {train: 0.7, val: 0.15, test: 0.15, seed: 0}")
    return None


def _untested(grouping: Grouping, splits: np.ndarray) -> list[str]:
    tested = grouping.index[(splits == SPLITS.index("test")) & (grouping.index >= 0)]
    counts = np.bincount(tested, minlength=len(grouping.groups))
    return [
        f"{grouping.name}: group {group!r} has no test image, so nothing can be said of it"
        for group, n in zip(grouping.groups, counts.tolist(), strict=True)
        if n == 0
    ]


def find_manifest(explicit: Path | None, model: Path | None, configured: Path | None) -> Path:
    """The manifest to use: `explicit` (--data), else FAIRPRUNE_DATA, else `configured` (fairprune.yaml), else
    manifest.yaml beside the model, else manifest.yaml in the working directory. A folder stands for the
    manifest.yaml in it.

    Raises:
        FairpruneError: one of the first three names a file that is not there, or nothing is found.
    """
    variable = os.environ.get("FAIRPRUNE_DATA")
    named = [
        ("--data", explicit),
        ("FAIRPRUNE_DATA", Path(variable) if variable else None),
        ("`data:` in fairprune.yaml", configured),
    ]
    for source, path in named:
        if path is not None:
            found = path / "manifest.yaml" if path.is_dir() else path
            if not found.is_file():
                raise FairpruneError("no such manifest", where=f"{source} = {path}")
            return found
    beside = None
    if model is not None:
        beside = (model if model.is_dir() else model.parent) / "manifest.yaml"
    here = Path("manifest.yaml")
    for candidate in (beside, here):
        if candidate is not None and candidate.is_file():
            return candidate
    raise FairpruneError(
        "no manifest found; looked at\n"
        "  1. the environment variable FAIRPRUNE_DATA (not set)\n"
        "  2. `data:` in fairprune.yaml of the working directory (not given)\n"
        f"  3. beside the model: {beside or 'no model is named'}\n"
        f"  4. the working directory: {here.absolute()}",
        hint="give --data MANIFEST, or write one with `fairprune data init PATH`",
    )


def init_manifest(path: Path, *, name: str | None = None, out: Path | None = None) -> str:
    """YAML text of a first manifest for a table, a folder with a table, or class folders.

    Guesses are marked with comments; an attribute with which the manifest would not load is left as a comment
    that says why.

    Args:
        name: of the data set; the name of its folder when None.
        out: file that the text will be written to, which its paths are relative to; when None
            `manifest.yaml` beside the table, or in the folder.

    Raises:
        FairpruneError: nothing is recognised, or the data has faults of its own.
    """
    path = Path(path)
    found = guess(path, None if out is None else Path(out).parent)
    sides = []
    for image in found.sample[:20]:
        with contextlib.suppress(Exception), Image.open(image) as opened:
            sides.append(min(opened.size))
    size = min(max(8 * round(float(np.median(sides)) / 8), 32), 224) if sides else 64
    title = name or (path if path.is_dir() else path.parent).absolute().name or "data"
    head = ["version: 1", f"name: {quoted(title)}", *found.lines]
    tail = [
        "transform:  # must be what the model was trained with",
        f"  size: {size}",
        "  mean: [0.5, 0.5, 0.5]",
        "  std: [0.25, 0.25, 0.25]",
    ]

    def text(attributes: Sequence[tuple[str, str]], notes: Sequence[str] = ()) -> str:
        lines = ["attributes:  # the groups to be fair to: keep those that matter"] if attributes else []
        lines += [f"  {quoted(attribute)}: {value}" for attribute, value in attributes]
        return "\n".join([*head, *lines, *notes, *tail]) + "\n"

    where = out or found.base / "manifest.yaml"
    kept, notes = list(found.attributes), []
    if not _loads(text(kept), where) and _loads(text([]), where):
        kept = [item for item in kept if _loads(text([item]), where)]
        notes = [
            f"# left out, as a group has no test image or a value does not fit: {quoted(attribute)}: {value}"
            for attribute, value in found.attributes
            if (attribute, value) not in kept
        ]
    _build(text(kept, notes).encode(), where)
    return text(kept, notes)


def _loads(text: str, where: Path) -> bool:
    try:
        _build(text.encode(), where)
    except FairpruneError:
        return False
    return True


# --- images -------------------------------------------------------------------------------------------------


class ImageFault(Exception):
    """An image that cannot be used: `code` is one of missing, unreadable, truncated, too-small."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def open_image(path: str | Path | IO[bytes], size: int | None = None) -> Image.Image:
    """An image file as 8-bit RGB, turned as its EXIF orientation says; with `size`, size x size pixels.

    Grey, CMYK, palette and 16-bit images are converted; transparency is dropped, as torchvision's image
    folders do. The shorter side is scaled to `size` (bilinear with antialiasing) and the centre is taken.

    Raises:
        ImageFault: missing, not an image, truncated, or smaller than 8 pixels on a side.
    """
    try:
        with Image.open(path) as opened:
            image: Image.Image = opened
            if min(image.size) < SMALLEST_SIDE:
                width, height = image.size
                raise ImageFault(
                    "too-small", f"is {width}x{height} pixels; {SMALLEST_SIDE}x{SMALLEST_SIDE} is the least"
                )
            if size is not None:
                # JPEGs far larger than needed are decoded at a fraction, still at least twice the target.
                opened.draft(None, (2 * size, 2 * size))
            image = _upright(image)
            # Grey is scaled before it is tripled.
            return _rgb(_resized(image, size)) if image.mode == "L" else _resized(_rgb(image), size)
    except ImageFault:
        raise
    except FileNotFoundError as error:
        raise ImageFault("missing", "does not exist") from error
    except Exception as error:  # damaged files make Pillow raise nearly anything
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        cut = any(word in text.lower() for word in ("truncated", "broken", "premature", "end of file", "eof"))
        if cut:
            raise ImageFault("truncated", f"is cut short or damaged: {text}") from error
        if "cannot identify" in text:
            text = "not an image that Pillow knows"
        raise ImageFault("unreadable", f"cannot be decoded: {text}") from error


# How to undo each EXIF orientation (Exif 2.32, tag 0x0112).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF: the pixels are still good
        turn = None
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow clips 16-bit grey at 255 instead of scaling it.
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ImageFault("unreadable", "has floating-point values; save it with 8 or 16 bits")
    elif image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _resized(image: Image.Image, size: int | None) -> Image.Image:
    width, height = image.size
    if size is None or (width, height) == (size, size):
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def decoding_threads() -> int:
    """Threads for decoding: one per core that this process may use, 8 at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)


def chunked(items: Sequence[_T], size: int) -> Iterable[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


@dataclass(frozen=True)
class Finding:
    """Something wrong with an image: a code for programs, what it is in words, its file and table row."""

    code: str
    text: str
    file: str
    row: int  # 0 where no table names the image


def check_images(manifest: Manifest, progress: Progress | None = None) -> list[Finding]:
    """Decode every image; report missing, unreadable, truncated and too small ones, and exact duplicates.

    Codes: missing, unreadable, truncated, too-small, duplicate (same bytes within a split),
    duplicate-across-splits, label-conflict (same bytes, another label).

    Args:
        progress: called with (images done, images in all).
    """

    def look(i: int) -> tuple[bytes, Finding | None]:
        path = os.path.join(manifest.root, manifest.files[i])
        try:
            data = Path(path).read_bytes()
            open_image(io.BytesIO(data))
            return hashlib.sha256(data).digest(), None
        except ImageFault as fault:
            return b"", _finding(manifest, i, fault.code, fault.text)
        except FileNotFoundError:
            return b"", _finding(manifest, i, "missing", "does not exist")
        except OSError as error:
            return b"", _finding(manifest, i, "unreadable", f"cannot be read: {error.strerror or error}")

    findings: list[Finding] = []
    first: dict[bytes, int] = {}
    with ThreadPoolExecutor(decoding_threads()) as threads:
        for positions in chunked(range(len(manifest)), 512):
            for i, (digest, finding) in zip(positions, threads.map(look, positions), strict=True):
                if finding is not None:
                    findings.append(finding)
                    continue
                earlier = first.setdefault(digest, i)
                if earlier != i:
                    findings.append(_duplicate(manifest, i, earlier))
            if progress is not None:
                progress(positions[-1] + 1, len(manifest))
    return findings


def _finding(manifest: Manifest, i: int, code: str, text: str) -> Finding:
    return Finding(code, text, manifest.files[i], int(manifest.rows[i]))


def _duplicate(manifest: Manifest, i: int, earlier: int) -> Finding:
    other = f"the same bytes as {manifest.files[earlier]!r} ({manifest.where(earlier)})"
    if manifest.splits[i] != manifest.splits[earlier]:
        splits = f"in {SPLITS[manifest.splits[earlier]]} and in {SPLITS[manifest.splits[i]]}"
        return _finding(manifest, i, "duplicate-across-splits", f"has {other}, {splits}")
    if manifest.labels[i] != manifest.labels[earlier]:
        return _finding(manifest, i, "label-conflict", f"has {other}, with another label")
    return _finding(manifest, i, "duplicate", f"has {other}, in the same split")
