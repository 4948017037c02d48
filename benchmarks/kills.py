"""Signals at random moments in every command that takes long, also with two processes at one folder.

SIGKILL, SIGTERM, SIGINT and SIGHUP come at random over `prune` by weight, by channel and 2:4, `audit`, `export`,
`data check` and `compare`, in every fifth case while a second process was started on the same folder. Afterwards the
exit code must be that of the signal, or of a command that had ended; nothing but SIGKILL leaves a lock or a temporary
file; nobody prints a traceback; every file is whole; and the same command, or `--resume`, ends with the same result as
one that was never stopped. Prints a table and writes results/kills.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from fairprune_cli.core.files import sha256_file
from fairprune_cli.data.drawn_faces.write import write_sample
from tests.support.processes import Started, start

IMPORTS = 3.0  # seconds that a new interpreter takes more
SIZES = {"train": 64, "val": 64, "test": 64}
OUT = "out"
COMMON = ("--attr", "gender", "--epochs", "2", "--batch-size", "16", "--set", "save_minutes=0", "--set", "threads=1")
PRUNE = ("prune", "model.pt", "--out", OUT, *COMMON)
ENDS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}
EVERY = 5  # so many cases have one with two processes, and one in a new interpreter


@dataclass(frozen=True)
class Job:
    """A command, what two of it would both write, and how its result is told from another.

    Attributes:
        over: flags with which a second process would write over what is there.
        result: a digest of what it wrote, None where it wrote nothing.
    """

    arguments: tuple[str, ...]
    over: tuple[str, ...]
    result: Callable[[Path], str | None]


def pruned(work: Path) -> str | None:
    folder = work / OUT
    done = (folder / "report.json").exists() and not (folder / "state").exists()
    return sha256_file(folder / "model.safetensors") if done else None


def audited(work: Path) -> str | None:
    parts = [work / OUT / name for name in ("report.json", "report.html", "report.md")]
    return json.dumps(json.loads(parts[0].read_text("utf-8"))["results"]) if all(p.exists() for p in parts) else None


def exported(work: Path) -> str | None:
    return sha256_file(work / OUT) if (work / OUT).exists() else None


def nothing(_: Path) -> str | None:
    return ""


def compared(work: Path) -> str | None:
    path = work / OUT / "compare.json"
    if not path.exists():
        return None
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return json.dumps([(cell["name"], cell["status"], (cell["figures"] or {}).get("accuracy")) for cell in cells])


JOBS = {
    "prune by weight": Job((*PRUNE, "--granularity", "weight", "--sparsity", "0.9"), ("--force",), pruned),
    "prune by channel": Job((*PRUNE, "--granularity", "channel", "--sparsity", "0.8"), ("--force",), pruned),
    "prune 2:4": Job((*PRUNE, "--granularity", "2:4", "--sparsity", "0.5"), ("--force",), pruned),
    "audit": Job(("audit", "model.pt", "--attr", "gender", "--out", OUT), ("--force",), audited),
    "export": Job(("export", "model.pt", "--to", "safetensors-dense", "--out", OUT), ("--force",), exported),
    "data check": Job(("data", "check"), (), nothing),
    "compare": Job(
        ("compare", "model.pt", "--methods", "magnitude,random", "--sparsities", "0.8", "--seeds", "1", "--out", OUT,
         *COMMON), (), compared,
    ),
}  # fmt: skip


class Case:
    """One kill of one job, in a folder with model and data."""

    def __init__(self, work: Path, job: Job, expected: str, seconds: float, number: signal.Signals, turn: int) -> None:
        self.work, self.job, self.expected, self.seconds, self.number = work, job, expected, seconds, number
        self.two, fresh = turn % EVERY == EVERY - 1, turn % EVERY == 0
        self.begin: Callable[[tuple[str, ...], Path], Started | Fresh] = Fresh if fresh else forked
        self.seconds += IMPORTS * fresh
        self.faults: list[str] = []

    def run(self) -> None:
        first = self.begin(self.job.arguments, self.work)
        second = None
        if self.two:
            time.sleep(random.uniform(0, 0.5 * self.seconds))
            second = self.begin((*self.job.arguments, *self.job.over), self.work)
        time.sleep(random.uniform(0, (0.5 if self.two else 1.0) * self.seconds))
        first.send(self.number)  # it may be over by then
        self._judge(first, (0, ENDS[self.number], *((2,) if self.two else ())))
        if second is not None:
            self._judge(second, (0, 2))
        self._look_at_leftovers()
        self._go_on()

    def _judge(self, process: Started | Fresh, codes: tuple[int, ...]) -> None:
        code, err = process.wait(600), process.err
        if code not in codes:
            self.faults.append(f"exit code {code}: {err[-500:]}")
        for word in ("Traceback", "Exception ignored", "internal error"):
            if word in err:
                self.faults.append(f"{word}: {err[-500:]}")
        if code == 2 and "is being written by process" not in err and "already exists" not in err:
            self.faults.append(f"refused for another reason: {err[-500:]}")

    def _look_at_leftovers(self) -> None:
        left = [
            path for path in self.work.rglob(".*") if path.suffix in (".tmp", ".lock") and "claims" not in path.parts
        ]
        if left and self.number != signal.SIGKILL:
            self.faults.append(f"left: {left}")

    def _go_on(self) -> None:
        """Bring it to its end, as the message says, and compare."""
        out = self.work / OUT
        if self.job.result(self.work) is None or self.job.arguments[0] in ("data", "compare"):
            arguments = self.job.arguments
            if arguments[0] == "prune" and (out / "config.yaml").exists():
                arguments = ("prune", "--resume", str(out))
            elif arguments[0] == "audit" and (out / "report.json").exists():
                arguments = (*arguments, "--force")  # its renderings were still to come
            finish(arguments, self.work, self.faults)
        if (found := self.job.result(self.work)) != self.expected:
            self.faults.append(f"another result: {found}")
        if out.is_dir() and (out / ".lock").exists() and self.job.arguments[0] == "prune":
            self.faults.append("a lock in a finished run folder") if not self._ended_before() else None
        remove(out)

    def _ended_before(self) -> bool:
        """Whether the run was killed after its report and before its lock was removed."""
        return self.number == signal.SIGKILL


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for left in path.parent.glob(f".{path.name}*"):
        left.unlink()


class Fresh:
    """A command in an interpreter of its own, which is seconds at importing torch."""

    def __init__(self, arguments: tuple[str, ...], work: Path) -> None:
        self.log = new_log(work)
        with open(self.log, "w", encoding="utf-8") as stream:
            command = [sys.executable, "-m", "fairprune_cli", *arguments]
            self.process = subprocess.Popen(command, cwd=work, stdout=stream, stderr=stream)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float) -> int:
        return self.process.wait(seconds)

    @property
    def err(self) -> str:
        return self.log.read_text(encoding="utf-8")


def forked(arguments: tuple[str, ...], work: Path) -> Started:
    """A command in a process that has imported torch already."""
    return start(*arguments, cwd=work, log=new_log(work))


def new_log(work: Path) -> Path:
    return work.parent / f"log-{len(list(work.parent.iterdir()))}"


def finish(arguments: tuple[str, ...], work: Path, faults: list[str]) -> None:
    running = forked(arguments, work)
    if running.wait(600) != 0:
        faults.append(f"cannot go on: {running.err[-500:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random.seed(args.seed)
    rows: dict[str, Counter[str]] = {}
    faults: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary) / "faces"
        os.environ |= {"FAIRPRUNE_CACHE": str(Path(temporary) / "cache"), "PYTHONPATH": str(Path(__file__).parents[1])}
        write_sample(work, seed=3, sizes=SIZES)
        finish(("train", "--arch", "resnet10-w16", "--epochs", "1", "--batch-size", "16"), work, [])
        known: dict[str, tuple[str, float]] = {}
        for name, job in JOBS.items():
            began = time.perf_counter()
            whole = forked(job.arguments, work)
            if whole.wait(600) or (expected := job.result(work)) is None:
                raise SystemExit(whole.err)
            known[name] = expected, time.perf_counter() - began
            remove(work / OUT)
        for number in range(args.kills):
            name = list(JOBS)[number % len(JOBS)]
            kind = list(ENDS)[number % len(ENDS)]
            case = Case(work, JOBS[name], *known[name], kind, number)
            case.run()
            count = rows.setdefault(name, Counter())
            count.update(
                ["kills", kind.name, *(["two processes"] if case.two else []), *(["sound"] * (not case.faults))]
            )
            faults += [{"job": name, "signal": kind.name, "two": case.two, "fault": text} for text in case.faults]
            print(
                f"{number + 1:3} {name:18} {kind.name:8} {'two' if case.two else '':4} {case.faults or 'sound'}",
                flush=True,
            )
    print(f"{'command':18} {'kills':>5} {'two':>4} {'sound':>6}")
    for name, count in rows.items():
        print(f"{name:18} {count['kills']:5} {count['two processes']:4} {count['sound']:6}")
    target = Path(__file__).parent / "results" / "kills.json"
    document = {"seed": args.seed, "kills": args.kills, "commands": rows, "faults": faults}
    target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if faults:
        raise SystemExit(f"{len(faults)} faults")


if __name__ == "__main__":
    main()
