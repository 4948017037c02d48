"""What the pattern 2:4 gives in time on a GPU: torch's semi-structured linear layers beside dense ones.

    python benchmarks/semi_structured.py

Half precision, weights pruned to 2:4 by `TwoOfFourMasks`, every linear layer converted with
torch.sparse.to_sparse_semi_structured; dense and sparse take turns in one run. Shapes are those of vit_b_16's MLP and
larger ones, for 32 images of 197 tokens. Convolutions have no such kernel in torch. Without a CUDA device of compute
capability 8.0 or newer it says "not measured" and why, and leaves the file of results alone.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.pruning.masks import TwoOfFourMasks

TOKENS = 32 * 197 + 32 - (32 * 197) % 32  # a multiple of 32, which the kernels ask for
SHAPES = ((768, 3072), (1024, 4096), (4096, 4096), (4096, 16384))
REPEATS = 100


class Mlp(nn.Module):
    """Two linear layers with a GELU between, as in a transformer block."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(nn.functional.gelu(self.up(x)))
        return out


def pruned(width: int, hidden: int) -> Mlp:
    """A block in the pattern, in half precision on the GPU."""
    torch.manual_seed(0)
    model = Mlp(width, hidden)
    masks = TwoOfFourMasks(model)
    masks.apply(masks.select(masks.magnitude(), 0.5))
    return model.cuda().half().eval()


def interleaved(calls: dict[str, Callable[[], Tensor]]) -> dict[str, tuple[float, float, float]]:
    """Milliseconds of each call by name: median, 10th and 90th percentile; the calls take turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(REPEATS + 10):
        for name, call in calls.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            call()
            end.record()
            torch.cuda.synchronize()
            if round_ >= 10:
                taken[name].append(start.elapsed_time(end))
    found = {}
    for name, values in taken.items():
        low, *_, high = statistics.quantiles(values, n=10)
        found[name] = (statistics.median(values), low, high)
    return found


def missing() -> str:
    """Why it cannot be measured here; "" where it can."""
    if not torch.cuda.is_available():
        return "no CUDA device"
    if torch.cuda.get_device_capability() < (8, 0):
        return "the CUDA device has no sparse tensor cores (compute capability below 8.0)"
    return ""


def measured() -> list[dict[str, Any]]:
    """A row per shape; prints them."""
    from torch.sparse import to_sparse_semi_structured

    rows = []
    print("width x hidden   dense ms [10 %, 90 %]   2:4 ms [10 %, 90 %]   ratio   largest difference")
    for width, hidden in SHAPES:
        dense, sparse = pruned(width, hidden), pruned(width, hidden)
        for layer in (sparse.up, sparse.down):
            layer.weight = nn.Parameter(to_sparse_semi_structured(layer.weight.detach()), requires_grad=False)
        images = torch.randn(TOKENS, width, device="cuda", dtype=torch.half)
        with torch.inference_mode():
            expected, found = dense(images), sparse(images)
            difference = float((expected - found).abs().max() / expected.abs().max())
            times = interleaved({"dense": lambda: dense(images), "sparse": lambda: sparse(images)})  # noqa: B023
        ratio = times["dense"][0] / times["sparse"][0]
        rows.append(
            {"width": width, "hidden": hidden, "ms": times, "ratio": round(ratio, 3), "relative_difference": difference}
        )
        (d, dl, dh), (s, sl, sh) = times["dense"], times["sparse"]
        print(f"{width:5} x {hidden:6}   {d:.3f} [{dl:.3f}, {dh:.3f}]   {s:.3f} [{sl:.3f}, {sh:.3f}]   {ratio:.2f}   "
              f"{difference:.1e}")  # fmt: skip
    return rows


def main() -> None:
    if reason := missing():
        print(f"not measured: {reason}")
        return
    rows = measured()
    machine = f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    out = Path(__file__).parent / "results" / "semi_structured.json"
    document = {"machine": machine, "tokens": TOKENS, "dtype": "float16", "repeats": REPEATS, "rows": rows}
    out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
