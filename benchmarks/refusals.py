"""Seconds until a mistake is answered, and until a command says its first line; on a folder of `fairprune demo`.

    python benchmarks/refusals.py fairprune-demo [--repeats 3] [--json]

Every command line is a process of its own, as a user starts it, one after the other. Of several repeats the fastest is
taken: what else the machine does only adds to it, and hardly to the processor's own time, which is shown beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

MODEL = "model.pt"
MISTAKES = (
    ("a file that is not there", "prune modle.pt --attr gender"),
    ("a manifest that is not there", f"prune {MODEL} --data nowhere.yaml --attr gender"),
    ("a manifest with an unknown key", f"prune {MODEL} --data {{scratch}}/key.yaml --attr gender"),
    ("an attribute that the manifest lacks", f"prune {MODEL} --attr gendr"),
    ("a method that is none", f"prune {MODEL} --attr gender --method bfip"),
    ("a notion that is none", f"audit {MODEL} --notion equalized-odds"),
    ("a relaxation that is none", f"prune {MODEL} --attr gender --relaxation logstic"),
    ("a share in per cent", f"prune {MODEL} --attr gender --sparsity 80"),
    ("an output below a file", f"export {MODEL} --to safetensors --out table.csv/out.safetensors"),
    ("an architecture that is none", "train --arch resnet180 --out {scratch}/new.pt"),
)
FIRST_LINES = (
    "--help", "prune --help", f"prune {MODEL} --attr gender --out {{scratch}}/run", f"audit {MODEL}",
    f"compare {MODEL} --methods magnitude --sparsities 0.5 --seeds 1 --attr gender --out {{scratch}}/compare",
    "train --arch resnet10-w16 --out {scratch}/new.pt",
    f"export {MODEL} --to safetensors --out {{scratch}}/out.safetensors", f"inspect {MODEL}", f"measure {MODEL}",
    "report runs/demo --to md", "demo --out {scratch}/demo", "data init . --out {scratch}/manifest.yaml", "data check",
    "data sample --out {scratch}/sample", "data stats", "data cache", "config list", "config explain sparsity",
    "config schema",
)  # fmt: skip


@dataclass(frozen=True)
class Timed:
    """One command line.

    Attributes:
        first, end: seconds until its first byte and until its end; cpu: of the processor, all its threads together.
        end and code are None where it was stopped at its first byte.
        said: its words.
    """

    command: str
    first: float
    cpu: float
    end: float | None
    code: int | None
    said: str


def timed(command: str, folder: Path, scratch: Path, to_the_end: bool) -> Timed:
    """Run one command line in the folder; where not to its end, it is stopped at its first byte."""
    words = [word.replace("{scratch}", str(scratch)) for word in command.split()]
    started, before = time.perf_counter(), _spent()
    process = subprocess.Popen(
        [sys.executable, "-m", "fairprune_cli", *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=os.environ | {"FAIRPRUNE_CACHE": str(scratch / "cache")},
    )  # fmt: skip
    assert process.stdout is not None
    with process, selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        waiting.select()
        first = time.perf_counter() - started
        if not to_the_end:
            said = os.read(process.stdout.fileno(), 1 << 12)
            process.kill()
            process.wait()
            return Timed(command, first, _spent() - before, None, None, said.decode(errors="replace"))
        said = process.stdout.read()
        process.wait()
        end = time.perf_counter() - started
        return Timed(command, first, _spent() - before, end, process.returncode, said.decode(errors="replace"))


def _spent() -> float:
    """Seconds of the processor that the processes that have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def fastest(command: str, folder: Path, repeats: int, to_the_end: bool) -> Timed:
    """The fastest of several, each with nothing left from the one before."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as scratch:
            manifest = (folder / "manifest.yaml").read_text("utf-8")
            Path(scratch, "key.yaml").write_text(f"{manifest}colums: {{}}\n", "utf-8")
            found.append(timed(command, folder, Path(scratch), to_the_end))
    return min(found, key=lambda one: one.end or one.first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="made by fairprune demo")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    refusals = {what: fastest(command, asked.folder, asked.repeats, True) for what, command in MISTAKES}
    lines = [fastest(command, asked.folder, asked.repeats, False) for command in FIRST_LINES]
    if asked.json:
        document = {"refusals": {k: asdict(v) for k, v in refusals.items()}, "first_lines": [asdict(v) for v in lines]}
        print(json.dumps(document, indent=1))
        return
    for what, one in refusals.items():
        print(f"{one.end:6.2f} s, {one.cpu:.2f} of CPU  exit {one.code}  {what}: fairprune {one.command}")
        print(f"          {' '.join(one.said.split())}")
    for one in lines:
        print(f"{one.first:6.2f} s, {one.cpu:.2f} of CPU  to the first line of fairprune {one.command}")


if __name__ == "__main__":
    main()
