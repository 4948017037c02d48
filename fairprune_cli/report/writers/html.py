"""report.html: one file that loads nothing, with pictures as SVG, for screens, phones and paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.report.as_html import html_of
from fairprune_cli.report.compose import build_document


def write(report: Mapping[str, Any]) -> str:
    """The page of every section that has something to say about this report."""
    return html_of(build_document(report))
