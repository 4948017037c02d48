"""The rows that a manifest's table or class folders hold, still as text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairprune_cli.errors import Problems
from fairprune_cli.layouts import list_folder
from fairprune_cli.spec import Spec
from fairprune_cli.tables import Table, read_table, some_rows


@dataclass(frozen=True, eq=False)
class Records:
    """The rows as text, the same for every layout; a column that could not be found is None."""

    table: str
    files: list[str] | None
    labels: list[str] | None
    splits: list[str] | None
    persons: list[str] | None
    attributes: Mapping[str, list[str]]
    rows: np.ndarray
    warnings: tuple[str, ...] = ()


def read_records(spec: Spec, base: Path, digest: hashlib._Hash, problems: Problems) -> Records | None:
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
    return Records(table.name, found["image"], found["label"], found["split"], found["person"], attributes, table.rows)


def _folder_records(
    spec: Spec, root: Path, table: Table | None, digest: hashlib._Hash, problems: Problems
) -> Records | None:
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
    return Records(
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
