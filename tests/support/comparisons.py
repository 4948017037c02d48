"""A comparison whose cells were never computed: run folders with reports drawn from a seed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fairprune_cli.compare import grid
from fairprune_cli.compare.cells import Cell, ComparisonPlan, Request, Row
from fairprune_cli.run.options import resolve

GROUPS = {"gender": ("female", "male"), "age": ("<30", "30-60", "60+")}


def layout(
    folder: Path,
    methods: Sequence[str] = ("magnitude", "bifp"),
    targets: Sequence[tuple[str, float]] = (("channel", 0.8),),
    seeds: int = 3,
    pairs: Sequence[str] = (),
    model: str = "dense-{seed}.pt",
    references: Sequence[str] = (),
    **settings: Any,
) -> ComparisonPlan:
    """A plan as `cells.plan` makes it, without models or data."""
    base = resolve(settings, {}, None)
    points = grid.grid_points(pairs, settings)
    request = Request(model, base, tuple(methods), tuple(targets), seeds, tuple(pairs), tuple(references), folder)
    cells = []
    for (granularity, sparsity), point, method, seed in itertools.product(targets, points, methods, range(seeds)):
        row = Row(method, granularity, sparsity, point)
        own = {"method": method, "granularity": granularity, "sparsity": sparsity, "seed": seed, "data": "/d/m.yaml"}
        name = grid.cell_name(method, granularity, sparsity, point, seed)
        resolved = resolve({**settings, **own, **dict(point)}, {}, None)
        cells.append(Cell(name, row, seed, Path(model.replace("{seed}", str(seed))), f"m{seed}", "d", resolved))
    chosen = references or (("magnitude",) if "magnitude" in methods else methods[:1])
    return ComparisonPlan(request, folder, tuple(cells), tuple(points), tuple(chosen), ())


def finish(plan: ComparisonPlan, cell: Cell, report: dict[str, Any]) -> None:
    """Write the run folder that a finished cell leaves behind, as far as a comparison reads it."""
    path = plan.path(cell)
    path.mkdir(parents=True, exist_ok=True)
    config = {
        "inputs": {
            "model": str(cell.model), "model_sha256": cell.model_sha256, "manifest": "/d/m.yaml",
            "manifest_sha256": cell.manifest_sha256, "trust": "False",
        },
        "settings": cell.resolved.document(),
    }  # fmt: skip
    (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (path / "report.json").write_text(json.dumps(report, allow_nan=False), encoding="utf-8")


def drawn(cell: Cell, accuracy: float, gap: float, attributes: Sequence[str] = ("gender",)) -> dict[str, Any]:
    """A report with about this accuracy and gap; the dense model depends on the seed alone."""
    rng = np.random.default_rng([cell.seed, *cell.row.method.encode()])
    dense_rng = np.random.default_rng(cell.seed)
    notion = cell.settings.notion
    return {
        "schema_version": 1, "notion": notion, "confidence": 0.95,
        "data": {"name": "faces", "sha256": "d", "split": "test"}, "model": {"architecture": "resnet10-w16"},
        "results": {
            "dense": _model(dense_rng, 0.95, 0.07, attributes), "pruned": _model(rng, accuracy, gap, attributes),
        },
        "degradation": {name: {"gap": float(abs(gap - 0.03 + rng.normal(0, 0.004)))} for name in attributes},
        "sparsity": {"achieved": cell.row.sparsity}, "cost": {"passes": 324.0, "seconds": 30.0 + float(rng.random())},
        "size": {"file_bytes": 256800, "dense_bytes": 1237032, "macs": 4423908, "dense_macs": 6947840},
        "training": [
            {
                "exact_gap": dict.fromkeys(attributes, gap), "surrogate_gap": dict.fromkeys(attributes, 2 * gap),
                "multipliers": {name: {g: 0.1 * i for i, g in enumerate(GROUPS[name])} for name in attributes},
            }
        ],
    }  # fmt: skip


def _model(rng: np.random.Generator, accuracy: float, gap: float, attributes: Sequence[str]) -> dict[str, Any]:
    accuracy, gap = accuracy + float(rng.normal(0, 0.003)), max(gap + float(rng.normal(0, 0.006)), 0.001)
    record: dict[str, Any] = {"accuracy": accuracy, "n": 5000, "attributes": {}}
    for name in attributes:
        groups = {g: {"accuracy": accuracy + 0.01 - gap * i} for i, g in enumerate(GROUPS[name])}
        wide = gap * (len(groups) - 1)
        record["attributes"][name] = {
            "groups": groups, "gap": wide,
            "metrics": {
                "odds": {"value": 1.5 * wide}, "worst_group": {"value": accuracy + 0.01 - wide},
                "parity": None, "parity_undefined": "fewer than two groups have 30 images",
            },
        }  # fmt: skip
    return record
