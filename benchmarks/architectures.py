"""Every architecture dense and pruned: size, multiply-adds, latency, and whether files and ONNX graphs agree.

    python benchmarks/architectures.py [--only resnet50,vit-tiny] [--seconds 20] [--no-onnx] [--out PATH]

Weights are random, nothing is trained: channels and weights go by magnitude, the same share in every layer. Rows are
kept in the JSON file one by one, so that an interrupted run goes on where it stopped. One thread; all variants of an
architecture take turns after a warm-up. A refusal is a row too, with its message.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.export import export_model
from fairprune_cli.models import architectures, measure
from fairprune_cli.models.checkpoint.load import LoadedModel
from fairprune_cli.models.file import codec
from fairprune_cli.pruning.channels import removal as channels
from fairprune_cli.pruning.masks import ChannelMasks, Masks, WeightMasks

VARIANTS = (("channel", 0.5), ("channel", 0.8), ("weight", 0.9))
FURTHER = (
    "alexnet", "squeezenet1_1", "mnasnet0_5", "googlenet", "inception_v3", "maxvit_t", "timm/resnet26d",
    "timm/deit_tiny_patch16_224",
)  # fmt: skip
CLASSES = tuple("ab")
ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


def image_size(name: str) -> int:
    """64 pixels, as faces are cut; 224 where the network takes nothing else."""
    return 224 if name in {"vit_b_16", "timm/deit_tiny_patch16_224", "maxvit_t", "inception_v3"} else 64


def pruned(dense: nn.Module, granularity: str, sparsity: float, size: int) -> tuple[nn.Module, Masks]:
    model = copy.deepcopy(dense)
    if granularity == "weight":
        masks: Masks = WeightMasks(model)
    else:
        found = channels.channel_coupling(model, size)
        masks = ChannelMasks(model, found.spaces, fixed=found.fixed)
    keep = masks.select(masks.rank_within(masks.magnitude()), sparsity)
    masks.apply(keep)
    if isinstance(masks, ChannelMasks):
        channels.remove_channels(model, masks.spaces, keep)
    return model.eval(), masks


@torch.inference_mode()
def difference(one: nn.Module, other: nn.Module, size: int) -> float:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    return float((one(images) - other(images)).abs().max())


def row(name: str, size: int, seconds: float, onnx: bool) -> dict[str, Any]:
    dense = architectures.build(name, len(CLASSES), seed=0).eval()
    for module in dense.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.1)  # heads of zeros would agree with anything
    models: dict[str, nn.Module] = {"dense": dense}
    rows: dict[str, Any] = {"dense": {"bytes": measure.dense_bytes(dense)}}
    for granularity, sparsity in VARIANTS:
        label = f"{granularity} {sparsity}"
        started = time.perf_counter()
        try:
            model, masks = pruned(dense, granularity, sparsity, size)
        except FairpruneError as error:
            rows[label] = {"refused": str(error), "seconds": time.perf_counter() - started}
            continue
        entry = rows[label] = {"achieved": masks.achieved, "seconds": time.perf_counter() - started}
        with tempfile.TemporaryDirectory(dir=".") as folder:
            path = Path(folder) / "model.safetensors"
            transform = {"size": size, "mean": [0.5] * 3, "std": [0.25] * 3}
            header = codec.ModelHeader(name, CLASSES, transform, granularity, {})
            kept = masks.entries(masks.keep) if granularity == "weight" else {}
            codec.save_model(path, model, header=header, masks=kept)
            entry["bytes"] = path.stat().st_size
            entry["file_difference"] = difference(codec.load_network(path), model, size)
            if onnx and granularity == "channel":
                entry |= _onnx(path, model, name, size)
        models[label] = model
    for label, model in models.items():
        rows[label] |= {"parameters": measure.nonzero_parameters(model), "macs": measure.macs(model, size)}
    times = measure.latency(models, size, repeats=15, seconds=seconds)
    for label in models:
        rows[label]["latency"] = times[label]["batch"]
    return {"size": size, "threads": times["threads"], "variants": rows}


def _onnx(path: Path, model: nn.Module, name: str, size: int) -> dict[str, Any]:
    loaded = LoadedModel(model, name, len(CLASSES), path, "", class_names=CLASSES)
    try:
        done = export_model(loaded, "onnx", path.with_suffix(".onnx"), input_size=size)
        return {"onnx_difference": done.max_difference}
    except FairpruneError as error:
        return {"onnx_refused": str(error)}


def table(document: dict[str, Any]) -> str:
    """The rows in markdown."""
    lines = [
        f"{document['machine']}, {document['torch']}; one thread; median ms of a pass with 10th to 90th percentile; "
        "random weights, two classes; every layer loses the same share by magnitude.", "",
        "| architecture (pixels) | variant | parameters, nonzero | MMACs | file MB | ms, batch 1 | ms, batch 32 | "
        "images/s against dense | file - memory | onnx - torch |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    refused = []
    for name, one in document["rows"].items():
        if "refused" in one:
            refused.append(f"- {name}: {one['refused']}")
            continue
        dense = one["variants"]["dense"]
        for label, entry in one["variants"].items():
            if "refused" in entry:
                message = " ".join(entry["refused"].split())
                refused.append(f"- {name}, {label} (after {entry['seconds']:.1f} s): {message}")
                continue
            first, many = (entry["latency"][batch] for batch in ("1", "32"))
            faster = dense["latency"]["32"]["median_ms"] / many["median_ms"]
            cells = [
                f"{name} ({one['size']})" if label == "dense" else "", label, f"{entry['parameters']:,}",
                f"{entry['macs'] / 1e6:,.1f}", f"{entry['bytes'] / 1e6:.2f}", _spread(first), _spread(many),
                f"{faster:.1f}x", _plain(entry.get("file_difference")), _plain(entry.get("onnx_difference")),
            ]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "Refused:", "", *(refused or ["- nothing"]), ""])


def summary(document: dict[str, Any]) -> str:
    """A row per architecture: what the documents show."""
    lines = [
        "| architecture (pixels) | parameters | images/s at batch 32 against dense: channel 0.5 | channel 0.8 | "
        "file MB: dense, channel 0.5, 0.8, weight 0.9 | file | onnx |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in document["rows"].items():
        variants = one.get("variants", {})
        if not variants:
            continue
        dense, faster = variants["dense"], []
        for label in ("channel 0.5", "channel 0.8"):
            taken = variants[label].get("latency")
            # A pass of milliseconds measures the scheduler on a busy machine: batch 1 is in the long table only.
            ratio = taken and dense["latency"]["32"]["median_ms"] / taken["32"]["median_ms"]
            faster.append(f"{ratio:.1f}x" if ratio else "refused")
        files = ", ".join(f"{entry['bytes'] / 1e6:.1f}" if "bytes" in entry else "-" for entry in variants.values())
        worst = [
            max((entry[key] for entry in variants.values() if key in entry), default=None)
            for key in ("file_difference", "onnx_difference")
        ]
        cells = [f"{name.partition('@')[0]} ({one['size']})", f"{dense['parameters']:,}", *faster, files]
        lines.append("| " + " | ".join([*cells, *map(_plain, worst)]) + " |")
    return "\n".join(lines)


def machine() -> str:
    """Kind of processor and number of cores."""
    names = Path("/proc/cpuinfo")
    lines = names.read_text(encoding="utf-8").splitlines() if names.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.machine()} CPU, {os.cpu_count()} cores"


def _spread(times: dict[str, float]) -> str:
    return f"{times['median_ms']:.1f} [{times['low_ms']:.1f}, {times['high_ms']:.1f}]"


def _plain(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="names, comma-separated; NAME@SIZE for another image size")
    parser.add_argument("--seconds", type=float, default=20.0, help="for the timings of an architecture")
    parser.add_argument("--no-onnx", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/architectures"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.out.with_suffix(".json")
    document: dict[str, Any] = {"rows": {}}
    if path.exists():
        document = json.loads(path.read_text(encoding="utf-8"))
    document |= {"machine": machine(), "torch": f"torch {torch.__version__}"}
    names = options.only.split(",") if options.only else [*architectures.names(), *FURTHER, "resnet50@224"]
    for name in names:
        if name in document["rows"]:
            continue
        short, _, size = name.partition("@")
        print(name, flush=True)
        try:
            onnx = ONNX and not options.no_onnx and not size
            done = row(short, int(size or image_size(short)), options.seconds, onnx)
        except FairpruneError as error:
            done = {"refused": " ".join(str(error).split())}
        document["rows"][name] = done
        atomic_write_text(path, json.dumps(document, indent=1) + "\n")
        atomic_write_text(options.out.with_suffix(".md"), f"{summary(document)}\n\n{table(document)}")
    atomic_write_text(options.out.with_suffix(".md"), f"{summary(document)}\n\n{table(document)}")
    print(table(document))


if __name__ == "__main__":
    main()
