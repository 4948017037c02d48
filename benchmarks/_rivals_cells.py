"""Cells put together from the predicted classes that runs kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _rivals_data import Draw, Task
from _rivals_grids import DENSE, Row
from _rivals_runs import Job, Place, read_run
from _rivals_statistics import DrawRuns

# What a notion's figure is, and which figures are compared where it is asked for.
TARGET = {"accuracy": "gap", "odds": "odds", "degradation": "psi"}
COMPARED = {
    "accuracy": ("accuracy", "gap", "worst"), "odds": ("accuracy", "odds"), "degradation": ("accuracy", "psi")
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """The runs that one cell of a table is made of."""

    task: Task
    draws: Sequence[Draw]
    seeds: range
    cell: str
    notion: str
    rows: Mapping[str, tuple[Row, dict[str, str]]]

    def job(self, draw: Draw, seed: int, row: str) -> Job:
        return Job(draw, seed, self.cell, self.notion, *self.rows[row])

    def jobs(self) -> Iterator[Job]:
        for seed in self.seeds:
            for draw in self.draws:
                yield from (self.job(draw, seed, row) for row in self.rows)


@dataclass(frozen=True)
class CellRuns:
    """The runs of a cell, with the methods that are complete in it.

    Attributes:
        runs: (draw, seed) of the runs that count, in order.
        incomplete: of methods that lack some of them, how many they have.
    """

    draws: tuple[DrawRuns, ...]
    runs: tuple[tuple[str, int], ...]
    groups: tuple[str, ...] = ()
    incomplete: Mapping[str, int] = field(default_factory=dict)


def gathered(part: Part, rows: Iterable[str], place: Place, first: str) -> CellRuns | None:
    """All that is there of a cell; None where no run has both its dense model and the row `first`.

    Args:
        rows: names of those that are wanted.
        first: the row whose runs decide which count: the others need all of these.
    """
    draws, seeds = part.draws, part.seeds
    rows = list(rows)
    dense = {(d, s): _found(place.dense_classes(d, s)) for d in draws for s in seeds}
    seen = {(row, d, s): _found(part.job(d, s, row).classes(place)) for row in rows for d, s in dense}
    runs = [run for run, found in dense.items() if found is not None and seen[first, *run] is not None]
    if not runs:
        return None
    there = {row: sum(seen[row, *run] is not None for run in runs) for row in rows}
    whole = [row for row in rows if there[row] == len(runs)]
    made: list[DrawRuns] = []
    names: tuple[str, ...] = ()
    for draw in draws:
        own = [run for run in runs if run[0] == draw]
        if own:
            truth = dense[own[0]]
            assert truth is not None
            names = tuple(str(name) for name in truth["names"])
            predicted = {DENSE: np.stack([_classes(dense[run]) for run in own])}
            predicted |= {row: np.stack([_classes(seen[row, *run]) for run in own]) for row in whole}
            made.append(DrawRuns(truth["labels"], truth["groups"], predicted))
    lacking = {row: count for row, count in there.items() if row not in whole}
    return CellRuns(tuple(made), tuple((draw.name, seed) for draw, seed in runs), names, lacking)


def _found(path: Path) -> dict[str, np.ndarray] | None:
    return read_run(path) if path.exists() else None


def _classes(found: Mapping[str, np.ndarray] | None) -> np.ndarray:
    assert found is not None
    return found["predicted"]


def costs(jobs: Iterable[Job], place: Place) -> dict[str, Any]:
    """{passes, seconds, machines} of runs: means, and the kinds of machine that they ran on."""
    paths = [job.classes(place) for job in jobs]
    found = [json.loads(str(read_run(path)["cost"])) for path in paths if path.exists()]
    mean = {key: float(np.mean([cost[key] for cost in found])) for key in ("passes", "seconds") if found}
    return {**mean, "machines": sorted({cost["machine"] for cost in found})}
