"""`fairprune measure`: parameters, multiply-adds, bytes, memory and latency, beside the dense model in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairprune_cli.commands.flags import Given, ImageSize, Json, Model, Quiet, Trust, flags, resolved, size_of
from fairprune_cli.commands.output import print_json, say_next, terminal_of
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.image_shape import ImageShape, Size

if TYPE_CHECKING:
    from fairprune_cli.models.checkpoint.load import LoadedModel

BATCHES = (1, 32)


@flags("model", "against", "arch", "trust", "weights", "size", "threads", "device", "as_json", "quiet")
def command(
    given: Given,
    model: Model,
    against: Annotated[Path | None, typer.Option("--against", help="dense model to measure in the same run")] = None,
    trust: Trust = False,
    size: ImageSize = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Parameters, MACs, bytes, peak memory and latency, beside the dense model in one run; no data needed."""
    terminal = terminal_of(quiet)
    settings = resolved(None, given).settings
    from fairprune_cli.run.early import look_at_models

    size_of(size)
    look_at_models(given.get("arch"), [model, *([] if against is None else [against])], graphs=False)
    document = measure_models(
        model, against, arch=given.get("arch"), trust=trust, weights=given.get("weights"),
        size=size_of(size), device=settings.device, threads=settings.threads, terminal=terminal,
    )  # fmt: skip
    if as_json:
        print_json(document, terminal)
    else:
        show(document, terminal)
    say_next(terminal, as_json, "export", model, "--to", "onnx")
    return int(ExitCode.OK)


def measure_models(
    path: Path, against: Path | None, *, arch: str | None, trust: bool, size: Size | None, device: str, threads: int,
    terminal: Terminal, seconds: float = 20.0, weights: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Measure one model, or two that take turns; the document of `fairprune measure --json`.

    Args:
        against: the dense model; size: of the images in pixels, from the model's transform when None.
        seconds: budget of the timing; weights: as for `load_model`.

    Raises:
        FairpruneError: a model cannot be loaded, or does not take such images.
    """
    from fairprune_cli.core.device import choose_device, machine, set_threads
    from fairprune_cli.models import measure
    from fairprune_cli.models.checkpoint.contents import weights_of_each
    from fairprune_cli.models.checkpoint.load import load_usable
    from fairprune_cli.models.peak_memory import peak_memory_is

    used = set_threads(threads)
    place = choose_device(device)
    paths = {"model": path} if against is None else {"dense": against, "model": path}
    meant = weights_of_each(paths.values(), weights)
    sources = {name: load_usable(one, arch, trust, meant[one]) for name, one in paths.items()}
    shape = measure.images_of(sources["model"].model, sources["model"].transform)
    shape = shape if size is None else ImageShape.sized(shape.channels, size)
    for loaded in sources.values():
        for warning in loaded.warnings:
            terminal.warn(warning["text"], code=warning["code"])
        loaded.model.eval().to(place)
    speed = measure.latency({name: s.model for name, s in sources.items()}, shape, BATCHES, seconds=seconds)
    return {
        "input_size": shape.size, "input_channels": shape.channels,
        "threads": used, "device": str(place), "machine": machine(place, used),
        "peak_memory": peak_memory_is(place),
        "models": {name: _figures(loaded, shape, speed[name]["batch"]) for name, loaded in sources.items()},
    }  # fmt: skip


def _figures(loaded: LoadedModel, shape: ImageShape, latency: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    from fairprune_cli.models import measure
    from fairprune_cli.models.peak_memory import forward_peak_bytes

    model = loaded.model
    return {
        "source": str(loaded.source), "sha256": loaded.sha256, "architecture": loaded.architecture,
        "parameters": measure.count_parameters(model), "nonzero": measure.nonzero_parameters(model),
        "macs": measure.macs(model, shape), "dense_bytes": measure.dense_bytes(model, loaded.dtypes),
        "file_bytes": loaded.source.stat().st_size,
        "batch": {
            batch: {**times, "peak_bytes": forward_peak_bytes(model, int(batch), shape)}
            for batch, times in latency.items()
        },
    }  # fmt: skip


def show(document: Mapping[str, Any], terminal: Terminal) -> None:
    """Print the document as a table; with a dense model, the ratio of each figure."""
    models = document["models"]
    names = list(models)

    def row(title: str, values: Sequence[float], shown: Sequence[str]) -> list[str]:
        return [title, *shown, *([f"{values[0] / values[1]:.1f}x"] if len(values) == 2 and values[1] else [])]

    rows = []
    for title, key, unit, digits in (
        ("parameters", "parameters", 1, 0), ("of which not zero", "nonzero", 1, 0), ("MACs (millions)", "macs", 1e6, 1),
        ("file (MB)", "file_bytes", 1e6, 2), ("tensors in memory (MB)", "dense_bytes", 1e6, 2),
    ):  # fmt: skip
        values = [models[name][key] for name in names]
        rows.append(row(title, values, [f"{value / unit:,.{digits}f}" for value in values]))
    for batch in models[names[0]]["batch"]:
        cells = [models[name]["batch"][batch] for name in names]
        rows.append(
            row(
                f"ms per batch of {batch}", [cell["median_ms"] for cell in cells],
                [f"{c['median_ms']:.2f} [{c['low_ms']:.2f}, {c['high_ms']:.2f}]" for c in cells],
            )
        )  # fmt: skip
        values = [cell["peak_bytes"] for cell in cells]
        rows.append(row(f"peak memory, batch of {batch} (MB)", values, [f"{value / 1e6:.2f}" for value in values]))
    shape = ImageShape.sized(document["input_channels"], document["input_size"])
    threads = f"{document['threads']} thread{'s' * (document['threads'] != 1)}"
    title = f"{shape}, {threads}, {document['device']}; times: median [10 %, 90 %]"
    title += f"; peak memory: {document['peak_memory']}"
    terminal.table(title, ["", *names, *(["ratio"] if len(names) == 2 else [])], rows)
