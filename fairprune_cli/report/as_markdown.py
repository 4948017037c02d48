"""A document as Markdown; tables carry what the figures of the page show."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fairprune_cli.report import words
from fairprune_cli.report.document import Document, Gallery, Heading, Note, Plot, Section, Table

MOST_ROWS = 200
_MARKS = {"pass": "✅", "fail": "❌", "inconclusive": "❔", "none": "ℹ️", "notice": "ℹ️", "warning": "⚠️"}
_SPECIAL = re.compile(r"([\\`*\[\]|~$])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_AT_START = re.compile(r"^(\s*\d*)([#>+=.)-])(?=\s|$)")


def markdown_of(document: Document) -> str:
    """The whole document in GitHub's dialect of Markdown."""
    lines = [f"# {escaped(document.title)}", ""]
    if document.facts:
        lines += [" · ".join(escaped(fact) for fact in document.facts), ""]
    for section in document.sections:
        lines += section_lines(section)
    return "\n".join([*lines, f"*{escaped(document.footer)}*", ""])


def section_lines(section: Section, level: int = 2) -> list[str]:
    """A section under a heading of the given level, without its figures and how those are to be read."""
    lines = [f"{'#' * level} {escaped(section.title)}", ""]
    for text in section.lead:
        lines += [escaped(text), ""]
    heading: list[str] = []
    for block in section.blocks:
        if isinstance(block, Heading):
            heading = [f"{'#' * (level + 1)} {escaped(block.text)}", ""]
            continue
        text_of = _block_lines(block)
        if text_of:  # what has but figures below it needs no heading either
            lines += [*heading, *text_of, ""]
            heading = []
    return lines


def _block_lines(block: Note | Plot | Gallery | Table) -> list[str]:
    if isinstance(block, Note):
        return [_note(block)]
    if isinstance(block, Plot):
        return [escaped(block.sentence)] if block.sentence else []
    if isinstance(block, Gallery):
        # Paths, not pictures: text that is passed on should show nobody's face.
        listed = [f"- {escaped(picture.file)}: {escaped(picture.text)}" for picture in block.pictures]
        return [f"{escaped(block.title)}:", "", *listed]
    return table_lines(block)


def in_room(text: str, sections: Iterable[Section], room: int, where: str) -> str:
    """`text` and below it the sections that fit into `room` bytes; the others are named.

    Args:
        where: why they are left out, with {} for their names: "too long for a comment: {}."
    """
    left_out = []
    for section in sections:
        part = "\n".join(section_lines(section, level=3)) + "\n"
        if len((text + part).encode()) < room - 1000:
            text += part
        else:
            left_out.append(section.title)
    return f"{text}Left out, {where.format(escaped(words.join(left_out)))}\n" if left_out else text


def _note(note: Note) -> str:
    text = escaped(note.text)
    if note.tone in ("pass", "fail", "inconclusive", "none"):
        return f"**{_MARKS[note.tone]} {text}**"
    return f"> {_MARKS[note.tone]} {text}" if note.tone in _MARKS else text


def table_lines(table: Table) -> list[str]:
    """The table with numbers to the right; cells can hold any text without breaking it."""
    lines = [
        _row(column.title for column in table.columns),
        "|" + "|".join(" ---: " if column.kind == "number" else " --- " for column in table.columns) + "|",
    ]
    for row in table.rows[:MOST_ROWS]:
        lines.append(_row(row))
    if len(table.rows) > MOST_ROWS:
        lines += ["", f"{words.plural(len(table.rows) - MOST_ROWS, 'more row')} in report.json."]
    return [*lines, "", escaped(table.note)] if table.note else lines


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(escaped(cell) or " " for cell in cells) + " |"


def escaped(text: str) -> str:
    """`text` on one line, shown as it is: no mark-up, no HTML, no end of a table's cell."""
    text = " ".join(text.split("\n")).replace("\r", " ").replace("\t", " ")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SPECIAL.sub(lambda found: f"\\{found.group(0)}", text)
    # A link that a reader did not expect is worse than an address that cannot be clicked.
    text = text.replace("://", ":&#47;/").replace("@", "&#64;")
    if text.lstrip().startswith("::"):
        # On the stdout of a GitHub job a line that opens like this would be taken for a command.
        text = text.replace("::", "\\:\\:", 1)
    return _AT_START.sub(lambda found: f"{found.group(1)}\\{found.group(2)}", text)
