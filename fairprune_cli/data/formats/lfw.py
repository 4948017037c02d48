"""LFW (Huang et al. 2007): a folder per person, with lfw_attributes.txt or male_names.txt and female_names.txt.

lfw_attributes.txt (Kumar et al. 2009) holds a score per image and attribute, whose sign says yes or no. The gender
lists name images or persons, one a line, and give the column `gender`. Splits are drawn by person, seed 0, so that
nobody stands in two of them.
"""

from __future__ import annotations

import hashlib
import re
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
    missing_column,
    yes_no,
)
from fairprune_cli.data.tables.folders import images_below, subfolders
from fairprune_cli.data.tables.table import SHOWN, decoded

ATTRIBUTES = "lfw_attributes.txt"
LISTS = {"male": "male_names.txt", "female": "female_names.txt"}
_BASES = ("", "lfw", "lfw_funneled", "lfw-funneled", "lfw-deepfunneled", "lfw-deepfunneled/lfw-deepfunneled", "images")
_PROBED = 30


def recognise(root: Path) -> bool:
    return _base(root) is not None


def suggest(root: Path) -> Suggestion:
    problems = Problems(str(root))
    known = _known(root)
    source = read(root, (), problems)
    problems.raise_if_any()
    assert source is not None
    sample = evenly_chosen(root, source.files)
    label = column_called("Smiling", known) or (known[0] if known else "gender")
    if column_called("Male", known):
        return Suggestion(label, (("gender", "{column: Male}  # female, male"),), sample, "any of its attributes")
    if "gender" in known and label != "gender":
        return Suggestion(label, (("gender", "{column: gender, values: [female, male]}"),), sample)
    remark = "give a table of labels to predict something else: attributes_table: labels.csv"
    return Suggestion(label, (), sample, remark)


def read(root: Path, wanted: Collection[str], problems: Problems) -> Source | None:
    base = _base(root)
    if base is None:
        problems.add(f"no folders of persons below {str(root)!r} (Aaron_Eckhart/Aaron_Eckhart_0001.jpg)", "bad-table")
        return None
    listed = images_below(root / base, problems)
    files = [below(base, name) for name in listed if "/" in name]
    warnings = []
    if len(files) < len(listed):
        warnings.append(f"{len(listed) - len(files):,} images lie in no person's folder and are left out")
    persons = [name.rpartition("/")[0].rpartition("/")[2] for name in files]
    digest = hashlib.sha256("\0".join(files).encode("utf-8", "surrogateescape"))
    stems = [name.rpartition("/")[2].rpartition(".")[0] for name in files]
    columns: dict[str, list[str]] = {}
    rows = np.zeros(len(files), dtype=np.int64)
    known = _known(root)
    table = root.absolute().name
    scores = set()
    if any(column_called(name, known) not in (None, "gender") for name in wanted):
        rows, table = _scores(root, wanted, known, stems, columns, digest, warnings, problems), ATTRIBUTES
        scores = set(columns)
    for name in wanted:
        found = column_called(name, known)
        if found is None:
            missing_column(name, "of LFW; see attributes_table", table, known, problems)
        elif found == "gender" and name not in columns:
            columns[name] = _gender(root, stems, persons, digest, warnings, problems)
    return Source(
        table, files, columns, rows, known, digest.hexdigest(), {name: yes_no(name) for name in scores},
        frozenset(scores), persons=persons, fractions=(0.7, 0.15, 0.15), by_person=True, warnings=tuple(warnings),
    )  # fmt: skip


def _base(root: Path) -> str | None:
    """The folder below root that holds those of the persons."""
    for base in _BASES:
        place = root / base
        if not place.is_dir():
            continue
        hits = 0
        folders = subfolders(place)[:_PROBED]
        for name in folders:
            pattern = re.compile(re.escape(name) + r"_\d{4}\.(jpe?g|png)", re.IGNORECASE)
            hits += any(pattern.fullmatch(entry.name) for entry in (place / name).iterdir())
        if hits and 2 * hits > len(folders):
            return base
    return None


def _lists(root: Path) -> dict[str, Path]:
    found = {gender: first_file(root, [below(base, name) for base in _BASES]) for gender, name in LISTS.items()}
    return {gender: path for gender, path in found.items() if path is not None}


def _table(root: Path) -> Path | None:
    return first_file(root, [below(base, ATTRIBUTES) for base in _BASES])


def _known(root: Path) -> tuple[str, ...]:
    names: tuple[str, ...] = ()
    path = _table(root)
    if path is not None:
        text, _ = decoded(path, Problems(""))
        names = _header((text or "").splitlines())[2:]
    return (*names, "gender") if _lists(root) else names


def _header(lines: list[str]) -> tuple[str, ...]:
    """person, imagenum and the attributes: the second comment line of the file, or the first line."""
    for line in lines[:3]:
        cells = tuple(cell.strip() for cell in line.lstrip("#").strip().split("\t"))
        if cells[:2] == ("person", "imagenum"):
            return cells
    return ()


def _scores(
    root: Path,
    wanted: Collection[str],
    known: Collection[str],
    stems: list[str],
    columns: dict[str, list[str]],
    digest: hashlib._Hash,
    warnings: list[str],
    problems: Problems,
) -> np.ndarray:
    """Fill `columns` from lfw_attributes.txt, matched by person and image number; the line of each image."""
    path = _table(root)
    assert path is not None
    text, sha256 = decoded(path, problems)
    digest.update(sha256.encode())
    lines = (text or "").splitlines()
    header = _header(lines)
    at = {name: header.index(found) for name in wanted if (found := column_called(name, known)) in header}
    place = {stem: i for i, stem in enumerate(stems)}
    rows = np.zeros(len(stems), dtype=np.int64)
    columns |= {name: [""] * len(stems) for name in at}
    ragged, strangers = [], 0
    for row, line in enumerate(lines, 1):
        cells = line.split("\t")
        if not line.strip() or line.startswith("#") or cells[:2] == ["person", "imagenum"]:
            continue
        if len(cells) != len(header) or not cells[1].strip().isdigit():
            said = f"{path.name} row {row}: {len(cells)} cells where the header has {len(header)}"
            ragged.append(Problem(said, "bad-row", path.name, row))
            continue
        i = place.get(f"{cells[0].strip().replace(' ', '_')}_{int(cells[1]):04d}")
        if i is None:
            strangers += 1
            continue
        rows[i] = row
        for name, position in at.items():
            columns[name][i] = cells[position].strip()
    problems.add_some(ragged, SHOWN, "rows have another number of cells", f"{path.name}: ")
    if strangers:
        warnings.append(f"{strangers:,} rows of {path.name} name images that are not there")
    if nameless := int((rows == 0).sum()):
        warnings.append(f"{nameless:,} of {len(stems):,} images have no row in {path.name}")
    return rows


def _gender(
    root: Path, stems: list[str], persons: list[str], digest: hashlib._Hash, warnings: list[str], problems: Problems
) -> list[str]:
    """The gender of each image by the lists, "" for those that no list names."""
    said: dict[str, str] = {}
    unknown = 0
    names = {*stems, *persons}
    for gender, path in _lists(root).items():
        text, sha256 = decoded(path, problems)
        digest.update(sha256.encode())
        for row, line in enumerate((text or "").splitlines(), 1):
            name = re.sub(r"\.(jpe?g|png)$", "", line.strip(), flags=re.IGNORECASE).replace(" ", "_")
            if not name:
                continue
            if said.setdefault(name, gender) != gender:
                text_of = f"{path.name} row {row}: {name!r} stands in {LISTS[said[name]]} as well"
                problems.add(text_of, "label-conflict", path.name, row)
            unknown += name not in names
    if absent := [name for gender, name in LISTS.items() if gender not in _lists(root)]:
        problems.add(f"{absent[0]} is not in {str(root)!r}", "missing-table", absent[0])
    if unknown:
        warnings.append(f"{unknown:,} names in the gender lists have no image here")
    return [said.get(stem, said.get(person, "")) for stem, person in zip(stems, persons, strict=True)]
