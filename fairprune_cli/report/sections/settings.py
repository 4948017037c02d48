"""How to repeat it: command, versions, hashes, and every setting with where it came from."""

from __future__ import annotations

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Section, Table
from fairprune_cli.report.values import settings
from fairprune_cli.report.view import View

ORDER = 110


def build(view: View) -> Section | None:
    blocks: list[Block] = []
    if facts := _facts(view):
        blocks.append(Table("Provenance", [Column("What"), Column("Value", "code")], facts))
    if rows := settings(view.mapping("config")):
        columns = [Column("Setting", "code"), Column("Value", "code"), Column("From")]
        cells = [[name, words.shown(value), source or words.NOTHING] for name, value, source in rows]
        blocks.append(Table("Settings", columns, cells))
    lead = ["What is needed to repeat the run. A hash names a file by its content: equal hashes, equal files."]
    return Section("settings", "Settings and provenance", lead, blocks, folded=True) if blocks else None


def _facts(view: View) -> list[list[str]]:
    named = [
        ("Command", view.text("provenance", "command") or _command(view)),
        ("fairprune", view.text("tool_version")),
        ("Report format", view.text("schema_version")),
        *((f"Version of {k}", words.shown(v)) for k, v in sorted(view.mapping("provenance", "versions").items())),
        ("Seed", view.text("provenance", "seed")),
        ("Device", view.text("provenance", "device")),
        ("Arithmetic", _arithmetic(view)),
        ("Machine", words.shown(view.at("provenance", "machine"))),
        ("Started", view.text("provenance", "started")),
        ("Finished", view.text("provenance", "finished")),
        ("Data", view.text("data", "manifest")),
        ("SHA-256 of the data", view.text("data", "sha256")),
        ("Model", view.text("model", "source")),
        ("Architecture", view.text("model", "architecture")),
        ("SHA-256 of the model", view.text("model", "sha256")),
        ("Dense model", view.text("against", "source")),
        ("SHA-256 of the dense model", view.text("against", "sha256")),
        ("Model written", view.text("model", "output")),
        ("SHA-256 of the model written", view.text("model", "output_sha256")),
    ]
    return [[name, value] for name, value in named if value and value != words.NOTHING]


def _arithmetic(view: View) -> str:
    used = view.text("cost", "arithmetic")
    return f"training passes in {used}; the audit in float32" if used else ""


def _command(view: View) -> str:
    return " ".join(str(part) for part in view.items("provenance", "command"))
