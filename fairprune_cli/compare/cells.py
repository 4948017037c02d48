"""What a comparison is made of: its request, its cells, the rows they form, and the plan that holds them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fairprune_cli.compare.grid import Point
from fairprune_cli.run.options import Resolved, Settings

SEED = "{seed}"


@dataclass(frozen=True)
class Request:
    """What `fairprune compare` was asked for, beyond the settings that all cells share.

    Attributes:
        model: path of the dense model; {seed} in it stands for each seed in turn.
        targets: (granularity, sparsity) pairs.
        seeds: how many, from the settings' seed on.
        grid: KEY=V1,V2 each.
        references: methods that the others are compared with; empty for the usual one.
        gather: make the tables from what is there, compute nothing.
    """

    model: str
    resolved: Resolved
    methods: tuple[str, ...]
    targets: tuple[tuple[str, float], ...]
    seeds: int = 5
    grid: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    out: Path | None = None
    force: bool = False
    trust: bool = False
    dry_run: bool = False
    gather: bool = False
    list_commands: bool = False


@dataclass(frozen=True)
class Row:
    """Cells that differ in their seed alone."""

    method: str
    granularity: str
    sparsity: float
    point: Point


@dataclass(frozen=True)
class Cell:
    """One pruning run of the comparison and the hashes of what it reads."""

    name: str
    row: Row
    seed: int
    model: Path
    model_sha256: str
    manifest_sha256: str
    resolved: Resolved

    @property
    def settings(self) -> Settings:
        return self.resolved.settings


@dataclass(frozen=True)
class ComparisonPlan:
    """All cells in the order in which they are computed, and where they go."""

    request: Request
    folder: Path
    cells: tuple[Cell, ...]
    points: tuple[Point, ...]
    references: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def per_seed(self) -> bool:
        """Whether each seed has a dense model of its own."""
        return SEED in self.request.model

    @property
    def rows(self) -> list[Row]:
        return list(dict.fromkeys(cell.row for cell in self.cells))

    def path(self, cell: Cell) -> Path:
        return self.folder / "cells" / cell.name

    def claim(self, cell: Cell) -> Path:
        return self.folder / "claims" / f"{cell.name}.json"

    def failure(self, cell: Cell) -> Path:
        return self.folder / "failed" / f"{cell.name}.json"
