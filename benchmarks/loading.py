"""Loading a sparse model file beside the dense safetensors file of the same model, in one run, taking turns.

    python benchmarks/loading.py [--arch resnet18] [--repeats 15]

Two readings of each: `model` is what a user calls, the file to a network in eval mode; `tensors` is the file to a
state dict alone. The dense file is read once by fairprune, with all its checks, and once by the safetensors library
itself without any (every tensor copied out of the mapped file, as a sparse tensor is). CPU time of one thread, so that
other work on the machine counts little. Prints a table and writes results/loading.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from fairprune_cli.models import architectures
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.codec import ModelHeader
from fairprune_cli.pruning.masks import WeightMasks

SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.99)


def write(folder: Path, arch: str, sparsity: float) -> tuple[Path, Path]:
    """The same pruned network as a sparse and as a dense file."""
    model = architectures.build(arch, 1000, seed=0).eval()
    masks = WeightMasks(model)
    masks.apply(masks.select(masks.magnitude(), sparsity))
    header = ModelHeader(arch, tuple(map(str, range(1000))), {}, "weight", {})
    paths = folder / f"sparse-{sparsity}.safetensors", folder / f"dense-{sparsity}.safetensors"
    for path, dense in zip(paths, (False, True), strict=True):
        codec.save_model(path, model, header=header, masks=masks.entries(masks.keep), dense=dense)
    return paths


def of_library(arch: str, path: Path) -> torch.nn.Module:
    """The network of a dense file, by the safetensors library."""
    state = {name: tensor.clone() for name, tensor in load_file(path).items()}
    return architectures.load_strictly(architectures.skeleton(arch, 1000), state).eval()


def medians(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median milliseconds of CPU time by name; the calls take turns in an order that rotates."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    for round_ in range(repeats + 2):
        for name in order:
            start = time.thread_time()
            calls[name]()
            if round_ >= 2:  # the first two warm up
                taken[name].append(1e3 * (time.thread_time() - start))
        order.append(order.pop(0))
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "loading.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print("sparsity  MB sparse  MB dense   model ms sparse, dense, library: ratios   tensors ms the same: ratios")
    with tempfile.TemporaryDirectory() as folder:
        for sparsity in SPARSITIES:
            sparse, dense = write(Path(folder), options.arch, sparsity)
            ms = medians(
                {
                    "model_sparse": lambda s=sparse: codec.load_network(s),
                    "model_dense": lambda d=dense: codec.load_network(d),
                    "model_library": lambda d=dense: of_library(options.arch, d),
                    "sparse": lambda s=sparse: codec.read_model(s), "dense": lambda d=dense: codec.read_model(d),
                    "library": lambda d=dense: {k: v.clone() for k, v in load_file(d).items()},
                },
                options.repeats,
            )  # fmt: skip
            row = {
                "sparsity": sparsity, "sparse_bytes": sparse.stat().st_size, "dense_bytes": dense.stat().st_size,
                "ms": {name: round(value, 2) for name, value in ms.items()},
                "ratio_model": round(ms["model_sparse"] / ms["model_dense"], 2),
                "ratio_model_library": round(ms["model_sparse"] / ms["model_library"], 2),
                "ratio_tensors": round(ms["sparse"] / ms["dense"], 2),
                "ratio_tensors_library": round(ms["sparse"] / ms["library"], 2),
            }  # fmt: skip
            rows.append(row)
            shown = []
            for kind, first, second in (
                ("model_", "ratio_model", "ratio_model_library"), ("", "ratio_tensors", "ratio_tensors_library"),
            ):  # fmt: skip
                times = ", ".join(f"{ms[kind + name]:.1f}" for name in ("sparse", "dense", "library"))
                shown.append(f"{times}: {row[first]}, {row[second]}")
            megabytes = f"{row['sparse_bytes'] / 1e6:9.2f}  {row['dense_bytes'] / 1e6:8.2f}"
            print(f"{sparsity:8g}  {megabytes}   {'   '.join(shown)}", flush=True)
    machine = f"{platform.system()} {platform.machine()}, 1 thread, torch {torch.__version__}"
    document = {"architecture": options.arch, "machine": machine, "repeats": options.repeats, "rows": rows}
    options.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
