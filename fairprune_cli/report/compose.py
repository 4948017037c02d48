"""The report as neutral blocks: its title, its facts and the sections that have something to say about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairprune_cli.core.plugins import short_name
from fairprune_cli.report import words
from fairprune_cli.report.document import Document
from fairprune_cli.report.sections import build_all
from fairprune_cli.report.view import View


def build_document(report: Mapping[str, Any]) -> Document:
    """The report as neutral blocks.

    Args:
        report: the document of report.json; every part of it may be absent or null.
    """
    view = View(report)
    version = view.text("tool_version")
    return Document(
        title=_title(view),
        facts=_facts(view),
        verdict=view.verdict,
        sections=build_all(view),
        footer=words.sentence(f"Written by fairprune{f' {version}' if version else ''} from report.json"),
    )


def _title(view: View) -> str:
    architecture = view.text("model", "architecture") or "Model"
    achieved, granularity = view.number("sparsity", "achieved"), view.text("sparsity", "granularity")
    if achieved is not None:
        kind = f" ({granularity})" if granularity else ""
        return f"{architecture}, {words.percent(achieved)} pruned{kind}"
    return f"{architecture}, pruned and audited" if "pruned" in view.models else f"{architecture}, audited"


def _facts(view: View) -> list[str]:
    n = next((v for m in view.models if (v := view.number("results", m, "n")) is not None), None)
    split = view.text("data", "split") or view.setting("split")
    images = "" if n is None else f"audited on {words.plural(int(n), 'image')}"
    if images and isinstance(split, str):
        images += f" of the {split} split"
    method = view.setting("method") if view.mapping("sparsity") else None
    parts = [
        view.text("data", "name") or Path(view.text("data", "manifest")).name,
        f"method {short_name(method)}" if isinstance(method, str) else "",
        images,
        view.text("provenance", "finished"),
    ]
    return [part for part in parts if part]
