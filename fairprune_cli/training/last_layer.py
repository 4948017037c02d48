"""The last linear layer of a network: found by running it, and trained again by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.stratified import Strata
from fairprune_cli.data.manifest.image_shape import ImageShape, Shape
from fairprune_cli.models.inference import evaluating, hooked
from fairprune_cli.models.read_out import ReadOut, as_given, read_out_of, squeezed, tensors_of
from fairprune_cli.pruning.options import MethodOptions
from fairprune_cli.training.balanced_regression import LabelledFeatures, retrained


@dataclass(frozen=True)
class LastLayer:
    """Where a task's scores come from: a linear layer by name, and the rows of its weight that give them."""

    name: str
    rows: tuple[int, ...]


def last_layers(model: nn.Module, shape: Shape) -> list[LastLayer]:
    """The last layer of each task of a network that has a read-out.

    Raises:
        FairpruneError: the scores of a task are not what a linear layer gives, or that layer cannot be trained alone.
    """
    read_out = read_out_of(model)
    assert read_out is not None
    given: dict[str, list[Tensor]] = {}
    taken: dict[str, list[Tensor]] = {}

    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}

    def enter(name: str, inputs: Any) -> None:
        if name in layers:
            taken.setdefault(name, []).append(inputs[0])

    def leave(name: str, output: Any) -> None:
        if name in layers:
            given.setdefault(name, []).append(output)

    images = torch.randn((2, *ImageShape.of(shape).dimensions), generator=torch.Generator().manual_seed(0))
    with as_given(model), evaluating(model), hooked(model, enter, leave), torch.no_grad():
        outputs = tensors_of(model(images.to(next(model.parameters()).device)))
    return [_of_task(model, read_out, t, outputs, layers, given, taken) for t in range(len(read_out.tasks))]


def _of_task(
    model: nn.Module, read_out: ReadOut, task: int, outputs: Mapping[str | int | None, Tensor],
    layers: Mapping[str, nn.Linear], given: Mapping[str, list[Tensor]], taken: Mapping[str, list[Tensor]],
) -> LastLayer:  # fmt: skip
    scores = read_out.tasks[task]
    entry = read_out.entries[scores.entry]
    table = squeezed(outputs[entry.key]).reshape(-1, entry.width)
    found = [name for name, every in given.items() if any(_same(squeezed(one), table) for one in every)]
    if scores.undo or not found:
        raise _unfit("its scores do not come straight from a linear layer")
    name = found[-1]
    layer = layers[name]
    if len(given[name]) > 1 or taken[name][0].ndim != 2:
        raise _unfit(f"its last layer, {name}, works on more than one row of features for an image")
    used = [key for key, p in model.named_parameters(remove_duplicate=False) if p is layer.weight or p is layer.bias]
    if len(used) > 1 + (layer.bias is not None):
        raise _unfit(f"the weights of its last layer, {name}, are used elsewhere, too")
    if not all(p.requires_grad for p in layer.parameters()):
        raise _unfit(f"its last layer, {name}, is frozen")
    return LastLayer(name, scores.columns)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _unfit(why: str) -> FairpruneError:
    return FairpruneError(
        f"the last layer of this network cannot be trained again: {why}", where="--method dfr",
        hint="use balanced or group-dro, which train the whole network",
    )  # fmt: skip


@torch.no_grad()
def retrain_last_layers(
    model: nn.Module, layers: Sequence[LastLayer], pool: Pool, kept: Mapping[str, Tensor], options: MethodOptions,
    batch_size: int,
) -> list[float]:  # fmt: skip
    """Fit the last layer of each task to the features of the pool's images; C of each task.

    Args:
        layers: as from `last_layers`, one per task.
        kept: True where kept, by name, for the tensors of which single weights are masked: those stay zero.
    """
    chosen = []
    modules, tensors = dict(model.named_modules()), dict(model.named_parameters())
    names = {id(parameter): name for name, parameter in tensors.items()}
    features = _features(model, {layer.name for layer in layers}, pool, batch_size)
    for task, layer in enumerate(layers):
        module, rows = modules[layer.name], list(layer.rows)
        assert isinstance(module, nn.Linear)
        own = pool if pool.labels.ndim == 1 else pool.of_task(task)
        strata = Strata.of(own)
        mask = kept.get(names[id(module.weight)])
        allowed = np.ones((len(rows), module.in_features), dtype=bool)
        if mask is not None:
            allowed = mask.cpu().numpy()[rows].astype(bool)
        weights, intercepts, strength = retrained(
            LabelledFeatures(
                features[layer.name], own.labels, strata.cells(options.balance_over)[strata.of_image], allowed,
                module.bias is not None,
            ),
            options,
        )  # fmt: skip
        index = torch.tensor(rows, device=module.weight.device)
        module.weight[index] = torch.from_numpy(weights).to(module.weight)
        if module.bias is not None:
            module.bias[index] = torch.from_numpy(intercepts).to(module.bias)
        chosen.append(strength)
    return chosen


def _features(model: nn.Module, names: set[str], pool: Pool, batch_size: int) -> dict[str, np.ndarray]:
    """What goes into these layers, float64 [n, F] each, in the pool's order."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def enter(name: str, inputs: Any) -> None:
        if name in names:
            parts[name].append(inputs[0].double().cpu().numpy())

    with evaluating(model), hooked(model, enter, lambda *_: None):
        for batch in pool.batches(batch_size, next(model.parameters()).device):
            model(batch.images)
    return {name: np.concatenate(own) for name, own in parts.items()}
