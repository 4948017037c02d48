"""Size and speed of models: parameters, multiply-adds, bytes, and latency side by side.

Zeros that stay in a tensor save bytes in a file but no time: dense kernels multiply them all the same.
So `macs` counts what the kernels do, and only removed channels lower it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.data.manifest.image_shape import ImageShape, Shape, Size
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.models.inference import evaluating, taking_images, wanted_channels
from fairprune_cli.models.layers import prunable_weights
from fairprune_cli.models.multiply_adds import multiply_adds
from fairprune_cli.models.stopwatch import stopwatch

DEFAULT_SIZE = 224  # side of images where none is known: what torchvision's classifiers are trained for
WARM_UPS = 3
LEAST_ROUNDS = 3


def images_of(model: nn.Module, own: Mapping[str, Any] | None, otherwise: Transform | Size | None = None) -> ImageShape:
    """The images that a model takes: by its own input transform, else by another, else by their size.

    Args:
        own: `Transform.to_dict()` of the model's file, empty or None where it has none.
        otherwise: a transform, or a size in pixels for images of the channels that the first layer takes; of
            `DEFAULT_SIZE` where None.

    Raises:
        FairpruneError: the model's own transform is damaged.
    """
    if own:
        return Transform.from_dict(own, "transform of the model").shape
    if isinstance(otherwise, Transform):
        return otherwise.shape
    colour = ImageShape.sized(3, otherwise or DEFAULT_SIZE)
    return ImageShape.sized(wanted_channels(model, colour) or colour.channels, colour.size)


def count_parameters(model: nn.Module) -> int:
    """Entries of all parameters, zeros included; a shared parameter counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def kept_parameters(model: nn.Module, masks: Mapping[str, Tensor]) -> int:
    """Entries of all parameters but those that a mask (True where kept, by tensor name) removed."""
    return count_parameters(model) - sum(int((~mask).sum()) for mask in masks.values())


def nonzero_parameters(model: nn.Module) -> int:
    """Entries of all parameters that are not zero."""
    return sum(int(torch.count_nonzero(parameter)) for parameter in model.parameters())


def prunable_parameters(model: nn.Module) -> int:
    """Entries of the convolution and linear weights, which is what a sparsity is a share of."""
    return sum(weight.numel() for weight in prunable_weights(model).values())


def dense_bytes(model: nn.Module, dtypes: Mapping[str, torch.dtype] | None = None) -> int:
    """Bytes of the state dict's tensors, each stored in full and once, without a file's header or what else is in it.

    Args:
        dtypes: number formats in which tensors are counted, by name, as `LoadedModel.dtypes`; others as they are.
    """
    known = dtypes or {}
    tensors = {id(tensor): (name, tensor) for name, tensor in model.state_dict(keep_vars=True).items()}
    return sum(tensor.numel() * known.get(name, tensor.dtype).itemsize for name, tensor in tensors.values())


def layer_sparsity(
    model: nn.Module,
    dense: nn.Module | Mapping[str, Sequence[int]] | None = None,
    masks: Mapping[str, Tensor] | None = None,
) -> list[dict[str, Any]]:
    """One entry per prunable weight: name, shape, dense_shape, kept, total, sparsity (0 to 1).

    Args:
        dense: the model before channels were removed, or its shapes by name; `total` counts their entries.
        masks: True where kept, by name; the entries of a weight without a mask count when not zero.
    """
    if isinstance(dense, nn.Module):
        dense = {name: tensor.shape for name, tensor in dense.state_dict().items()}
    layers = []
    for name, weight in prunable_weights(model).items():
        mask = (masks or {}).get(name)
        kept = int(torch.count_nonzero(weight.detach() if mask is None else mask))
        dense_shape = list((dense or {}).get(name, weight.shape))
        total = math.prod(dense_shape)
        layers.append(
            {
                "name": name,
                "shape": list(weight.shape),
                "dense_shape": dense_shape,
                "kept": kept,
                "total": total,
                "sparsity": 1 - kept / total if total else 0.0,
            }
        )
    return layers


def macs(model: nn.Module, shape: Shape) -> int:
    """Multiply-adds of one image: convolutions and matrix products, attention's included, biases not counted.

    Raises:
        FairpruneError: the model does not take such an image.
    """
    return multiply_adds(model, shape).total


def weights_used(model: nn.Module, shape: Shape) -> frozenset[str]:
    """Names of the parameters of two or more dimensions that an image is multiplied by.

    Args, Raises: as `macs`.
    """
    return frozenset(name for name, count in multiply_adds(model, shape).weights.items() if count)


def latency(
    models: Mapping[str, nn.Module],
    shape: Shape,
    batches: Sequence[int] = (1, 32),
    repeats: int = 30,
    seconds: float = 20.0,
) -> dict[str, Any]:
    """Time of a forward pass of all models in one run, on the device each of them is on.

    After a warm-up the models take turns, in an order that rotates, so that a drift of the clock or
    another process on the machine meets all of them alike. On CUDA the device's own clock is read.

    Args:
        models: by the name they get in the result, such as dense and pruned.
        repeats: most passes per model and batch size.
        seconds: budget for everything; spent evenly over the batch sizes, never under three passes.

    Returns:
        {name: {"batch": {"1": {"median_ms", "low_ms", "high_ms", "repeats"}}}, "threads": n, "device": of
        the first model}; low and high are the 10th and the 90th percentile of the single passes.

    Raises:
        FairpruneError: a model does not take images of that size.
    """
    result: dict[str, Any] = {name: {"batch": {}} for name in models}
    result["threads"] = torch.get_num_threads()
    result["device"] = str(next(next(iter(models.values())).parameters()).device)
    with evaluating(*models.values()):
        for batch in batches:
            times = _interleaved(models, batch, shape, repeats, seconds / len(batches))
            for name, taken in times.items():
                low, *_, high = statistics.quantiles(taken, n=10, method="inclusive")
                result[name]["batch"][str(batch)] = {
                    "median_ms": 1e3 * statistics.median(taken),
                    "low_ms": 1e3 * low,
                    "high_ms": 1e3 * high,
                    "repeats": len(taken),
                }
    return result


def inspection(
    model: nn.Module,
    *,
    architecture: str,
    shape: Shape,
    dtypes: Mapping[str, torch.dtype] | None = None,
    file_bytes: int | None = None,
    masks: Mapping[str, Tensor] | None = None,
    removed: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """What `fairprune inspect --json` prints: no data needed.

    Args:
        dtypes: as for `dense_bytes`.
        file_bytes: size of the file the model came from.
        masks: entries kept, by tensor name, where they are known; nonzero entries elsewhere.
        removed: `ModelHeader.removed`; its shapes tell what whole channels took away.
    """
    shape = ImageShape.of(shape)
    shapes = {name: entry["shape"] for name, entry in (removed or {}).items() if "shape" in entry}
    layers = layer_sparsity(model, shapes, masks)
    kept, total = sum(layer["kept"] for layer in layers), sum(layer["total"] for layer in layers)
    return {
        "architecture": architecture,
        "parameters": count_parameters(model),
        "nonzero": nonzero_parameters(model),
        "macs": macs(model, shape),
        "input_size": shape.size,
        "input_channels": shape.channels,
        "bytes": {"dense": dense_bytes(model, dtypes), "file": file_bytes},
        "sparsity": {"kept": kept, "total": total, "achieved": 1 - kept / total if total else 0.0},
        "layers": layers,
    }


def _interleaved(
    models: Mapping[str, nn.Module], batch: int, shape: Shape, repeats: int, seconds: float
) -> dict[str, list[float]]:
    """Seconds of each pass, by model."""
    images = {name: _images(model, batch, shape) for name, model in models.items()}
    deadline = time.perf_counter() + seconds
    for name, model in models.items():
        for _ in range(WARM_UPS):
            _forward(model, images[name])
            if time.perf_counter() > deadline:
                break
    clocks = {name: stopwatch(images[name].device) for name in models}
    order = list(models)
    for done in range(max(repeats, LEAST_ROUNDS)):
        if done >= LEAST_ROUNDS and time.perf_counter() > deadline:
            break
        for name in order:
            with clocks[name].lap():
                _forward(models[name], images[name])
        order.append(order.pop(0))
    return {name: clock.seconds() for name, clock in clocks.items()}


def _images(model: nn.Module, batch: int, shape: Shape) -> Tensor:
    parameter = next(model.parameters())
    images = torch.randn((batch, *ImageShape.of(shape).dimensions), generator=torch.Generator().manual_seed(0))
    return images.to(parameter.device, parameter.dtype)


def _forward(model: nn.Module, images: Tensor) -> None:
    with taking_images(model, len(images), ImageShape(*images.shape[1:])), torch.inference_mode():
        model(images)
