"""How far a cell is: done, begun, failed or missing, and whether what is there was made from the wanted settings."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairprune_cli.compare.cells import Cell, ComparisonPlan
from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.core.files import read_plain
from fairprune_cli.core.settings import values_of
from fairprune_cli.run.config_file import read_config_of
from fairprune_cli.run.folder import RunFolder
from fairprune_cli.run.options import resolve

DONE, BEGUN, FAILED, MISSING = "done", "begun", "failed", "missing"

# Where data lie, what computes, and what the gates of a run ask: none of it changes a figure that is compared.
FREE = {
    "data", "device", "threads", "confidence", "max_gap", "max_degradation", "max_churn", "min_accuracy",
    "point_estimate", "allow_small_groups", "list_changed",
}  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """State of a cell; `differs` says what its folder was made from otherwise, and is empty where it agrees."""

    state: str
    reason: str = ""
    differs: str = ""


def standing(plan: ComparisonPlan, cell: Cell) -> Standing:
    """Look at the cell's folder and at what is recorded about it."""
    folder = RunFolder(plan.path(cell))
    if folder.report.exists():
        return Standing(DONE, differs=differences(folder.path, cell))
    failure = failed(plan, cell)
    if failure is not None:
        return Standing(FAILED, str(failure["message"]))
    if folder.state.exists():
        return Standing(BEGUN, "begun, not finished", differences(folder.path, cell))
    return Standing(MISSING, "not computed")


def refuse_differences(plan: ComparisonPlan, found: dict[str, Standing]) -> None:
    """Raise FairpruneError when cells were made from other settings or files than the comparison asks for."""
    problems = Problems(str(plan.folder / "cells"))
    problems.extend(f"{name} was made otherwise: {s.differs}" for name, s in found.items() if s.differs)
    problems.raise_if_any("give another --out, or --force, which computes these cells again and leaves the others")


def differences(folder: Path, cell: Cell) -> str:
    """What the config.yaml of a run disagrees with, as `lr is 0.1 there, 0.2 here`; empty when nothing counts."""
    try:
        saved, _, inputs = read_config_of(folder)
        there = values_of(resolve(saved, {}, None).settings)
    except FairpruneError as error:
        return " ".join(error.what.split())
    here = values_of(cell.settings)
    texts = [
        f"{key} is {there[key]!r} there, {here[key]!r} here"
        for key in here
        if key not in FREE and there[key] != here[key]
    ]
    for name, digest in (("model", cell.model_sha256), ("manifest", cell.manifest_sha256)):
        if inputs.get(f"{name}_sha256") != digest:
            texts.append(f"another {name} was read ({inputs.get(name, 'unknown')})")
    return "; ".join(texts)


def failed(plan: ComparisonPlan, cell: Cell) -> dict[str, Any] | None:
    """The record of a failure, if it was one of these very settings."""
    try:
        record = json.loads(read_plain(plan.failure(cell), "written_bytes"))
        return record if record["made_from"] == made_from(cell) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError, FairpruneError):
        return None


def made_from(cell: Cell) -> str:
    """A hash of everything that decides a cell's figures."""
    settings = {k: v for k, v in values_of(cell.settings).items() if k not in FREE}
    text = json.dumps([settings, cell.model_sha256, cell.manifest_sha256], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
