"""Whether a model is better than the same answer to every image, from its confusion counts alone.

Labels are taken as they are. A model whose predictions do not depend on them is then right on sum_k n_k q_k / n of the
images on average, q_k being how often it says k, which is never more than the share of the most common class; and how
often it is right varies less than a binomial count of that mean (Hoeffding 1956, theorem 4). So the exact lower bound
of a binomial rate (Clopper and Pearson 1934) exceeds that share by chance in at most (1 - confidence) / 2 of all
audits. To pair the model with the constant answer (McNemar) would take the share for a random one, too, and lose power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from fairprune_cli.audit.class_order import better_order
from fairprune_cli.audit.doubt import Cause, ConstantAnswer
from fairprune_cli.audit.intervals import share_interval
from fairprune_cli.audit.rates import Counts


def against_constant_answer(counts: Counts, classes: Sequence[str], confidence: float) -> ConstantAnswer | None:
    """The model held against always answering the most common class.

    Args:
        counts: int64 [K, K], label x prediction.
        classes: K names.
        confidence: of the two-sided interval, 0 to 1.

    Returns:
        None without images.
    """
    labels = counts.sum(1)
    n, correct, most = int(labels.sum()), int(np.trace(counts)), int(labels.argmax())
    if n == 0:
        return None
    share = float(labels[most] / n)
    low, high = map(float, share_interval(correct, n, confidence))
    there = labels > 0
    recalls = np.diagonal(counts)[there] / labels[there]
    return ConstantAnswer(
        classes[most], share, correct / n, low, high, n, int(there.sum()), float(recalls.mean()),
        _tells_apart(counts, confidence), tuple(classes[k] for k in better_order(counts, classes, confidence)),
    )  # fmt: skip


def better(found: ConstantAnswer, point_estimate: bool) -> bool:
    """Whether the model is better, by its interval or, where asked for, by the bare figure."""
    return found.better or (point_estimate and found.accuracy > found.share and not found.fits_better)


def in_short(found: ConstantAnswer, subject: str) -> str:
    """That the model is not better, as a clause; subject: the model, in words."""
    if found.present == 1:
        return f"every image is {found.answer}, so that {subject} cannot be better than always answering it"
    if found.low > found.share:
        return f"the outputs of {subject} fit the classes better in another order: {', '.join(found.fits_better)}"
    return f"{subject} is not better than always answering {found.answer} ({100 * found.share:.1f} %)"


def in_full(found: ConstantAnswer, subject: str) -> str:
    """The same with its figures, what it may mean, and what would mend it, in sentences."""
    span = f"{100 * found.accuracy:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    texts = [f"{in_short(found, subject)}: it is right on {span} of {found.n:,} images"]
    if found.present == 1:
        return f"{texts[0]}. Audit images of other classes, too"
    if found.accuracy > found.share >= found.low:
        texts[0] += ", which are too few to show it"
    elif found.tells_apart and found.accuracy <= found.share:
        texts.append(
            f"It does tell the classes apart: each is recognised in {100 * found.balanced:.1f} % on average, against "
            f"{100 / found.present:.1f} % by chance; the data hold so much of {found.answer} that accuracy does not "
            "show it"
        )
    texts += [_told(cause) for cause in found.causes]
    if found.tried and not found.causes:
        texts.append(
            f"None of {found.tried} other ways to read images and classes makes it better on {found.tried_on} images: "
            "check the labels, and that it was trained for this task"
        )
    return ". ".join(texts)


def _told(cause: Cause) -> str:
    change = f"{cause.change[:1].upper()}{cause.change[1:]}"
    return f"{change} it would be {100 * cause.accuracy:.1f} % (on {cause.n:,} images): {cause.mend}"


def _tells_apart(counts: Counts, confidence: float) -> bool:
    """Whether the mean of the classes' recalls is above what predictions give that are shuffled among the images.

    Normal approximation with the exact mean and variance of a linear permutation statistic (Hoeffding 1951).
    """
    labels, predictions, n = counts.sum(1).astype(float), counts.sum(0).astype(float), float(counts.sum())
    weights = np.divide(1.0, labels, out=np.zeros_like(labels), where=labels > 0)
    score = np.diag(weights)
    rows, columns = weights * predictions / n, weights * labels / n
    mean = float((labels * rows).sum() / n)
    centred = score - rows[:, None] - columns[None, :] + mean
    variance = float((labels[:, None] * predictions[None, :] * centred**2).sum()) / max(n - 1, 1)
    found = float((np.diagonal(counts) * weights).sum()) - n * mean
    return found > NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance) > 0
