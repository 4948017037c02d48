"""A document as a page: one file that loads nothing, with pictures as SVG, for screens, phones and paper."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Document, Plot, Section, Table
from fairprune_cli.report.figures import plots

MOST_COLUMNS = 9  # of one table, as many as paper has room for; a wider one goes on in a further one
MOST_ROWS = 200  # of one table; longer ones say how many rows are left to report.json


_HYPHENED = re.compile(r"(?<!\S)(?=\S{1,28}(?!\S))\S*\w-\w\S*|\d[\d.]{0,20}(?:-\d[\d.]{0,20})+")


def html_of(document: Document) -> str:
    """The page. Every text is escaped; nothing in it can run or be fetched."""
    return _template().render(
        document=document, laid_out=laid_out, drawings=drawings, legend=plots.legend, cut=cut, omitted=_omitted
    )


def laid_out(section: Section) -> list[Block]:
    """The section's blocks as the page has them: how a picture is read is said once, and wide tables are cut."""
    blocks: list[Block] = []
    said: set[str] = set()
    for block in section.blocks:
        if isinstance(block, Plot):
            blocks.append(replace(block, reading="") if block.reading in said else block)
            said.add(block.reading)
        elif isinstance(block, Table):
            blocks += _narrow(block)
        else:
            blocks.append(block)
    return blocks


def _narrow(table: Table) -> list[Table]:
    """The table, or several with what names the rows in each where it has more columns than a page has room for."""
    if len(table.columns) <= MOST_COLUMNS:
        return [table]
    names = max(next((i for i, column in enumerate(table.columns) if column.kind == "number"), 1), 1)
    width = MOST_COLUMNS - names
    starts = range(names, len(table.columns), width)
    return [
        replace(
            table, title=f"{table.title}, part {part} of {len(starts)}",
            columns=[*table.columns[:names], *table.columns[at : at + width]],
            rows=[[*row[:names], *row[at : at + width]] for row in table.rows],
            note=table.note if part == len(starts) else "",
        )
        for part, at in enumerate(starts, 1)
    ]  # fmt: skip


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("fairprune_cli.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["whole"] = whole
    return environment.get_template("report.html")


def whole(text: str) -> Markup:
    """The text, escaped; names and numbers with hyphens in them, such as 60-120, stay on one line."""
    if "-" not in text:
        return escape(text)
    # Pieces between the matches are escaped one by one: what is escaped first would hold characters of its own.
    parts, at = [], 0
    for found in _HYPHENED.finditer(text):
        parts += [escape(text[at : found.start()]), Markup('<span class="whole">{}</span>').format(found.group())]
        at = found.end()
    return Markup("").join([*parts, escape(text[at:])])


def drawings(plot: Plot) -> list[tuple[str, Markup]]:
    """(class, SVG) of the wide and the narrow drawing; the style sheet shows one of them."""
    widths = (("wide", plots.WIDE), ("narrow", plots.NARROW))
    return [(name, Markup(plots.svg(plot.figure, plot.title, width))) for name, width in widths]


def cut(table: Table) -> tuple[list[list[str]], str]:
    """The rows that are shown, and a sentence about those that are not."""
    rows = [list(row) for row in table.rows[:MOST_ROWS]]
    left = len(table.rows) - len(rows)
    return rows, f"{words.plural(left, 'more row')} in report.json." if left else ""


def _omitted(plot: Plot) -> str:
    return plots.omitted(plot.figure)
