"""Computing the cells that are missing: each once, whoever else is at it, and on again after an interruption."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fairprune_cli.compare import claims, measures
from fairprune_cli.compare.cells import Cell, ComparisonPlan
from fairprune_cli.compare.status import BEGUN, DONE, FAILED, Standing, failed, made_from, standing
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.core.locks import InUse, holder
from fairprune_cli.core.plugins import own_code
from fairprune_cli.core.progress import Progress
from fairprune_cli.core.settings import values_of
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report.figure_cells import percents
from fairprune_cli.run import prune as pipeline
from fairprune_cli.run.audit_report import Outcome
from fairprune_cli.run.folder import RunFolder

POLL_SECONDS = 2.0


class CellTerminal(Terminal):
    """The terminal of one cell: every line says which cell it is about, warnings stay with the cell's report."""

    def __init__(self, parent: Terminal, name: str) -> None:
        # A cell prints no result of its own; should it do so, stdout still belongs to the comparison.
        super().__init__(parent.err, parent.err, parent.env, parent.quiet, parent.clock)
        self.name = name

    def note(self, text: str) -> None:
        super().note(text if text.startswith(self.name) else f"{self.name}: {text}")

    def warn(self, text: str, code: str = "warning") -> None:
        self.warnings.append({"code": code, "text": text})
        self._line(f"{self.name}: warning: {text}")

    @contextmanager
    def progress(self, what: str, total: int | None) -> Iterator[Progress]:
        with super().progress(f"{self.name}, {what}", total) as display:
            yield display


def run_cells(plan: ComparisonPlan, terminal: Terminal) -> None:
    """Compute whatever is neither done nor has failed since this command began.

    Cells that another process holds are waited for, so that every process ends with the whole comparison.

    Raises:
        FairpruneError: interrupted (130, 143), or bad input that only shows while a cell runs.
    """
    started = time.time()
    waiting = list(enumerate(plan.cells, 1))
    said: set[str] = set()
    while waiting:
        left = []
        for number, cell in waiting:
            if _settled(plan, cell, started):
                continue
            with claims.claim(plan.claim(cell)) as ours:
                if not ours:
                    left.append((number, cell))
                elif not _settled(plan, cell, started):  # it may have been finished just before
                    try:
                        _run(plan, cell, number, terminal)
                    except InUse as error:  # of a process that computes this cell alone
                        left.append((number, cell))
                        if cell.name not in said:
                            said.add(cell.name)
                            terminal.note(f"{cell.name}: {error.what}; waiting")
        waiting = left
        for _, cell in waiting:
            path = plan.claim(cell)
            if cell.name not in said and path.exists():
                said.add(cell.name)
                terminal.note(f"{cell.name}: {holder(path)} computes it; waiting ({path})")
        if waiting:
            time.sleep(POLL_SECONDS)


def _settled(plan: ComparisonPlan, cell: Cell, started: float) -> bool:
    found = standing(plan, cell)
    if found.state == DONE:
        return not found.differs
    if found.state == FAILED:
        # A failure from an earlier command is worth another try; one of a process beside this one is not.
        record = failed(plan, cell)
        return record is not None and record["time"] >= started
    return False


def _run(plan: ComparisonPlan, cell: Cell, number: int, terminal: Terminal) -> None:
    own = CellTerminal(terminal, f"cell {number} of {len(plan.cells)}")
    terminal.note(f"{own.name}: {cell.name}")
    plan.failure(cell).unlink(missing_ok=True)
    try:
        outcome = _compute(plan, cell, standing(plan, cell), own)
    except InUse:
        raise
    except FairpruneError as error:
        if error.code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
            raise FairpruneError(
                f"{error.what}, in {cell.name}", hint="run the same command again; it goes on there", code=error.code
            ) from error
        if error.code != ExitCode.RUNTIME:
            where = f"{cell.name}: {error.where}".rstrip(": ")
            raise FairpruneError(error.what, where=where, hint=error.hint, code=error.code) from error
        message = "; ".join(line.strip() for line in str(error).splitlines())
        record = {"name": cell.name, "message": message, "time": time.time(), "made_from": made_from(cell)}
        atomic_write_text(plan.failure(cell), json.dumps(record, indent=1) + "\n")
        own.note(f"failed: {error.what}")
        return
    found = measures.of_report(outcome.report)
    gaps = ", ".join(f"{name} gap {percents(entry['gap'])}" for name, entry in found["attributes"].items())
    own.note(f"accuracy {percents(found['accuracy'])}, {gaps}, {found['seconds']:.0f} s")


def _compute(plan: ComparisonPlan, cell: Cell, found: Standing, terminal: Terminal) -> Outcome:
    path = plan.path(cell)
    if found.state == BEGUN and not found.differs:
        flags = {key: getattr(cell.settings, key) for key in ("data", "device", "threads")}
        try:
            flags |= own_code(values_of(cell.settings))
            return pipeline.resume(path, flags, terminal, plan.request.trust)
        except FairpruneError as error:
            if error.where != str(RunFolder(path).state):
                raise
            terminal.note("the saved state cannot be read, so the cell starts again")
    request = pipeline.PruneRequest(cell.model, cell.resolved, path, force=True, trust=plan.request.trust)
    return pipeline.prune(request, terminal)
