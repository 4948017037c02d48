"""Multipliers: dual ascent on the exact violation, while the surrogate lends its gradient.

For attribute a, rate m and group g, with r the running exact rate and tau the tolerance:

    mu <- clip(mu + eta (reference - r - tau), 0, cap)               "too low"; "too high" with the signs turned

The reference is the best of the other groups. Where both directions are wrong (parity) there is a multiplier for each
ordered pair of groups instead, mu_hg <- clip(mu_hg + eta (r_h - r_g - tau), 0, cap); mu_low of g is its sum over h,
mu_high of h that over g, so that the term is the sum of mu_hg (S_h - S_g), the constraints' own gradient.

This is the proxy-Lagrangian scheme of Cotter et al. (arXiv 1809.04198), used for pruning by CEAG (arXiv
2310.20673): exact and soft violation travel together, and a multiplier never chases the relaxation. Within tau to
both sides a multiplier is held (the dead zone), and it falls only where its group is ahead of all others by more than
that: what made groups equal is not taken away because they are. Or it falls wherever the constraint is met.
They live on the host: an adaptive sampler and the term's coefficients ask for them before every batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.notion import Notion, allowed_differences

UNIT = 0.1  # multiplier about which an exponentiated step turns from adding to multiplying


class Multipliers:
    """The multipliers of one notion for several attributes.

    Args:
        notion, rows: what is held equal, among which groups.
        rate: eta, step per update.
        cap: largest multiplier.
        tolerance: tau of each attribute, 0..1.
        decay: share of a multiplier that is lost at each update at which it falls, beside the dual step; 0..1.
        least: images in a rate's population below which it leaves its multiplier alone.
        dense: per attribute [G, K, K], the dense model's counts, for notions relative to it.
        data: per attribute [G, K], images of the data that rates come from; however often one is seen, it is one.
        exponentiated: mu + u is multiplied by exp(eta violation / u), u = 0.1; else eta violation is added.
        held: multipliers fall only where their group leads by more than tau, else wherever the constraint is met.
        errors: a difference is allowed to be as large as so many of its standard errors, where that is above tau.

    Attributes:
        table: float64 [2, M, R], "too low" and "too high".
        of: views of it, one per attribute, [2, M, G].
        pairs: per attribute [M', G, G], those of ordered pairs (h, g) in the M' rates that may be wrong both ways.
    """

    def __init__(
        self, notion: Notion, rows: GroupRows, *, rate: float, cap: float, tolerance: Sequence[float], decay: float,
        least: float, dense: Sequence[np.ndarray] | None, data: Sequence[np.ndarray] | None = None,
        exponentiated: bool = False, errors: float = 0.0, held: bool = False,
    ) -> None:  # fmt: skip
        self.notion, self.rate, self.cap, self.tolerance = notion, rate, cap, tolerance
        self.decay, self.least = decay, least
        self.exponentiated, self.errors, self.held = exponentiated, errors, held
        self.table = np.zeros((2, len(notion.event), rows.total))
        self.of = rows.per_attribute(self.table, axis=2)
        self._two_sided = np.flatnonzero(notion.direction == 0)
        self.pairs = [np.zeros((len(self._two_sided), count, count)) for count in rows.counts]
        self.dense: Sequence[np.ndarray | None] = [None] * len(rows.counts)  # rates [M, G]
        self.dense_whole: Sequence[np.ndarray | None] = self.dense  # [M]
        if dense is not None:
            self.refer(dense)
        self.most = [np.inf if data is None else notion.sizes(data[a]) for a in range(len(rows.counts))]

    def balance(self, images: Sequence[np.ndarray]) -> None:
        """Start where, within each rate's population, every group has the same part in the Lagrangian as the largest.

        An image of the loss counts 1 / N, one of group g in rate m another mu[m, g] / n[m, g]; so

            mu[m, g] = (max over h of n[m, h] - n[m, g]) / N

        for the rates of right answers, which are those that a larger part in the loss raises; the others start at 0.

        Args:
            images: per attribute [G, K], images of the data that the loss is a mean over.
        """
        wrong = ~np.eye(self.notion.event.shape[1], dtype=bool)
        right = (self.notion.direction > 0) & ~self.notion.event[:, wrong].any(axis=1)
        for mu, table in zip(self.of, images, strict=True):
            size = self.notion.sizes(table)[right]
            mu[0, right] = np.minimum((size.max(axis=1, keepdims=True) - size) / table.sum(), self.cap)

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
            mu, pairs = self.of[a], self.pairs[a]
            images = np.minimum(self.notion.sizes(running.sum(axis=2) if seen is None else seen[a]), self.most[a])
            errors = self._errors(running, images) if self.errors else None
            if len(self._two_sided) < mu.shape[1]:
                given = (running, self.tolerance[a], self.dense[a], self.least, self.dense_whole[a], images, errors)
                violation = self.notion.violation(*given)
                self._step(mu, violation, self.notion.violation(*given, leading=True) if self.held else violation)
            if len(self._two_sided):
                rate = self.notion.usable_rates(running, self.dense[a], self.least, images)[self._two_sided]
                allowed = allowed_differences(self.tolerance[a], None if errors is None else errors[self._two_sided])
                lead = rate[:, :, None] - rate[:, None, :]
                self._step(pairs, lead - allowed, lead + allowed if self.held else lead - allowed)
                mu[0, self._two_sided], mu[1, self._two_sided] = pairs.sum(axis=1), pairs.sum(axis=2)

    def _errors(self, running: np.ndarray, images: np.ndarray) -> np.ndarray:
        """`errors` standard errors of each rate, [M, G]; half an image more is right and half is wrong (never 0)."""
        hits = np.nan_to_num(self.notion.rates(running)[0]) * images + 0.5
        rate = hits / (images + 1.0)
        return self.errors * np.sqrt(rate * (1.0 - rate) / (images + 1.0))

    def _step(self, mu: np.ndarray, violation: np.ndarray, leading: np.ndarray) -> None:
        """The dual step, in place: up by the violation, down by what `leading` is below 0, held between the two."""
        step = np.nan_to_num(np.maximum(violation, 0.0)) + np.nan_to_num(np.minimum(leading, 0.0))
        kept = np.where(step < 0, (1.0 - self.decay) * mu, mu) if self.decay else mu
        if self.exponentiated:
            np.clip((kept + UNIT) * np.exp(self.rate * step / UNIT) - UNIT, 0.0, self.cap, out=mu)
            return
        np.clip(kept + self.rate * step, 0.0, self.cap, out=mu)
