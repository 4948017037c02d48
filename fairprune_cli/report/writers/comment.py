"""A comment on a pull request: verdict, gates, groups and gaps, and what changed since the base branch's report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairprune_cli.report.against_base import sections_against
from fairprune_cli.report.as_markdown import escaped, in_room
from fairprune_cli.report.compose import build_document
from fairprune_cli.report.view import View

ALSO = ("pull-request",)

LIMIT = 65_000  # bytes; GitHub refuses a comment above 65,536 characters
MARK = "<!-- fairprune report -->"
"""The first line, by which a pipeline finds its comment again to replace it."""


def write(report: Mapping[str, Any]) -> str:
    """The comment without a base to compare with."""
    return write_against(report, None)


def write_against(report: Mapping[str, Any], base: Mapping[str, Any] | None) -> str:
    """The comment in GitHub's dialect of Markdown, which nothing in it can leave; what is too long is named.

    Args:
        report, base: documents of report.json; every part of them may be absent.
    """
    document = build_document(report)
    text = f"{MARK}\n## {escaped(document.title)}\n\n"
    text += " · ".join(escaped(fact) for fact in document.facts) + "\n\n"
    sections = sections_against(View(report), None if base is None else View(base))
    return in_room(text, sections, LIMIT, "too long for a comment: {}. All of it is in report.html.")
