"""What 8-bit integers cost and bring, beside and on top of pruning: bytes, latency, and each group's accuracy.

    FAIRPRUNE_DATA_ROOT=... python benchmarks/multi_task.py --network sigmoids --work benchmark-runs/multi-task
    python benchmarks/int8.py --work benchmark-runs/multi-task

Takes the networks that benchmarks/multi_task.py leaves: for each seed a ResNet18 (48 x 48 pixels, UTKFace) and what is
left of it after pruning by channel at 0.8. Each is exported to ONNX as it is and with --int8, all four are audited
against the dense float graph on the test split by `fairprune audit`, and timed in turn in ONNX Runtime on one thread.
Writes results/int8.json and the table between the marks of docs/int8.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from fairprune_cli.core.files import atomic_write_text

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "int8.md"
MARKS = ("<!-- table of benchmarks/int8.py -->", "<!-- end of table -->")
FORMS = {"dense float": "dense.onnx", "dense int8": "dense-int8.onnx", "pruned float": "channel-pruned.onnx",
         "pruned int8": "channel-pruned-int8.onnx"}  # fmt: skip
OTHERS = [form for form in FORMS if form != "dense float"]
BATCHES = (1, 32)
ROUNDS = 40
SIZE = 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("benchmark-runs/multi-task"), help="that of multi_task.py")
    parser.add_argument("--out", type=Path, default=Path("benchmark-runs/int8"), help="where the graphs go")
    args = parser.parse_args()
    sources = sorted(args.work.glob("sigmoids-*/held/model.safetensors"))
    if not sources:
        raise SystemExit(f"no networks in {args.work}: run benchmarks/multi_task.py --network sigmoids first")
    seeds = [of_seed(source.parents[1], args.out / source.parents[1].name) for source in sources]
    document = {
        "machine": f"{platform.machine()}, one thread", "onnxruntime": onnxruntime.__version__, "size": SIZE,
        "seeds": seeds,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    atomic_write_text(RESULTS / "int8.json", json.dumps(document, indent=1) + "\n")
    page = PAGE.read_text(encoding="utf-8")
    start, end = page.index(MARKS[0]) + len(MARKS[0]), page.index(MARKS[1])
    atomic_write_text(PAGE, page[:start] + "\n\n" + table(seeds) + "\n\n" + page[end:])
    print(table(seeds))


def of_seed(network: Path, out: Path) -> dict[str, Any]:
    """The record of one dense network and its pruned form."""
    out.mkdir(parents=True, exist_ok=True)
    manifest = network / "int8.yaml"
    atomic_write_text(manifest, (network / "one.yaml").read_text(encoding="utf-8") + "duplicates: drop\n")
    sources = {"dense": network / "dense.pt", "pruned": network / "held" / "model.safetensors"}
    for form, name in FORMS.items():
        which, _, kind = form.partition(" ")
        if not (out / name).exists():
            extra = ["--int8", "--attr", "race"] if kind == "int8" else []
            fairprune("export", sources[which], "--to", "onnx", "--data", manifest, "--out", out / name, *extra)
    report = json.loads(fairprune(
        "audit", *(out / FORMS[form] for form in OTHERS), "--against", out / FORMS["dense float"], "--data", manifest,
        "--attr", "race", "--json",
    ))  # fmt: skip
    return {
        "network": network.name,
        "bytes": {form: (out / name).stat().st_size for form, name in FORMS.items()},
        "ms": timed({form: out / name for form, name in FORMS.items()}),
        "results": {form: _of(report["results"], form) for form in FORMS},
        "against_dense_float": {
            form: _of(report["degradations"], form)["race"] for form in FORMS if form != "dense float"
        },
    }


def _of(found: Mapping[str, Any], form: str) -> Any:
    return found["dense" if form == "dense float" else Path(FORMS[form]).stem]


def fairprune(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "fairprune_cli", *map(str, arguments), "--quiet"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def timed(files: Mapping[str, Path]) -> dict[str, dict[int, float]]:
    """Median milliseconds of a batch, by form and size of the batch; the forms take turns.

    Time of the thread: on a machine that is shared, long runs are interrupted and short ones are not.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions = {form: onnxruntime.InferenceSession(str(file), options) for form, file in files.items()}
    found: dict[str, dict[int, float]] = {form: {} for form in files}
    for batch in BATCHES:
        images = np.random.default_rng(0).normal(size=(batch, 3, SIZE, SIZE)).astype(np.float32)
        laps: dict[str, list[float]] = {form: [] for form in files}
        for _ in range(ROUNDS):
            for form, session in sessions.items():
                start = time.thread_time()
                session.run(None, {"images": images})
                laps[form].append(1e3 * (time.thread_time() - start))
        for form in files:
            found[form][batch] = statistics.median(laps[form])
    return found


def table(seeds: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a column per form; ranges are over the seeds, changes those of the first with their intervals."""
    lines = ["| | " + " | ".join(FORMS) + " |", "|---|" + "---|" * len(FORMS)]

    def row(label: str, cells: Sequence[str]) -> None:
        lines.append(f"| {label} | " + " | ".join(cells) + " |")

    row("MB", [_range([seed["bytes"][form] / 1e6 for seed in seeds], 1) for form in FORMS])
    for batch in BATCHES:
        ratios = [[seed["ms"]["dense float"][batch] / seed["ms"][form][batch] for seed in seeds] for form in FORMS]
        row(f"speed, batch of {batch}", [_range(one, 1) + "x" for one in ratios])
    for seed in seeds:
        name = seed["network"].rpartition("-")[2]
        whole = [seed["results"][form] for form in FORMS]
        row(f"seed {name}: accuracy, %", [f"{100 * one['accuracy']:.1f}" for one in whole])
        for group, first in whole[0]["attributes"]["race"]["groups"].items():
            changes = [seed["against_dense_float"][form]["groups"][group] for form in OTHERS]
            row(f"seed {name}: {group} ({first['n']})", [f"{100 * first['accuracy']:.1f}", *map(_change, changes)])
    return "\n".join(lines)


def _range(values: Sequence[float], digits: int) -> str:
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _change(entry: Mapping[str, float]) -> str:
    return f"{100 * entry['change']:+.1f} [{100 * entry['low']:+.1f}, {100 * entry['high']:+.1f}]"


if __name__ == "__main__":
    main()
