"""The report of a run or an audit: one neutral document, and writers for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.core.signals import uncut

SCHEMA_VERSION = 1


def render(report: Mapping[str, Any], to: str, base: Mapping[str, Any] | None = None) -> str:
    """The report in one of the formats of writers/.

    Args:
        report: the document of report.json; every part of it may be absent or null.
        base: another one, which formats with a `write_against` compare it with.

    Raises:
        FairpruneError: `to` names no format (the message names the nearest), or one that compares with nothing, or a
            writer or section cannot be loaded.
    """
    writer = plugins.REPORT_WRITER.load(to, "--to")
    if base is not None and not hasattr(writer, "write_against"):
        raise FairpruneError(f"{to} shows one report", where="--base", hint="--to comment shows the change against it")
    text: str = writer.write(report) if base is None else writer.write_against(report, base)
    return text


def write(report: Mapping[str, Any], folder: Path) -> None:
    """Write report.json, report.html and report.md into `folder`, each whole or not at all.

    report.json comes first: the others can be made again from it.

    Raises:
        FairpruneError: the folder cannot be written.
    """
    with uncut():
        for name, to in (("report.json", "json"), ("report.html", "html"), ("report.md", "md")):
            atomic_write_text(Path(folder) / name, render(report, to))
