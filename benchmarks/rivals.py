"""Our method beside its rivals: same dense models, data and passes; several draws of the data and seeds, real faces.

    python benchmarks/rivals.py --tune           choose a setting per row, on data that no measurement reads
    python benchmarks/rivals.py                  measure every row with its choice; tables and verdicts
    python benchmarks/rivals.py --ladder --data faces lfw-smile utkface-gender-by-race     the parts one by one
    python benchmarks/rivals.py --data utkface-gender-by-race --cells weight:0.95 \
        --methods bifp fairgrape "fairgrape, own budget" --name own-budget
    python benchmarks/rivals.py --data utkface-gender-by-race --cells weight:0.95 --arch resnet18
    python benchmarks/rivals.py --data utkface-gender-by-race --cells weight:0.8 --arch vit-tiny --lr 0.02

Real faces lie below $FAIRPRUNE_DATA_ROOT (`lfw-smile`, `utkface`) and are left out in a sentence where they do not.
What is done is kept in --work and not computed again: an interrupted benchmark goes on where it was, and several
processes, each with one thread, may work on the same --work, which belongs to one version of the code. --gather makes
the tables of what is there; --list prints the commands that are left. Rows, grids and cells stand in _rivals_grids.py
and _rivals_data.py. Writes results/rivals-<name>.json and .md, results/tuning.json and .md, and all of them together
into docs/results.md. results/rivals-runs-<arch>-<epochs>.jsonl has the predicted classes of every measured run (-ladder
those of the parts), from which a new --work begins: remove it when a method or its settings' defaults change.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _rivals_archive import archive, archive_of, restore
from _rivals_asked import NOTHING, refuse
from _rivals_cells import Part, costs, gathered
from _rivals_data import Task, draws_of, tasks_of
from _rivals_documents import ladder_cell, measured, with_adjusted
from _rivals_grids import LADDER, ONE_CELL, OURS, ROWS, TUNING_CELLS, Row, Values, ladder_settings
from _rivals_page import ladder_page, measured_page, results_page, tuning_page
from _rivals_runs import Job, Place, complete
from _rivals_statistics import CONFIDENCE, Cell
from _rivals_tuning import SCORE, Tried, choose

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.core.terminal import Terminal

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "results.md"
ARCH = "resnet10-w16"  # whose page is the first
OURS_FOUND = f" Those of {OURS} were found in trials on the same images that the others were tuned on."
Chosen = tuple[Row, dict[str, str]]  # a row with its settings


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--tune", action="store_true", help="choose the settings of the rows")
    mode.add_argument("--ladder", action="store_true", help="the parts one by one")
    parser.add_argument("--data", nargs="+", default=["faces", "lfw-smile", "utkface"], help="tasks or data sets")
    parser.add_argument("--cells", nargs="+", help="granularity:sparsity, instead of each task's own")
    parser.add_argument("--notions", nargs="+", help="instead of each task's own; degradation is a third one")
    parser.add_argument("--methods", nargs="+", help=f"rows, of {'; '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, metavar="N", help="of training [5; of faces 3; for tuning 2 and 1]")
    parser.add_argument("--data-seeds", type=int, metavar="N", help="draws of the faces [3; for tuning 2]")
    parser.add_argument("--arch", default=ARCH)
    parser.add_argument("--dense-epochs", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=0, help="of pruning [the tool's]")
    parser.add_argument("--lr", default="", help="of training and pruning alike, whatever was tuned [the tool's]")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tuning", default=str(RESULTS / "tuning.json"), help="choices to read; `none` for defaults")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs/rivals"))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--name", help="of the results [the architecture]")
    parser.add_argument("--gather", action="store_true", help="make the tables from the runs that are there")
    parser.add_argument("--list", action="store_true", help="print the commands that are left, and run none of them")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    refuse(args, LADDER if args.ladder else ROWS)
    place = Place(args.work, args.arch, args.dense_epochs, args.epochs, args.device, args.lr, args.ladder)
    chosen, words = choices(args)
    rows = rows_of(args, chosen)
    parts, left_out = parts_of(args, rows)
    if not parts:
        raise FairpruneError("none of these data are there", where=f"--data {' '.join(args.data)}")
    jobs = in_order(parts)
    before = tuned_before(args, parts) if args.tune and args.methods else {}
    kept = archive_of(args.out, place)
    if not args.tune:
        restore(place, kept)
    if args.list:
        print("\n".join(shlex.join(job.command(place)) for job in jobs if not job.classes(place).exists()))
        return
    if not args.gather:
        complete(jobs, place)
    if not args.tune:
        archive(jobs, place, kept)
    failed = sorted({job.failure(place) for job in jobs if job.failure(place).exists()})
    left_out += [
        f"Failed: {path.relative_to(place.folder)}: {path.read_text(encoding='utf-8').strip()}" for path in failed
    ]
    facts = {
        "name": args.name or args.arch, "arch": args.arch, "dense_epochs": args.dense_epochs, "lr": args.lr,
        "left_out": left_out, "machines": costs(jobs, place).get("machines", []), "confidence": CONFIDENCE,
        "resamples": args.resamples, "tuning_words": words,
    }  # fmt: skip
    if args.tune:
        tune(args, place, parts, facts, before)
    else:
        (ladder if args.ladder else measure)(args, place, parts, facts)
    raise SystemExit(1 if failed else 0)


def choices(args: argparse.Namespace) -> tuple[dict[str, Values], str]:
    """The chosen setting of each row, and a sentence about it."""
    path = Path(args.tuning)
    if args.tune or args.tuning == NOTHING:
        return {}, "Every row has the tool's default settings: nothing was tuned."
    found = json.loads(path.read_text(encoding="utf-8"))["rows"]
    chosen = {row: found[like]["chosen"] for row in [*found, *ROWS] if (like := tuned_like(row)) in found}
    if old := [row for row, values in chosen.items() if row not in ROWS or values not in ROWS[row].grid]:
        raise FairpruneError(
            f"it chose for {old[0]!r} what its grid does not hold", where=str(path),
            hint=f"tune again, or give --tuning {NOTHING}",
        )  # fmt: skip
    measured = args.methods or [name for name, row in ROWS.items() if not row.named]
    untuned = [name for name in measured if not args.ladder and name not in chosen]
    return chosen, (
        "Every row has the best of four settings (rows of one method share one choice), chosen for all data sets "
        "together on images that are not read here (tuning.md)"
        f"{', but for these, which have their defaults: ' + '; '.join(untuned) if untuned else ''}."
        f"{OURS_FOUND if OURS in untuned else ''}"
    )


def tuned_like(row: str) -> str:
    """The row whose choice a row takes."""
    return (ROWS[row].tuned_as if row in ROWS else "") or row


def rows_of(args: argparse.Namespace, chosen: Mapping[str, Values]) -> dict[str, Chosen]:
    """What is run, by name, with its settings; for tuning each setting of a grid is a row of its own."""
    table = LADDER if args.ladder else ROWS
    names = args.methods or [name for name, row in table.items() if not row.named]
    if args.tune:
        return {
            tried_name(name, number): (table[name], table[name].settings(settings))
            for name in names if table[name].tuned for number, settings in enumerate(table[name].grid)
        }  # fmt: skip
    if args.ladder:
        return {name: (table[name], ladder_settings(table[name], chosen)) for name in names}
    rate = {"lr": args.lr} if args.lr else {}
    return {name: (table[name], table[name].settings({**chosen.get(name, {}), **rate})) for name in names}


def tried_name(row: str, setting: int) -> str:
    """Of a row of the grid, by the setting's number."""
    return f"{row} #{setting}"


def parts_of(args: argparse.Namespace, rows: Mapping[str, Chosen]) -> tuple[list[Part], list[str]]:
    """All cells, and sentences about what is left out."""
    parts, left_out = [], []
    cells = TUNING_CELLS if args.tune else ONE_CELL if args.ladder else {}
    for task in tasks_of(args.data):
        faces = task.family == "faces"
        draws, why = draws_of(task, args.work, args.data_seeds or (2 if args.tune else 3), args.tune)
        if why:
            left_out.append(why)
            print(why, flush=True)
            continue
        seeds = range(args.seeds or ((1 if faces else 2) if args.tune else 3 if faces else 5))
        for cell in args.cells or cells.get(task.family, task.cells):
            for notion in args.notions or notions_of(args, task, cell):
                parts.append(Part(task, draws, seeds, cell, notion, in_cell(args, task, cell, notion, rows)))
    return parts, left_out


def notions_of(args: argparse.Namespace, task: Task, cell: str) -> tuple[str, ...]:
    """What is asked for in a cell: all the task's notions in one cell, its first in the others."""
    return task.notions[: None if cell in ONE_CELL[task.family] and not (args.ladder or args.tune) else 1]


def in_cell(
    args: argparse.Namespace, task: Task, cell: str, notion: str, rows: Mapping[str, Chosen]
) -> dict[str, Chosen]:
    """The rows that are measured in a cell: all of them in one of each data set, or where they are named."""
    whole = args.tune or args.ladder or args.methods or (task.measures_all and cell in ONE_CELL[task.family])
    asked = {name: of for name, of in rows.items() if not of[0].notions or notion in of[0].notions}
    return {name: of for name, of in asked.items() if whole or of[0].everywhere}


def in_order(parts: Sequence[Part]) -> list[Job]:
    """All runs, each once: seed by seed, so that tables fill evenly, and of a seed dense model by dense model."""
    jobs = [job for part in parts for job in part.jobs()]
    jobs.sort(key=lambda job: (job.seed, job.draw.name))
    nowhere = Place(Path(), "", 0)
    first: dict[Path, Job] = {}
    for job in jobs:
        first.setdefault(job.folder(nowhere), job)
    return list(first.values())


def measure(args: argparse.Namespace, place: Place, parts: Sequence[Part], facts: Mapping[str, Any]) -> None:
    """All rows side by side."""
    document = with_adjusted({**facts, **measured(parts, place, args.resamples)})
    write(args.out / f"rivals-{facts['name']}", document, measured_page(document))


def ladder(args: argparse.Namespace, place: Place, parts: Sequence[Part], facts: Mapping[str, Any]) -> None:
    """The parts one by one."""
    cells = [cell for part in parts if (cell := ladder_cell(part, place, args.resamples)) is not None]
    document = with_adjusted({**facts, "parts": list(parts[0].rows) if parts else [], "cells": cells})
    write(args.out / f"rivals-{facts['name']}-ladder", document, ladder_page(document))


def tune(
    args: argparse.Namespace, place: Place, parts: Sequence[Part], facts: Mapping[str, Any], before: Mapping[str, Any]
) -> None:
    """The best setting of each row that is tuned, beside what was chosen before for others."""
    grids = {row: ROWS[row].grid for row in args.methods or ROWS if ROWS[row].tuned}
    tried = []
    for part in parts:
        where = (part.task.family, part.task.name, part.cell, part.notion)
        for row, number in ((row, number) for row, grid in grids.items() for number in range(len(grid))):
            name = tried_name(row, number)
            found = gathered(part, [name], place, name)
            if found is not None:
                figures = Cell(found.draws, args.resamples).runs[name]
                tried += [Tried(row, number, where, run, own) for run, own in zip(found.runs, figures, strict=True)]
    rows = {**before, **choose(tried, grids)}
    rows = {row: rows[row] for row in ROWS if row in rows}
    document = {**facts, "score": SCORE, "cells": cells_of(parts), "rows": rows}
    write(args.out / "tuning", document, tuning_page(document))


def tuned_before(args: argparse.Namespace, parts: Sequence[Part]) -> dict[str, Any]:
    """What the file of choices says of rows that are not tuned this time, where it was made on the same cells."""
    path = Path(args.tuning)
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["cells"] != cells_of(parts):
        raise FairpruneError(
            "it was made on other cells", where=str(path), hint=f"tune all rows, or give --tuning {NOTHING}"
        )  # fmt: skip
    return {row: of for row, of in found["rows"].items() if row not in args.methods}


def cells_of(parts: Sequence[Part]) -> list[list[str]]:
    """What choices are made on, as it is written: task, cell, notion."""
    return [[part.task.name, part.cell, part.notion] for part in parts]


def write(stem: Path, document: Mapping[str, Any], page: str) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(stem.with_name(f"{stem.name}.json"), json.dumps(document, indent=1, allow_nan=False) + "\n")
    atomic_write_text(stem.with_name(f"{stem.name}.md"), page)
    if stem.parent == RESULTS:
        pages = sorted(RESULTS.glob("rivals-*.md"), key=lambda path: (path.stem != f"rivals-{ARCH}", path.stem))
        found = [*pages, *RESULTS.glob("tuning.md")]
        atomic_write_text(PAGE, results_page(path.read_text(encoding="utf-8") for path in found))
    print(page)


if __name__ == "__main__":
    try:
        main()
    except FairpruneError as error:
        Terminal().error(str(error))
        raise SystemExit(int(error.code)) from None
