"""The rows of benchmarks/rivals.py: methods, the grid of settings that each is tuned over, and the parts one by one.

Every rival has a grid of four settings, the tool's defaults first, and nothing else of it is tuned. Rows of one method
that differ in the mask or the notion share one choice. Ours has no grid: it is measured with the tool's defaults, found
in trials on the same carved images; beside it stands what it does where the dense model's gap is to be closed, too.
Some rows are measured only where they are named: FairGRAPE as its authors' code runs it, at many times the passes of
the others; ours with the constraint in one of its two levels alone; and rows that need the group of an image at use,
since they have a threshold for each.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

OURS, DENSE = "bifp", "dense"
Values = Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """A method with its settings.

    Attributes:
        fixed: settings that make the row what it is.
        grid: settings that are tried for it.
        asked: the notion that is asked for changes what it does; else one run serves all notions.
        everywhere: measured in every cell; the other rows in one cell of each data set.
        named: measured only where it is named.
        notions: that it differs from other rows under, and is measured for; all of them where empty.
        tuned_as: the row whose choice it takes.
    """

    name: str
    method: str
    fixed: Values = field(default_factory=dict)
    grid: tuple[Values, ...] = ({},)
    asked: bool = False
    everywhere: bool = False
    named: bool = False
    notions: tuple[str, ...] = ()
    tuned_as: str = ""

    @property
    def tuned(self) -> bool:
        """Whether a setting is chosen for it."""
        return len(self.grid) > 1 and not self.tuned_as

    def settings(self, chosen: Values) -> dict[str, str]:
        """All settings of a run, by name."""
        return dict(sorted({**self.fixed, **chosen}.items()))


def _grid(**values: str) -> tuple[Values, ...]:
    """All combinations of the settings' values, which stand with spaces between them; the first varies least."""
    keys = list(values)
    return tuple(
        dict(zip(keys, combination, strict=True))
        for combination in itertools.product(*(text.split() for text in values.values()))
    )


def is_rival(row: str) -> bool:
    """Whether a row is neither the dense model nor our method, as it is or under a setting that the name ends in."""
    return row != DENSE and row.partition(",")[0] != OURS


_THRESHOLDS = {"group_thresholds": "true"}
_MAGNITUDE = {"mask_score": "magnitude"}
_BALANCED = _grid(lr="0.1 0.05", balance_over="groups label-groups")
_GROUP_DRO = _grid(dro_step="0.01 0.1", balance_over="groups label-groups")
_DFR = _grid(dfr_penalty="l1 l2", balance_over="groups label-groups")
_RHO = _grid(rho="0.35 0.15 0.25 0.5")
_RATE = _grid(multiplier_rate="0.05 0.02 0.1 0.2")
ROWS = {
    row.name: row
    for row in (
        Row("magnitude", "magnitude", grid=_grid(lr="0.1 0.02 0.05 0.2"), everywhere=True),
        Row("bip", "bip", grid=_RHO, everywhere=True),
        Row("balanced", "balanced", grid=_BALANCED, everywhere=True),
        Row("balanced, magnitude", "balanced", _MAGNITUDE, _BALANCED, tuned_as="balanced"),
        Row("group-dro", "group-dro", grid=_GROUP_DRO, everywhere=True),
        Row("group-dro, magnitude", "group-dro", _MAGNITUDE, _GROUP_DRO, tuned_as="group-dro"),
        Row("constrained", "constrained", grid=_RATE, asked=True),
        Row("dfr", "dfr", grid=_DFR),
        Row("dfr, magnitude", "dfr", _MAGNITUDE, _DFR, tuned_as="dfr"),
        Row("ceag", "ceag", grid=_RATE, tuned_as="ceag, notion asked"),
        Row("ceag, notion asked", "ceag", {"method_notion": "asked"}, _RATE, asked=True),
        Row("fairgrape", "fairgrape", grid=_grid(rounds="5 3 8 12")),
        Row("prune-then-fair", "prune-then-fair", grid=_RATE, asked=True),
        Row("weighted-loss", "weighted-loss", grid=_grid(weight_floor="0.75 0.5", weight_power="5.0 2.0")),
        Row(OURS, OURS, asked=True, everywhere=True),
        Row("bifp, absolute", OURS, {"target": "absolute"}, asked=True, notions=("odds",)),
        Row("bifp, constraint on the weights alone", OURS, {"fairness_on": "weights"}, asked=True, named=True),
        Row("bifp, constraint on the mask alone", OURS, {"fairness_on": "mask"}, asked=True, named=True),
        Row("bip, group thresholds", "bip", _THRESHOLDS, _RHO, asked=True, named=True, tuned_as="bip"),
        Row("bifp, group thresholds", OURS, _THRESHOLDS, asked=True, named=True),
        Row("fairgrape, own budget", "fairgrape", {"fairgrape_budget": "own"}, named=True),
    )
}

# Part by part, each row with those before it. Batch norm is re-estimated in all of them.
_START = {"multiplier_start": "balanced", "operating_point": "as-trained"}
LADDER = {
    row.name: row
    for row in (
        Row("magnitude", "magnitude"),
        Row("+ mask", "bip"),
        Row("+ balanced start, held", OURS, {**_START, "multiplier_rate": "0"}, asked=True),
        Row("+ dual steps", OURS, _START, asked=True),
        Row("+ scores shifted in training", OURS, {**_START, "operating_point": "shifted"}, asked=True),
        Row("+ bias fitted at the end", OURS, {**_START, "operating_point": "both"}, asked=True),
        Row("+ distillation", OURS, {**_START, "operating_point": "both", "distill": "0.5"}, asked=True),
        Row("+ averaged weights", OURS,
            {**_START, "operating_point": "both", "distill": "0.5", "average": "0.2"}, asked=True),
    )
}  # fmt: skip
OURS_PART = "+ scores shifted in training"  # the last one that the defaults have
# By family of tasks: the cell of the ladder, of a second notion and of rows that are not measured everywhere, and that
# of tuning.
ONE_CELL = {"faces": ("weight:0.99",), "lfw-smile": ("weight:0.95",), "utkface": ("weight:0.95",)}
TUNING_CELLS = {"faces": ("weight:0.98",), "lfw-smile": ("weight:0.95",), "utkface": ("weight:0.95",)}


def ladder_settings(row: Row, chosen: Mapping[str, Values]) -> dict[str, str]:
    """Settings of a part's row: what tuning chose for its method, under what makes the row what it is."""
    return row.settings({**chosen.get(row.method, {}), **row.fixed})
