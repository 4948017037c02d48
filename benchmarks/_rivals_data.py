"""The data of benchmarks/rivals.py: what is measured on, and for tuning the same without any of its test images.

For tuning the drawn faces are other draws (data seeds from 100 on). Of LFW and UTKFace the test images are left out,
with all copies of them, and a part of the training images takes their place: a quarter of the persons of LFW, 30 % of
the files of UTKFace, by the SHA-256 of their names, so that every machine carves the same.
"""

from __future__ import annotations

import bisect
import csv
import hashlib
import io
import itertools
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _manifests import with_absolute_paths, write_manifest
from _once import once

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.data.images.duplicates import parted
from fairprune_cli.data.manifest.load import load_manifest

FACES, FIRST_FOR_TUNING = "faces", 100


@dataclass(frozen=True)
class Task:
    """What is measured on one data set.

    Attributes:
        family: of tasks on the same images.
        manifest: below the data set's folder; "" of drawn faces.
        notions: that methods are asked for.
        cells: granularity:sparsity.
        key, share: for tuning, the column whose values go to one split whole, and how much of train is carved out.
        measures_all: of the tasks of a family the one where rows are measured that are not measured everywhere.
        bands: attribute of the manifest whose bands are the label, or "" for the manifest's own label.
    """

    name: str
    family: str
    manifest: str
    attribute: str
    notions: tuple[str, ...]
    cells: tuple[str, ...]
    key: str = ""
    share: float = 0.0
    measures_all: bool = True
    bands: str = ""


_REAL = ("weight:0.9", "weight:0.95", "weight:0.98", "channel:0.8", "channel:0.9")
_ONE = ("weight:0.95",)
_BOTH = ("odds", "accuracy")
TASKS = {
    task.name: task
    for task in (
        Task("faces", FACES, "", "gender", ("accuracy",),
             ("weight:0.9", "weight:0.98", "weight:0.99", "channel:0.8", "channel:0.9", "channel:0.98")),
        Task("lfw-smile", "lfw-smile", "manifest.yaml", "gender", _BOTH, _REAL, "person", 0.25),
        Task("utkface-gender-by-race", "utkface", "manifest.yaml", "race", _BOTH, _REAL, "file", 0.3),
        Task("utkface-race-by-gender", "utkface", "race.yaml", "gender", _BOTH, _ONE, "file", 0.3, False),
        Task("utkface-age-by-gender", "utkface", "race.yaml", "gender", _BOTH, _ONE, "file", 0.3, False, "age"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Draw:
    """The images of a task: a draw of the faces, or the data set as it is.

    Attributes:
        images: name of manifest and images; draws with the same one share their dense models.
    """

    task: Task
    images: str
    manifest: Path

    @property
    def name(self) -> str:
        return f"{self.images}-by-{self.task.attribute}"


def tasks_of(names: Sequence[str]) -> list[Task]:
    """The tasks of these names, or of families of them.

    Raises:
        FairpruneError: an unknown name.
    """
    unknown = [name for name in names if not any(name in (task.name, task.family) for task in TASKS.values())]
    if unknown:
        raise FairpruneError(f"{unknown[0]!r} is not known", where="--data", hint=f"one of {', '.join(TASKS)}")
    return [task for task in TASKS.values() if task.name in names or task.family in names]


def draws_of(task: Task, work: Path, data_seeds: int, tuning: bool) -> tuple[list[Draw], str]:
    """The images of a task, written where they are not there yet, or none and a sentence why."""
    if task.family == FACES:
        first = FIRST_FOR_TUNING if tuning else 0
        return [_drawn(task, work, seed) for seed in range(first, first + data_seeds)], ""
    root = os.environ.get("FAIRPRUNE_DATA_ROOT")
    source = Path(root or ".") / task.family / task.manifest
    if not root or not source.exists():
        where = f"{source} is not there" if root else "FAIRPRUNE_DATA_ROOT does not say where it is"
        return [], f"{task.name} is left out: {where}."
    images = "-".join([task.family, task.bands or Path(task.manifest).stem, *(["tuning"] if tuning else [])])
    folder = work / "data" / images
    content = with_absolute_paths(source)
    content["duplicates"] = "drop"  # UTKFace has images with equal bytes in two splits
    if task.bands:
        table = (folder / "bands.csv").absolute()
        text, content = with_bands(Path(content["table"]).read_text(encoding="utf-8-sig"), content, task.bands)
        once(table, lambda: atomic_write_text(table, text))
        content["table"] = str(table)
    if tuning:
        whole = write_manifest(content, folder / "whole.yaml")
        table = (folder / "table.csv").absolute()
        once(table, lambda: atomic_write_text(table, _carved(whole, Path(content["table"]), task)))
        content["table"] = str(table)
    return [Draw(task, images, write_manifest(content, folder / "manifest.yaml"))], ""


def _carved(whole: Path, table: Path, task: Task) -> str:
    """The table for tuning of the data set that a manifest describes, which drops copies in earlier splits."""
    kept = set(parted(load_manifest(whole)).files)
    return carve(table.read_text(encoding="utf-8-sig"), task.key, task.share, kept)


def _drawn(task: Task, work: Path, seed: int) -> Draw:
    images = f"{FACES}-{seed}"
    manifest = work / "data" / images / "manifest.yaml"
    once(manifest.parent, lambda: write_sample(manifest.parent, seed=seed))
    return Draw(task, images, manifest)


def with_bands(table: str, content: Mapping[str, Any], attribute: str) -> tuple[str, dict[str, Any]]:
    """A table with the column `band`, and the manifest whose label that is, in place of an attribute with bins."""
    attributes = dict(content["attributes"])
    of = attributes.pop(attribute)
    edges = [float(edge) for edge in of["bins"]]
    classes = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    rows = [
        {**row, "band": classes[bisect.bisect_right(edges, float(row[of["column"]])) - 1]}
        for row in csv.DictReader(io.StringIO(table))
    ]
    columns = {**content["columns"], "label": "band"}
    return _table_of(rows), {**content, "columns": columns, "classes": classes, "attributes": attributes}


def carve(table: str, key: str, share: float, kept: Container[str]) -> str:
    """A table without its test rows, a share of the training rows in their place.

    Args:
        table: CSV with the columns `file` and `split`.
        key: column whose values go to one split whole.
        share: of these values, 0..1, by the first 32 bits of their SHA-256.
        kept: files that may stay; no copy of a test image is among those of other splits.
    """
    rows = csv.DictReader(io.StringIO(table))
    return _table_of([_moved(row, key, share) for row in rows if row["split"] != "test" and row["file"] in kept])


def _table_of(rows: Sequence[Mapping[str, str]]) -> str:
    """CSV of rows with the columns of the first."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _moved(row: Mapping[str, str], key: str, share: float) -> dict[str, str]:
    drawn = int(hashlib.sha256(row[key].encode()).hexdigest()[:8], 16) / 2**32 < share
    return {**row, "split": "test"} if row["split"] == "train" and drawn else dict(row)
