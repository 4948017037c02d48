"""What a terminal of 80 and of 120 columns shows of each long command, as docs/screens.md; needs tmux.

    python benchmarks/screens.py fairprune-demo > docs/screens.md

Of the folder of a finished `fairprune demo` a copy is used, with every fifth of its images, for the time's sake.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WIDTHS = (80, 120)
COMMANDS = (
    "data check .",
    "train --arch resnet10-w16 --epochs 2 --out dense-{width}.pt",
    "prune model.pt --attr gender,age --epochs 2 --max-gap 0.05 --max-degradation 0.01 --out run-{width}",
    "audit runs/demo --against model.pt --attr gender --max-gap 0.05 --max-churn 0.02 --min-accuracy 0.9",
    "compare model.pt --methods bifp,magnitude --sparsities 0.8 --seeds 2 --epochs 1 --attr gender --out both-{width}",
)
KEPT = 5
SEEN_EVERY = 0.5
LONGEST = 1800.0


def copy(folder: Path, here: Path) -> None:
    """The demo's model, run and manifest, and every KEPT-th row of its table with its image."""
    for name in ("model.pt", "manifest.yaml"):
        shutil.copy(folder / name, here)
    shutil.copytree(folder / "runs", here / "runs")
    head, *rows = (folder / "table.csv").read_text("utf-8").splitlines(keepends=True)
    for row in rows[::KEPT]:
        image = Path("images", row.partition(",")[0])
        (here / image).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / image, here / image)
    (here / "table.csv").write_text("".join([head, *rows[::KEPT]]), "utf-8")


def shown(command: str, here: Path, width: int) -> tuple[str, str]:
    """What stands on the screen at the end, with the exit code, and a line of progress from the middle ("": none)."""
    socket = str(Path(tempfile.mkdtemp(dir=here), "tmux"))  # its own: the last server may not have ended yet
    server = ["tmux", "-S", socket]
    ended = here / "ended"
    program = f"{shlex.quote(sys.executable)} -m fairprune_cli {command}"
    then = f"cd {shlex.quote(str(here))}; {program}; echo exit $?; : > {ended.name}; sleep 600"
    passed = [
        word
        for key, value in os.environ.items()
        if key.startswith(("PYTHON", "OMP_"))
        for word in ("-e", f"{key}={value}")
    ]
    size = ["-x", str(width), "-y", "100"]
    subprocess.run([*server, "-f", "/dev/null", "new-session", "-d", *size, *passed, "sh", "-c", then], check=True)
    progress = []
    try:
        for _ in range(int(LONGEST / SEEN_EVERY)):
            time.sleep(SEEN_EVERY)
            over = ended.exists()
            screen = subprocess.run([*server, "capture-pane", "-p"], text=True, capture_output=True, check=True).stdout
            if over:
                break
            progress += [line for line in screen.splitlines() if " left" in line and "-:--" not in line]
    finally:
        subprocess.run([*server, "kill-server"], check=False)
    ended.unlink()
    return screen.strip("\n"), progress[len(progress) // 2] if progress else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="made by fairprune demo")
    folder: Path = parser.parse_args().folder.resolve()
    print("# What a terminal shows\n")
    print(
        f"Written by `benchmarks/screens.py` in a copy of the folder of a `fairprune demo` with every {KEPT}th image,"
    )
    print("at 80 and at 120 columns, with a line of progress from the middle of the work.")
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        copy(folder, here)
        for template in COMMANDS:
            for width in WIDTHS:
                command = template.replace("{width}", str(width))
                screen, middle = shown(command, here, width)
                print(f"\n## {command.replace('data check', 'check').split()[0]}, {width} columns\n")
                print(f"`fairprune {command}`\n\n```\n{screen}\n```", flush=True)
                if middle:
                    print(f"\nWhile it ran:\n\n```\n{middle}\n```", flush=True)


if __name__ == "__main__":
    main()
