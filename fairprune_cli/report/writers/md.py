"""report.md: the same document as text; tables carry what the figures of the page show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.report.as_markdown import markdown_of
from fairprune_cli.report.compose import build_document

ALSO = ("markdown",)


def write(report: Mapping[str, Any]) -> str:
    """The page of every section that has something to say about this report."""
    return markdown_of(build_document(report))
