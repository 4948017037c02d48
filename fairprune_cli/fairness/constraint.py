"""Multipliers: dual ascent on the exact violation, while the surrogate lends its gradient.

For attribute a, rate m and group g, with r the running exact rate, tau the tolerance, S the surrogate rate of the
batch and S_all the one over all groups:

    mu <- clip(mu + eta (reference - r - tau), 0, cap)               "too low"; "too high" with the signs turned
    L_fair = sum of mu_low (s S_all - S_g) + mu_high (S_g - s S_all)

The reference is the best of the other groups. Where both directions are wrong (parity) there is a multiplier for each
ordered pair of groups instead, mu_hg <- clip(mu_hg + eta (r_h - r_g - tau), 0, cap); mu_low of g is its sum over h,
mu_high of h that over g, so that the term is the sum of mu_hg (S_h - S_g), the constraints' own gradient.

This is the proxy-Lagrangian scheme of Cotter et al. (arXiv 1809.04198), used for pruning by CEAG (arXiv
2310.20673): exact and soft violation travel together, and a multiplier never chases the relaxation. Inside the
tolerance multipliers fall, so a satisfied constraint costs nothing (the dead zone).
s decides about levelling down, since a gap also closes when the better groups get worse. s = 0 (the default) only
raises the groups that are behind. With levelling > 0, s = min(1, levelling / sum of mu): the pull on the images as a
whole stays below that share of the loss's own, so that the better groups are at least never trained to be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.fairness.notions.base import Notion
from fairprune_cli.fairness.relaxations import Relaxation
from fairprune_cli.fairness.surrogate import group_rates, soft_events

BOUNDS = ("matched", "upper", "lower")


@dataclass(frozen=True)
class Violation:
    """Exact and relaxed gap of one attribute, always side by side; 0..1 for the exact one, NaN if undefined."""

    exact: float
    surrogate: float


class GroupTally:
    """Running counts and relaxed rates of one attribute, forgetting with a memory measured in images.

    Args:
        groups: G.
        notion: what is counted; gives K and M.
        memory: number of images after which a count has fallen to 1/e.
        per_group: memory counts the images of each group by itself (a replay buffer per group).
    """

    def __init__(self, groups: int, notion: Notion, memory: float, per_group: bool = False) -> None:
        classes = notion.event.shape[1]
        self.counts = np.zeros((groups, classes, classes))
        self.soft = np.zeros((2, notion.event.shape[0], groups))  # relaxed hits, population
        self.memory, self.per_group = memory, per_group

    def add(self, counts: np.ndarray, soft: np.ndarray) -> None:
        """Add a batch: counts [G, K, K] and relaxed (hits, population) [2, M, G]."""
        seen = counts.sum(axis=(1, 2)) if self.per_group else np.full(len(counts), counts.sum())
        keep = np.exp(-seen / self.memory)
        self.counts = self.counts * keep[:, None, None] + counts
        self.soft = self.soft * keep + soft

    def surrogate_gap(self) -> float:
        """Largest difference of relaxed rates between two groups; NaN with fewer than two."""
        hits, size = self.soft
        gaps = [float(np.ptp(h[n > 0] / n[n > 0])) for h, n in zip(hits, size, strict=True) if (n > 0).sum() >= 2]
        return max(gaps) if gaps else float("nan")


class Constraint:
    """Constraints of one notion for several attributes, their multipliers and their Lagrangian term.

    Args:
        notion: exact rates and surrogate events, for K classes.
        groups: number of groups G of each attribute.
        relaxation: surrogate of the indicator.
        tolerance: allowed difference of rates, 0..1.
        rate: eta, step of the multipliers per update.
        cap: largest multiplier.
        memory: images that the exact rates look back on.
        levelling: largest share of the loss's own pull that may act against the images as a whole, 0..1; infinity
            puts no limit on it (s = 1).
        decay: share of a multiplier that is lost at each update inside the tolerance, beside the dual step; 0..1. 1
            is CEAG's dual restart.
        normalise: whether the whole Lagrangian is to be divided by 1 + the sum of the multipliers.
        per_group: as in `GroupTally`.
        bound: "matched" takes delta for both signs; "upper" takes kappa for positive and delta for negative
            terms, which bounds the exact gap from above and is convex in the margins; "lower" the reverse.
        dense: per attribute [G, K, K], the dense model's counts, for notions relative to it.
    """

    def __init__(
        self,
        notion: Notion,
        groups: Sequence[int],
        relaxation: Relaxation,
        *,
        tolerance: float,
        rate: float,
        cap: float,
        memory: float,
        bound: str = "matched",
        levelling: float = 0.0,
        decay: float = 0.0,
        normalise: bool = True,
        per_group: bool = False,
        least: float = 10.0,
        dense: Sequence[np.ndarray] | None = None,
    ) -> None:
        if bound not in BOUNDS:
            raise ValueError(f"bound {bound!r} is none of {BOUNDS}")
        self.notion = notion
        self.relaxation = relaxation
        self.tolerance, self.rate, self.cap, self.bound, self.least = tolerance, rate, cap, bound, least
        self.levelling, self.decay, self.normalise = levelling, decay, normalise
        self.dense = None if dense is None else [notion.rates(counts)[0] for counts in dense]
        self.dense_whole = (
            None if dense is None else [notion.rates(c.sum(axis=0, keepdims=True))[0][:, 0] for c in dense]
        )
        self.tallies = [GroupTally(count, notion, memory, per_group) for count in groups]
        self.multipliers = [np.zeros((2, notion.event.shape[0], count)) for count in groups]
        self._two_sided = np.flatnonzero(notion.direction == 0)
        self._pairs = [np.zeros((len(self._two_sided), count, count)) for count in groups]

    def observe(self, logits: Tensor, labels: Tensor, groups: Tensor, weights: Tensor | None = None) -> None:
        """Count a batch: exact events and relaxed ones.

        Args:
            logits: [B, K]; labels: [B]; groups: [B, A] with -1 for none. No gradient is kept.
            weights: [B], what an image stands for; 1 each by default.
        """
        logits = logits.detach().float()
        predicted = logits.argmax(1)
        classes = logits.shape[1]
        soft, member = soft_events(self.notion, logits, labels, self.relaxation.delta)
        weights = logits.new_ones(len(labels)) if weights is None else weights.to(logits.dtype)
        member = member * weights[:, None]
        for a, tally in enumerate(self.tallies):
            count = len(tally.counts)
            group = groups[:, a]
            inside = group >= 0
            flat = (group[inside] * classes + labels[inside]) * classes + predicted[inside]
            counts = logits.new_zeros(count * classes * classes, dtype=torch.float64)
            counts = counts.index_add_(0, flat, weights[inside].double()).view(count, classes, classes)
            hits = torch.zeros(2, soft.shape[1], count, device=logits.device)
            hits[0].index_add_(1, group[inside], (soft * member)[inside].T)
            hits[1].index_add_(1, group[inside], member[inside].T)
            tally.add(counts.cpu().numpy(), hits.cpu().numpy().astype(float))

    def update(self) -> None:
        """One step of dual ascent on the exact violation; undefined violations leave a multiplier alone."""
        for a, (tally, mu) in enumerate(zip(self.tallies, self.multipliers, strict=True)):
            violation = self.notion.violation(
                tally.counts, self.tolerance, self._dense(a), self.least,
                None if self.dense_whole is None else self.dense_whole[a],
            )  # fmt: skip
            self._ascend(mu, violation)
            if len(self._two_sided):
                rate = self.notion.usable_rates(tally.counts, self._dense(a), self.least)[self._two_sided]
                pairs = self._pairs[a]
                self._ascend(pairs, rate[:, :, None] - rate[:, None, :] - self.tolerance)
                mu[0, self._two_sided], mu[1, self._two_sided] = pairs.sum(axis=1), pairs.sum(axis=2)

    def _ascend(self, mu: np.ndarray, violation: np.ndarray) -> None:
        """mu <- clip(mu + rate violation, 0, cap) in place; undefined violations leave a multiplier alone."""
        step = np.where(np.isnan(violation), 0.0, violation)
        kept = np.where(step < 0, (1.0 - self.decay) * mu, mu)
        np.clip(kept + self.rate * step, 0.0, self.cap, out=mu)

    def penalty(self, logits: Tensor, labels: Tensor, groups: Tensor, weights: Tensor | None = None) -> Tensor:
        """The Lagrangian term of a batch: a scalar, differentiable in the logits; shapes as in `observe`."""
        total = logits.new_zeros(())
        if not self.active:
            return total
        delta, kappa = self.relaxation.delta, self.relaxation.kappa
        falling, member = soft_events(self.notion, logits, labels, kappa if self.bound == "lower" else delta)
        rising = falling
        if self.bound != "matched":
            rising, _ = soft_events(self.notion, logits, labels, kappa if self.bound == "upper" else delta)
        if weights is not None:
            member = member * weights[:, None].to(member.dtype)
        for a, mu in enumerate(self.multipliers):
            if not mu.any():
                continue
            count = mu.shape[-1]
            low, present, low_all = group_rates(falling, member, groups[:, a], count)
            high, _, high_all = group_rates(rising, member, groups[:, a], count)
            acting = torch.as_tensor(mu, dtype=logits.dtype, device=logits.device) * present
            share = min(1.0, self.levelling / max(float(acting.sum()), 1e-9))
            too_low, too_high = acting
            if self.notion.against == "whole" and not self.notion.relative:
                total = total - (too_low * low).sum()
            else:
                total = total + (too_low * (share * high_all[:, None] - low)).sum()
            total = total + (too_high * (high - share * low_all[:, None])).sum()
        return total

    @property
    def active(self) -> bool:
        """Whether any multiplier is above zero."""
        return any(mu.any() for mu in self.multipliers)

    @property
    def weight(self) -> float:
        """Sum of all multipliers, by which the Lagrangian is divided on top of 1; 0 where it is not."""
        return float(sum(mu.sum() for mu in self.multipliers)) if self.normalise else 0.0

    def pull(self, labels: np.ndarray, groups: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """How much an image of each stratum weighs in the Lagrangian, relative to an image in the loss alone.

        An image adds 1 / N to the loss and, through each rate m of its group g whose population has its label,
        mu[m, g] / n[m, g] to the constraint's term.

        Args:
            labels: int [C]; groups: int [C, A], -1 for none; sizes: [C], images in each stratum.

        Returns:
            [C], at least 1.
        """
        total = np.ones(len(labels))
        for a, mu in enumerate(self.multipliers):
            inside = np.flatnonzero(groups[:, a] >= 0)
            group = groups[inside, a]
            member = self.notion.population[:, labels[inside]].astype(float)  # [M, C]
            population = np.zeros(mu.shape[1:])  # [M, G]
            for rate, row in zip(population, member, strict=True):
                np.add.at(rate, group, row * sizes[inside])
            both = mu.sum(axis=0)[:, group]
            share = member * both / np.maximum(population[:, group], 1.0)
            total[inside] += sizes.sum() * share.sum(axis=0)
        return total

    def forget(self) -> None:
        """Drop the running counts: what was counted so far belongs to another stage."""
        for tally in self.tallies:
            tally.counts[...] = 0.0
            tally.soft[...] = 0.0

    def violations(self) -> list[Violation]:
        """Exact and surrogate gap per attribute, from the running counts."""
        return [
            Violation(self.notion.exact(tally.counts, self._dense(a)), tally.surrogate_gap())
            for a, tally in enumerate(self.tallies)
        ]

    def group_accuracy(self) -> list[np.ndarray]:
        """Running accuracy per attribute, [G]; NaN where a group has not been seen."""
        result = []
        for tally in self.tallies:
            size = tally.counts.sum(axis=(1, 2))
            right = np.einsum("gyy->g", tally.counts)
            with np.errstate(invalid="ignore", divide="ignore"):
                result.append(np.where(size > 0, right / size, np.nan))
        return result

    def _dense(self, attribute: int) -> np.ndarray | None:
        return None if self.dense is None else self.dense[attribute]

    def state_dict(self) -> dict[str, list[Tensor]]:
        return {
            "multipliers": [torch.from_numpy(mu.copy()) for mu in self.multipliers],
            "pairs": [torch.from_numpy(pairs.copy()) for pairs in self._pairs],
            "counts": [torch.from_numpy(t.counts.copy()) for t in self.tallies],
            "soft": [torch.from_numpy(t.soft.copy()) for t in self.tallies],
        }

    def load_state_dict(self, state: Mapping[str, Sequence[Tensor]]) -> None:
        for mu, saved in zip(self.multipliers, state["multipliers"], strict=True):
            mu[...] = saved.numpy()
        for pairs, saved in zip(self._pairs, state["pairs"], strict=True):
            pairs[...] = saved.numpy()
        for tally, counts, soft in zip(self.tallies, state["counts"], state["soft"], strict=True):
            tally.counts, tally.soft = counts.numpy().copy(), soft.numpy().copy()
