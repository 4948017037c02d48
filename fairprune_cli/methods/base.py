"""What the training loop asks of a pruning method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from fairprune_cli.masks import Masks


@dataclass(frozen=True)
class MethodOptions:
    """Settings a method may read; see `Settings` for their ranges."""

    mask_step: str = "second-order"
    rho: float = 0.06
    ema: float = 0.9
    gamma: float = 1.0
    mask_lr: float = 0.1


class Method:
    """Scores for the units of a mask; the training loop projects them onto the wanted sparsity.

    Class attributes:
        constrained: the method has a fairness constraint in its Lagrangian.
        upper_gradient: it wants the gradient of an upper batch while the mask moves.
    """

    constrained = False
    upper_gradient = False

    def __init__(self, masks: Masks, options: MethodOptions) -> None:
        self.masks = masks
        self.options = options

    def upper_step(self) -> None:
        """Called after the backward pass of an upper batch; the parameters' `grad` is with respect to z."""

    def scores(self) -> Tensor:
        """[U] scores; the largest are kept."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
