"""Sparsity and learning rate over the steps of a run, and the budget of passes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fairprune_cli.pruning.options import MaskOptions, MethodOptions


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
ROUNDING = 20  # steps by which the rounding of edges can move the end of a budget; a wide bound


@dataclass(frozen=True)
class Plan:
    """When a method prunes and when its constraint acts, as shares (0..1) of the lower steps.

    Attributes:
        ramp: from where to where the mask moves; both the same for one shot.
        rounds: 0 moves the mask all along the ramp, on the cubic curve; R >= 1 moves it R times, evenly spaced, the
            first time at the start of the ramp and the last at its end, each removing the same share of what is left.
        fair: from where to where the constraint acts.
        rewind: after each round the weights go back to their values at the start (lottery tickets).
        restarts: where the learning rate starts again; each stage then has a half cosine of its own.
    """

    ramp: tuple[float, float] = (0.0, MethodOptions.ramp_share)
    rounds: int = 0
    fair: tuple[float, float] = (0.0, 1.0)
    rewind: bool = False
    restarts: tuple[float, ...] = ()

    def ramp_edges(self, steps: int) -> tuple[int, int]:
        """Lower steps after which the mask begins and ends to move."""
        return round(steps * self.ramp[0]), round(steps * self.ramp[1])

    def fair_edges(self, steps: int) -> tuple[int, int]:
        """Lower steps after which the constraint begins and ends to act."""
        return round(steps * self.fair[0]), round(steps * self.fair[1])

    def round_steps(self, steps: int) -> list[int]:
        """Lower steps after which a round prunes, ascending; empty for a continuous ramp."""
        start, end = self.ramp_edges(steps)
        if self.rounds <= 1:
            return [end] * self.rounds
        return [start + round((end - start) * r / (self.rounds - 1)) for r in range(self.rounds)]

    def sparsity(self, step: int, steps: int, target: float) -> float:
        """Wanted sparsity after `step` of `steps` lower steps, 0..target."""
        start, end = self.ramp_edges(steps)
        if not self.rounds:
            return cubic_sparsity(step - start, end - start, target)
        done = sum(step >= edge for edge in self.round_steps(steps))
        return target if done == self.rounds else 1.0 - (1.0 - target) ** (done / self.rounds)

    def sparsity_from(self, start: float, step: int, steps: int, target: float) -> float:
        """As `sparsity`, for a model that begins at the sparsity `start`, 0..target: start..target.

        The share of what is left at the start follows the same curve, which for the cubic one is
        target - (target - start) (1 - t)^3, as Zhu & Gupta have it.
        """
        if start <= 0.0 or start >= target:
            return max(self.sparsity(step, steps, target), start)
        left = self.sparsity(step, steps, 1.0 - (1.0 - target) / (1.0 - start))
        return 1.0 - (1.0 - start) * (1.0 - left)

    def lr(self, step: int, steps: int, peak: float) -> float:
        """Learning rate of lower step `step` (from 0): half a cosine per stage."""
        edges = {0, steps, *(round(steps * share) for share in self.restarts)}
        if self.rewind:
            edges |= set(self.round_steps(steps))
        start = max(edge for edge in edges if edge <= step)
        return cosine_lr(step - start, min((e for e in edges if e > step), default=steps) - start, peak)


@dataclass(frozen=True)
class Budget:
    """How a number of passes is divided between lower (weight) and upper (mask, multiplier) steps.

    A pass is one forward and backward pass over one batch. Every method gets the same number of them; what a
    method spends on upper steps it loses in lower steps.

    Attributes:
        passes: whole passes allowed.
        plan: when the mask moves and the constraint acts.
        upper_every: lower steps per upper step.
        gradient: upper steps in the ramp need gradients, a whole pass each.
        feeds: upper steps feed the multipliers while the constraint acts, forward only where they need no gradient.
        extra: passes spent outside the steps (reference forward passes, saliency at each round).
        lower: passes that a lower step takes; above 1 where the dense model looks at its images, too.
    """

    passes: float
    plan: Plan
    upper_every: int = MaskOptions.upper_every
    gradient: bool = False
    feeds: bool = False
    extra: float = 0.0
    lower: float = 1.0

    @property
    def lower_steps(self) -> int:
        """Largest number of lower steps whose total cost stays within `passes`; at least 1."""
        most = max(int((self.passes - self.extra) / self.lower), 1)
        low, high = 1, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.cost(middle) <= self.passes + 1e-9 else (low, middle - 1)
        # The cost follows a straight line to within a few passes, as edges are rounded; so does the answer.
        steps = min(low + ROUNDING, most)
        while steps > 1 and self.cost(steps) > self.passes + 1e-9:
            steps -= 1
        return steps

    def upper_kind(self, step: int, steps: int) -> str | None:
        """What follows lower step `step` (from 1) of `steps`: "gradient", "forward" or None."""
        if step % self.upper_every:
            return None
        if self._moving and _within(step, self.plan.ramp_edges(steps)):
            return "gradient"
        return "forward" if self.feeds and _within(step, self.plan.fair_edges(steps)) else None

    def cost(self, steps: int) -> float:
        """Passes that `steps` lower steps and what goes with them take together."""
        ramp, fair = self.plan.ramp_edges(steps), self.plan.fair_edges(steps)
        spent = self.extra + steps * self.lower
        if self._moving:
            spent += self._multiples(*ramp)
        if self.feeds:
            forward = self._multiples(*fair)
            if self._moving:
                forward -= self._multiples(max(fair[0], ramp[0]), min(fair[1], ramp[1]))
            spent += forward * FORWARD_ONLY
        return spent

    @property
    def _moving(self) -> bool:
        return self.gradient and not self.plan.rounds

    def _multiples(self, low: int, high: int) -> int:
        """Multiples of `upper_every` in (low, high]."""
        return max(high // self.upper_every - low // self.upper_every, 0)


def _within(step: int, edges: tuple[int, int]) -> bool:
    return edges[0] < step <= edges[1]
