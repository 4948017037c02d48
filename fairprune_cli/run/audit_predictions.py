"""An audit of predictions that were made elsewhere: no model, no image and no torch is read."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairprune_cli.audit.changed_images import ChangedImages
from fairprune_cli.audit.doubt import ConstantAnswer
from fairprune_cli.audit.group_counts import DENSE, GroupCounts
from fairprune_cli.audit.policy import policy_of
from fairprune_cli.audit.predictions import Predicted, read_predictions
from fairprune_cli.audit.rates import Counts
from fairprune_cli.core import provenance
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import refuse_no_file, sha256_file
from fairprune_cli.core.memory import peak_resident_bytes
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.load import Manifest
from fairprune_cli.data.tables.columnar import Utf8
from fairprune_cli.data.tables.long_columns import LongPaths, texts_of
from fairprune_cli.data.tables.path_keys import KeyTable, path_keys
from fairprune_cli.run.audit_checks import (
    plan_of,
    refuse_out,
    refuse_without_dense,
    report_place,
    unknown_sizes,
)
from fairprune_cli.run.audit_report import AuditReport, Counted, Outcome
from fairprune_cli.run.causes import by_counts_alone
from fairprune_cli.run.foreseen import refuse_gates_without_groups
from fairprune_cli.run.opened_data import Data, open_data
from fairprune_cli.run.options import Resolved
from fairprune_cli.run.plug_ins import refuse_broken_plug_ins

KIND = "predictions"
_OF_MODELS = ("arch", "weights", "classes_from", "batch_size", "device", "group_thresholds")  # how a model is run
_AT_ONCE = 1 << 20  # images that are counted
_SHOWN = 6
_NO_MODEL = "predictions were audited, and no model"
_SIZES = ("dense_bytes", "file_bytes", "dense_parameters", "parameters", "dense_macs", "macs")


@dataclass(frozen=True)
class PredictionsRequest:
    """What `fairprune audit --predictions` was asked for, beyond the settings.

    Attributes:
        in_memory: whether the files stand for what was given in memory, and only their names mean something.
    """

    predictions: Path
    resolved: Resolved
    against: Path | None = None
    out: Path | None = None
    force: bool = False
    dry_run: bool = False
    in_memory: bool = False


def idle_settings(given: Container[str]) -> list[str]:
    """Settings that were given and say how a model is run, which no audit of predictions does."""
    return [key for key in _OF_MODELS if key in given]


def refuse_idle_settings(spelled: Sequence[str]) -> None:
    """Refuse them; spelled: as whoever gave them wrote them."""
    if spelled:
        raise FairpruneError(
            "says nothing of predictions, for which no model is run", where=spelled[0], hint="leave it out"
        )


def audit_predictions(request: PredictionsRequest, terminal: Terminal) -> Outcome:
    """Audit a table of predictions, alone or against that of the dense model for the same images.

    Raises:
        FairpruneError: an image of the split has no prediction, or a row cannot be used: nothing is left out.
    """
    settings, started = request.resolved.settings, time.time()
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise FairpruneError(
            "predictions are audited by one process", where="WORLD_SIZE", hint="run it without torchrun"
        )
    policy = policy_of(settings)
    refuse_out(request.out, request.force, settings)
    tables = _named(request)
    for path in tables.values():
        refuse_no_file(path, "give a CSV or Parquet file with a row per image")
    beside = None if request.in_memory else request.predictions
    data = open_data(settings, beside, terminal, True, settings.split, images=False).with_attributes(policy.attributes)
    refuse_gates_without_groups(policy, data)
    refuse_broken_plug_ins(*(len(task.classes) for task in data.manifest.tasks))
    if request.against is None:
        refuse_without_dense(settings, policy, len(data.manifest.classes), "--against-predictions FILE")
    if settings.show_examples:
        raise FairpruneError("an audit of predictions opens no image", where="--show-examples", hint="leave it out")
    rows = data.rows_to_audit(settings.split)
    if request.dry_run:
        return Outcome(plan_of({k: str(v) for k, v in tables.items()}, data, settings, policy), ExitCode.OK)
    digests = _digests(tables, policy.needs_dense(len(data.manifest.classes)), terminal)
    found = _read(tables, data, rows, terminal)
    counted = _counted(found, data, rows)

    def describe() -> dict[str, Any]:
        described = {
            name: {
                "architecture": KIND,
                "kind": KIND,
                "source": path.stem if request.in_memory else str(path),
                "sha256": digests[name],
            }
            for name, path in tables.items()
        }
        finished = time.time()
        machine = f"{platform.system()} {platform.machine()}"
        return {
            "model": described[next(reversed(tables))],
            "against": described.get(DENSE) if request.against else None,
            "size": unknown_sizes(_SIZES, _NO_MODEL),
            "config": request.resolved.document(),
            "cost": {"passes": 0.0, "seconds": finished - started, "peak_bytes": peak_resident_bytes()},
            "provenance": provenance.collect(settings.seed, "none", machine, started, finished),
        }

    def explain(one: ConstantAnswer, counts: Counts, task: int, _: str) -> ConstantAnswer:
        return by_counts_alone(one, counts, data.manifest.tasks[task].classes, settings.confidence)

    with report_place(request.out, request.force, settings):
        return AuditReport(data, settings, policy, terminal, explain).of(counted, describe, request.out)


def _digests(tables: Mapping[str, Path], needs_dense: bool, terminal: Terminal) -> dict[str, str]:
    """The SHA-256 of each table.

    Raises:
        FairpruneError: both hold the same bytes, and it is to be judged what was lost between them.
    """
    digests = {name: sha256_file(path) for name, path in tables.items()}
    if len(set(digests.values())) < len(digests):
        if needs_dense:
            raise FairpruneError(
                f"holds the same bytes as {tables[DENSE]}, so nothing can be lost against it",
                where=str(list(tables.values())[-1]),
                hint="give the dense model's predictions with --against-predictions",
            )
        terminal.warn("both tables of predictions hold the same bytes: nothing can have changed", code="same-tables")
    return digests


def _named(request: PredictionsRequest) -> dict[str, Path]:
    """The tables by the names that models have in a report."""
    if request.against is None:
        return {DENSE: request.predictions}
    if request.against.resolve() == request.predictions.resolve():
        raise FairpruneError(
            "is given twice", where=str(request.predictions), hint="give the dense model's predictions"
        )
    return {DENSE: request.against, "pruned": request.predictions}


def _read(tables: Mapping[str, Path], data: Data, rows: np.ndarray, terminal: Terminal) -> dict[str, Predicted]:
    """What the tables say of the images at `rows` of the manifest."""
    manifest = data.manifest
    files = manifest.files
    keys = files.places if isinstance(files, LongPaths) else KeyTable(path_keys(Utf8.of(files)))
    if len(twice := keys.twice()):
        file = manifest.files[int(twice[0])]
        raise FairpruneError(f"the image {file!r} stands there in two spellings", where=manifest.where(int(twice[0])),
                             hint="name every image once")  # fmt: skip
    place = np.full(len(manifest), -1, np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    found = {}
    for name, path in tables.items():
        with terminal.eventual_progress(f"reading {path.name}"):
            found[name] = read_predictions(path, manifest.image_column, keys, place, len(rows), manifest.tasks)
        _refuse_missing(found[name], data, rows)
        if found[name].others:
            terminal.warn(
                f"{path.name}: {found[name].others:,} rows are of images in other splits and are not counted",
                code="other-splits",
            )
    return found


def _refuse_missing(found: Predicted, data: Data, rows: np.ndarray) -> None:
    """Refuse a table without some of the images: those that it leaves out may be the very ones that a group gets wrong.

    Raises:
        FairpruneError: with how many there are of each group.
    """
    missing = found.missing
    if not len(missing):
        return
    at = rows[missing]
    groups = []
    for grouping in data.groupings:
        counts = np.bincount(grouping.index[at] + 1, minlength=len(grouping.groups) + 1)
        told = [f"{name} {n:,}" for name, n in zip((*grouping.groups,), counts[1:].tolist(), strict=True) if n]
        told += [f"in no group {counts[0]:,}"] if counts[0] else []
        groups.append(f"{grouping.name}: {', '.join(told)}")
    files, first = data.manifest.files, [int(i) for i in at[:_SHOWN]]
    shown = ", ".join(texts_of(files, first)) + (" …" if len(at) > _SHOWN else "")
    of = f" ({'; '.join(groups)})" if groups else ""
    raise FairpruneError(
        f"{len(at):,} of the {len(rows):,} images that are audited have no prediction{of}: {shown}",
        where=str(found.path), hint="give one for every image of the split",
    )  # fmt: skip


def _counted(found: Mapping[str, Predicted], data: Data, rows: np.ndarray) -> list[Counted]:
    """Counts of each task."""
    groupings = data.groupings
    named, images = {grouping.name: grouping.groups for grouping in groupings}, _Images(data)
    counted = []
    for number, task in enumerate(data.manifest.tasks):
        changed = ChangedImages()
        tally = GroupCounts(list(found), [len(grouping.groups) for grouping in groupings], len(task.classes))
        for start in range(0, len(rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            sure = {name: one.confidence[number] for name, one in found.items()}
            predicted = {name: one.classes[number][part].astype(np.int64) for name, one in found.items()}
            labels = task.labels[rows[part]]
            tally.add(
                labels, images[rows[part]], predicted, {name: t[part] for name, t in sure.items() if t is not None}
            )
            for name in tally.paired:
                at = np.flatnonzero(predicted[name] != predicted[DENSE])
                changed.add(name, rows[part][at], labels[at], predicted[DENSE][at], predicted[name][at])
        result = tally.result(task.classes, named)
        counted.append(Counted(result, None, changed, images) if tally.paired else Counted(result))
    return counted


@dataclass(frozen=True)
class _Images:
    """Names and groups of the images of a manifest, by row, looked up where they are asked for."""

    data: Data

    @property
    def manifest(self) -> Manifest:
        return self.data.manifest

    @property
    def groups(self) -> _Images:
        return self

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """The groups of some rows, int64 [n, A], -1 where in none."""
        columns = [grouping.index[rows] for grouping in self.data.groupings]
        return np.stack(columns, -1) if columns else np.empty((len(rows), 0), np.int64)
