"""The rows that a manifest's table, class folders or published data set hold, still as text."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import Problems
from fairprune_cli.core.printable import tidy
from fairprune_cli.data import dataset_format
from fairprune_cli.data.dataset_format import below
from fairprune_cli.data.manifest.columns import AttributeSpec
from fairprune_cli.data.manifest.spec import Spec
from fairprune_cli.data.manifest.split_spec import left_out, words_of_paths
from fairprune_cli.data.manifest.task_spec import TaskSpec
from fairprune_cli.data.tables.coded_cells import CodedCells
from fairprune_cli.data.tables.codes import some_rows
from fairprune_cli.data.tables.folders import list_folder
from fairprune_cli.data.tables.joined import read_tables
from fairprune_cli.data.tables.long_columns import LongPaths, read_long_table
from fairprune_cli.data.tables.table import TextTable, read_table


@dataclass(frozen=True, eq=False)
class Records:
    """The rows as text, the same for every layout; a column that could not be found is None."""

    table: str
    files: Sequence[str] | None
    labels: tuple[Sequence[str] | None, ...]  # of each task
    splits: Sequence[str] | None
    persons: Sequence[str] | None
    attributes: Mapping[str, Sequence[str]]
    rows: np.ndarray
    warnings: tuple[str, ...] = ()
    usual: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # column -> {cell: name}
    fractions: dataset_format.Fractions | None = None  # where neither the data nor the manifest has splits
    by_person: bool = False
    val_share: float = 0.0
    tables: tuple[str, ...] = ()  # the table of each row, where there are several


def read_records(
    spec: Spec, folder: Path, digest: hashlib._Hash, problems: Problems, images: bool = True
) -> Records | None:
    """The rows of a manifest; None after noting why there are none.

    Args:
        folder: of the manifest, which paths are relative to.
        digest: to which what the rows were read from is added.
        images: False where they are not going to be looked at: a table may then be of any length.
    """
    wanted = [*spec.columns.values(), *(attribute.column for attribute in spec.attributes)]
    wanted += [task.label.column for task in spec.tasks if task.label is not None]
    # The sidecar of a published data set is read whole: which of its columns are asked for is not known yet.
    named = wanted if spec.format in ("table", "folder") else None
    if spec.tables:
        joined = read_tables(folder, spec.tables, problems, wanted)
        if joined is None:
            return None
        digest.update(joined[0].sha256.encode())
        return _table_records(spec, joined[0], joined[1], problems)
    table = None
    if spec.table and spec.format == "table" and not (images or spec.splits.fractions or spec.splits.source):
        table = read_long_table(folder / spec.table, problems, spec.columns.get("image", ""), wanted)
    elif spec.table:
        table = read_table(folder / spec.table, problems, named)
    if table is not None:
        digest.update(table.sha256.encode())
    elif spec.table:
        return None
    if spec.format == "folder":
        return _folder_records(spec, folder / spec.images, table, digest, problems)
    if spec.format != "table":
        return _native_records(spec, folder / spec.images, table, digest, problems)
    return None if table is None else _table_records(spec, table, None, problems)


def _table_records(spec: Spec, table: TextTable, splits: list[str] | None, problems: Problems) -> Records | None:
    """The rows of a table, or of several, whose splits are then given."""
    found = {
        key: table.column(spec.columns[key], key, problems) if key in spec.columns else None
        for key in ("image", "label", "split", "person")
    }
    labels = tuple(
        found["label"] if task.label is None else table.column(task.label.column, _purpose(task), problems)
        for task in spec.tasks
    )
    attributes = {}
    for attribute in spec.attributes:
        cells = table.column(attribute.column, f"attribute {attribute.name}", problems)
        if cells is not None:
            attributes[attribute.name] = cells
    files = found["image"]
    if files is not None and splits is not None and spec.image_folders:
        files = [below(spec.image_folders[split], file) for split, file in zip(splits, files, strict=True)]
    if spec.splits.source and files is not None:
        splits = words_of_paths(spec.splits, files)
    return _kept(spec, Records(
        table.name, files, labels, splits or found["split"], found["person"], attributes, table.rows,
        tables=table.tables,
    ))  # fmt: skip


def _kept(spec: Spec, records: Records) -> Records:
    """Without the images whose split is `drop`: counted, as they are left out."""
    dropped = set(left_out(spec.splits, records.splits or ()))
    if not dropped:
        return records
    whole = [i for i in range(len(records.rows)) if i not in dropped]
    return _some(records, whole, f"{len(dropped):,} images are left out, as `splits` drops them")


def _purpose(task: TaskSpec) -> str:
    """What the column of a task's labels is for, in messages."""
    return f"label of the task {task.name}" if task.name else "label"


def _native_records(
    spec: Spec, root: Path, table: TextTable | None, digest: hashlib._Hash, problems: Problems
) -> Records | None:
    if not root.is_dir():
        problems.add(f"the image root {str(root)!r} is not a folder", "missing-root")
        return None
    # A column of the sidecar comes before one of the data set itself.
    beside = set() if table is None else set(table.header)
    specs = [s for s in (*(task.label for task in spec.tasks), *spec.attributes) if s is not None]
    wanted = list(dict.fromkeys(s.column for s in specs if s.column not in beside))
    source: dataset_format.Source | None = plugins.DATASET_FORMAT.load(spec.format).read(root, wanted, problems)
    if source is None:
        return None
    digest.update(source.digest.encode())
    warnings = list(source.warnings)
    at = None
    if table is not None:
        image = table.column(_image_column(spec, table), "columns.image, the images' paths or names", problems)
        if image is not None:
            at = _match(image, source.files, table, problems, by_name=True)
            if absent := at.count(-1):
                warnings.append(f"{absent:,} images have no row in {table.name}")

    def cells_of(one: AttributeSpec) -> list[str] | None:
        if one.column in beside:
            assert table is not None
            return None if at is None else [table.columns[one.column][i] if i >= 0 else "" for i in at]
        cells = source.columns.get(one.column)
        return (
            dataset_format.signs(cells)
            if cells is not None and one.column in source.scores and one.bins is None
            else cells
        )

    persons, person = source.persons, spec.columns.get("person")
    if person is not None:
        if table is None:
            problems.add("columns.person: needs a table that has it: attributes_table: people.csv", "unknown-column")
        elif (found := table.column(person, "person", problems)) is not None and at is not None:
            persons = [found[i] if i >= 0 else "" for i in at]
    attributes = {one.name: cells for one in spec.attributes if (cells := cells_of(one)) is not None}
    # Shares in the manifest put the published split aside.
    splits = source.splits if spec.splits.fractions is None else None
    if spec.splits.by_person and persons is None:
        problems.add("splits.by: this data set comes without identities: give columns: {person: COLUMN} with a table")
    records = Records(
        source.table, source.files,
        tuple(None if task.label is None else cells_of(task.label) for task in spec.tasks),
        splits, persons, attributes, source.rows, tuple(warnings),
        {k: v for k, v in source.usual.items() if k not in beside},
        source.fractions, source.by_person, source.val_share if splits is not None else 0.0,
    )  # fmt: skip
    return _kept(spec, _labelled(records))


def _labelled(records: Records) -> Records:
    """Without the images that a published table gives no label: counted, as the authors' own tables have such gaps."""
    listed = [labels for labels in records.labels if labels is not None]
    whole = [i for i, labels in enumerate(zip(*listed, strict=True)) if all(labels)]
    if not listed or not whole or not (bare := len(listed[0]) - len(whole)):
        return records
    return _some(records, whole, f"{bare:,} images have no label and are left out")


def _some(records: Records, kept: Sequence[int], why: str) -> Records:
    """The records at some positions, and a warning that says why the others are not there."""

    def some(cells: Sequence[str] | None) -> Sequence[str] | None:
        if isinstance(cells, CodedCells | LongPaths):
            return cells.at(kept)
        return None if cells is None else [cells[i] for i in kept]

    return replace(
        records, files=some(records.files), labels=tuple(map(some, records.labels)), splits=some(records.splits),
        persons=some(records.persons), rows=records.rows[kept],
        attributes={name: some(cells) or () for name, cells in records.attributes.items()},
        tables=tuple(records.tables[i] for i in kept) if records.tables else (),
        warnings=(*records.warnings, why),
    )  # fmt: skip


def _image_column(spec: Spec, table: TextTable) -> str:
    named = spec.columns.get("image")
    return named or next((name for name in ("file", "image", "path", "filename") if name in table.header), "file")


def _folder_records(
    spec: Spec, root: Path, table: TextTable | None, digest: hashlib._Hash, problems: Problems
) -> Records | None:
    listing = list_folder(root, problems, spec.splits.split_of)
    if listing is None:
        return None
    digest.update("\0".join(listing.files).encode("utf-8", "surrogateescape"))
    if problems:
        return None  # names that cannot be encoded would only stumble further on
    warnings = list(listing.warnings)
    count = len(listing.files)
    rows = np.zeros(count, dtype=np.int64)
    splits = listing.splits
    if splits is not None and spec.splits.fractions is not None:
        problems.add("splits: the folders name the splits already (train, val, test): remove the shares")
    if spec.splits.source:
        splits = words_of_paths(spec.splits, [file.partition("/")[2] for file in listing.files])  # below the class
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
    return _kept(spec, Records(
        table.name if table is not None else root.absolute().name,
        listing.files, (listing.labels,), splits, persons, attributes, rows, tuple(warnings),
    ))  # fmt: skip


def _match(
    image: Sequence[str], files: Sequence[str], table: TextTable, problems: Problems, by_name: bool = False
) -> list[int]:
    """For each file the table's record that names it, -1 for none.

    Args:
        by_name: a record may also give the file's name without its folders, where no two files share it.
    """
    known = set(files)
    path_of = {tidy(path): path for path in files if not path.isascii()} | (_by_name(files) if by_name else {})
    place: dict[str, int] = {}
    absent: list[tuple[int, str]] = []
    doubled: list[tuple[int, str]] = []
    for i, cell in enumerate(image):
        name = cell.removeprefix("./")
        name = name if name in known else path_of.get(name, name)
        if name not in known:
            absent.append((int(table.rows[i]), cell))
        elif place.setdefault(name, i) != i:
            doubled.append((int(table.rows[i]), cell))
    where = "data set" if by_name else "class folders"
    _note(absent, table, problems, "missing", f"no such image in the {where}, as {{name!r}}")
    _note(doubled, table, problems, "doubled", "the image stands in an earlier row already")
    return [place.get(name, -1) for name in files]


def _note(found: Sequence[tuple[int, str]], table: TextTable, problems: Problems, code: str, text: str) -> None:
    """One problem for all the rows, or, where every fault is wanted, one for each."""
    groups = [[item] for item in found] if problems.every else [list(found)] if found else []
    for group in groups:
        rows = [row for row, _ in group]
        said = text.replace("{name!r}", repr(group[0][1]))
        problems.add(f"{some_rows(table.name, rows)}: {said}", code, group[0][1], rows[0])


def _by_name(files: Sequence[str]) -> dict[str, str]:
    """Paths by file name alone; names that several files share are left out."""
    result: dict[str, str] = {}
    shared = set()
    for path in files:
        name = tidy(path.rpartition("/")[2])
        if result.setdefault(name, path) != path:
            shared.add(name)
    return {name: path for name, path in result.items() if name not in shared}
