"""From a manifest's bytes to a checked `Manifest`: labels, groups and splits as numbers, every mistake at once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fairprune_cli.errors import FairpruneError, Problems
from fairprune_cli.layouts import check_files
from fairprune_cli.manifest_data import Grouping, Manifest, untested
from fairprune_cli.records import Records, read_records
from fairprune_cli.spec import AttributeSpec, Spec, parse
from fairprune_cli.tables import (
    MISSING,
    SPLIT_NAMES,
    SPLITS,
    assign_parts,
    bin_names,
    distinct,
    encode,
    encode_bins,
    random_keys,
)


def build(data: bytes, path: Path) -> Manifest:
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
    spec = parse(text, path.absolute().parent.name, problems)
    digest = hashlib.sha256(data)
    records = read_records(spec, path.parent, digest, problems)
    if records is None or (not spec.classes and spec.format == "table"):
        problems.raise_if_any()
        raise AssertionError("a manifest without records has a problem")
    return _check(spec, path, records, digest.hexdigest(), problems)


def _check(spec: Spec, path: Path, records: Records, sha256: str, problems: Problems) -> Manifest:
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
                problems.extend(untested(grouping, splits))
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


def _person_numbers(records: Records, warnings: list[str]) -> np.ndarray | None:
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
    spec: Spec,
    records: Records,
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
