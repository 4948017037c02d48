"""A run's report.json read again, and its renderings written where the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairprune_cli.audit.gates import PASS, outcome
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_write_text, read_document
from fairprune_cli.core.json_text import json_values
from fairprune_cli.report import SCHEMA_VERSION
from fairprune_cli.report.values import number
from fairprune_cli.report.view import View


def read_report(run: Path) -> dict[str, Any]:
    """The report of a run folder, or a report.json itself.

    Raises:
        FairpruneError: there is none, it is no JSON object, a newer fairprune wrote it, or its verdicts are not those
            that its figures give, which is no report that fairprune wrote.
    """
    path = run / "report.json" if run.is_dir() else run
    document = read_document(path, "report", _parsed, "report_bytes", "give a finished run folder")
    version = document.get("schema_version") if isinstance(document, dict) else None
    if type(version) is not int:
        raise FairpruneError("is no report: schema_version is missing", where=str(path))
    if version > SCHEMA_VERSION:
        raise FairpruneError(
            f"has schema version {version}, this fairprune reads {SCHEMA_VERSION}", where=str(path),
            hint="install a newer fairprune",
        )  # fmt: skip
    assert isinstance(document, dict)
    if fault := contradiction(document):
        raise FairpruneError(f"contradicts itself: {fault}", where=str(path), hint="audit again: it was changed since")
    return document


def _parsed(text: str) -> Any:
    return json_values(text, _of_pairs)


def _of_pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The object; of two values of one key the last would count, and a reader might see the first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} stands twice in one object")
    return found


def contradiction(document: Mapping[str, Any]) -> str:
    """Where a report says pass against its own figures, else "": a pass that its gates or their intervals deny."""
    listed = document.get("gates")
    gates = [gate for gate in listed if isinstance(gate, dict)] if isinstance(listed, list) else []
    for gate in gates:
        if gate.get("verdict") == "pass" and (denied := _denied(gate)):
            return f"the gate {gate.get('name')!r} is said to pass, but {denied}"
    for gate in gates:
        if gate.get("verdict") == "pass" and _at_chance_level(document, gate):
            return f"the gate {gate.get('name')!r} is said to pass, but its model is not better than one answer to all"
    others = [str(gate.get("name")) for gate in gates if gate.get("verdict") != "pass"]
    if document.get("verdict") == "pass" and (others or not gates):
        return f"the verdict is pass, but {others[0] + ' did not pass' if others else 'there is no gate'}"
    return ""


def _denied(gate: Mapping[str, Any]) -> str:
    bound, value, low, high = (number(gate.get(key)) for key in ("bound", "value", "low", "high"))
    if bound is None or value is None or low is None or high is None:
        return "it has no figure"
    metric = str(gate.get("metric") or gate.get("name"))
    if outcome(metric, bound, value, low, high, gate.get("point_estimate") is True) != PASS:
        return "its figure does not lie within the bound"
    if gate.get("allow_small_groups") is True:
        return ""
    if gate.get("small_groups"):
        return "groups were left out that nobody allowed to be"
    lost = gate.get("ungrouped") and gate.get("ungrouped_dropped") is not True
    return "images are in no group, which nobody said to drop" if lost else ""


def _at_chance_level(document: Mapping[str, Any], gate: Mapping[str, Any]) -> bool:
    """Whether the report says of the gate's model that it is not better than one answer to all images."""
    whole = View(document)
    view = whole.tasks.get(str(gate.get("task")), whole)
    found = view.mapping("results", str(gate.get("model") or view.judged), "constant_answer")
    if gate.get("point_estimate") is True:
        accuracy, share = number(found.get("accuracy")), number(found.get("share"))
        return bool(found.get("fits_better")) or (accuracy is not None and share is not None and accuracy <= share)
    return found.get("better") is False


def write_text(path: Path, text: str, force: bool) -> None:
    """Write a rendering whole; an existing file is an error without `force`."""
    if path.exists() and not force:
        raise FairpruneError("already exists", where=str(path), hint="--force overwrites it")
    atomic_write_text(path, text)
