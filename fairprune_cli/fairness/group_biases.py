"""Operating points of groups: one bias per class and group, fitted so that a gap closes at the fewest errors.

An image of group g with scores z is taken for the class with the largest z_k + b[g, k]. Of two classes only
b[g, 1] - b[g, 0] counts, minus the threshold that z_1 - z_0 has to exceed. Wanted are, over images that the weights
have not seen,

    min over b  errors    subject to    max over g of (r_g - s_g) - min over g of (r_g + s_g) <= max(tolerance, least)

for every rate r of the notion, `least` being what can be reached. s_g is what is left to chance, as the largest of
several differences is large by chance alone: none between two groups, and among G

    s_g = z sqrt(r (1 - r) / 2 n) at the common point,    z = Phi^-1(1 - 1 / 2 (G - 1))

by which, of G - 1 differences between equal rates, one goes further in at most every other case (between groups of one
size the allowance is z standard errors of the difference). For the odds of faces of five groups it keeps eleven points
of accuracy that would be spent on nothing (docs/method.md). Hardt, Price and Srebro 2016 ask for equal rates and draw
lots between two thresholds; here the decision is the same for the same image. With two classes every threshold between
two scores is a candidate, and the search is exact (window_search.py) for notions of one rate or two, which all listed
ones are; of more than MOST_CUTS thresholds those at even ranks are looked at. Otherwise it is a coordinate search
(bias_descent.py).

- Where the common point keeps the bound, nothing is moved, even if that would make fewer errors.
- A group with fewer than `least` images in a population of the notion keeps the common point, and does not count in the
  gap: one of a single label, for odds, or an empty one.
- Of choices with as many errors the one with the smallest biases is taken.
- Where the notion compares accuracies, no group may make more errors than at the common point: the gap would close by
  making the better group worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from fairprune_cli.fairness.bias_descent import BiasDescent, GroupScores
from fairprune_cli.fairness.notion import Notion
from fairprune_cli.fairness.window_search import EQUAL, EXACT_RATES, Candidates, cheapest_within, least_bound, range_of

MOST_CUTS = 2048  # of all groups together
_LEAST_CUTS = 16


@dataclass(frozen=True)
class FittingImages:
    """Images that biases are fitted on.

    Attributes:
        scores: float [n, K]; labels: int [n]; groups: int [n], -1 where in none.
        names: of the groups, G.
        dense: rates of the dense model [M, G] for a relative notion, else None.
    """

    scores: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    names: tuple[str, ...]
    dense: np.ndarray | None = None

    def of_group(self, g: int, notion: Notion) -> GroupScores:
        """The images of one group; the slack is s with z = 1."""
        at = self.groups == g
        dense = np.zeros(len(notion.event)) if self.dense is None else self.dense[:, g]
        group = GroupScores(self.scores[at].astype(float), self.labels[at], dense, np.zeros(len(notion.event)))
        counts = group.counts(np.zeros(self.scores.shape[1]))[None]
        hits, n = notion.hits(counts)[:, 0], notion.sizes(counts.sum(axis=2))[:, 0]
        rate = (hits + 1) / (n + 2)  # one of 0 or 1 among a few images is not known without error
        return replace(group, slack=np.sqrt(rate * (1 - rate) / np.maximum(n, 1) / 2))


@dataclass(frozen=True)
class GroupBiases:
    """What was fitted.

    Attributes:
        biases: float64 [G, K]; zeros are the common point.
        images: of each group, [G].
        too_small: groups that keep the common point because they have too few images.
        gap_before, gap: of the other groups on the fitting images, NaN where there are fewer than two.
        errors_before, errors: of all groups.
    """

    biases: np.ndarray
    images: np.ndarray
    too_small: tuple[int, ...]
    gap_before: float
    gap: float
    errors_before: int
    errors: int

    @property
    def moved(self) -> bool:
        """Whether any group has a point of its own."""
        return bool(self.biases.any())


def fitted_group_biases(images: FittingImages, notion: Notion, tolerance: float, least: int) -> GroupBiases:
    """Fit the biases.

    Args:
        notion: for as many classes as there are scores.
        tolerance: allowed gap, 0..1.
        least: fewest images of a group in each population of the notion.
    """
    classes = images.scores.shape[1]
    own = [images.of_group(g, notion) for g in range(len(images.names))]
    common = np.stack([one.counts(np.zeros(classes)) for one in own])
    large = large_groups(notion, common.sum(axis=2), least)
    biases = np.zeros((len(own), classes))
    if len(large) > 1:
        z = NormalDist().inv_cdf(1 - 1 / (2 * (len(large) - 1)))
        biases[large] = _fitted([replace(own[g], slack=z * own[g].slack) for g in large], notion, tolerance)
    after = np.stack([one.counts(bias) for one, bias in zip(own, biases, strict=True)])
    dense = None if images.dense is None else images.dense[:, large]
    before, now = (notion.exact(counts[large], dense) if len(large) > 1 else np.nan for counts in (common, after))
    small = tuple(int(g) for g in np.setdiff1d(np.arange(len(own)), large))
    return GroupBiases(biases, common.sum((1, 2)), small, before, now, _errors(common), _errors(after))


def large_groups(notion: Notion, images: np.ndarray, least: int) -> np.ndarray:
    """The groups with at least so many images in each population of the notion, by position; images: [G, K]."""
    return np.flatnonzero((notion.sizes(images) >= max(least, 1)).all(axis=0))


def _errors(counts: np.ndarray) -> int:
    return int(counts.sum() - np.trace(counts, axis1=1, axis2=2).sum())


def _fitted(groups: Sequence[GroupScores], notion: Notion, tolerance: float) -> np.ndarray:
    """Biases [G, K] of groups with enough images."""
    classes = groups[0].scores.shape[1]
    common = [
        Candidates(notion.rates(one.counts(np.zeros(classes))[None])[0] - one.dense[:, None], np.zeros(1), one.slack)
        for one in groups
    ]
    if range_of(common, [0] * len(common)) <= tolerance + EQUAL:
        return np.zeros((len(groups), classes))
    found = _by_thresholds(groups, notion, tolerance) if classes == 2 else None
    return BiasDescent(groups, notion, tolerance, notion.compares == "rates").search() if found is None else found


@dataclass(frozen=True)
class _Cuts:
    """A group's candidates: what is added to the second class's score [C], rates [M, C] and costs [C] there."""

    shifts: np.ndarray
    rates: np.ndarray
    costs: np.ndarray


def _by_thresholds(groups: Sequence[GroupScores], notion: Notion, tolerance: float) -> np.ndarray | None:
    """Biases [G, 2] of two classes; None where the notion has more rates than are searched exactly."""
    most = max(MOST_CUTS // len(groups), _LEAST_CUTS)
    cuts = [_cuts(one, notion, most, len(groups)) for one in groups]
    kept = _different([cut.rates for cut in cuts])
    if len(kept) > EXACT_RATES:
        return None
    candidates = [
        Candidates(cut.rates[kept], cut.costs, one.slack[kept]) for cut, one in zip(cuts, groups, strict=True)
    ]
    found = cheapest_within(candidates, tolerance)
    if found is None:
        common = [int(np.flatnonzero(cut.shifts == 0.0)[0]) for cut in cuts]
        found = cheapest_within(candidates, least_bound(candidates, range_of(candidates, common)))
        assert found is not None  # the least bound is one that is kept
    return np.array([[0.0, cut.shifts[c]] for cut, c in zip(cuts, found, strict=True)])


def _cuts(group: GroupScores, notion: Notion, most: int, groups: int) -> _Cuts:
    """The thresholds between a group's scores, beyond them and the common one; at each what is counted."""
    margins = group.scores[:, 1] - group.scores[:, 0]
    values, at = np.unique(margins, return_inverse=True)
    middles = (values[:-1] + values[1:]) / 2
    # From cut c on, values[c] and those above are taken for the second class.
    thresholds = np.concatenate([[values[0] - 1.0], np.where(middles < values[1:], middles, values[:-1]),
                                 [values[-1] + 1.0]])  # fmt: skip
    common = int(np.searchsorted(values, 0.0, "right"))
    thresholds[common] = 0.0
    kept = np.arange(len(thresholds))
    if len(kept) > most:
        ranks = np.linspace(0, len(kept) - 1, most).round().astype(int)
        kept = np.unique(np.append(ranks, common))
    labelled = np.zeros((2, len(values)))
    np.add.at(labelled, (group.labels, at), 1)
    below = np.concatenate([np.zeros((2, 1)), labelled.cumsum(axis=1)], axis=1)[:, kept]
    counts = np.stack([below, labelled.sum(axis=1)[:, None] - below], axis=2).transpose(1, 0, 2)  # [C, label, said]
    errors = counts[:, 0, 1] + counts[:, 1, 0]
    shifts = -thresholds[kept] + 0.0
    if notion.compares != "rates":
        fewer = errors <= errors[kept == common]
        counts, errors, shifts = counts[fewer], errors[fewer], shifts[fewer]
    rates = notion.rates(counts)[0] - group.dense[:, None]
    # Errors are whole numbers, and the shifts of all groups together are worth less than one.
    return _Cuts(shifts, rates, errors + np.abs(shifts) / (1.0 + np.abs(shifts)) / (2 * groups))


def _different(rates: Sequence[np.ndarray]) -> list[int]:
    """Which of the M rates differ: two whose sum or difference is constant have the same range."""
    table = np.concatenate(rates, axis=1)
    kept: list[int] = []
    for m, row in enumerate(table):
        if not any(np.ptp(row - table[k]) < 1e-9 or np.ptp(row + table[k]) < 1e-9 for k in kept):
            kept.append(m)
    return kept
