"""A trainer over random images, small enough for every method and granularity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.models import architectures
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.channels.removal import channel_spaces
from fairprune_cli.pruning.masks import ChannelMasks, Masks, TwoOfFourMasks, WeightMasks, prunable_weights
from fairprune_cli.pruning.methods import MethodOptions
from fairprune_cli.pruning.schedule import Budget
from fairprune_cli.training.objective import Objective
from fairprune_cli.training.trainer import Groups, Trainer, TrainOptions


class Images(NamedTuple):
    images: Tensor
    labels: Tensor
    groups: Tensor
    rows: Tensor


class Source:
    """Random images whose class is a brightness; group 1 is dimmer, so harder."""

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.device, self.drawn = device, 0

    def next(self) -> Images:
        self.drawn += 1
        labels = torch.randint(0, 2, (16,), generator=self.generator)
        groups = torch.randint(0, 2, (16, 1), generator=self.generator)
        images = torch.randn(16, 3, 16, 16, generator=self.generator)
        strength = torch.where(groups[:, 0] == 0, 1.0, 0.3)
        shifted = images + ((labels * 2 - 1) * strength)[:, None, None, None]
        batch = Images(shifted, labels, groups, torch.arange(16))
        return batch if self.device == "cpu" else Images(*(part.to(self.device) for part in batch))

    def state_dict(self) -> dict[str, Any]:
        return {"random": self.generator.get_state(), "drawn": self.drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["random"])
        self.drawn = state["drawn"]


def masks_over(model: nn.Module, granularity: str, alive: Mapping[str, Tensor] | None = None) -> Masks:
    """Masks of any kind, over a model for images of 16 pixels."""
    if granularity == "channel":
        return ChannelMasks(model, channel_spaces(model, 16), alive=alive)
    return TwoOfFourMasks(model, alive) if granularity == "2:4" else WeightMasks(model, alive=alive)


def thinned(model: nn.Module, density: float) -> dict[str, Tensor]:
    """Set so many of the model's weights to zero as an earlier pruning would; True where kept, by name."""
    generator = torch.Generator().manual_seed(5)
    alive = {}
    for name, weight in prunable_weights(model).items():
        alive[name] = torch.rand(weight.shape, generator=generator) < density
        weight.data *= alive[name]
    return alive


def trainer(
    method: str = "bifp", granularity: str = "weight", sparsity: float | None = None, passes: float = 30.0,
    options: TrainOptions | None = None, method_options: MethodOptions | None = None,
    dtype: torch.dtype = torch.float32, ranks: Ranks | None = None, density: float = 1.0, channels_last: bool = False,
    device: torch.device | str = "cpu",
) -> Trainer:  # fmt: skip
    """A trainer at its first step; of its weights an earlier pruning left the share `density`."""
    torch.manual_seed(0)
    model = architectures.build("resnet10-w16", 2, seed=0).to(device, dtype)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    masks = masks_over(model, granularity, thinned(model, density) if density < 1.0 else None)
    sparsity = sparsity or (0.5 if granularity == "2:4" else 0.8)
    return trainer_over(model, masks, method, sparsity, passes, options, method_options, ranks, device)


def trainer_over(
    model: nn.Module, masks: Masks, method: str, sparsity: float, passes: float = 30.0,
    options: TrainOptions | None = None, method_options: MethodOptions | None = None, ranks: Ranks | None = None,
    device: torch.device | str = "cpu",
) -> Trainer:  # fmt: skip
    """A trainer of any model for images of 16 pixels and two classes, with masks over it."""
    options = options or TrainOptions(upper_every=2, epochs=3, saliency_batches=2)
    own = method_options or MethodOptions(ramp_share=0.5, rounds=2)
    kind = methods.get(method).formed(own)
    made = kind(masks, own)
    groups = torch.arange(16).to(device) % 2 if kind.by_group else None
    if groups is not None:
        made.begin(torch.tensor([8.0, 8.0]).to(device))
    constraint = Constraint(
        fairness.get("accuracy", 2), [2], relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=3.0, memory=200.0
    )
    plan = kind.plan(made.options)
    feeds = kind.constrained and kind.dual.data != "lower" and options.fairness_on != "none"
    extra = plan.rounds * options.saliency_batches if kind.upper_gradient else 0
    budget = Budget(passes, plan, 2, kind.upper_gradient, feeds, extra)
    teacher = torch.randn(16, 2).to(device) if kind.teacher else None
    return Trainer(
        model, masks, Objective(made, constraint, teacher, groups=groups), Groups({"gender": ("a", "b")}),
        Source(1, device), Source(2, device), budget, sparsity,
        replace(options, multiplier_data=kind.dual.data or options.multiplier_data), ranks,
    )  # fmt: skip
