"""Data sets as they lie around, and what `fairprune data init` makes of each: the split kept, a question, or a refusal.

    python benchmarks/layouts.py [--out benchmarks/results/layouts.md]

Each layout is drawn anew (tests/support/data_layouts.py) and given to the command line. Where a manifest was written,
`data stats` counts images by split and class with it, and the counts are compared with those of the owner's own list,
which are made with nothing of fairprune. "CHANGED" is a split or an order of classes other than the owner's: never.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fairprune_cli.core.files import atomic_write_text
from tests.support.data_layouts import ASKED, DRAWN, KEPT, LAYOUTS, REFUSED, Truth

CHANGED = "CHANGED"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fairprune_cli", *words], capture_output=True, text=True, check=False)


def counted(manifest: Path) -> tuple[list[str], Counter[tuple[str, str]]]:
    """Classes in their order, and images by split and class, as `data stats` tells them."""
    done = run("data", "stats", str(manifest), "--json")
    splits = json.loads(done.stdout)["splits"]
    counts = {(split, label): n for split, part in splits.items() for label, n in part["labels"].items() if n}
    return list(splits["train"]["labels"]), Counter(counts)


def ordered(truth: Truth) -> list[str]:
    """The owner's classes: integers of a table by number, others and folders by text."""
    classes = sorted({label for _, label in truth.own.values()})
    table = truth.path.is_file()
    return sorted(classes, key=int) if table and all(label.isdigit() for label in classes) else classes


def verdict(truth: Truth, found: tuple[list[str], Counter[tuple[str, str]]]) -> str:
    """Whether the manifest says what the owner says; a val part may have been cut from train where there was none."""
    classes, counts = found
    true = truth.counts()
    if classes != ordered(truth):
        return CHANGED
    if not any(split for split, _ in true):
        labels = Counter({label: n for (_, label), n in true.items()})
        held: Counter[str] = Counter()
        for (_, label), n in counts.items():
            held[label] += n
        return DRAWN if held == labels else CHANGED
    if not any(split == "val" for split, _ in true):
        for label in classes:
            counts["train", label] += counts.pop(("val", label), 0)
    return KEPT if counts == true else CHANGED


def outcome(truth: Truth) -> tuple[str, str]:
    """What became of a layout, and the line that says it."""
    done = run("data", "init", str(truth.path))
    if done.returncode == 2:
        asks = ("to mend: write ", "images write: ")
        kind = ASKED if any(words in done.stderr for words in asks) else REFUSED
        text = " ".join(line.strip() for line in done.stderr.splitlines())
        return kind, text.removeprefix("error: ")
    if done.returncode:
        return f"exit {done.returncode}", done.stderr[-200:]
    manifest = Path(done.stdout.split(": written")[0])
    said = [line for line in manifest.read_text().splitlines() if line.startswith(("splits", "columns", "table:"))]
    if not any(line.startswith("splits") for line in said):
        said = [line for line in said if "split" in line or "train" in line] or ["the folders name the splits"]
    else:
        said = [line for line in said if line.startswith("splits")]
    return verdict(truth, counted(manifest)), "; ".join(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "layouts.md")
    out = parser.parse_args().out
    rows = []
    for layout in LAYOUTS:
        with tempfile.TemporaryDirectory() as place:
            os.environ["FAIRPRUNE_CACHE"] = f"{place}/cache"
            (folder := Path(place) / "faces").mkdir()
            found, text = outcome(layout.build(folder))
            rows.append((layout.name, found, text.replace(f"{folder}", "faces").replace("|", "\\|")))
            flag = "" if found == layout.expected else f"   expected {layout.expected}"
            print(f"{found:24} {layout.name}{flag}", flush=True)
    counts = Counter(found for _, found, _ in rows)
    lines = [
        "# Layouts", "",
        f"What `fairprune data init` makes of {len(rows)} layouts ({', '.join(f'{k}: {n}' for k, n in counts.items())}"
        "), by `python benchmarks/layouts.py`. Counts by split and class are compared with the owner's own.", "",
        "| layout | | what is written into the manifest, or said |", "|---|---|---|",
        *(f"| {name} | {found} | {text} |" for name, found, text in rows),
    ]  # fmt: skip
    atomic_write_text(out, "\n".join(lines) + "\n")
    print(dict(counts))


if __name__ == "__main__":
    main()
