"""An audit of tables of predictions by their length: seconds and peak memory of the whole command, CSV and Parquet.

The manifest has as many rows as the table of predictions, a fifth of them in other splits; no image exists.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.csv
import pyarrow.parquet

RESULTS = Path(__file__).parent / "results" / "predictions.json"
CLASSES = np.array(["neutral", "smiling"])
MANIFEST = """version: 1
table: table.{kind}
images: nowhere
columns: {{image: file, label: label, split: split}}
classes: [neutral, smiling]
attributes:
  gender: {{column: gender, values: [female, male]}}
  age: {{column: age, bins: [0, 30, 60, 120]}}
transform: {{size: 64, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = [measured(rows, kind, what) for rows in options.rows for kind in ("csv", "parquet")
             for what in ("predicted", "scores")]  # fmt: skip
    options.out.write_text(json.dumps(found, indent=1) + "\n")


def measured(rows: int, kind: str, what: str) -> dict[str, Any]:
    """One audit in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), rows, kind, what)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        audit = ("-m", "fairprune_cli", "audit", "--json", "-q", "--predictions", f"predictions.{kind}")
        ran = subprocess.run([sys.executable, *audit], cwd=folder, check=True, capture_output=True, text=True)
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    document = json.loads(ran.stdout)
    one = {
        "rows": rows, "kind": kind, "columns": what, "audited": document["results"]["dense"]["n"],
        "seconds": round(wall, 1), "cpu_seconds": round(cpu(after) - cpu(before), 1),
        "peak_mb": round(document["cost"]["peak_bytes"] / 1e6),
    }  # fmt: skip
    print(one, flush=True)
    return one


def cpu(usage: resource.struct_rusage) -> float:
    """Seconds of the processor."""
    return usage.ru_utime + usage.ru_stime


def write(folder: Path, rows: int, kind: str, what: str) -> None:
    """A manifest, its table, and predictions of which nine in ten are right, in another order."""
    draw = np.random.default_rng(0)
    files = arrow.array([f"faces/{i // 1000:05d}/{i:08d}.jpg" for i in range(rows)])
    label = draw.integers(0, 2, rows)
    predicted = np.where(draw.random(rows) < 0.9, label, 1 - label)
    save(folder / f"table.{kind}", {
        "file": files, "label": CLASSES[label], "gender": np.where(draw.random(rows) < 0.2, "male", "female"),
        "age": draw.integers(0, 100, rows),
        "split": np.array(["train", "val", "test"])[draw.choice(3, rows, p=[0.1, 0.1, 0.8])],
    })  # fmt: skip
    order = draw.permutation(rows)
    columns: dict[str, Any] = {"file": files.take(arrow.array(order))}
    if what == "predicted":
        columns["predicted"] = CLASSES[predicted[order]]
    else:
        sure = draw.random(rows).round(3) / 2 + 0.5
        for k, name in enumerate(CLASSES):
            columns[str(name)] = np.where(predicted[order] == k, sure, 1 - sure)
    save(folder / f"predictions.{kind}", columns)
    (folder / "manifest.yaml").write_text(MANIFEST.format(kind=kind))


def save(path: Path, columns: dict[str, Any]) -> None:
    """As CSV or Parquet."""
    writer = pyarrow.csv.write_csv if path.suffix == ".csv" else pyarrow.parquet.write_table
    writer(arrow.table(columns), path)


if __name__ == "__main__":
    main()
