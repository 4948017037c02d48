"""The setting of each row, chosen on images that no measurement reads.

The score of a run is what its notion asks for, in a form that cannot be had by making everybody worse: the accuracy of
the worst group where accuracy is to be equal, and accuracy minus the gap where odds or degradation are. It is averaged
over the runs of a cell, over the cells and notions of a task, over the tasks on the same images and then over the data
sets, so that none counts more because it has more cells. The best mean is chosen, for all data sets together; of equal
ones the first of the grid, which is the tool's default.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from _rivals_statistics import FIGURES

SCORE = (
    "accuracy of the worst group where accuracy is to be equal, accuracy minus the gap where odds or degradation are; "
    "mean over the runs of a cell, then over cells and notions of a task, tasks on the same images, data sets"
)


@dataclass(frozen=True)
class Tried:
    """A run of one setting of a row.

    Attributes:
        place: (family, task, cell, notion), what is averaged over from the last to the first.
        figures: [5], as in FIGURES.
    """

    row: str
    setting: int
    place: tuple[str, str, str, str]
    run: tuple[str, int]
    figures: np.ndarray


def score(figures: np.ndarray, notion: str) -> float:
    """Of one run, in -1..1."""
    at = dict(zip(FIGURES, (float(value) for value in figures), strict=True))
    if notion == "accuracy":
        return at["worst"]
    return at["accuracy"] - (at["odds"] if notion == "odds" else at["psi"])


def choose(tried: Iterable[Tried], grids: Mapping[str, Sequence[Mapping[str, str]]]) -> dict[str, Any]:
    """By row: {chosen, tried: [{settings, score, runs}]}.

    A setting that lacks runs which another one of its row has is not compared, and has no score.
    """
    runs: dict[str, dict[int, list[Tried]]] = {row: defaultdict(list) for row in grids}
    for one in tried:
        runs[one.row][one.setting].append(one)
    result = {}
    for row, grid in grids.items():
        wanted = {(one.place, one.run) for of in runs[row].values() for one in of}
        listed: list[dict[str, Any]] = []
        for number, settings in enumerate(grid):
            own = runs[row][number]
            whole = bool(own) and {(one.place, one.run) for one in own} == wanted
            listed.append({"settings": dict(settings), "runs": len(own), "score": _mean_score(own) if whole else None})
        known = [entry for entry in listed if entry["score"] is not None]
        if known:
            best = max(known, key=lambda entry: entry["score"])
            result[row] = {"chosen": best["settings"], "tried": listed}
    return result


def _mean_score(tried: Sequence[Tried]) -> float:
    cells: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for one in tried:
        cells[one.place].append(score(one.figures, one.place[3]))
    means: dict[tuple[str, ...], float] = {place: float(np.mean(values)) for place, values in cells.items()}
    for depth in (2, 1, 0):
        inner: dict[tuple[str, ...], list[float]] = defaultdict(list)
        for place, value in means.items():
            inner[place[:depth]].append(value)
        means = {place: float(np.mean(values)) for place, values in inner.items()}
    return means[()]
