"""Whether a method of ours holds its own, cell by cell, from the figures of a gathered document (shares, 0..1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from _rivals_cells import TARGET
from _rivals_grids import DENSE, OURS, is_rival
from _rivals_statistics import LOWER_IS_BETTER

HALF_A_POINT = 0.005
OF_MAGNITUDE = 0.7  # of its gap, where pruning by it widened the dense model's
Record = Mapping[str, Any]


def better(record: Record, figure: str) -> bool:
    """Whether a difference is an advantage with its whole interval."""
    return bool(record["high"] < 0 if figure in LOWER_IS_BETTER else record["low"] > 0)


def worse(record: Record, figure: str) -> bool:
    """Whether a difference is a disadvantage with its whole interval."""
    return bool(record["low"] > 0 if figure in LOWER_IS_BETTER else record["high"] < 0)


def best_rival(methods: Mapping[str, Record], figure: str) -> str | None:
    """The rival with the best mean of a figure."""
    rivals = {name: of["figures"][figure]["mean"] for name, of in methods.items() if is_rival(name)}
    if not rivals:
        return None
    return (min if figure in LOWER_IS_BETTER else max)(rivals, key=lambda name: rivals[name])


def against_the_best(cell: Record) -> dict[str, Any] | None:
    """One line on drawn faces: ahead of the best rival in worst group or gap, or near it and never behind.

    The best rival is chosen by the very images that judge, once for each of the two figures, which favours it. Near is
    a worst group at most half a point lower and a gap at most one and a half times the rival's, or half a point larger.
    """
    found = {figure: cell["best"].get(figure) for figure in ("worst", "gap")}
    if None in found.values():
        return None
    records = {figure: _difference(cell, rival, figure) for figure, rival in found.items()}
    rival_gap = cell["methods"][found["gap"]]["figures"]["gap"]["mean"]
    ahead = any(better(record, figure) for figure, record in records.items())
    behind = any(worse(record, figure) for figure, record in records.items())
    near = (
        records["worst"]["mean"] >= -HALF_A_POINT and records["gap"]["mean"] <= max(0.5 * rival_gap, HALF_A_POINT)
    )  # fmt: skip
    accuracy = _accuracy_kept(cell)
    return {
        "best": found, "differences": records, "ahead": ahead, "near": near, "behind": behind, **accuracy,
        "yes": (ahead or near) and not behind and accuracy["accuracy_kept"] is not False,
    }  # fmt: skip


def against_magnitude(cell: Record) -> dict[str, Any] | None:
    """One line on real faces: the gap narrowed where magnitude pruning widened it, else as `bip`, and its accuracy."""
    figure, methods = TARGET[cell["notion"]], cell["methods"]
    if not {"magnitude", "bip"} <= methods.keys():
        return None
    widened_by = cell["widened"]
    widened = widened_by["mean"] > widened_by["se"]
    ours, theirs = (methods[name]["figures"][figure]["mean"] for name in (OURS, "magnitude"))
    ratio = ours / theirs if theirs > 0 else None
    to_bip = {name: _difference(cell, "bip", name) for name in (figure, "accuracy")}
    as_bip = not any(worse(record, name) for name, record in to_bip.items())
    reached = (ratio is not None and ratio <= OF_MAGNITUDE) if widened else as_bip
    accuracy = _accuracy_kept(cell)
    return {
        "figure": figure, "dense": methods[DENSE]["figures"][figure]["mean"], "magnitude": theirs, "ours": ours,
        "widened_by": widened_by, "widened": widened, "ratio": ratio, "to_bip": to_bip, "as_bip": as_bip,
        "reached": reached, **accuracy, "yes": reached and accuracy["accuracy_kept"] is not False,
    }  # fmt: skip


def _accuracy_kept(cell: Record) -> dict[str, Any]:
    """Whether accuracy is at most half a point below that of `bip`; None where that is not there."""
    if "bip" not in cell["methods"]:
        return {"accuracy": None, "accuracy_kept": None}
    record = _difference(cell, "bip", "accuracy")
    return {"accuracy": record, "accuracy_kept": bool(record["mean"] >= -HALF_A_POINT)}


def _difference(cell: Record, rival: str, figure: str) -> Record:
    found: Sequence[Record] = cell["differences"]
    return next(record for record in found if record["rival"] == rival and record["figure"] == figure)
