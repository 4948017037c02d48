"""From a manifest's bytes to a checked `Manifest`: labels, groups and splits as numbers, every mistake at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.core.parallel import Progress
from fairprune_cli.data.content_hashes import content_hashes
from fairprune_cli.data.manifest.columns import AttributeSpec
from fairprune_cli.data.manifest.groups import SourceColumn, coded
from fairprune_cli.data.manifest.located import located, unlike, unseen
from fairprune_cli.data.manifest.manifest import DROP_COPIES, Grouping, Manifest, untested
from fairprune_cli.data.manifest.own_words import how_to_mend
from fairprune_cli.data.manifest.rows import Records, read_records
from fairprune_cli.data.manifest.spec import Spec, parse
from fairprune_cli.data.manifest.splits import assign_splits
from fairprune_cli.data.manifest.task import Task
from fairprune_cli.data.manifest.task_spec import TaskSpec, head_faults
from fairprune_cli.data.tables.coded_cells import CodedCells
from fairprune_cli.data.tables.codes import TableRow, missing_words
from fairprune_cli.data.tables.long_columns import LongPaths
from fairprune_cli.data.tables.shards import Shards, open_shards
from fairprune_cli.data.tables.spellings import alike_names
from fairprune_cli.data.tables.table import SPLITS, is_missing


def build_manifest(
    data: bytes, path: Path, progress: Progress | None = None, images: bool = True, split: str | None = None
) -> Manifest:
    """The checked manifest.

    Args:
        progress: called with (shards read, shards in all) where the images lie in shards, or with (0, images in all)
            now and then while files are read of which copies have to stay in one split.
        images, split: as for `load_manifest`.

    Raises:
        FairpruneError: lists every problem found, each with its line or row.
    """
    problems = Problems(str(path))
    manifest = examine(data, path, problems, progress, images, split)
    problems.raise_if_any(how_to_mend(path))
    assert manifest is not None
    return manifest


def examine(
    data: bytes, path: Path, problems: Problems, progress: Progress | None = None, images: bool = True,
    split: str | None = None,
) -> Manifest | None:  # fmt: skip
    """As much of a manifest as can be read: None, or one whose labels and splits are -1 where they are at fault.

    Only without any problem is it fit for anything but looking at its images.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.add(f"line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save it as UTF-8", "not-utf-8")
        return None
    try:
        spec = parse(text, path.absolute().parent.name, problems)
    except FairpruneError:
        return None  # it says what `problems` holds
    digest = hashlib.sha256(data)
    records = read_records(spec, path.parent, digest, problems, images)
    if records is None:
        return None
    return _check(spec, path, records, digest.hexdigest(), problems, progress, images, split)


def _check(
    spec: Spec, path: Path, records: Records, sha256: str, problems: Problems, progress: Progress | None, look: bool,
    split: str | None,
) -> Manifest | None:  # fmt: skip
    warnings = list(records.warnings)
    root = path.parent / spec.images
    rows = _numbered(records)
    count = len(rows)
    tasks = _tasks(spec, records, root, warnings, problems)
    labels = tasks[0].labels  # by which images are divided
    persons = _person_numbers(records, warnings)
    groupings = {}
    for attribute in spec.attributes:
        if attribute.name in records.attributes:
            cells = records.attributes[attribute.name]
            column = SourceColumn(cells, records.table, rows, records.usual.get(attribute.column))
            grouping = _group(attribute, column, warnings, problems)
            if grouping is not None:
                groupings[attribute.name] = grouping
    there = look and records.files is not None and root.is_dir()
    shards = open_shards(root, spec.shards, path.name, problems, progress) if there and spec.shards else None
    by_content: list[str] = []
    hashes = partial(_hashes, str(root.absolute()), shards, progress, by_content) if look else unlike
    warnings += () if look else unseen(spec, records)
    before = len(problems.found)
    splits = assign_splits(spec.splits, records, labels, persons, hashes, rows, warnings, problems)
    if splits is None and spec.splits.fractions is None and "split" not in spec.columns and not spec.splits.source:
        text = "no splits: name a split column, or give splits: {train: 0.7, val: 0.15, test: 0.15, seed: 0}"
        problems.add(text, "no-splits")
    split_faults = len(problems.found) > before
    # What images hold decides where copies go: then all are read.
    alone = None if spec.duplicates == DROP_COPIES or by_content or spec.shards else split
    files = located(spec, root if look else None, records, shards, splits, rows, problems, warnings, alone)
    warnings += () if shards is None else shards.warnings
    if splits is not None and not split_faults:
        warnings += _empty(groupings.values(), splits, problems)
    if not files:
        return None
    return Manifest(
        path=path,
        name=spec.name,
        images=root,
        classes=tasks[0].classes,
        transform=spec.transform,
        sha256=sha256,
        files=files,
        labels=labels,
        splits=(np.full(count, -1) if splits is None else splits).astype(np.int8),
        rows=records.rows,
        attributes=groupings,
        persons=persons,
        table=records.table,
        warnings=tuple(warnings),
        tasks=tasks,
        tables=records.tables,
        shards=None if shards is None or not files else shards.places(files),
        duplicates=spec.duplicates,
        image_column=spec.columns.get("image", "file"),
    )


def _hashes(
    root: str, shards: Shards | None, progress: Progress | None, read: list[str], files: Sequence[str]
) -> np.ndarray:
    """Of what images hold, uint8 [n, 16]; `read` takes the names of those that were asked for."""
    read += files
    return content_hashes(root, files, progress=progress) if shards is None else shards.hashes(files)


def _empty(groupings: Iterable[Grouping], splits: np.ndarray, problems: Problems) -> list[str]:
    """Problems where the test split lacks images, of a group or of all; a sentence per other split without any."""
    if not (splits == SPLITS.index("test")).any():
        problems.add("no image is in the test split", "empty-split")
    else:
        for grouping in groupings:
            problems.extend(untested(grouping, splits), "untested-group")
    return [f"no image is in the {name} split" for k, name in enumerate(SPLITS[:2]) if not (splits == k).any()]


def _numbered(records: Records) -> Sequence[int]:
    """The row of each record; of several tables, with its table."""
    if isinstance(records.files, LongPaths):
        return records.rows  # type: ignore[return-value]  # as numbers alone they take a tenth of the memory
    rows: list[int] = records.rows.tolist()
    return [TableRow(row, table) for row, table in zip(rows, records.tables, strict=True)] if records.tables else rows


def _tasks(spec: Spec, records: Records, root: Path, warnings: list[str], problems: Problems) -> tuple[Task, ...]:
    """The tasks with their classes and labels, -1 where a label is at fault."""
    found = []
    for task, cells in zip(spec.tasks, records.labels, strict=True):
        before = len(problems.found)
        classes, labels = _labels(task, spec.format, cells, records, root, warnings, problems)
        if len(problems.found) == before and not task.classes:  # else the document's lines were named already
            place = f"tasks.{task.name}." if task.name else ""
            faults = head_faults(task.head, len(classes))
            problems.extend(f"{place}{key}: {text}" for key, text in faults.items())
        found.append(Task(task.name, classes, labels, task.head))
    return tuple(found)


def _labels(
    task: TaskSpec, kind: str, cells: Sequence[str] | None, records: Records, root: Path, warnings: list[str],
    problems: Problems,
) -> tuple[tuple[str, ...], np.ndarray]:  # fmt: skip
    rows = _numbered(records)
    if cells is None:
        return task.classes, np.full(len(rows), -1, dtype=np.int64)
    if kind == "table" and task.label is None and not task.classes:
        return (), np.full(len(rows), -1, dtype=np.int64)  # that there are no classes is a problem already
    # Class folders give the labels even where a table gives the rest.
    folder = kind == "folder"
    source, at = (root.absolute().name, [0] * len(rows)) if folder else (records.table, rows)
    label = task.label or AttributeSpec("label", "label", None)
    if task.name:
        label = replace(label, name=f"tasks.{task.name}.label")
    column = SourceColumn(cells, source, at, records.usual.get(label.column))
    before = len(problems.found)
    # Class folders keep the order that torchvision's ImageFolder gives them: that of text, numbers or not.
    chosen = task.classes or (tuple(sorted(set(cells))) if folder else ())
    classes, labels = coded(label, column, problems, warnings, chosen)
    if len(classes) < 2 and len(problems.found) == before:
        problems.add(f"only one class, {''.join(classes)!r}: a classifier needs at least two")
    absent = [name for k, name in enumerate(classes) if not (labels == k).any()]
    if absent and len(problems.found) == before:
        warnings.append(f"{f'task {task.name}: ' if task.name else ''}no image of class {', '.join(absent)}")
    if label.bins and (bare := int((labels < 0).sum())) and len(problems.found) == before:
        problems.add(f"{records.table}: {label.name}: {bare:,} cells are empty", "unknown-value", records.table)
    return classes, labels


def _person_numbers(records: Records, warnings: list[str]) -> np.ndarray | None:
    """A number per person; a row that names nobody gets one of its own."""
    if records.persons is None:
        return None
    numbers: dict[str, int] = {}
    result = np.empty(len(records.persons), dtype=np.int64)
    nameless = 0
    if isinstance(records.persons, CodedCells) and not any(map(is_missing, records.persons.values)):
        return records.persons.codes.astype(np.int64)
    for i, person in enumerate(records.persons):
        if is_missing(person):
            nameless += 1
            result[i] = -nameless
        else:
            result[i] = numbers.setdefault(person, len(numbers))
    warnings += alike_names("person", tuple(numbers), result, "spell a person's name in one way")
    if nameless:
        warnings.append(f"{nameless:,} rows name no person; each is taken for another person")
        result[result < 0] = len(numbers) - 1 - result[result < 0]
    return result


def _group(spec: AttributeSpec, column: SourceColumn, warnings: list[str], problems: Problems) -> Grouping | None:
    """The groups of an attribute; None where a cell is at fault, as whatever is counted then follows from that."""
    before = len(problems.found)
    groups, index = coded(spec, column, problems, warnings)
    if len(problems.found) > before:
        return None
    empty, words = int((index < 0).sum()), missing_words(column.cells, index)
    if empty and spec.missing == "unknown":
        groups = groups if "unknown" in groups else (*groups, "unknown")
        index = np.where(index < 0, groups.index("unknown"), index)
    elif empty and groups:
        warnings.append(f"{spec.name}: {empty:,} of {len(index):,} images have no value{words} and are in no group")
    if len(groups) == 1:
        warnings.append(f"{spec.name}: all images are in one group, {groups[0]}: there is no gap to measure")
    return Grouping(spec.name, groups, index, dropped=spec.missing == "drop")
