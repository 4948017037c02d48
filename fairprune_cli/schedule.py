"""Sparsity and learning rate over the steps of a run, and the budget of passes."""

from __future__ import annotations

import math
from dataclasses import dataclass


def cubic_sparsity(step: int, ramp: int, target: float) -> float:
    """Sparsity after `step` of `ramp` steps: s (1 - (1 - t)^3), Zhu & Gupta (arXiv 1710.01878).

    Returns `target` from the last step of the ramp on; a ramp of zero steps is one-shot pruning.
    """
    if step >= ramp:
        return target
    return target * (1.0 - (1.0 - max(step, 0) / ramp) ** 3)


def cosine_lr(step: int, total: int, peak: float, warmup: int = 0) -> float:
    """Learning rate: linear over `warmup` steps, then half a cosine from `peak` towards zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(total - warmup, 1)
    return peak * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))


# A backward pass costs about two forward passes, so a forward pass alone is a third of a whole one.
FORWARD_ONLY = 1.0 / 3.0


@dataclass(frozen=True)
class Budget:
    """How a number of passes is divided between lower (weight) and upper (mask, multiplier) steps.

    A pass is one forward and backward pass over one batch. Every method gets the same number of them; what a
    method spends on upper steps it loses in lower steps.

    Attributes:
        passes: whole passes allowed.
        upper_every: lower steps per upper step; 0 when the method takes none.
        ramp_share: share of the lower steps in which the mask still moves.
        upper_backward: upper steps of the ramp need gradients (a whole pass each), later ones do not.
        upper_after_ramp: upper steps go on after the ramp, forward only, to feed the multipliers.
        extra: passes spent before the first step (reference forward passes).
    """

    passes: float
    upper_every: int
    ramp_share: float
    upper_backward: bool = True
    upper_after_ramp: bool = True
    extra: float = 0.0

    @property
    def lower_steps(self) -> int:
        """Largest number of lower steps whose total cost stays within `passes`; at least 1."""
        steps = max(int(self.passes - self.extra), 1)
        while steps > 1 and self.cost(steps) > self.passes + 1e-9:
            steps -= 1
        return steps

    @property
    def ramp_steps(self) -> int:
        return round(self.lower_steps * self.ramp_share)

    def cost(self, steps: int) -> float:
        """Passes that `steps` lower steps and their upper steps take together."""
        ramp = round(steps * self.ramp_share)
        spent = self.extra + steps
        if self.upper_every:
            spent += (ramp // self.upper_every) * (1.0 if self.upper_backward else FORWARD_ONLY)
            if self.upper_after_ramp:
                spent += (steps // self.upper_every - ramp // self.upper_every) * FORWARD_ONLY
        return spent
