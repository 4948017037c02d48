"""Multipliers: dual ascent on the exact violation, while the surrogate lends its gradient.

For attribute a, rate m and group g, with r the running exact rate and tau the tolerance:

    mu <- clip(mu + eta (reference - r - tau), 0, cap)               "too low"; "too high" with the signs turned

The reference is the best of the other groups. Where both directions are wrong (parity) there is a multiplier for each
ordered pair of groups instead, mu_hg <- clip(mu_hg + eta (r_h - r_g - tau), 0, cap); mu_low of g is its sum over h,
mu_high of h that over g, so that the term is the sum of mu_hg (S_h - S_g), the constraints' own gradient.

This is the proxy-Lagrangian scheme of Cotter et al. (arXiv 1809.04198), used for pruning by CEAG (arXiv
2310.20673): exact and soft violation travel together, and a multiplier never chases the relaxation. Inside the
tolerance multipliers fall, so a satisfied constraint costs nothing (the dead zone).
They live on the host: an adaptive sampler and the term's coefficients ask for them before every batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.notion import Notion


class Multipliers:
    """The multipliers of one notion for several attributes.

    Args:
        notion, rows: what is held equal, among which groups.
        rate: eta, step per update.
        cap: largest multiplier.
        tolerance: tau of each attribute, 0..1.
        decay: share of a multiplier that is lost at each update inside the tolerance, beside the dual step; 0..1.
        least: images in a rate's population below which it leaves its multiplier alone.
        dense: per attribute [G, K, K], the dense model's counts, for notions relative to it.
        data: per attribute [G, K], images of the data that rates come from; however often one is seen, it is one.

    Attributes:
        table: float64 [2, M, R], "too low" and "too high".
        of: views of it, one per attribute, [2, M, G].
        pairs: per attribute [M', G, G], those of ordered pairs (h, g) in the M' rates that may be wrong both ways.
    """

    def __init__(
        self, notion: Notion, rows: GroupRows, *, rate: float, cap: float, tolerance: Sequence[float], decay: float,
        least: float, dense: Sequence[np.ndarray] | None, data: Sequence[np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        self.notion, self.rate, self.cap, self.tolerance = notion, rate, cap, tolerance
        self.decay, self.least = decay, least
        self.table = np.zeros((2, len(notion.event), rows.total))
        self.of = rows.per_attribute(self.table, axis=2)
        self._two_sided = np.flatnonzero(notion.direction == 0)
        self.pairs = [np.zeros((len(self._two_sided), count, count)) for count in rows.counts]
        self.dense: Sequence[np.ndarray | None] = [None] * len(rows.counts)  # rates [M, G]
        self.dense_whole: Sequence[np.ndarray | None] = self.dense  # [M]
        if dense is not None:
            self.refer(dense)
        self.most = [np.inf if data is None else notion.sizes(data[a]) for a in range(len(rows.counts))]

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
            if len(self._two_sided) < mu.shape[1]:
                violation = self.notion.violation(
                    running, self.tolerance[a], self.dense[a], self.least, self.dense_whole[a], images
                )
                self._step(mu, violation)
            if len(self._two_sided):
                rate = self.notion.usable_rates(running, self.dense[a], self.least, images)[self._two_sided]
                self._step(pairs, rate[:, :, None] - rate[:, None, :] - self.tolerance[a])
                mu[0, self._two_sided], mu[1, self._two_sided] = pairs.sum(axis=1), pairs.sum(axis=2)

    def _step(self, mu: np.ndarray, violation: np.ndarray) -> None:
        """mu <- clip(mu + rate violation, 0, cap) in place."""
        step = np.where(np.isnan(violation), 0.0, violation)
        kept = np.where(step < 0, (1.0 - self.decay) * mu, mu) if self.decay else mu
        np.clip(kept + self.rate * step, 0.0, self.cap, out=mu)
