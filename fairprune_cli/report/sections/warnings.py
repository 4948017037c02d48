"""What the run warned of."""

from __future__ import annotations

from fairprune_cli.report import words
from fairprune_cli.report.document import Column, Section, Table
from fairprune_cli.report.view import View

ORDER = 25
MOST_OPEN = 6  # rows


def build(view: View) -> Section | None:
    rows = []
    for item in view.items("warnings"):
        code, text = (item.get("code"), item.get("text")) if isinstance(item, dict) else ("", item)
        if code or text:
            rows.append([str(code or words.NOTHING), words.sentence(str(text or "")) or words.NOTHING])
    if not rows:
        return None
    lead = ["Things that did not stop the run but may change how far its figures can be trusted."]
    blocks = [Table("Warnings", [Column("Code", "code"), Column("Meaning")], rows)]
    return Section("warnings", "Warnings", lead, blocks, folded=len(rows) > MOST_OPEN)
