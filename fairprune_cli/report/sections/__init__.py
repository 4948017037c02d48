"""The parts of a report, one per file: found by listing this folder, ordered by their `ORDER`.

A section module has `ORDER: int` and `build(view) -> Section | None`; None leaves the part out.
"""

from __future__ import annotations

from fairprune_cli.core import plugins as registry
from fairprune_cli.report.document import Section
from fairprune_cli.report.view import View


def build_all(view: View) -> list[Section]:
    """Every section that has something to say about this report, in reading order."""
    modules = [registry.find(__name__, name, "section") for name in registry.names(__name__)]
    built = [module.build(view) for module in sorted(modules, key=lambda module: module.ORDER)]
    return [section for section in built if section is not None]
