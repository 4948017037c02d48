"""Faithfulness of a model to the dense one: whose predictions changed, which way, and who stands out among them.

A model can keep a group's accuracy and still answer other questions wrong than before: as many images lost as gained
leave no trace in it. Churn counts every prediction that changed (Kamal and Talbert, arXiv 2510.06125, call its
complement model agreement). The images that changed are the compression-identified exemplars of one pair of models
(Hooker et al., arXiv 1911.05248 and 2010.03058).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprune_cli.audit import intervals
from fairprune_cli.audit.estimates import Estimate
from fairprune_cli.audit.evidence import Evidence
from fairprune_cli.audit.exact_tests import Shift, holm, marginal_homogeneity, mcnemar
from fairprune_cli.audit.faithfulness_figures import (
    ChurnFigures,
    FaithfulnessFigures,
    PairedTestFigure,
    PartFigure,
    ShiftFigure,
)
from fairprune_cli.audit.figures import Judgement
from fairprune_cli.audit.metrics import worst_figure
from fairprune_cli.audit.outcomes import clopper_pearson, shared, shares_of
from fairprune_cli.audit.rates import Counts

NO_IMAGES = "no images"


def changed_predictions(moves: Counts) -> Counts:
    """Predictions that changed, [G]; moves: dense prediction x model's prediction, [G, K, K]."""
    changed: Counts = moves.sum((1, 2)) - np.trace(moves, axis1=1, axis2=2)
    return changed


def faithfulness_figures(
    moves: Counts, pairs: Counts, groups: Sequence[str], judgement: Judgement
) -> FaithfulnessFigures:
    """Churn, its parts and its tests for the groups of one attribute.

    Groups share no image, so the exact intervals of a share at the level 1 - (1 - alpha)^(1/G) hold for all G groups
    that have images at once (Sidak 1967), at the confidence 1 - alpha. Of the shares among the changed images, which
    depend on each other, each has alpha / G (Bonferroni). The p are adjusted over the groups by Holm.

    Args:
        moves: images by group, [dense prediction, model's prediction], [G, K, K].
        pairs: the same images, [dense right?, model right?], [G, 2, 2].
        groups: names, in the same order.
    """
    n, changed = pairs.sum((1, 2)), changed_predictions(moves)
    lost, gained = pairs[:, 1, 0], pairs[:, 0, 1]
    alpha, seen = 1 - judgement.confidence, max(int((n > 0).sum()), 1)
    level = shared(alpha, seen)
    shares = [_parts(k, n, level) for k in (changed, lost, gained, changed - lost - gained)]
    among, times = over_representation(changed, n, judgement.confidence)
    most = intervals.highest_rate(changed, n, *judgement.how)
    behind = Evidence("largest", (shares_of(changed, n),), tuple(groups), n, *judgement.how)
    return FaithfulnessFigures(
        {
            group: ChurnFigures(*figures)
            for group, *figures in zip(
                groups, *shares, _mcnemar(lost, gained, n), _shifts(moves, n), among, times,
                strict=True,
            )
        },
        worst_figure(most, behind),
    )  # fmt: skip


def _parts(k: Counts, n: Counts, level: float, why: str = NO_IMAGES) -> list[PartFigure]:
    return [
        PartFigure(part / of, low, high, images=part, n=of) if of else PartFigure(why=why)
        for part, of, low, high in zip(
            k.tolist(), n.tolist(), *(bound.tolist() for bound in clopper_pearson(k, n, level / 2)), strict=True
        )
    ]


def over_representation(changed: Counts, n: Counts, confidence: float) -> tuple[list[PartFigure], list[Estimate]]:
    """Each group's share of the images that changed, and how many times it is the group's share of all images.

    Args:
        changed, n: images that changed and all images by group, [G].
        confidence: of all groups' intervals together (exact, Bonferroni).
    """
    level = (1 - confidence) / max(int((n > 0).sum()), 1)
    among = _parts(changed, np.broadcast_to(changed.sum(), n.shape), level, "no prediction changed")
    return among, _representation(among, n)


def _representation(among: Sequence[PartFigure], n: Counts) -> list[Estimate]:
    """How many times a group's share of the changed images is its share of all images, which is taken as known."""
    found = []
    for part, size in zip(among, n.tolist(), strict=True):
        if part.value is None or part.low is None or part.high is None:
            found.append(Estimate(why=part.why))
        elif not size:
            found.append(Estimate(why=NO_IMAGES))
        else:
            times = float(n.sum()) / size
            found.append(Estimate(times * part.value, times * part.low, times * part.high))
    return found


def _mcnemar(lost: Counts, gained: Counts, n: Counts) -> list[PairedTestFigure]:
    p = mcnemar(lost, gained)
    adjusted = iter(holm(p[n > 0].tolist()))
    return [
        PairedTestFigure(one, next(adjusted)) if size else PairedTestFigure()
        for one, size in zip(p.tolist(), n, strict=True)
    ]


def _shifts(moves: Counts, n: Counts) -> list[ShiftFigure]:
    tests = [marginal_homogeneity(table) if size else None for table, size in zip(moves, n, strict=True)]
    adjusted = iter(holm([test.p for test in tests if test is not None]))
    return [ShiftFigure() if test is None else _shift(test, next(adjusted)) for test in tests]


def _shift(test: Shift, adjusted: float) -> ShiftFigure:
    return ShiftFigure(test.p, adjusted, test.statistic, test.df, test.exact)
