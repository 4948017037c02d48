"""What every fairness notion is made of: rates of groups, exact from counts and relaxed from logits.

A notion looks at M rates per group. Rate m of group g is the share of the group's images with a label in
population m whose (label, prediction) pair belongs to event m:

    r[m, g] = sum over y, p of event[m, y, p] n[g, y, p] / sum over y, p of population[m, y] n[g, y, p]

with n the counts per group x label x prediction. The exact gap of a notion is the largest difference between
two groups in any of its rates. The surrogate replaces the indicator "p is predicted" by delta(margin of p).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.fairness.relaxations import class_margins


@dataclass(frozen=True)
class Notion:
    """One notion of fairness for K classes.

    Attributes:
        name: as in `--notion`.
        event: bool [M, K, K], label x prediction.
        population: bool [M, K], labels that count towards rate m.
        direction: int [M]; +1 where a rate below the others is the wrong (recall), -1 where one above them is
            (false alarms), 0 where both are (selection rates). The exact gap is the same for all three; the
            direction decides which group's rate is moved to close it.
        against: "best" holds a group against the best group, "whole" against all images together.
        relative: rates are held against the dense model's own (performance degradation).
    """

    name: str
    event: np.ndarray
    population: np.ndarray
    direction: np.ndarray
    against: str = "best"
    relative: bool = False

    def rates(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Exact rates.

        Args:
            counts: [G, K, K] group x label x prediction; need not be whole numbers (running averages).

        Returns:
            (rate, n), both [M, G]; rate is NaN where n, the population, is zero.
        """
        hits = np.einsum("myp,gyp->mg", self.event & self.population[:, :, None], counts)
        size = np.einsum("my,gyp->mg", self.population, counts)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(size > 0, hits / size, np.nan), size

    def exact(self, counts: np.ndarray, dense: np.ndarray | None = None) -> float:
        """Exact gap in 0..1: the largest difference between two groups in any rate.

        Args:
            counts: [G, K, K] of the model at hand.
            dense: [M, G] rates of the dense model, needed by notions that are relative to it.

        Returns:
            NaN where fewer than two groups have a population.
        """
        rate, _ = self.rates(counts)
        if self.relative:
            rate = rate - self._needed(dense)
        gaps = [float(np.ptp(row[~np.isnan(row)])) for row in rate if np.count_nonzero(~np.isnan(row)) >= 2]
        return max(gaps) if gaps else float("nan")

    def usable_rates(self, counts: np.ndarray, dense: np.ndarray | None = None, least: float = 1.0) -> np.ndarray:
        """Exact rates (minus the dense model's, for relative notions), [M, G]; NaN below a population of `least`."""
        rate, size = self.rates(counts)
        if self.relative:
            rate = rate - self._needed(dense)
        return np.where(size >= least, rate, np.nan)

    def violation(
        self,
        counts: np.ndarray,
        tolerance: float,
        dense: np.ndarray | None = None,
        least: float = 1.0,
        dense_whole: np.ndarray | None = None,
    ) -> np.ndarray:
        """How far each rate of each group is beyond the tolerance; negative inside it.

        Args:
            counts: [G, K, K].
            tolerance: allowed difference, 0..1.
            dense: as in `exact`.
            least: groups with a smaller population in rate m neither give nor get a violation there.
            dense_whole: [M] rates of the dense model over all groups, for relative notions held against the whole.

        Returns:
            [2, M, G]: first row "too low" (reference - rate - tolerance), second "too high"
            (rate - reference - tolerance). The reference is the best of the other groups, so that a group in the lead
            is inside its constraint by its lead and the tolerance. NaN where undefined or where the direction rules it
            out.
        """
        rate = self.usable_rates(counts, dense, least)
        if self.against == "whole":
            whole, _ = self.rates(counts.sum(axis=0, keepdims=True))
            if self.relative:
                whole = whole - self._needed(dense_whole)[:, None]
            high = low = np.broadcast_to(whole, rate.shape)
        else:
            high, low = best_of_others(rate), -best_of_others(-rate)
        direction = self.direction[:, None]
        too_low = np.where(direction >= 0, high - rate - tolerance, np.nan)
        too_high = np.where(direction <= 0, rate - low - tolerance, np.nan)
        return np.stack([too_low, too_high])

    def _needed(self, dense: np.ndarray | None) -> np.ndarray:
        if dense is None:
            raise ValueError(f"the notion {self.name!r} needs the dense model's rates")
        return dense


def best_of_others(rate: np.ndarray) -> np.ndarray:
    """For each entry the largest other entry of its row; rate: [M, G] with NaN for what is left out.

    Returns:
        [M, G]; NaN where no other entry is there, and where the entry itself is NaN.
    """
    if rate.shape[1] < 2:
        return np.full(rate.shape, np.nan)
    filled = np.where(np.isnan(rate), -np.inf, rate)
    # The largest is every other entry's answer, the second largest its own.
    top = np.partition(filled, -2, axis=1)[:, -2:]
    at = filled.argmax(axis=1)[:, None]
    others = np.where(np.arange(rate.shape[1]) == at, top[:, :1], top[:, 1:])
    return np.where(np.isnan(rate) | np.isinf(others), np.nan, others)


def soft_events(notion: Notion, logits: Tensor, labels: Tensor, indicator: object) -> tuple[Tensor, Tensor]:
    """Relaxed events and population membership of each image.

    Args:
        notion: what is counted, for K classes.
        logits: [B, K].
        labels: [B].
        indicator: a surrogate of 1[a > 0], applied to the margin of each predicted class.

    Returns:
        (soft, member), both [B, M]: the relaxed indicator of event m (differentiable) and 1.0 where the image's
        label belongs to population m.
    """
    assert callable(indicator)
    event = torch.as_tensor(notion.event, device=logits.device)  # [M, K, K]
    member = torch.as_tensor(notion.population, device=logits.device)[:, labels].T.to(logits.dtype)  # [B, M]
    soft = indicator(class_margins(logits))  # [B, K]
    chosen = event[:, labels].permute(1, 0, 2).to(logits.dtype)  # [B, M, K]
    return torch.einsum("bmk,bk->bm", chosen, soft), member


def group_rates(soft: Tensor, member: Tensor, groups: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Relaxed rates per group and over all grouped images.

    Args:
        soft, member: [B, M] from `soft_events`; member times the images' weights where these differ.
        groups: [B] in 0..count-1, -1 for images in no group.
        count: G.

    Returns:
        (rate [M, G], present bool [M, G], whole [M]); absent rates are 0 and carry no gradient.
    """
    grouped = groups >= 0
    one_hot = torch.zeros(len(groups), count, dtype=soft.dtype, device=soft.device)
    one_hot[grouped] = torch.nn.functional.one_hot(groups[grouped], count).to(soft.dtype)
    weight = member.T @ one_hot  # [M, G]
    total = (soft * member).T @ one_hot
    present = weight > 0
    least = torch.finfo(soft.dtype).tiny
    rate = total / weight.clamp_min(least)
    inside = member * grouped[:, None].to(member.dtype)
    whole = (soft * inside).sum(0) / inside.sum(0).clamp_min(least)
    return rate, present, whole


def correct_only(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Event, population and direction of plain accuracy: right answers among all images, low is wrong."""
    return np.eye(classes, dtype=bool)[None], np.ones((1, classes), dtype=bool), np.ones(1, dtype=int)
