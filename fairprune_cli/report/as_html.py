"""A document as a page: one file that loads nothing, with pictures as SVG, for screens, phones and paper."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from fairprune_cli.report import words
from fairprune_cli.report.document import Document, Plot, Table
from fairprune_cli.report.figures import plots

MOST_ROWS = 250  # of one table; longer ones say how many rows are left to report.json


def html_of(document: Document) -> str:
    """The page. Every text is escaped; nothing in it can run or be fetched."""
    return _template().render(document=document, drawings=drawings, legend=plots.legend, cut=cut, omitted=_omitted)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("fairprune_cli.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("report.html")


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
