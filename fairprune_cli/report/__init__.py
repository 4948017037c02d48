"""The report of a run or an audit: one neutral document, and writers for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.report.document import Document
from fairprune_cli.report.view import View

SCHEMA_VERSION = 1
FORMATS = ("html", "md", "json", "junit", "github", "card")


def build_document(report: Mapping[str, Any]) -> Document:
    """The report as neutral blocks.

    Args:
        report: the document of report.json; every part of it may be absent or null.
    """
    from fairprune_cli.report import words
    from fairprune_cli.report.sections import build_all

    view = View(report)
    version = view.text("tool_version")
    return Document(
        title=_title(view),
        facts=_facts(view),
        verdict=view.verdict,
        sections=build_all(view),
        footer=words.sentence(f"Written by fairprune{f' {version}' if version else ''} from report.json"),
    )


def render(report: Mapping[str, Any], to: str) -> str:
    """The report in one of `FORMATS`.

    Raises:
        FairpruneError: `to` names no format; the message names the nearest.
    """
    view = View(report)
    if to == "html":
        from fairprune_cli.report.writers import html

        return html.write(build_document(report))
    if to == "md":
        from fairprune_cli.report.writers import markdown

        return markdown.write(build_document(report))
    if to == "json":
        from fairprune_cli.report.writers import json

        return json.write(report)
    if to == "junit":
        from fairprune_cli.report.writers import junit

        return junit.write(view)
    if to == "github":
        from fairprune_cli.report.writers import github

        return github.write(view, build_document(report))
    if to == "card":
        from fairprune_cli.report.writers import card

        return card.write(view, build_document(report))
    raise FairpruneError(f"unknown report format {to!r}", where="--to", hint=nearest(to, FORMATS))


def write(report: Mapping[str, Any], folder: Path) -> None:
    """Write report.json, report.html and report.md into `folder`, each whole or not at all.

    report.json comes first: the others can be made again from it.

    Raises:
        FairpruneError: the folder cannot be written.
    """
    for name, to in (("report.json", "json"), ("report.html", "html"), ("report.md", "md")):
        atomic_write_text(Path(folder) / name, render(report, to))


def _title(view: View) -> str:
    from fairprune_cli.report import words

    architecture = view.text("model", "architecture") or "Model"
    achieved, granularity = view.number("sparsity", "achieved"), view.text("sparsity", "granularity")
    if achieved is not None:
        kind = f" ({granularity})" if granularity else ""
        return f"{architecture}, {words.percent(achieved)} pruned{kind}"
    return f"{architecture}, pruned and audited" if "pruned" in view.models else f"{architecture}, audited"


def _facts(view: View) -> list[str]:
    from fairprune_cli.report import words

    n = next((v for m in view.models if (v := view.number("results", m, "n")) is not None), None)
    split = view.text("data", "split") or view.setting("split")
    images = "" if n is None else f"audited on {words.plural(int(n), 'image')}"
    if images and isinstance(split, str):
        images += f" of the {split} split"
    method = view.setting("method") if view.mapping("sparsity") else None
    parts = [
        view.text("data", "name") or Path(view.text("data", "manifest")).name,
        f"method {method}" if isinstance(method, str) else "",
        images,
        view.text("provenance", "finished"),
    ]
    return [part for part in parts if part]
