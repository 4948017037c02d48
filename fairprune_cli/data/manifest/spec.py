"""What a manifest says: its document, checked for itself, every fault with its line.

`parse` reads the text; nothing of the data is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import Problems
from fairprune_cli.core.printable import is_printable
from fairprune_cli.core.yaml_text import yaml_nodes
from fairprune_cli.data.manifest.columns import AttributeSpec, read_bins, read_label, read_names
from fairprune_cli.data.manifest.image_shape import SMALLEST_SIDE
from fairprune_cli.data.manifest.manifest import ALLOW_COPIES, DROP_COPIES
from fairprune_cli.data.manifest.split_spec import SplitSpec, read_splits
from fairprune_cli.data.manifest.task_spec import HEAD_KEYS, TaskSpec, named_tasks, read_task
from fairprune_cli.data.manifest.transform import Transform, read_transform
from fairprune_cli.data.manifest.yaml_section import YamlSection, kind_of
from fairprune_cli.data.tables.shards import MOST_SHARDS, expanded
from fairprune_cli.data.tables.table import SPLITS


@dataclass(frozen=True)
class Spec:
    """A manifest's document, checked for itself; nothing of the data has been read yet."""

    name: str
    format: str  # "table", "folder", or a data set as its authors ship it
    table: str  # the sidecar table under `folder`, "" for none
    tables: Mapping[str, str]  # of each split, where every split has its own; then `table` is ""
    images: str
    image_folders: Mapping[str, str]  # below `images`, of each split's table
    columns: Mapping[str, str]
    tasks: tuple[TaskSpec, ...]  # at least one
    attributes: tuple[AttributeSpec, ...]
    splits: SplitSpec
    transform: Transform
    shards: tuple[str, ...] | None = None  # tar shards that hold the images, below `images`; () where they are at fault
    duplicates: str = ""  # DROP_COPIES or ALLOW_COPIES; "" where it does not say


def parse(text: str, folder: str, problems: Problems) -> Spec:
    """Read the document; faults go to `problems`, and faulty fields hold empty values."""
    root = _mapping(text, problems)
    top = YamlSection(root, "", problems)
    if top.text("version", "1") != "1":
        top.fault("version", "this fairprune reads version 1")
    kind = top.text("format", "table")
    places = _places(top, kind)
    columns = _columns(top, kind, places.needed)
    splits = read_splits(top, kind, columns, "person" in columns or kind in native_formats())
    tasks = _tasks(top, kind, columns)
    attributes = _attributes(top, kind, places.table)
    if not top.has("transform"):
        top.fault("transform", "is missing: {size: 64, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}")
    transform = read_transform(top.section("transform")) if top.has("transform") else None
    return Spec(
        name=top.text("name", folder or "data"),
        format=kind,
        table=places.table,
        tables=places.tables,
        images=places.images,
        image_folders=places.image_folders,
        columns=columns,
        tasks=tasks,
        attributes=attributes,
        splits=splits,
        transform=transform or Transform(SMALLEST_SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        shards=_shards(top) if kind == "table" and top.has("shards") else None,
        duplicates=_duplicates(top),
    )


def _duplicates(top: YamlSection) -> str:
    """What to do with equal bytes in two splits."""
    found = top.text("duplicates", "")
    if found not in ("", DROP_COPIES, ALLOW_COPIES):
        top.fault("duplicates", f"expected {DROP_COPIES} or {ALLOW_COPIES}, found {found!r}")
        return ""
    return found


def transform_in(text: str, problems: Problems) -> Transform | None:
    """The input transform of a manifest of which nothing else is looked at; faults of it go to `problems`."""
    top = YamlSection(_mapping(text, problems), "", problems)
    return read_transform(top.section("transform")) if top.has("transform") else None


def _mapping(text: str, problems: Problems) -> yaml.MappingNode:
    try:
        root = yaml_nodes(text)
    except yaml.YAMLError as error:
        problems.add(f"not valid YAML: {error}")
        problems.raise_if_any()
        raise
    if not isinstance(root, yaml.MappingNode):
        problems.add("the manifest is empty" if root is None else f"expected keys with values, found {kind_of(root)}")
        problems.raise_if_any()
    assert isinstance(root, yaml.MappingNode)
    return root


@dataclass(frozen=True)
class _Places:
    """Where the rows and the images are, and the columns that the format needs."""

    table: str
    tables: Mapping[str, str]
    images: str
    image_folders: Mapping[str, str]
    needed: tuple[str, ...]


def _places(top: YamlSection, kind: str) -> _Places:
    """Tables and image roots, after a look at the document's keys."""
    common = (
        "version", "name", "format", "classes", *HEAD_KEYS, "attributes", "splits", "duplicates", "transform",
        "columns",
    )  # fmt: skip
    formats = native_formats()
    if kind == "table":
        top.only(*common, "table", "images", "shards", "label", "tasks")
        labelled = top.has("label") or top.has("tasks")
        several = top.is_mapping("table")
        tables = _of_splits(top, "table") if several else {}
        apart = several and top.is_mapping("images")
        if apart and top.has("shards"):
            top.fault("images", "shards lie below one folder, not one for each split")
        folders = _of_splits(top, "images") if apart else {}
        if apart and tables.keys() - folders.keys():
            top.fault("images", f"names no folder for {', '.join(sorted(tables.keys() - folders.keys()))}")
        table, images = "" if several else top.text("table"), "." if apart else top.text("images", ".")
        return _Places(table, tables, images, folders, ("image",) if labelled else ("image", "label"))
    if kind not in ("folder", *formats):
        if kind:
            top.fault(
                "format",
                f"{kind!r} is not supported; supported: {', '.join(('folder', *formats))}, or, without "
                "`format`, a `table` (CSV or Parquet) with a row per image",
            )
        # What the other keys mean depends on the format, so nothing more can be said of them.
        top.problems.raise_if_any()
    top.only(*common, "root", "attributes_table", *(("label", "tasks") if kind != "folder" else ()))
    return _Places(top.text("attributes_table", ""), {}, top.text("root", "."), {}, ())


def _of_splits(top: YamlSection, key: str) -> dict[str, str]:
    """What is named for each split, as in table: {train: train.csv, test: test.csv}."""
    section = top.section(key)
    section.only(*SPLITS)
    found = {split: section.text(split) for split in SPLITS if section.has(split)}
    if not found:
        top.fault(key, "names nothing: {train: train.csv, val: val.csv, test: test.csv}")
    return {split: text for split, text in found.items() if text}


def _shards(top: YamlSection) -> tuple[str, ...]:
    """The names that the patterns under `shards` stand for, a pattern or a list of them."""
    names: list[str] = []
    patterns = top.texts("shards") if top.is_list("shards") else (top.text("shards", ""),)
    for pattern in patterns:
        if "://" in pattern or pattern.startswith("pipe:"):
            top.fault(
                "shards", f"{pattern!r}: nothing is fetched and no command is run; mount the storage and give paths"
            )
            return ()
        try:
            names += expanded(pattern) if pattern else []
        except ValueError as error:
            top.fault("shards", str(error))
            return ()
    if len(names) > MOST_SHARDS:
        top.fault("shards", f"{len(names):,} shards, of at most {MOST_SHARDS:,}")
        return ()
    return tuple(names)


def native_formats() -> list[str]:
    """Names of the data sets that are read as their authors ship them."""
    return plugins.DATASET_FORMAT.names()


def _columns(top: YamlSection, kind: str, needed: Iterable[str]) -> dict[str, str]:
    section = top.section("columns")
    section.only("image", "person", *(("label", "split") if kind == "table" else ()))
    if section.has("split") and top.is_mapping("table"):
        section.fault("split", "the tables name the splits already: remove one of the two")
    columns = {key: section.text(key) for key in section.nodes if section.has(key)}
    if kind == "folder":
        columns.setdefault("image", "file")
    for key in needed:
        if key not in columns:
            section.fault(key, "is missing: the name of the table's column")
    return {key: column for key, column in columns.items() if column}


def _tasks(top: YamlSection, kind: str, columns: Mapping[str, str]) -> tuple[TaskSpec, ...]:
    """What is to be predicted: the tasks under `tasks`, else the one without a name."""
    needs_classes = kind == "table"
    if top.has("tasks"):
        for key in ("label", "classes", *HEAD_KEYS):
            if key in top.nodes:
                top.fault(key, "belongs to a task where there are `tasks`: move it there")
        if "label" in columns:
            top.fault("columns", "label belongs to a task where there are `tasks`: move it there")
        return named_tasks(top.section("tasks"), needs_classes)
    label = None
    if kind != "folder" and (top.has("label") or kind in native_formats()):
        if not top.has("label"):
            top.fault("label", "is missing: the column that is to be predicted, as in label: Blond_Hair")
        else:
            if "label" in columns:
                top.fault("label", "stands under `columns` as well: remove one of the two")
            label = read_label(top)
    return (read_task(top, "", label, needs_classes),)


def _attributes(top: YamlSection, kind: str, table: str) -> tuple[AttributeSpec, ...]:
    found = []
    section = top.section("attributes")
    if section.nodes and kind == "folder" and not table:
        top.fault("attributes", "needs a table of their values: attributes_table: attributes.csv")
    for name in section.nodes if section.within("attributes") else ():
        if not name.strip() or "*" in name or not is_printable(name):
            section.fault(name, "an attribute's name is printable and without `*`, which joins attributes")
            continue
        one = YamlSection(section.nodes[name] if section.has(name) else None, f"attributes.{name}.", top.problems)
        one.only("column", "values", "bins", "missing", "names")
        values = one.texts("values") if one.has("values") else None
        bins = read_bins(one)
        missing = one.text("missing", "drop") if one.has("missing") else ""
        if missing not in ("", "drop", "unknown"):
            one.fault("missing", f"expected drop or unknown, found {missing!r}")
        if values is not None and bins is not None:
            one.fault("bins", "give either values or bins")
        if values is not None and any("*" in value for value in values):
            one.fault("values", "a group's name must not contain `*`, which joins attributes")
        if values == () or bins == ():
            continue
        names = read_names(one, bins) if one.has("names") else None
        found.append(AttributeSpec(name, one.text("column", name), values, bins, missing, names))
    return tuple(found)
