"""What a GPU alone can show, checked and measured on one card in at most six minutes.

    python benchmarks/gpu.py                          on a machine with a CUDA device
    python benchmarks/gpu.py --device cpu --small     a trial of the script itself, anywhere, in three minutes

Checks, by the commands as a user types them: the main command by channel, weight and 2:4, each twice, to the same
bytes; a run that is killed twice and continued to the same bytes; the audit on the device beside the CPU's; exports;
the tests marked `cuda` where pytest is installed. Measures: a step of resnet18 at 64 px with 128 images, of resnet50
and vit_b_16 at 224 with 64, in bf16 and fp32: a plain loop eager and as a CUDA graph, bifp by weight and by channel,
mask moving and fixed; peak memory; linear layers in the pattern 2:4.

Needs torch 2.10 or newer and what the package itself needs; torchcodec may be missing. Nothing stops at a fault: it is
recorded, and the exit code is 1 when a check or a measure failed. What there is no time for is recorded as well.
Writes results/gpu.json and docs/gpu.md; a trial, and a run of a part only, writes to --out alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read when CUDA starts; repeatable results need it
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from _gpu_checks import Check, Shop, made_checks
from _gpu_measures import made_measures
from _gpu_page import page
from _jobs import machine

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results" / "gpu.json", HERE.parent / "docs" / "gpu.md"
CHECKS_SHARE = 0.5  # of the time that checks may take at most, where there are measures as well


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes: a trial, whose figures mean nothing")
    parser.add_argument("--only", choices=("checks", "measures"), help="one part")
    parser.add_argument("--minutes", type=float, default=6.0, help="what is not begun by then is skipped, and said")
    parser.add_argument("--out", type=Path, help="file of the results, instead of results/gpu.json and the page")
    parser.add_argument("--page", action="store_true", help="only write docs/gpu.md again, from results/gpu.json")
    return parser.parse_args()


def say_check(check: Check) -> None:
    print(f"{check.outcome:7}  {check.name}: {check.text}  ({check.seconds:.1f} s)", flush=True)


def say_row(row: dict[str, Any]) -> None:
    name = f"{row['network']:16} {row['precision']}  {row['row']} {row['granularity']} {row['mask']}".rstrip()
    if "ms" not in row:
        print(f"{name:60} {row.get('skipped') or row.get('failed')}", flush=True)
        return
    peak = "" if row["peak_bytes"] is None else f"  {row['peak_bytes'] / 1e6:,.0f} MB"
    asked = f"  {row['launches']:.0f} launches, {row['waits']:.1f} waits" if "launches" in row else ""
    print(f"{name:60} {row['ms']:8.2f} ms  {row.get('ratio', 0):5.2f}{peak}{asked}", flush=True)


def name_of(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else machine()


def failed(document: dict[str, Any]) -> list[str]:
    """What went wrong, by name."""
    checks = [check["name"] for check in document.get("checks", ()) if check["outcome"] == "failed"]
    measures = document.get("measures", {})
    rows = [f"{row['network']} {row['precision']} {row['row']}" for row in measures.get("steps", ()) if "failed" in row]
    return checks + rows + ["linear layers"] * ("failed" in measures.get("linear_layers", {}))


def main() -> int:
    args = arguments()
    if args.page:
        PAGE.write_text(page(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")
        return 0
    if args.device == "cuda" and not torch.cuda.is_available():
        print("there is no CUDA device; --device cpu --small tries the script", file=sys.stderr)
        return 2
    trial = args.small or args.device != "cuda"
    began = time.monotonic()
    end = began + 60 * args.minutes
    document: dict[str, Any] = {
        "trial": trial, "machine": name_of(args.device), "device": args.device, "torch": torch.__version__,
        "cuda": torch.version.cuda, "python": sys.version.split()[0],
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FAIRPRUNE_CACHE"] = f"{folder}/cache"
        if args.only != "measures":
            share = 1.0 if args.only else CHECKS_SHARE
            workers = 8 if args.device == "cuda" else 2
            shop = Shop(Path(folder) / "work", args.device, args.small, workers, began + 60 * args.minutes * share)
            document["checks"] = made_checks(shop, say_check)
        if args.only != "checks":
            left = lambda: end - time.monotonic()  # noqa: E731
            document["measures"] = made_measures(Path(folder), args.device, args.small, left, say_row)
    document["seconds"] = time.monotonic() - began
    out = args.out or (Path("gpu-trial.json") if trial or args.only else RESULTS)
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if out == RESULTS:
        PAGE.write_text(page(document), encoding="utf-8")
    wrong = failed(document)
    print(f"{out}: {document['seconds']:.0f} s; {'failed: ' + '; '.join(wrong) if wrong else 'nothing failed'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
