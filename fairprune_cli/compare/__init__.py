"""`fairprune compare`: methods side by side over sparsities, settings and seeds, and what the differences are worth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fairprune_cli.compare import csv_file as sheet
from fairprune_cli.compare import page, picture
from fairprune_cli.compare import shell as commands
from fairprune_cli.compare.cells import Cell, ComparisonPlan, Request
from fairprune_cli.compare.exemplars import exemplars_csv
from fairprune_cli.compare.gather import gather
from fairprune_cli.compare.plan import check_cells, plan, targets
from fairprune_cli.compare.run import run_cells
from fairprune_cli.compare.status import BEGUN, DONE, MISSING, Standing, refuse_differences, standing
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import atomic_write_text, refuse_no_room
from fairprune_cli.core.signals import if_stopped, uncut
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report.as_html import html_of
from fairprune_cli.report.as_markdown import markdown_of

__all__ = ["Comparison", "Request", "compare", "list_commands", "targets"]


@dataclass(frozen=True)
class Comparison:
    """The document of compare.json (or of a dry run), its exit code, and the plan it came from."""

    document: dict[str, Any]
    code: ExitCode
    plan: ComparisonPlan


def compare(request: Request, terminal: Terminal) -> Comparison:
    """Compute the missing cells, gather all of them and write the results; see `fairprune compare --help`.

    Raises:
        FairpruneError: bad input, before anything is trained; cells in the folder that were made otherwise; nothing
            to gather; or the command was interrupted.
    """
    layout, found = _look(request)
    kept = f"the cells that are done are kept in {layout.folder}, and the state of one that was begun"
    with if_stopped(lambda: (kept, "run the same command again; it goes on there")):
        return _compare(request, layout, found, terminal)


def _compare(request: Request, layout: ComparisonPlan, found: dict[str, Standing], terminal: Terminal) -> Comparison:
    for text in layout.notes:
        terminal.note(f"note: {text}")
    open_cells = [cell for cell in layout.cells if found[cell.name].state != DONE or found[cell.name].differs]
    if not request.gather:
        check_cells(layout, open_cells)
    if request.dry_run:
        return Comparison(_dry(layout, found), ExitCode.OK, layout)
    if not request.gather:
        run_cells(layout, terminal)
    document = gather(layout)
    if not any(cell["status"] == DONE for cell in document["cells"]) and request.gather:
        raise FairpruneError("no cell is done", where=str(layout.folder), hint="run it without --gather")
    for text in document["warnings"]:
        terminal.warn(text)
    with uncut():
        write_results(layout, document)
    failed = any(cell["status"] not in (DONE, MISSING) for cell in document["cells"])
    return Comparison(document, ExitCode.RUNTIME if failed else ExitCode.OK, layout)


def list_commands(request: Request) -> list[str]:
    """A shell command for each cell that is not done; running them all and gathering gives the comparison."""
    layout, found = _look(request)
    open_cells = [cell for cell in layout.cells if found[cell.name].state != DONE or found[cell.name].differs]
    check_cells(layout, open_cells)
    return [_command(layout, cell, found[cell.name]) for cell in open_cells]


def _look(request: Request) -> tuple[ComparisonPlan, dict[str, Standing]]:
    layout = plan(request)
    refuse_no_room(layout.folder)
    found = {cell.name: standing(layout, cell) for cell in layout.cells}
    if not request.force:
        refuse_differences(layout, found)
    return layout, found


def _command(layout: ComparisonPlan, cell: Cell, found: Standing) -> str:
    out = layout.path(cell).absolute()
    if found.state == BEGUN and not found.differs:
        return commands.resume_command(out, cell.settings, layout.request.trust)
    leftover = out.exists() and any(out.iterdir())
    return commands.prune_command(cell.model.absolute(), cell.resolved, out, layout.request.trust, leftover)


def _dry(layout: ComparisonPlan, found: dict[str, Standing]) -> dict[str, Any]:
    return {
        "dry_run": True, "folder": str(layout.folder), "references": list(layout.references),
        "notes": list(layout.notes), "cells": [_dry_cell(cell, found[cell.name]) for cell in layout.cells],
    }  # fmt: skip


def _dry_cell(cell: Cell, found: Standing) -> dict[str, str]:
    # A cell that was made otherwise only gets here with --force, which computes it again.
    status, reason = ("made otherwise", found.differs) if found.differs else (found.state, found.reason)
    return {"name": cell.name, "status": status, "reason": reason}


def write_results(layout: ComparisonPlan, document: dict[str, Any]) -> None:
    """compare.json, .csv, .md, .html, exemplars.csv and accuracy-gap.svg, each whole or not at all."""
    folder = layout.folder
    atomic_write_text(folder / "exemplars.csv", exemplars_csv(document["rows"]))
    for row in document["rows"]:
        row["exemplars"].pop("table", None)  # the file has it
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    atomic_write_text(folder / "compare.json", text + "\n")
    atomic_write_text(folder / "compare.csv", sheet.write_csv(document))
    atomic_write_text(folder / "compare.md", markdown_of(page.build_page(document, pictures=False)))
    atomic_write_text(folder / "compare.html", html_of(page.build_page(document)))
    for i, attribute in enumerate(document["attributes"]):
        figure = picture.comparison_figure(document, attribute)
        if figure is not None:
            name = "accuracy-gap.svg" if i == 0 else f"accuracy-gap-{i + 1}.svg"
            title = f"accuracy against gap, {attribute}"
            atomic_write_text(folder / name, picture.stand_alone(figure, title))
