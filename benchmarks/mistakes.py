"""Deliberate mistakes with what the program answers, as docs/mistakes.md.

    python benchmarks/mistakes.py fairprune-demo > docs/mistakes.md

Every command line is a process of its own in the folder of a finished `fairprune demo`, which none of them changes. An
answer that is a traceback, or an exit code other than 2, ends the page with an error and exit code 1.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PRUNE = "prune model.pt --attr gender"
MISTAKES = {
    "Files and folders": (
        "prune modle.pt --attr gender", "prune runs --attr gender", f"{PRUNE} --data nowhere.yaml",
        f"{PRUNE} --data {{scratch}}/key.yaml", f"{PRUNE} --out table.csv/run", "prune --resume runs/nowhere",
        "export model.pt --to onnx --out table.csv/m.onnx", "train --arch resnet10 --out model.pt", "data init nowhere",
    ),
    "Names": (
        "prun model.pt", "prune model.pt --atr gender", "prune model.pt", "prune model.pt --attr gendr",
        f"{PRUNE} --method bfip", f"{PRUNE} --method L1", f"{PRUNE} --method mymethods.Norm",
        f"{PRUNE} --notion equalised-odds", f"{PRUNE} --notion 'demographic parity'",
        f"{PRUNE} --relaxation logstic", f"{PRUNE} --granularity unstructured", f"{PRUNE} --granularity n:m",
        f"{PRUNE} --device gpu", f"{PRUNE} --set roh=0.1", "train --arch resnet180 --out new.pt",
        "compare model.pt --methods bipf,magnitude --sparsities 0.8 --attr gender", "export model.pt --to torchscript",
        "report runs/demo --to markdown", "config explain tolerence",
    ),
    "Numbers": (
        f"{PRUNE} --sparsity 80", f"{PRUNE} --sparsity 80%", f"{PRUNE} --sparsity 0,8", f"{PRUNE} --tolerance 5",
        f"{PRUNE} --epochs 0", f"{PRUNE} --lr fast", "audit model.pt --confidence 95",
        "audit model.pt --max-gap 5 --min-accuracy 90",
        "compare model.pt --methods bifp --sparsities 0.8,90 --attr gender", "inspect model.pt --size big",
    ),
    "What does not go together": (
        "audit", "audit model.pt --max-degradation 0.1", f"{PRUNE} --granularity 2:4 --sparsity 0.8",
        f"{PRUNE} --method magnitude --fairness-on both", "export model.pt --to safetensors --split val",
        "data stats --split val", f"{PRUNE} --arch resnet18",
    ),
}  # fmt: skip


def answered(command: str, folder: Path, scratch: Path) -> tuple[int, str]:
    """Exit code and words of one command line, as a pipe gets them; the scratch folder is told as `scratch`."""
    words = shlex.split(command.replace("{scratch}", str(scratch)))
    ended = subprocess.run(
        [sys.executable, "-m", "fairprune_cli", *words], cwd=folder, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=os.environ | {"FAIRPRUNE_CACHE": str(scratch / "cache")}, check=False,
    )  # fmt: skip
    said = ended.stdout.replace(f"{folder.resolve()}/", "").replace(str(scratch), "scratch")
    return ended.returncode, said.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="made by fairprune demo")
    folder: Path = parser.parse_args().folder
    count, wrong = sum(map(len, MISTAKES.values())), []
    print(f"# {count} mistakes, and what they are answered with\n")
    print(
        "Written by `benchmarks/mistakes.py` in the folder of a `fairprune demo`. Every answer goes to stderr, and the"
    )
    print("exit code is 2. `scratch/key.yaml` is the demo's manifest with a line `colums: {}` at its end.")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        manifest = (folder / "manifest.yaml").read_text("utf-8")
        shutil.copy(folder / "table.csv", scratch)
        (scratch / "key.yaml").write_text(f"{manifest}colums: {{}}\n", "utf-8")
        for heading, commands in MISTAKES.items():
            print(f"\n## {heading}")
            for command in commands:
                code, said = answered(command, folder, scratch)
                print(f"\n    $ fairprune {command.replace('{scratch}', 'scratch')}")
                print("\n".join(f"    {line}" for line in said.splitlines()), flush=True)
                if code != 2 or "Traceback" in said:
                    wrong.append(f"{command}: exit {code}")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
