"""The parts of a report, one per file: found by listing this folder, ordered by their `ORDER`.

A section module has `ORDER: int` and `build(view) -> Section | None`; None leaves the part out.
"""

from __future__ import annotations

from fairprune_cli.core import plugins
from fairprune_cli.report.document import Section
from fairprune_cli.report.view import View


def build_all(view: View) -> list[Section]:
    """Every section that has something to say about this report, in reading order."""
    modules = sorted(plugins.REPORT_SECTION.load_all().values(), key=lambda module: int(module.ORDER))
    built = [module.build(view) for module in modules]
    return [section for section in built if section is not None]
