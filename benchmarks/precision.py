"""Forward and backward in bfloat16 beside float32, by network: the table behind `--precision auto`.

    python benchmarks/precision.py

One thread by its own clock, both formats in turn in one run, training mode, channels last, as in a run; on a CPU that
computes bfloat16 natively, else it says so and leaves the results alone. Beside each ratio stand the share of depthwise
convolutions and the width of attention heads, by which `gains_from_bf16` judges, and what it says; its bounds come from
here. Writes results/precision.json.
With --device cuda it measures there, and prints only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from _jobs import machine
from torch import nn

from fairprune_cli.models import architectures
from fairprune_cli.training.precision import depthwise_share, gains_from_bf16, in_format, narrowest_head, native_bf16

# Name, pixels, images.
NETWORKS = (
    ("resnet10-w16", 40, 128), ("resnet10", 64, 32), ("resnet18", 64, 32), ("resnet18", 128, 8), ("resnet50", 64, 16),
    ("resnet50", 128, 4), ("vit-tiny", 32, 64), ("vit-tiny", 64, 16), ("vit_b_16", 224, 2),
    ("vit_b_32", 224, 4), ("vgg11_bn", 64, 16), ("densenet121", 64, 16),
    ("squeezenet1_1", 64, 32), ("mobilenet_v2", 64, 32), ("mobilenet_v2", 128, 8), ("mobilenet_v3_small", 64, 32),
    ("efficientnet_b0", 64, 32), ("shufflenet_v2_x1_0", 64, 32), ("regnet_y_400mf", 64, 32),
    ("resnext50_32x4d", 64, 16), ("convnext_tiny", 64, 16), ("convnext_tiny", 128, 4),
    ("swin_t", 64, 8),
)  # fmt: skip
FORMATS = ("fp32", "bf16")


def step_of(model: nn.Module, images: torch.Tensor, bf16: bool) -> Callable[[], None]:
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)

    def step() -> None:
        with in_format(images.device, bf16):
            logits = model(images)
        F.cross_entropy(logits.float(), labels).backward()
        model.zero_grad(set_to_none=True)

    return step


def seconds_of(step: Callable[[], None], device: str) -> float:
    """By this thread's clock on the CPU, else until the device is done."""
    if device == "cpu":
        began = time.thread_time()
        step()
        return time.thread_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(10):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / 10


def measured(name: str, size: int, batch: int, rounds: int, device: str) -> dict[str, Any]:
    """Seconds in both formats, by turns, and the median of the ratios."""
    model = architectures.build(name, 2, seed=0).to(device, memory_format=torch.channels_last).train()
    images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    images = images.contiguous(memory_format=torch.channels_last)
    steps = {kind: step_of(model, images, kind == "bf16") for kind in FORMATS}
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {kind: [] for kind in FORMATS}
    for _ in range(rounds):
        for kind, step in steps.items():
            seconds[kind].append(seconds_of(step, device))
    ratios = sorted(b / a for a, b in zip(seconds["fp32"], seconds["bf16"], strict=True))
    return {
        "architecture": name, "size": size, "batch": batch, "fp32_seconds": median(seconds["fp32"]),
        "bf16_seconds": median(seconds["bf16"]), "bf16_over_fp32": median(ratios), "least": ratios[0],
        "largest": ratios[-1], "depthwise_share": depthwise_share(model, size),
        "narrowest_head": narrowest_head(model), "auto": "bf16" if gains_from_bf16(model, size) else "fp32",
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    native = native_bf16(torch.device(args.device))
    print(f"{machine()}: bfloat16 is {'native' if native else 'emulated'} on {args.device}")
    rows = []
    print(f"{'network':20} {'px':>4} {'batch':>5} {'fp32 ms':>8} {'bf16 ms':>8} {'ratio':>6} {'depthw.':>8} head  auto")
    for name, size, batch in NETWORKS:
        row = measured(name, size, batch, args.rounds, args.device)
        rows.append(row)
        milliseconds = f"{1000 * row['fp32_seconds']:8.1f} {1000 * row['bf16_seconds']:8.1f}"
        kind = f"{row['depthwise_share']:8.3f} {row['narrowest_head'] or '-':>4}  {row['auto']}"
        print(f"{name:20} {size:4} {batch:5} {milliseconds} {row['bf16_over_fp32']:6.2f} {kind}", flush=True)
    if args.device == "cpu" and native:
        document = {"machine": machine(), "torch": torch.__version__, "rounds": args.rounds, "rows": rows}
        target = Path(__file__).parent / "results" / "precision.json"
        target.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
