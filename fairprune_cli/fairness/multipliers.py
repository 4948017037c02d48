"""Multipliers: dual ascent on the exact violation, while the surrogate lends its gradient.

For attribute a, rate m and group g, with r the running exact rate and tau the tolerance:

    mu <- clip(mu + eta (reference - r - tau), 0, cap)               "too low"; "too high" with the signs turned

The reference is the best of the other groups. Where both directions are wrong (parity) there is a multiplier for each
ordered pair of groups instead, mu_hg <- clip(mu_hg + eta (r_h - r_g - tau), 0, cap); mu_low of g is its sum over h,
mu_high of h that over g, so that the term is the sum of mu_hg (S_h - S_g), the constraints' own gradient.

This is the proxy-Lagrangian scheme of Cotter et al. (arXiv 1809.04198), used for pruning by CEAG (arXiv
2310.20673): exact and soft violation travel together, and a multiplier never chases the relaxation. Where the
constraint is met a multiplier falls back to where it started, and below that only while its group is ahead of all
others by more than tau: what made groups equal is not taken away because they are. Or it falls to 0, so that a
constraint which holds by itself costs nothing.
They live on the host: an adaptive sampler and the term's coefficients ask for them before every batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.notion import Notion, allowed_differences

UNIT = 0.1  # multiplier, in units, about which an exponentiated step turns from adding to multiplying


class Multipliers:
    """The multipliers of one notion for several attributes.

    Args:
        notion, rows: what is held equal, among which groups.
        rate: eta, step per update; cap: largest multiplier; both in units.
        tolerance: tau of each attribute, 0..1.
        decay: share of a multiplier that is lost at each update at which it falls, beside the dual step; 0..1.
        least: images in a rate's population below which it leaves its multiplier alone.
        memory: images that the running rates look back on.
        dense: per attribute [G, K, K], the dense model's counts, for notions relative to it.
        data: per attribute [G, K], images of the data that rates come from; however often one is seen, it is one.
        exponentiated: mu + u is multiplied by exp(eta violation / u), u = 0.1; else eta violation is added.
        start: per attribute [G, K], images of the data that the loss is a mean over, for multipliers that start where
            they balance its groups; they start at 0 where None, and those that nothing would ever move do.
        rests: multipliers fall to where they started, and below only where their group leads by more than tau; else
            they fall to 0.
        unit: per attribute [G, K], images of the data that the loss is a mean over, for a unit of each rate's
            multipliers: the share of all images that its largest group is. However few of all it looks at, at its cap
            c a stratum has c times the part that the largest one has in the loss. The unit is 1 where None.
        errors: a difference is allowed to be as large as so many of its standard errors, where that is above tau.

    Attributes:
        table: float64 [2, M, R], "too low" and "too high".
        of: views of it, one per attribute, [2, M, G].
        unit: per attribute [1, M, 1].
        start: per attribute [2, M, G], where multipliers start.
        pairs: per attribute [M', G, G], those of ordered pairs (h, g) in the M' rates that may be wrong both ways.
    """

    def __init__(
        self, notion: Notion, rows: GroupRows, *, rate: float, cap: float, tolerance: Sequence[float], decay: float,
        least: float, dense: Sequence[np.ndarray] | None, data: Sequence[np.ndarray] | None = None,
        exponentiated: bool = False, errors: float = 0.0, start: Sequence[np.ndarray] | None = None,
        rests: bool = False, unit: Sequence[np.ndarray] | None = None, memory: float = np.inf,
    ) -> None:  # fmt: skip
        self.notion, self.rate, self.cap, self.tolerance = notion, rate, cap, tolerance
        self.decay, self.least = decay, least
        self.exponentiated, self.errors, self.rests = exponentiated, errors, rests
        self.table = np.zeros((2, len(notion.event), rows.total))
        self.of = rows.per_attribute(self.table, axis=2)
        self._two_sided = np.flatnonzero(notion.direction == 0)
        self.pairs = [np.zeros((len(self._two_sided), count, count)) for count in rows.counts]
        self.dense: Sequence[np.ndarray | None] = [None] * len(rows.counts)  # rates [M, G]
        self.dense_whole: Sequence[np.ndarray | None] = self.dense  # [M]
        if dense is not None:
            self.refer(dense)
        self.unit = [
            np.ones((1, mu.shape[1], 1)) if unit is None else unit_of(notion, unit[a]) for a, mu in enumerate(self.of)
        ]
        self.start = [
            np.zeros_like(mu) if start is None else np.minimum(balancing(notion, start[a]), cap * own)
            for a, (mu, own) in enumerate(zip(self.of, self.unit, strict=True))
        ]
        for begun, images in zip(self.start, data or (), strict=data is not None):
            begun[:, images_read(notion, images, memory) < least] = 0.0
        self._known = data is not None
        self.most = [np.inf if data is None else notion.sizes(data[a]) for a in range(len(rows.counts))]

    def begin(self) -> None:
        """Put multipliers where they start."""
        for mu, start in zip(self.of, self.start, strict=True):
            mu[:] = start

    def refer(self, dense: Sequence[np.ndarray]) -> None:
        """Hold relative notions against these counts of the dense model, per attribute [G, K, K]."""
        self.dense = [self.notion.rates(counts)[0] for counts in dense]
        self.dense_whole = [self.notion.rates(c.sum(axis=0, keepdims=True))[0][:, 0] for c in dense]

    def ascend(self, counts: Sequence[np.ndarray], seen: Sequence[np.ndarray] | None = None) -> None:
        """One step of dual ascent. Undefined violations do nothing.

        Args:
            counts: per attribute [G, K, K], running.
            seen: per attribute [G, K], running images, where counts are of what images stand for.
        """
        for a, running in enumerate(counts):
            mu, pairs, unit = self.of[a], self.pairs[a], self.unit[a]
            images = self._images(a, running.sum(axis=2) if seen is None else seen[a])
            errors = self._errors(running, images) if self.errors else None
            rate = self.notion.usable_rates(running, self.dense[a], self.least, images)
            if len(self._two_sided) < mu.shape[1]:
                held = (rate, self.notion.whole_rates(running, self.dense_whole[a]), self.tolerance[a], errors)
                violation = self.notion.violation(*held)
                leading = self.notion.violation(*held, leading=True) if self.rests else violation
                mu[:] = unit * self._moved(mu / unit, violation, leading, self.start[a] / unit)
            if len(self._two_sided):
                rate = rate[self._two_sided]
                allowed = allowed_differences(self.tolerance[a], None if errors is None else errors[self._two_sided])
                violation = rate[:, :, None] - rate[:, None, :] - allowed
                own = unit[0, self._two_sided][:, :, None]
                pairs[:] = own * self._stepped(pairs / own, violation)  # they start at 0
                mu[0, self._two_sided], mu[1, self._two_sided] = pairs.sum(axis=1), pairs.sum(axis=2)

    def gap(self, a: int, running: np.ndarray, seen: np.ndarray) -> float:
        """The exact gap of attribute a, 0..1, where `data` is known of the rates that rest on enough images.

        Args:
            running: [G, K, K], counts; seen: [G, K], images that they are of.
        """
        rare = self._images(a, seen) < self.least if self._known else None
        return self.notion.exact(running, self.dense[a], rare)

    def _images(self, a: int, seen: np.ndarray) -> np.ndarray:
        """Different images that rates rest on, at most, [M, G]; seen: [G, K]."""
        return np.minimum(self.notion.sizes(seen), self.most[a])

    def _errors(self, running: np.ndarray, images: np.ndarray) -> np.ndarray:
        """`errors` standard errors of each rate, [M, G]; half an image more is right and half is wrong (never 0)."""
        hits = np.nan_to_num(self.notion.rates(running)[0]) * images + 0.5
        rate = hits / (images + 1.0)
        return self.errors * np.sqrt(rate * (1.0 - rate) / (images + 1.0))

    def _moved(self, mu: np.ndarray, violation: np.ndarray, leading: np.ndarray, start: np.ndarray) -> np.ndarray:
        """After a dual step, in units; leading: as in `Notion.violation`. All of one shape."""
        stepped = self._stepped(mu, violation)
        if not self.rests:
            return stepped
        rested = np.maximum(stepped, np.minimum(mu, start))
        below = self._stepped(mu, np.minimum(leading, 0.0))
        moved: np.ndarray = np.where(violation < 0, np.minimum(rested, below), stepped)
        return moved

    def _stepped(self, mu: np.ndarray, violation: np.ndarray) -> np.ndarray:
        """After a dual step that no start holds, in units."""
        step = np.where(np.isnan(violation), 0.0, violation)
        kept = np.where(step < 0, (1.0 - self.decay) * mu, mu) if self.decay else mu
        if self.exponentiated:
            return np.clip((kept + UNIT) * np.exp(self.rate * step / UNIT) - UNIT, 0.0, self.cap)
        return np.clip(kept + self.rate * step, 0.0, self.cap)


def images_read(notion: Notion, images: np.ndarray, memory: float) -> np.ndarray:
    """Images that each running rate comes to rest on, [M, G]: those of the data, or their share of the memory.

    Args:
        images: [G, K], images of the data that rates come from.
    """
    return notion.sizes(images * min(1.0, memory / max(images.sum(), 1.0)))


def unit_of(notion: Notion, images: np.ndarray) -> np.ndarray:
    """The share of all images that the largest group of each rate's population is, [1, M, 1]; 1 where that is empty.

    Args:
        images: [G, K], images of the data that the loss is a mean over.
    """
    share = notion.sizes(images).max(axis=1) / max(images.sum(), 1.0)
    return np.where(share > 0, share, 1.0)[None, :, None]


def balancing(notion: Notion, images: np.ndarray) -> np.ndarray:
    """Multipliers at which, within each rate's population, every group has the same part in the Lagrangian.

    An image of the loss counts 1 / N, one of group g in rate m another mu[m, g] / n[m, g]; so

        mu[m, g] = (max over h of n[m, h] - n[m, g]) / N

    for the rates of right answers, which are those that a larger part in the loss raises; the others are 0.

    Args:
        images: [G, K], images of the data that the loss is a mean over.

    Returns:
        [2, M, G].
    """
    right = notion.right_answers
    size = notion.sizes(images)[right]
    result = np.zeros((2, len(notion.event), len(images)))
    result[0, right] = (size.max(axis=1, keepdims=True) - size) / images.sum()
    return result
