"""Bias amplification and threshold calibration bias, from counts of group x label x prediction.

Iofinova, Peste and Alistarh (CVPR 2023, arXiv 2304.12622) follow both through pruning: a model that runs out of
capacity leans on what goes together in the data, and gives the rarer class less often than it is there. y is the label,
y^ the prediction, a the group, all of one image:

    amplification  BA = P(a = g | y^ = 1) - P(a = g | y = 1)         g the group with the larger P(y = 1 | a)
    directional    BA-> = 1 / (G K) sum over a and t of s_at (P(y^ = t | a) - P(y = t | a))
                   s_at = 1 if P(a, y = t) > P(a) P(y = t), else -1
    threshold      TCB_a = P(y^ = r | a) - P(y = r | a), and the ratio of the two           r the rarer class

BA is that of Zhao et al. (2017, arXiv 1707.09457) as the code of Iofinova et al. computes it, for two groups and two
classes, of which the last is the positive one. BA-> is that of Wang and Russakovsky (2021, arXiv 2102.12594), attribute
to task, with a class as a task. The ratio is that code's measure of how a label's rarer value is predicted, here per
group. Above zero BA and BA-> exaggerate; below zero TCB means that the rarer class is predicted too rarely. The authors
take the directions (g, s and r) from the training labels, the audit from the labels that it sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from fairprune_cli.audit import intervals
from fairprune_cli.audit.estimates import Estimate
from fairprune_cli.audit.faithfulness_figures import BiasFigures, ThresholdFigure
from fairprune_cli.audit.figures import Judgement
from fairprune_cli.audit.outcomes import Array, Outcomes, shared
from fairprune_cli.audit.rates import Counts

# Where the groups' shares of the positive class differ by less, relative to the smaller, the authors define no BA.
LEAST_DIFFERENCE = 0.1


def bias_figures(counts: Counts, groups: Sequence[str], classes: Sequence[str], judgement: Judgement) -> BiasFigures:
    """Amplification and threshold calibration bias of one attribute of one model.

    Intervals take the labels' directions as known. Those of the groups' thresholds hold for all groups at once.

    Args:
        counts: [G, label, prediction].
    """
    amplification, towards = _amplification(counts, groups, classes, judgement)
    rare = _rarer(counts)
    return BiasFigures(
        amplification, towards, _directional(counts, judgement), classes[rare] if len(classes) == 2 else "",
        dict(zip(groups, _thresholds(counts, rare, judgement), strict=True)) if len(classes) == 2 else {},
    )  # fmt: skip


def _amplification(
    counts: Counts, groups: Sequence[str], classes: Sequence[str], judgement: Judgement
) -> tuple[Estimate, str]:
    if len(classes) != 2 or len(groups) != 2:
        return Estimate(why="it is defined for two classes and two groups"), ""
    labelled, predicted, n = counts[:, 1].sum(1), counts[:, :, 1].sum(1), counts.sum((1, 2))
    least = max(judgement.min_group, 1)
    for k, verb in ((labelled, "labelled"), (predicted, "predicted")):
        if k.sum() < least:
            return Estimate(why=f"fewer than {least} images are {verb} {classes[1]}"), ""
    if not n.all():
        return Estimate(why=f"{groups[int(n.argmin())]} has no images"), ""
    share = labelled / n
    if share.max() - share.min() < LEAST_DIFFERENCE * share.min():
        return Estimate(why=f"the groups' shares of {classes[1]} differ by less than a tenth"), ""
    g = int(share.argmax())
    value = float(predicted[g] / predicted.sum() - labelled[g] / labelled.sum())
    z = NormalDist().inv_cdf((1 + judgement.confidence) / 2)
    # z^2/4 images are added to either way in which the two can differ, as in Agresti and Min (2005).
    cells = counts + np.array([[0, 1], [1, 0]]) * z**2 / 4 / 2
    centre, deviation = _amplified(cells.astype(float), g)
    low, high = centre - z * deviation, centre + z * deviation
    return Estimate(value, max(min(low, value), -1.0), min(max(high, value), 1.0)), groups[g]


def _amplified(cells: Array, g: int) -> tuple[float, float]:
    """BA of cells [2, 2, 2] and its standard deviation by the delta method, the images being a random sample."""
    labelled, predicted = cells[:, 1].sum(1), cells[:, :, 1].sum(1)
    before, now = labelled[g] / labelled.sum(), predicted[g] / predicted.sum()
    of_g = (np.arange(2) == g)[:, None, None]
    positive, given = np.array([0, 1])[None, :, None], np.array([0, 1])[None, None, :]
    influence = given * (of_g - now) / predicted.sum() - positive * (of_g - before) / labelled.sum()
    return float(now - before), float(np.sqrt((cells * influence**2).sum()))


def _directional(counts: Counts, judgement: Judgement) -> Estimate:
    """The share of images whose prediction moved towards the group's classes, less of those that moved away."""
    least = max(judgement.min_group, 1)
    kept = counts[counts.sum((1, 2)) >= least]
    if len(kept) < 2:
        return Estimate(why=f"fewer than two groups have {least} images")
    labels = kept.sum(2)
    towards = labels * labels.sum() > labels.sum(1)[:, None] * labels.sum(0)  # [G, t]
    up = [table[~to][:, to].sum() for table, to in zip(kept, towards, strict=True)]
    down = [table[to][:, ~to].sum() for table, to in zip(kept, towards, strict=True)]
    moves = Outcomes(np.array(up, float), np.array(down, float), labels.sum(1).astype(float), True)
    scale = 2 / kept.shape[1] / len(kept)
    # The groups share no image, so the squares of what each may err by add up (MOVER, as in outcomes.py).
    below, above = (float(np.sqrt((side**2).sum())) for side in moves.reach((1 - judgement.confidence) / 2))
    value = float(moves.values.sum())
    return Estimate(scale * value, scale * (value - below), scale * (value + above))


def _rarer(counts: Counts) -> int:
    """Of two classes the one with fewer labels, the positive one where they are equal."""
    labels = counts.sum((0, 2))
    return int(labels[-1] <= labels[0])


def _thresholds(counts: Counts, rare: int, judgement: Judgement) -> list[ThresholdFigure]:
    """Of each group; the tables are of [labelled so?, predicted so?]."""
    tables = counts if rare == 1 else counts[:, ::-1, ::-1]
    level = shared(1 - judgement.confidence, max(int((tables.sum((1, 2)) > 0).sum()), 1))
    found = []
    for table, value, low, high in zip(tables, *intervals.changes(tables, 1 - level), strict=True):
        n, labelled, predicted = int(table.sum()), int(table[1].sum()), int(table[:, 1].sum())
        figure = Estimate(why="no images") if n == 0 else Estimate(float(value), float(low), float(high))
        found.append(
            ThresholdFigure(
                figure.value, figure.low, figure.high, figure.why, n, predicted, labelled,
                predicted / labelled if labelled else None, "" if labelled else "no image has that label",
            )
        )  # fmt: skip
    return found
