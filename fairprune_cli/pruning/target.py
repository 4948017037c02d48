"""What a run is to remove: the masks for a granularity, what was removed before, and whether the target was met."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.data.manifest.image_shape import Shape
from fairprune_cli.models import architectures, measure
from fairprune_cli.models.checkpoint.load import LoadedModel
from fairprune_cli.pruning import masks
from fairprune_cli.pruning.channels import choice as channel_choice
from fairprune_cli.pruning.channels import removal as channels
from fairprune_cli.pruning.options import PATTERN, TargetOptions


@dataclass(frozen=True)
class Earlier:
    """What an earlier pruning left of a model.

    Attributes:
        alive: True where kept, of the tensor's shape, for every prunable weight with something removed.
        shapes: the shapes before any pruning of the tensors that are smaller by now, as far as the file knows.
    """

    alive: Mapping[str, Tensor] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def zeros(self) -> int:
        """Single weights that were removed."""
        return sum(mask.numel() - int(mask.sum()) for mask in self.alive.values())


def earlier(loaded: LoadedModel) -> Earlier:
    """What was removed from a model before: zeros of its weights, and what a file of ours says of its shapes."""
    removed = loaded.metadata.get("removed") or {}
    shapes = {name: tuple(entry["shape"]) for name, entry in removed.items() if "shape" in entry}
    weights = masks.prunable_weights(loaded.model)
    alive = {name: weight.detach() != 0 for name, weight in weights.items()}
    return Earlier({name: mask for name, mask in alive.items() if not bool(mask.all())}, shapes)


def build_masks(options: TargetOptions, model: nn.Module, shape: Shape, before: Earlier) -> masks.Masks:
    """Masks over `model` that start from what an earlier pruning left.

    Args:
        shape: of the images.

    Raises:
        FairpruneError: the target cannot be reached, or less is asked for than is gone already.
    """
    granularity = options.granularity
    if granularity != "channel":
        for key in ("round_to", "sparsity_of"):
            if getattr(options, key) != getattr(TargetOptions, key):
                raise FairpruneError(
                    "it is about whole channels", where=f"--{key.replace('_', '-')}", hint="use --granularity channel"
                )
    made: masks.Masks
    if granularity == "weight":
        made = masks.WeightMasks(model, options.layer_floor, _weights(model, options), before.alive)
    elif granularity == PATTERN:
        made = masks.TwoOfFourMasks(model, before.alive, _weights(model, options))
    else:
        found = channels.channel_coupling(model, shape, options.prune_frozen)
        count = _count(options.sparsity_of, model, found.spaces, shape)
        made = masks.ChannelMasks(
            model, found.spaces, options.min_channels, options.round_to, count, before.alive, found.fixed,
            _recount(options.sparsity_of, shape),
        )  # fmt: skip
    more = f"ask for {math.ceil(made.start * 1e4) / 1e4:.4f} or more" if granularity != PATTERN else "use weight"
    if round((1.0 - options.sparsity) * made.total) > round((1.0 - made.start) * made.total):
        raise FairpruneError(
            f"sparsity {options.sparsity:g} is less than what the model has already, {made.start:.6f}",
            where="--sparsity", hint=f"{more}, or give the dense model",
        )  # fmt: skip
    used = measure.weights_used(model, shape)
    made.unused = [weight for name, weight in made.tensors.items() if weight.dim() > 1 and name not in used]
    made.select(made.magnitude(), options.sparsity)  # raises where the target is out of reach
    return made


def _weights(model: nn.Module, options: TargetOptions) -> list[str]:
    """Names of the weights that are pruned one by one."""
    weights = masks.prunable_weights(model)
    names = [name for name, weight in weights.items() if options.prune_frozen or weight.requires_grad]
    if weights and not names:
        raise FairpruneError(
            "the weights of all convolutions and linear layers are frozen, so none can be removed",
            where="--granularity", hint="let some of them train, or use --prune-frozen",
        )  # fmt: skip
    return names


def refuse_frozen(model: nn.Module) -> None:
    """Raise a FairpruneError where no parameter trains, so that nothing can make up for what is removed."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise FairpruneError(
            "all parameters of the network are frozen, so there is nothing to train",
            hint="build it with requires_grad=True on what is to be trained",
        )


def _count(of: str, model: nn.Module, spaces: Sequence[channels.ChannelSpace], shape: Shape) -> channel_choice.Count:
    """What a sparsity is a share of: parameters, macs or channels."""
    if of == "macs":
        return channel_choice.mac_count(model, spaces, shape)
    return channel_choice.channel_count if of == "channels" else channel_choice.ParameterCount(model, spaces)


def _recount(of: str, shape: Shape) -> Callable[[nn.Module], int] | None:
    """How a model itself is counted in the unit; how many channels it has, it cannot tell."""
    counts = {"macs": lambda model: measure.macs(model, shape), "parameters": measure.count_parameters}
    return counts.get(of)


def removed(
    model: nn.Module, given: nn.Module, kept: Mapping[str, Tensor], before: Earlier
) -> dict[str, dict[str, Any]]:
    """The header's `removed`: what is told of all tensors that lost something.

    Args:
        model: as it is stored; given: as the run found it, after `before`.
        kept: True where kept, for the tensors that are stored sparse.
    """
    shapes = architectures.shapes_of(given) | dict(before.shapes)
    shrunk = architectures.account_of(model, shapes)
    sparse = {name: {"shape": list(shapes[name]), "kept": int(mask.sum())} for name, mask in kept.items()}
    return shrunk | {name: {**shrunk.get(name, {}), **entry} for name, entry in sparse.items()}


def check_target(mask: masks.Masks, options: TargetOptions, given: nn.Module, pruned: nn.Module) -> None:
    """Missing the target is an error, not a note.

    Args:
        given: the model as the run found it; pruned: as it was read back from the file.
    """
    if not mask.meets(options.sparsity, given, pruned):
        raise FairpruneError(
            f"sparsity {mask.reached(given, pruned):.6f} was reached, {options.sparsity} was asked for",
            code=ExitCode.RUNTIME,
        )


def sparsity_block(
    mask: masks.Masks, options: TargetOptions, model: nn.Module, pruned: nn.Module, before: Earlier
) -> dict[str, Any]:
    """The report's `sparsity`: target and what was achieved, of what, and what came before.

    Args:
        model: as it was given; pruned: as it became.
    """
    block: dict[str, Any] = {
        "target": options.sparsity, "achieved": mask.achieved, "kept": mask.kept, "total": mask.total,
        "granularity": options.granularity, "of": options.sparsity_of,
    }  # fmt: skip
    if options.granularity == PATTERN:
        counted = mask.counted(model)
        frozen = [name for name in masks.prunable_weights(model) if name not in counted]
        block["dense_tensors"] = [*masks.unfit_weights(model), *frozen]
    if before.zeros or before.shapes:
        block["start"] = mask.start
        block["of_original"] = _of_original(mask, model, pruned, before)
    return block


def _of_original(mask: masks.Masks, given: nn.Module, pruned: nn.Module, before: Earlier) -> dict[str, Any]:
    """Kept and total of all parameters (channel) or prunable weights (weight, 2:4) against the first dense model."""
    alive = {**before.alive, **mask.sparse_entries(mask.keep)}
    shapes = {name: tuple(p.shape) for name, p in given.named_parameters()} | dict(before.shapes)
    kept = total = 0
    for name, parameter in mask.counted(pruned).items():
        total += math.prod(shapes[name])
        kept += int(alive[name].sum()) if name in alive else parameter.numel()
    return {"achieved": 1.0 - kept / total, "kept": kept, "total": total}
