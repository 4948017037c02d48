"""Every network that people might bring: pruned untrained, written, read back, equal to the bit or refused by name.

    python benchmarks/scan.py [--only own,torchvision,timm] [--limit-parameters 30e6] [--jobs 2] [--out PATH]

Own networks (benchmarks/_own_networks) stand for people's code, torchvision's and timm's for the published. Rows are
appended to a file of lines as they come, so that an interrupted scan goes on where it stopped; `--again` tries anew
what it names. Each network has a process, a time limit and a limit of memory of its own. Writes results/scan.json and
docs/networks.md; exits with 1 where one ended in a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from _scan_page import GOOD, page
from _scan_trial import GRANULARITIES, Candidate, trial

from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.models import architectures

ROOT = Path(__file__).parents[1]


def timm_candidates() -> Iterator[tuple[str, Candidate]]:
    import timm

    for name in timm.list_models():
        yield f"timm/{name}", Candidate(f"timm/{name}", None)


def torchvision_candidates() -> Iterator[tuple[str, Candidate]]:
    for name in [*architectures.names(), *architectures.other_names()]:
        yield name, Candidate(name, None)


def own_candidates() -> Iterator[tuple[str, Candidate]]:
    from _own_networks import NETWORKS

    for name, network in NETWORKS.items():
        yield name, Candidate(network.factory, network.shapes, network.manifest)


CANDIDATES = {"own": own_candidates, "torchvision": torchvision_candidates, "timm": timm_candidates}


def run_one(candidate: Candidate, memory: int, limit: float, pipe: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        pipe.send(trial(candidate, limit))
    pipe.close()


def run_all(work: list[tuple[str, Candidate]], options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Results as they come; a process that is too slow or dies is a result too."""
    context = multiprocessing.get_context("fork")
    running: dict[Connection, tuple[str, Any, float]] = {}
    pending = list(reversed(work))
    while pending or running:
        while pending and len(running) < options.jobs:
            name, candidate = pending.pop()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(
                target=run_one, args=(candidate, int(options.memory), options.limit_parameters, theirs)
            )
            process.start()
            theirs.close()
            running[ours] = name, process, time.monotonic()
        ready = wait(list(running), timeout=1.0)
        for pipe in list(running):
            name, process, started = running[pipe]
            if pipe in ready:
                try:
                    result = pipe.recv()
                except EOFError:
                    process.join()
                    result = failed(f"its process ended with {process.exitcode}")
            elif time.monotonic() - started > options.seconds:
                process.kill()
                result = failed(f"more than {options.seconds} s")
            else:
                continue
            process.join()
            del running[pipe]
            pipe.close()
            yield name, {**result, "seconds": round(time.monotonic() - started, 1)}


def failed(why: str) -> dict[str, Any]:
    return {one: {"outcome": "not finished", "message": why, "seconds": 0.0} for one in GRANULARITIES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CANDIDATES), help="kinds, by comma")
    parser.add_argument("--match", default="", help="regular expression of names")
    parser.add_argument("--limit-parameters", type=float, default=30e6)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=300.0, help="for one network")
    parser.add_argument("--memory", type=float, default=12e9, help="bytes of address space for one network")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "scan.json")
    parser.add_argument("--again", action="store_true", help="try anew what was done already")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "networks.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = options.out.with_suffix(".jsonl")
    rows = known(options.out, lines)
    work = [
        (name, candidate)
        for kind in options.only.split(",")
        for name, candidate in CANDIDATES[kind]()
        if (options.again or name not in rows) and re.search(options.match, name)
    ]
    print(f"{len(rows)} done, {len(work)} to do", flush=True)
    with open(lines, "a", encoding="utf-8") as stream:
        for name, result in run_all(work, options):
            rows[name] = result
            stream.write(json.dumps([name, result]) + "\n")
            stream.flush()
            tell(name, result)
    document = {
        "versions": f"torch {torch.__version__}, {versions()}", "limit": options.limit_parameters,
        "untried": sum(name not in rows for kind in options.only.split(",") for name, _ in CANDIDATES[kind]()),
        "too_large": sorted(name for name, row in rows.items() if row["channel"]["outcome"] == "too large"),
        "rows": {name: rows[name] for name in sorted(rows) if rows[name]["channel"]["outcome"] != "too large"},
    }  # fmt: skip
    atomic_write_text(options.out, json.dumps(document, indent=1) + "\n")
    atomic_write_text(options.page, page(document))
    lines.unlink()
    bad = [name for name, row in document["rows"].items() if any(row[g]["outcome"] not in GOOD for g in GRANULARITIES)]
    print(f"{len(document['rows'])} networks, faults in {len(bad)}: {', '.join(bad)}", flush=True)
    sys.exit(bool(bad))


def known(out: Path, lines: Path) -> dict[str, dict[str, Any]]:
    """Rows of an earlier scan, and of one that was interrupted."""
    rows: dict[str, dict[str, Any]] = {}
    if out.exists():
        document = json.loads(out.read_text(encoding="utf-8"))
        rows = dict(document["rows"])
        large = {one: {"outcome": "too large", "message": "", "seconds": 0.0} for one in GRANULARITIES}
        rows |= {name: {**large, "seconds": 0.0} for name in document["too_large"]}
    if lines.exists():
        rows |= dict(json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines())
    return rows


def tell(name: str, result: dict[str, Any]) -> None:
    told = ", ".join(f"{one} {result[one]['outcome']}" for one in GRANULARITIES)
    print(f"{name} ({result['seconds']} s): {told}", flush=True)
    for one in GRANULARITIES:
        if result[one]["outcome"] not in ("equal", "too large"):
            print("     ", one, result[one]["message"].strip().splitlines()[-1][:200], flush=True)


def versions() -> str:
    import timm
    import torchvision

    return f"torchvision {torchvision.__version__}, timm {timm.__version__}"


if __name__ == "__main__":
    main()
