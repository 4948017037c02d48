"""Laying out a comparison: methods x targets x grid points x seeds as cells, checked before the first is computed."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fairprune_cli.compare import grid
from fairprune_cli.compare.cells import SEED, Cell, ComparisonPlan, Request, Row
from fairprune_cli.compare.grid import Point
from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.core.files import file_name, sha256_file
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.load import find_manifest, load_manifest
from fairprune_cli.models.checkpoint.contents import find_model_file
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.options import PATTERN, PATTERN_SPARSITY
from fairprune_cli.run import prune as pipeline
from fairprune_cli.run.options import Resolved


def plan(request: Request) -> ComparisonPlan:
    """Lay out the cells.

    Raises:
        FairpruneError: anything that a cell could be refused for by its settings, its method or its files.
    """
    given = [key for key, source in request.resolved.sources.items() if source == "flag"]
    _check_lists(request, given)
    points = grid.grid_points(request.grid, given)
    notes = _left_out(request) + _unequal(points)
    seeds = range(request.resolved.settings.seed, request.resolved.settings.seed + request.seeds)
    models = {seed: Path(request.model.replace(SEED, str(seed))) for seed in seeds}
    hashes = _hashes(set(models.values()))

    @cache
    def manifest(data: str | None, folder: Path) -> tuple[str, str]:
        found = find_manifest(None if data is None else Path(data), folder, None)
        return str(found.resolve()), load_manifest(found).sha256

    cells = []
    for granularity, sparsity in request.targets:
        for point in points:
            for method in request.methods:
                if granularity not in methods.get(method).granularities:
                    continue
                row = Row(method, granularity, sparsity, point)
                for seed in seeds:
                    data = dict(point).get("data", request.resolved.settings.data)
                    path, digest = manifest(data, models[seed])
                    resolved = _resolved(request.resolved, row, seed, path)
                    name = grid.cell_name(method, granularity, sparsity, point, seed)
                    cells.append(Cell(name, row, seed, models[seed], hashes[models[seed]], digest, resolved))
    if not cells:
        raise FairpruneError("no method works for any granularity asked for", where="--methods", hint=" ".join(notes))
    assert len({cell.name for cell in cells}) == len(cells)
    references = request.references or (("magnitude",) if "magnitude" in request.methods else request.methods[:1])
    out = request.out or comparison_folder(request.model)
    return ComparisonPlan(request, out, tuple(cells), tuple(points), references, tuple(notes))


def targets(granularities: Sequence[str], sparsities: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """All pairs of the two lists, checked and typed as the settings are; 2:4 has one sparsity, and no other pair.

    Raises:
        FairpruneError: 2:4 without its sparsity in the list.
    """
    shares = grid.each_once([grid.typed("sparsity", text) for text in sparsities], "--sparsities")
    kinds = grid.each_once([grid.typed("granularity", text) for text in granularities], "--granularities")
    if PATTERN in kinds and PATTERN_SPARSITY not in shares:
        raise FairpruneError(
            f"{PATTERN} removes exactly half of the weights it fits", where="--sparsities",
            hint=f"have {PATTERN_SPARSITY} in the list; the other sparsities then leave {PATTERN} out",
        )  # fmt: skip
    return tuple(
        (kind, share) for kind, share in itertools.product(kinds, shares)
        if kind != PATTERN or share == PATTERN_SPARSITY
    )  # fmt: skip


def comparison_folder(model: str) -> Path:
    """runs/compare-<model> in the working directory."""
    path = Path(model)
    name = path.name if path.is_dir() else path.stem
    return Path("runs") / file_name(f"compare-{name.replace(SEED, '').strip('-_. ') or 'models'}")


def check_cells(plan: ComparisonPlan, cells: Iterable[Cell]) -> None:
    """Open model and data of one cell of each kind and of each dense model, without decoding or training.

    Raises:
        FairpruneError: an attribute, notion or target that is out of reach, say, or a seed whose dense model does not
            fit the data; the message names the cell.
    """
    kinds, models = set(), set()
    for cell in cells:
        kind = (cell.row.granularity, cell.row.sparsity, cell.row.point)
        if kind in kinds and cell.model in models:
            continue
        kinds.add(kind)
        models.add(cell.model)
        # What there is to warn of is said when the cell runs.
        silent = Terminal(out=io.StringIO(), err=io.StringIO(), quiet=True)
        request = pipeline.PruneRequest(
            cell.model, cell.resolved, plan.path(cell), force=True, trust=plan.request.trust, dry_run=True
        )
        try:
            pipeline.prune(request, silent)
        except FairpruneError as error:
            raise FairpruneError(
                error.what, where=f"{cell.name}: {error.where}".rstrip(": "), hint=error.hint, code=error.code
            ) from error


def _check_lists(request: Request, given: Iterable[str]) -> None:
    known = methods.names()
    problems = Problems("--methods")
    for name in request.methods:
        try:
            methods.get(name)
        except FairpruneError as error:
            problems.add(f"{error.what}; {error.hint}")
    problems.raise_if_any()
    if not request.methods:
        raise FairpruneError("no method was given", where="--methods", hint=f"known: {', '.join(known)}")
    if not request.targets:
        raise FairpruneError("no sparsity was given", where="--sparsities", hint="for example --sparsities 0.8,0.9")
    if request.seeds < 1:
        raise FairpruneError("at least one seed is needed", where="--seeds", hint="5 give an interval worth reading")
    grid.each_once(list(request.methods), "--methods")
    grid.each_once(list(request.targets), "--sparsities")
    grid.each_once(list(request.references), "--reference")
    for key in ("method", "granularity", "sparsity"):
        if key in given:
            raise FairpruneError(f"{key} has a flag of its own here", where="--set", hint=f"use {grid.OWN_FLAGS[key]}")
    foreign = [name for name in request.references if name not in request.methods]
    if foreign:
        raise FairpruneError(
            f"{', '.join(foreign)} is not among the methods", where="--reference",
            hint=f"name one of {', '.join(request.methods)}",
        )  # fmt: skip


def _left_out(request: Request) -> list[str]:
    notes = []
    for granularity in dict.fromkeys(g for g, _ in request.targets):
        names = [m for m in request.methods if granularity not in methods.get(m).granularities]
        if names:
            verb = "does" if len(names) == 1 else "do"
            notes.append(f"{', '.join(names)} {verb} not work by {granularity} and {verb} not appear there.")
    return notes


def _unequal(points: list[Point]) -> list[str]:
    keys = [key for key in ("epochs", "batch_size") if key in dict(points[0])]
    if not keys:
        return []
    return [f"{' and '.join(keys)} differ between grid points, so their rows are not equal in passes."]


def _hashes(models: Iterable[Path]) -> Mapping[Path, str]:
    problems = Problems("MODEL")
    hashes = {}
    for path in sorted(models):
        try:
            hashes[path] = sha256_file(find_model_file(path))
        except FairpruneError as error:
            problems.add(f"{error.where}: {error.what}" if error.where else error.what)
        except OSError as error:
            problems.add(f"{path}: {error.strerror or error}")
    problems.raise_if_any(hint="{seed} in the name stands for each seed in turn")
    return hashes


def _resolved(base: Resolved, row: Row, seed: int, manifest: str) -> Resolved:
    """The settings of one cell, exactly those that the flags of `fairprune prune` would give."""
    own: dict[str, Any] = {
        "method": row.method, "granularity": row.granularity, "sparsity": row.sparsity, "seed": seed, **dict(row.point),
        "data": manifest, "list_changed": True,
    }  # fmt: skip
    if "notion" in own:
        own.setdefault("method_notion", "asked")
    return Resolved(replace(base.settings, **own), {**base.sources, **dict.fromkeys(own, "flag")})
