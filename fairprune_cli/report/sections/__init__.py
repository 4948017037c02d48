"""The parts of a report, one per file: found by listing this folder, ordered by their `ORDER`.

A section module has `ORDER: int` and `build(view) -> Section | None`; None leaves the part out. With `BY_TASK = True`
it is built for each task of a network that has several, from a view of that task alone.
"""

from __future__ import annotations

from dataclasses import replace

from fairprune_cli.core import plugins
from fairprune_cli.report.document import Section
from fairprune_cli.report.view import View


def build_all(view: View) -> list[Section]:
    """Every section that has something to say about this report, in reading order."""
    modules = sorted(plugins.REPORT_SECTION.load_all().values(), key=lambda module: int(module.ORDER))
    built: list[Section | None] = []
    for module in modules:
        if view.tasks and getattr(module, "BY_TASK", False):
            built += [_of_task(module.build(of), name, i) for i, (name, of) in enumerate(view.tasks.items(), 1)]
        else:
            built.append(module.build(view))
    return [section for section in built if section is not None]


def _of_task(section: Section | None, name: str, number: int) -> Section | None:
    return None if section is None else replace(section, title=f"{section.title}: {name}", task=number)
