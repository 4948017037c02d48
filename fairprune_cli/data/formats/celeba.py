"""CelebA (Liu et al. 2015): list_attr_celeba.txt, list_eval_partition.txt, identity_CelebA.txt, img_align_celeba/.

The tables may also be the CSV files of the same names, and lie in Anno/ and Eval/ as in the authors' archive.
Attributes are 1 and -1. The partition is the authors' own, and no person stands in two parts of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import Problem, Problems
from fairprune_cli.data.dataset_format import (
    Source,
    Suggestion,
    below,
    column_called,
    evenly_chosen,
    first_file,
    first_folder,
    missing_column,
    yes_no,
)
from fairprune_cli.data.tables.table import SHOWN, decoded, read_table

_BASES = ("", "celeba", "CelebA")
_ATTRIBUTES, _PARTITION, _IDENTITY = "list_attr_celeba", "list_eval_partition", "identity_CelebA"
_IMAGES = "img_align_celeba"
_PARTS = {"0": "train", "1": "val", "2": "test"}


def recognise(root: Path) -> bool:
    return _table(root, _ATTRIBUTES) is not None


def suggest(root: Path) -> Suggestion:
    problems = Problems(str(root))
    path = _table(root, _ATTRIBUTES)
    assert path is not None
    listing = _rows(path, problems, header=True)
    problems.raise_if_any()
    assert listing is not None
    label = column_called("Blond_Hair", listing.header) or next(n for n in listing.header if n != "Male")
    texts = {"gender": "{column: Male}  # female, male", "age": "{column: Young}  # not Young, Young"}
    columns = {"gender": "Male", "age": "Young"}
    attributes = tuple((n, texts[n]) for n, c in columns.items() if c in listing.header and c != label)
    folder = _folder(root)
    sample = evenly_chosen(root / folder, listing.names)
    return Suggestion(label, attributes, sample, "any of its 40 attributes")


def read(root: Path, wanted: Collection[str], problems: Problems) -> Source | None:
    path = _table(root, _ATTRIBUTES)
    if path is None:
        problems.add(f"{_ATTRIBUTES}.txt (or .csv) is not in {str(root)!r}", "missing-table", f"{_ATTRIBUTES}.txt")
        return None
    listing = _rows(path, problems, header=True, wanted=wanted)
    if listing is None:
        return None
    digest = hashlib.sha256(listing.digest.encode())
    columns: dict[str, list[str]] = {}
    for name in wanted:
        found = column_called(name, listing.header)
        if found is None:
            missing_column(name, "of CelebA", path.name, listing.header, problems)
        else:
            columns[name] = listing.columns[found]
    splits = _joined(root, _PARTITION, listing, digest, problems)
    if splits is not None:
        splits = [_PARTS.get(cell, cell) for cell in splits]
    persons = _joined(root, _IDENTITY, listing, digest, problems)
    folder = _folder(root)
    return Source(
        path.name, [below(folder, name) for name in listing.names], columns, listing.rows, listing.header,
        digest.hexdigest(), {name: yes_no(name) for name in columns}, splits=splits, persons=persons,
    )  # fmt: skip


def _folder(root: Path) -> str:
    inner = (_IMAGES, f"Img/{_IMAGES}")
    places = [below(base, name) for base in _BASES for name in inner]
    folder = first_folder(root, places) or _IMAGES
    # Some archives hold the folder within itself.
    nested = f"{folder}/{_IMAGES}"
    return nested if (root / nested).is_dir() else folder


def _table(root: Path, name: str) -> Path | None:
    places = [below(base, inner) for base in _BASES for inner in ("", "Anno", "Eval", "anno", "eval")]
    return first_file(root, [below(place, name + suffix) for suffix in (".txt", ".csv") for place in places])


class _Listing:
    """A table of the data set: names of images, the columns that were wanted, and the line of each row."""

    def __init__(self, header: tuple[str, ...], names: list[str], columns: dict[str, list[str]], rows: np.ndarray,
                 digest: str) -> None:  # fmt: skip
        self.header, self.names, self.columns, self.rows, self.digest = header, names, columns, rows, digest


def _rows(path: Path, problems: Problems, header: bool, wanted: Collection[str] | None = None) -> _Listing | None:
    """A table of words: with a header (the number of images and the columns' names, a line each) or none."""
    if path.suffix == ".csv":
        return _csv_rows(path, problems)
    text, digest = decoded(path, problems)
    if text is None:
        return None
    lines = [line.split() for line in text.splitlines()]
    start = 0
    names: tuple[str, ...] = ("value",)
    if header:
        start, names = 2, tuple(lines[1]) if len(lines) > 1 else ()
        if not names or len(lines[0]) != 1 or not lines[0][0].isdigit():
            problems.add(
                f"{path.name}: expected the number of images in line 1 and the attributes' names in line 2",
                "bad-table", path.name, 1,
            )  # fmt: skip
            return None
    filled = [(i + 1, cells) for i, cells in enumerate(lines) if i >= start and cells]
    ragged = [
        Problem(f"{path.name} row {row}: {len(cells) - 1} values where there are {len(names)} columns",
                "bad-row", path.name, row)
        for row, cells in filled if len(cells) != len(names) + 1
    ]  # fmt: skip
    problems.add_some(ragged, SHOWN, "rows have another number of values", f"{path.name}: ")
    if header and int(lines[0][0]) != len(filled):
        problems.add(
            f"{path.name}: line 1 announces {int(lines[0][0]):,} images, and {len(filled):,} rows follow: was the "
            "file cut short?", "bad-table", path.name, 1,
        )  # fmt: skip
    if ragged or not filled:
        if not filled:
            problems.add(f"{path.name} has no rows", "bad-table", path.name)
        return None
    at = [i for i, name in enumerate(names) if wanted is None or any(column_called(w, [name]) for w in wanted)]
    columns = {names[i]: [cells[i + 1] for _, cells in filled] for i in at}
    rows = np.array([row for row, _ in filled], dtype=np.int64)
    return _Listing(names, [cells[0] for _, cells in filled], columns, rows, digest)


def _csv_rows(path: Path, problems: Problems) -> _Listing | None:
    table = read_table(path, problems)
    if table is None:
        return None
    first, rest = table.header[0], table.header[1:]
    columns = {name: list(table.columns[name]) for name in rest}
    return _Listing(rest, list(table.columns[first]), columns, table.rows, table.sha256)


def _joined(root: Path, name: str, listing: _Listing, digest: hashlib._Hash, problems: Problems) -> list[str] | None:
    """The value that a second table has for each image; None where there is no such table."""
    path = _table(root, name)
    if path is None:
        return None
    found = _rows(path, problems, header=False)
    if found is None:
        return None
    digest.update(found.digest.encode())
    cells = found.columns[next(iter(found.columns))]
    if found.names == listing.names:
        return cells
    value = dict(zip(found.names, cells, strict=True))
    absent = [
        Problem(f"{listing_name!r} has no row in {path.name}", "missing-row", listing_name, int(row))
        for listing_name, row in zip(listing.names, listing.rows, strict=True) if listing_name not in value
    ]  # fmt: skip
    problems.add_some(absent, SHOWN, "images have no row", f"{path.name}: ")
    return None if absent else [value[n] for n in listing.names]
