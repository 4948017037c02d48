"""Predicted classes of finished runs, kept beside the results: tables without training, and a benchmark done in parts.

A file of JSON lines, one per run: `run`, its place below the folder of the runs; `predicted` and, of dense models,
`labels` and `groups`, as base64 of zlib of int16; `names` of the groups; `cost`. Where runs are left, their dense model
is trained again, and where it predicts any image otherwise than the one before, what was pruned from that one is done
again: rows of one seed always come from one dense model.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from _once import once
from _rivals_runs import Job, Place, of_one_model, read_run, write_run

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_write_text

_ARRAYS, _TEXTS = ("predicted", "labels", "groups"), ("names", "cost")


def archive_of(results: Path, place: Place) -> Path:
    """The file for the runs of a place."""
    return results / f"rivals-runs-{place.folder.name}.jsonl"


def archive(jobs: Iterable[Job], place: Place, path: Path) -> None:
    """Keep what is there of these runs and their dense models, beside what the file has of other ones.

    Where a dense model is another one than the file's, what the file has of that one's runs is kept no longer.
    """
    jobs = list(jobs)
    kept = {line["run"]: line for line in _lines(path)}
    for draw, seed in {(job.draw, job.seed) for job in jobs}:
        dense = place.dense_classes(draw, seed)
        before = kept.get(_name(dense, place))
        if before and dense.exists() and not of_one_model(_unpacked(before), read_run(dense)):
            below = f"{_name(place.runs_of(draw, seed), place)}/"
            kept = {name: line for name, line in kept.items() if not name.startswith(below)}
    for file in {file for job in jobs for file in _files(job, place)}:
        if file.exists():
            name = _name(file, place)
            kept[name] = {"run": name, **_packed(read_run(file))}
    if kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(path, "".join(f"{json.dumps(kept[name])}\n" for name in sorted(kept)))


def restore(place: Place, path: Path) -> None:
    """Put all runs that were kept where runs are looked for, once per folder of runs."""
    once(place.folder / "restored.txt", lambda: _restore(place, path))


def _restore(place: Place, path: Path) -> None:
    kept = _lines(path)
    for line in kept:
        file = place.folder / f"{line['run']}.npz"
        if not file.exists():
            write_run(file, _unpacked(line))
    place.folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(place.folder / "restored.txt", f"{path.name}: {len(kept)} runs\n")


def _files(job: Job, place: Place) -> tuple[Path, Path]:
    return job.classes(place), place.dense_classes(job.draw, job.seed)


def _lines(path: Path) -> list[dict[str, Any]]:
    """Every run of the file.

    Raises:
        FairpruneError: a line is none.
    """
    found = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    runs = []
    for number, text in enumerate(found, 1):
        try:
            line = json.loads(text)
            _unpacked(line)
            runs.append(line)
        except (ValueError, KeyError, TypeError, zlib.error):
            raise FairpruneError(
                f"line {number} is not a run as it was written", where=str(path), hint="take the file from its source"
            ) from None
    return runs


def _name(file: Path, place: Place) -> str:
    return file.relative_to(place.folder).as_posix().removesuffix(".npz")


def _packed(run: dict[str, Any]) -> dict[str, Any]:
    arrays = {key: np.asarray(run[key], dtype="<i2").tobytes() for key in _ARRAYS if key in run}
    coded = {key: base64.b64encode(zlib.compress(data, 9)).decode() for key, data in arrays.items()}
    return coded | {key: np.asarray(run[key]).tolist() for key in _TEXTS if key in run}


def _unpacked(line: dict[str, Any]) -> dict[str, Any]:
    found = {key: zlib.decompress(base64.b64decode(line[key])) for key in _ARRAYS if key in line}
    arrays = {key: np.frombuffer(data, dtype="<i2").astype(np.int16) for key, data in found.items()}
    return arrays | {key: np.array(line[key]) for key in _TEXTS if key in line}
