"""UTKFace (Zhang et al. 2017): age, gender and race stand in the file name, [age]_[gender]_[race]_[date].jpg.

The images may lie in the folder itself or in others below it (UTKFace/, part1/ to part3/). A few published names lack a
field; those images are left out, counted and named. There are no splits and no identities.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from fairprune_cli.core.errors import Problems
from fairprune_cli.data.dataset_format import Source, Suggestion, column_called, evenly_chosen, missing_column
from fairprune_cli.data.tables.folders import images_below
from fairprune_cli.data.tables.image_names import is_image_name
from fairprune_cli.data.tables.table import SHOWN

KNOWN = ("age", "gender", "race")
USUAL = {
    "gender": {"0": "male", "1": "female"},
    "race": {"0": "White", "1": "Black", "2": "Asian", "3": "Indian", "4": "Others"},
}
_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_(\d+)\.", re.ASCII)
_ALIKE = re.compile(r"\d{1,3}_\d.*\.jpe?g", re.ASCII | re.IGNORECASE)
_PROBED = 200


def recognise(root: Path) -> bool:
    """Whether most of the first images below root have such a name."""
    names: list[str] = []
    for place, inner, files in os.walk(root):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        names += [name for name in sorted(files) if is_image_name(name)]
        if len(names) >= _PROBED or place.count(os.sep) - str(root).count(os.sep) > 2:
            break
    return bool(names) and sum(bool(_NAME.match(name)) for name in names) > 0.9 * len(names)


def suggest(root: Path) -> Suggestion:
    problems = Problems(str(root))
    files = images_below(root, problems)
    problems.raise_if_any()
    attributes = (("race", "{column: race}"), ("age", "{column: age, bins: [0, 30, 60, 120]}  # [a, b)"))
    sample = evenly_chosen(root, files)
    return Suggestion("gender", attributes, sample, "gender or race; for age: {column: age, bins: [0, 30, 60, 120]}")


def read(root: Path, wanted: Collection[str], problems: Problems) -> Source | None:
    files = images_below(root, problems)
    matches = [_NAME.match(name.rpartition("/")[2]) for name in files]
    kept = [(name, match) for name, match in zip(files, matches, strict=True) if match]
    odd = [name for name, match in zip(files, matches, strict=True) if not match]
    if not kept:
        problems.add(
            f"no image below {str(root)!r} has a name like 26_1_0_20170116.jpg (age_gender_race_date)", "bad-table"
        )
        return None
    warnings = []
    if odd:
        shown = ", ".join(repr(name) for name in odd[:SHOWN]) + (", …" if len(odd) > SHOWN else "")
        warnings.append(f"{len(odd):,} images are left out, whose names are not age_gender_race_date: {shown}")
    columns: dict[str, list[str]] = {}
    for name in wanted:
        found = column_called(name, KNOWN)
        if found is None:
            missing_column(name, "in the file names", root.absolute().name, KNOWN, problems)
        else:
            place = KNOWN.index(found) + 1
            columns[name] = [match[place] for _, match in kept]
    names = [name for name, _ in kept]
    digest = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    usual = {name: USUAL[found] for name in columns if (found := column_called(name, KNOWN)) in USUAL}
    return Source(
        root.absolute().name, names, columns, np.zeros(len(names), dtype=np.int64), KNOWN, digest, usual,
        fractions=(0.7, 0.15, 0.15), warnings=tuple(warnings),
    )  # fmt: skip
