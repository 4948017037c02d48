"""A run's report.json read again, and its renderings written where the user says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_write_text, read_document
from fairprune_cli.report import SCHEMA_VERSION

LARGEST = 64 << 20


def read_report(run: Path) -> dict[str, Any]:
    """The report of a run folder, or a report.json itself.

    Raises:
        FairpruneError: there is none, it is no JSON object, or a newer fairprune wrote it.
    """
    path = run / "report.json" if run.is_dir() else run
    document = read_document(path, "report", json.loads, LARGEST, "give a finished run folder")
    version = document.get("schema_version") if isinstance(document, dict) else None
    if type(version) is not int:
        raise FairpruneError("is no report: schema_version is missing", where=str(path))
    if version > SCHEMA_VERSION:
        raise FairpruneError(
            f"has schema version {version}, this fairprune reads {SCHEMA_VERSION}", where=str(path),
            hint="install a newer fairprune",
        )  # fmt: skip
    assert isinstance(document, dict)
    return document


def write_text(path: Path, text: str, force: bool) -> None:
    """Write a rendering whole; an existing file is an error without `force`."""
    if path.exists() and not force:
        raise FairpruneError("already exists", where=str(path), hint="--force overwrites it")
    atomic_write_text(path, text)
