"""Ways to get a false yes from a gate, each tried with the real command on small pictures; none may pass.

An attempt is a function in a module of `_false_yes/`, a module per kind, marked with `@attempt`: its title, the exit
codes that are right, and what has to be said. Prints a table, and writes results/false_yes.json and docs/false-yes.md
when all were tried. `--only policies` or `--only dark` tries those whose kind or title holds the word.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from _false_yes.scene import ATTEMPTS, Attempt, Scene, Stage

HERE = Path(__file__).parent
KINDS = (
    "policies", "groups", "classes", "transforms", "files", "streams", "encodings", "predictions", "graphs", "reports",
    "python", "pruning",
)  # fmt: skip
MEANS = {
    0: "passed or not judged", 1: "fail", 2: "refused", 3: "run-time error", 4: "inconclusive", 
    141: "broken pipe", 143: "terminated", -15: "terminated",
}  # fmt: skip


@dataclass(frozen=True)
class Came:
    """What came of an attempt: its exit code, a line of what was said, and whether that was right."""

    attempt: Attempt
    code: int
    said: str
    right: bool


def tried(attempt: Attempt, stage: Stage, place: Path) -> Came:
    """One attempt in a folder of its own."""
    place.mkdir(parents=True)
    ran = attempt.run(Scene(place, stage))
    printed = ran.out + ran.err
    right = ran.code in attempt.codes and attempt.says in printed and "Traceback" not in printed
    told = [
        line for line in printed.splitlines() if line.startswith(("error", "verdict", "gate")) or "verdict:" in line
    ]
    return Came(attempt, ran.code, told[0][:300].replace(str(place), ".") if told else "", right)


# What would need another data set to be seen.
UNSEEN = """
## What no gate can see

- Predictions that were copied from the labels, a report whose figures were all changed together, or a model that
  was trained on the test split: the figures agree with each other, and what they are of is not in them.
- Images read in another way than in use, where the model is still better than one answer to all of them: a `mean`
  and `std` that are a little off, BGR, 0..255 for a robust model. The audit tries such causes only where the model
  is no better than one answer; `--min-accuracy` stops what lies below the accuracy that one knows of.
- Labels or groups that are wrong in the table itself, alike for every model.
- People who are not in the data. Groups that are too small, empty or not named at all are told; those that the
  table has no column for are not.
"""


def table(found: list[Came]) -> str:
    """The attempts as a page."""
    lines = [
        "# Ways to a false yes", "",
        "Each row was tried with the real command (`python benchmarks/false_yes.py`). The images of one group, `dark`,",
        "have the other label, so the model is wrong on all of them and a plain gate on its attribute fails. Exit",
        "code 0 is right only where the figures do bear the yes, or where what weakens it stands beside the verdict.",
        "",
        f"{len(found)} ways, {sum(not came.right for came in found)} of them with an outcome that should not be.",
        "",
        "| kind | what is tried | exit code | means |", "|---|---|---|---|",
    ]  # fmt: skip
    for came in found:
        means = MEANS.get(came.code, "") + ("" if came.right else ", WRONG")
        means += ", and told" if came.code == 0 and came.right else ""
        lines.append(f"| {came.attempt.kind} | {came.attempt.title.replace('|', '/')} | {came.code} | {means} |")
    return "\n".join(lines) + "\n" + UNSEEN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="kind, or part of a title")
    parser.add_argument("--at-once", type=int, default=2, help="attempts side by side")
    args = parser.parse_args()
    for kind in KINDS:
        importlib.import_module(f"_false_yes.{kind}")
    chosen = [one for one in ATTEMPTS if args.only in (one.kind, "") or args.only in one.title]
    for name in [name for name in os.environ if name.startswith("FAIRPRUNE_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["FAIRPRUNE_CACHE"] = str(Path(temporary) / "cache")
        stage = Stage.made(Path(temporary) / "stage")
        began = time.perf_counter()
        with ThreadPoolExecutor(args.at_once) as threads:
            found = list(threads.map(lambda i: tried(chosen[i], stage, Path(temporary) / f"a{i}"), range(len(chosen))))
    for came in found:
        mark = "     " if came.right else "WRONG"
        print(f"{mark} {came.attempt.kind:10} {came.code:3} of {came.attempt.codes} {came.attempt.title}")
        if not came.right:
            print(f"      {came.said}")
    wrong = sum(not came.right for came in found)
    print(f"{len(found)} attempts, {wrong} wrong, {time.perf_counter() - began:.0f} s")
    if len(chosen) == len(ATTEMPTS):
        record = [
            {"kind": c.attempt.kind, "tried": c.attempt.title, "code": c.code, "right codes": list(c.attempt.codes),
             "right": c.right, "said": c.said}
            for c in found
        ]  # fmt: skip
        (HERE / "results" / "false_yes.json").write_text(
            json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
        (HERE.parent / "docs" / "false-yes.md").write_text(table(found), "utf-8")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
