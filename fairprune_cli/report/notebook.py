"""A report as a notebook shows it below a cell: a card of some kilobytes that loads nothing and runs nothing.

Every style stands on its element, as notebooks and the sites that show them drop style sheets. Text has the colour of
the page around it and backgrounds are tints of it, so that it can be read on light and on dark ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.compose import build_document
from fairprune_cli.report.document import Column, Note, Table
from fairprune_cli.report.sections.gates import gates_table
from fairprune_cli.report.view import View

MOST_ROWS = 12  # of a table
MOST_WARNINGS = 3
LONGEST_CELL, LONGEST_PARAGRAPH = 160, 800  # characters
_LINE = "rgba(128,128,128,.35)"
_TINTS = {
    "pass": "rgba(46,160,67,.25)", "fail": "rgba(218,54,51,.28)", "inconclusive": "rgba(210,153,34,.28)",
    "none": "rgba(128,128,128,.25)",
}  # fmt: skip


def notebook_card(report: Mapping[str, Any]) -> str:
    """HTML of a report's title, verdict, main figures, groups, gates that did not pass, and warnings.

    Args:
        report: the document of report.json; every part of it may be absent.
    """
    view, document = View(report), build_document(report)
    verdict = next((section for section in document.sections if section.name == "verdict"), None)
    blocks = verdict.blocks if verdict else ()
    parts = [
        f'<div style="font-weight:600">{_text(document.title)} {_pill(view.verdict)}</div>',
        _small(" · ".join(document.facts)),
        *(_paragraph(block.text) for block in blocks if isinstance(block, Note) and block.tone != "plain"),
        *(_table(block) for block in blocks if isinstance(block, Table)),
    ]
    if groups := _by_group(view):
        parts.append(_table(groups))
    if any(gate.verdict != "pass" for gate in view.gates):
        gates = gates_table(view)
        at = next(i for i, column in enumerate(gates.columns) if column.kind == "verdict")
        undecided = [row for row in gates.rows if row[at] != "pass"]
        parts.append(_table(Table("Gates that did not pass", gates.columns, undecided)))
    told = view.warnings
    parts += [_small(f"⚠ {text}") for text in told[:MOST_WARNINGS]]
    if len(told) > MOST_WARNINGS:
        parts.append(_small(f"{words.plural(len(told) - MOST_WARNINGS, 'more warning')} in report.warnings"))
    style = f"border:1px solid {_LINE};border-radius:8px;padding:10px 14px;max-width:60rem;overflow-x:auto"
    return f'<div style="{style};color:inherit;background:transparent">{"".join(parts)}</div>'


def _by_group(view: View) -> Table | None:
    """Accuracy of each group, of every model; None where no group is known."""
    rows = [
        [f"{attribute}: {group}", words.whole_number(view.n(attribute, group)),
         *(words.estimate(view.group(model, attribute, group)) for model in view.models)]
        for attribute in view.attributes for group in view.groups(attribute)
    ]  # fmt: skip
    if not rows:
        return None
    models = [Column(view.title(model), "number") for model in view.models]
    columns = [Column("Group"), Column("Images", "number"), *models]
    return Table("Accuracy by group (%)", columns, rows)


def _table(table: Table) -> str:
    cell = f"padding:2px 10px 2px 0;border-bottom:1px solid {_LINE};background:transparent;color:inherit"
    head = "".join(
        f'<th style="{cell};text-align:{_side(i)};font-weight:600">{_text(column.title)}</th>'
        for i, column in enumerate(table.columns)
    )
    rows = "".join(
        f'<tr style="background:transparent">{"".join(_cell(text, i, cell, table) for i, text in enumerate(row))}</tr>'
        for row in table.rows[:MOST_ROWS]
    )
    more = len(table.rows) - MOST_ROWS
    left = _small(f"{words.plural(more, 'more row')} in the full report") if more > 0 else ""
    style = "border-collapse:collapse;margin:6px 0;font-size:.92em;color:inherit"
    return (
        f'{_small(table.title)}<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{left}'
    )


def _cell(text: str, at: int, style: str, table: Table) -> str:
    shown = _pill(text) if table.columns[at].kind == "verdict" else _text(text)
    return f'<td style="{style};text-align:{_side(at)}">{shown}</td>'


def _side(at: int) -> str:
    return "left" if at == 0 else "right"


def _pill(verdict: str) -> str:
    tint = _TINTS.get(verdict, _TINTS["none"])
    return f'<span style="background:{tint};border-radius:6px;padding:1px 8px">{_text(verdict)}</span>'


def _paragraph(text: str) -> str:
    return f'<div style="margin:4px 0">{_text(text, LONGEST_PARAGRAPH)}</div>'


def _small(text: str) -> str:
    return (
        f'<div style="opacity:.75;font-size:.88em;margin:2px 0">{_text(text, LONGEST_PARAGRAPH)}</div>' if text else ""
    )


def _text(text: str, longest: int = LONGEST_CELL) -> str:
    return escape(text if len(text) <= longest else f"{text[: longest - 1]}…")
