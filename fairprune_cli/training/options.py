"""How the pruning loop trains."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainOptions:
    """How the loop trains; ranges in `Settings`."""

    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    mask_every: int = 5
    saliency_batches: int = 8
    fairness_on: str = "both"
    multiplier_data: str = "upper"
    scope: str = "auto"
    average: float = 0.0
    bf16: bool = False
    compile: bool = False
    epochs: int = 6
    clip_norm: float = 5.0
