"""Kill a small run with SIGKILL at random moments, continue each, and compare the final model's bytes.

The state is saved after every step. Every second kill waits, from its random moment on, until a state is being written.
Prints a table and writes
results/kills.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fairprune_cli.core.files import sha256_file
from fairprune_cli.data.drawn_faces.write import write_sample
from tests.support.processes import Started, start

PRUNE = ("prune", "model.pt", "--sparsity", "0.9", "--attr", "gender", "--epochs", "2", "--batch-size", "64")


def moment(out: Path) -> str:
    """What the killed process was at, by what it left behind."""
    writing = [path.name.split(".")[1] for folder in (out, out / "state") for path in folder.glob(".*.tmp")]
    if writing:
        return f"while {writing[0]} was written"
    if (out / "report.json").exists():
        return "after the report"
    if (out / "model.safetensors").exists():
        return "after the model"
    if (out / "state" / "state.pt").exists():
        return "between two states"
    return "before the first state"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) / "faces"
        out = work / "killed"
        os.environ["FAIRPRUNE_CACHE"] = str(Path(temporary) / "cache")
        write_sample(work, seed=3, sizes={"train": 400, "val": 300, "test": 400})

        def run(*arguments: str) -> Started:
            return start(*arguments, cwd=work, log=Path(temporary) / "log")

        def finished(*arguments: str) -> float:
            began = time.perf_counter()
            running = run(*arguments)
            if running.wait() != 0:
                raise SystemExit(running.err)
            return time.perf_counter() - began

        finished("train", "--arch", "resnet10-w16", "--epochs", "2", "--batch-size", "64")
        rows: dict[str, dict[str, dict[str, int]]] = {}
        for granularity in ("weight", "channel"):
            prune = (*PRUNE, "--granularity", granularity)
            finished(*prune, "--out", "warm-up")
            seconds = finished(*prune, "--out", "whole", "--set", "save_minutes=0")
            expected = sha256_file(work / "whole" / "model.safetensors")
            counts: dict[str, dict[str, int]] = {}
            for number in range(args.kills // 2):
                running = run(*prune, "--out", str(out), "--set", "save_minutes=0")
                time.sleep(random.uniform(0, seconds if number % 2 == 0 else 0.7 * seconds))
                if number % 2:
                    running.wait_until(lambda: any((out / "state").glob(".*.tmp")), pause=0.0002)
                    time.sleep(random.uniform(0, 0.002))
                running.send(signal.SIGKILL)  # it may be over by then
                running.wait()
                at = moment(out)
                count = counts.setdefault(at, {"kills": 0, "same bytes": 0})
                count["kills"] += 1
                if (out / "config.yaml").exists() and not (
                    at == "after the report" and not (out / "state/state.pt").exists()
                ):
                    finished("prune", "--resume", str(out))
                elif not out.exists() or not any(out.iterdir()):
                    finished(*prune, "--out", str(out))  # killed before there was a folder
                count["same bytes"] += sha256_file(out / "model.safetensors") == expected
                shutil.rmtree(out)
            rows[granularity] = counts
            shutil.rmtree(work / "whole")
            shutil.rmtree(work / "warm-up")
    print(f"{'granularity':12} {'killed':34} {'kills':>5} {'same bytes':>10}")
    for granularity, counts in rows.items():
        for at, count in sorted(counts.items()):
            print(f"{granularity:12} {at:34} {count['kills']:5} {count['same bytes']:10}")
    target = Path(__file__).parent / "results" / "kills.json"
    target.write_text(json.dumps({"seed": args.seed, "kills": rows}, indent=1) + "\n", encoding="utf-8")
    if any(count["kills"] != count["same bytes"] for counts in rows.values() for count in counts.values()):
        raise SystemExit("a run was lost")


if __name__ == "__main__":
    main()
