"""Cells of the results of benchmarks/rivals.py as they are written into JSON; shares, 0..1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from _rivals_cells import COMPARED, TARGET, CellRuns, Part, costs, gathered
from _rivals_data import FACES
from _rivals_grids import DENSE, OURS
from _rivals_runs import Place
from _rivals_statistics import FIGURES, Average, Cell, Measured, holm
from _rivals_verdicts import against_magnitude, against_the_best, best_rival


def measured(parts: Sequence[Part], place: Place, resamples: int) -> dict[str, Any]:
    """All cells, and the means over those of a task and notion that have the same runs: {cells, means}."""
    cells: list[dict[str, Any]] = []
    alike: dict[tuple[Any, ...], list[tuple[str, Cell]]] = {}
    for part in parts:
        first = OURS if OURS in part.rows else next(iter(part.rows))
        if (found := gathered(part, part.rows, place, first)) is None:
            continue
        cell = Cell(found.draws, resamples)
        cells.append(_measured_cell(part, found, cell, place))
        alike.setdefault((part.task.name, part.notion, found.runs), []).append((part.cell, cell))
    means = [_mean(task, notion, of) for (task, notion, _), of in alike.items() if len(of) > 1]
    return {"cells": cells, "means": means}


def _mean(task: str, notion: str, of: Sequence[tuple[str, Cell]]) -> dict[str, Any]:
    """Of the methods that all these cells have, ours against each."""
    average = Average([cell for _, cell in of])
    figures = {method: {figure: average.spread(method, figure) for figure in FIGURES} for method in average.methods}
    return {"task": task, "notion": notion, "cells": [name for name, _ in of], "methods": figures,
            "differences": _differences(average, notion)}  # fmt: skip


def _differences(cell: Measured, notion: str) -> list[dict[str, Any]]:
    """Ours minus each rival, in the figures that count for a notion."""
    if OURS not in cell.methods:
        return []
    return [
        {"rival": rival, "figure": figure, **cell.difference(OURS, rival, figure)}
        for rival in cell.methods if rival not in (OURS, DENSE) for figure in COMPARED[notion]
    ]  # fmt: skip


def _measured_cell(part: Part, found: CellRuns, cell: Cell, place: Place) -> dict[str, Any]:
    """All rows of a cell, ours against each, and the verdict."""
    result = _described(part, found, cell, place)
    result["differences"] = _differences(cell, part.notion)
    result["best"] = {figure: best_rival(result["methods"], figure) for figure in COMPARED[part.notion]}
    if "magnitude" in cell.methods:
        result["widened"] = cell.difference("magnitude", DENSE, TARGET[part.notion])
    faces = part.task.family == FACES
    if result["differences"] and not (faces and part.notion != "accuracy"):
        result["verdict"] = against_the_best(result) if faces else against_magnitude(result)
    return result


def ladder_cell(part: Part, place: Place, resamples: int) -> dict[str, Any] | None:
    """The parts of a cell, each against the row before it."""
    found = gathered(part, part.rows, place, next(iter(part.rows)))
    if found is None:
        return None
    cell = Cell(found.draws, resamples)
    steps = list(zip(cell.methods[1:], cell.methods[:-1], strict=True))  # dense is the first
    differences = [
        {"part": own, "before": before, "figure": figure, **cell.difference(own, before, figure)}
        for own, before in steps for figure in ("accuracy", TARGET[part.notion])
    ]  # fmt: skip
    return {**_described(part, found, cell, place), "differences": differences}


def _described(part: Part, found: CellRuns, cell: Cell, place: Place) -> dict[str, Any]:
    methods = {}
    for method in cell.methods:
        jobs = [part.job(draw, seed, method) for draw in part.draws for seed in part.seeds] if method != DENSE else []
        accuracies = cell.group_accuracies[method]
        methods[method] = {
            "figures": {figure: cell.spread(method, figure) for figure in FIGURES},
            "groups": dict(zip(found.groups, (float(value) for value in accuracies.mean(0)), strict=True)),
            "settings": part.rows[method][1] if method != DENSE else {},
            **{key: value for key, value in costs(jobs, place).items() if key != "machines"},
            "runs": [dict(zip(FIGURES, map(float, run), strict=True)) for run in cell.runs[method]],
        }
    return {
        "task": part.task.name, "family": part.task.family, "cell": part.cell, "notion": part.notion,
        "runs": [list(run) for run in found.runs], "images": [len(draw.labels) for draw in found.draws],
        "incomplete": dict(found.incomplete), "methods": methods,
    }  # fmt: skip


def with_adjusted(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the number of its comparisons, and each one's p-value adjusted for all of them (Holm)."""
    every = [record for of in (*document["cells"], *document.get("means", ())) for record in of["differences"]]
    for record, adjusted in zip(every, holm([record["p"] for record in every]), strict=True):
        record["holm"] = adjusted
    return _finite({**document, "comparisons": len(every)})


def _finite(value: Any) -> Any:
    """The same with null for numbers that are none."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
