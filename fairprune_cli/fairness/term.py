"""The Lagrangian's term of a batch, as what its soft events are multiplied by.

With S_g the surrogate rate of group g in the batch and S_all the one over all groups of the attribute:

    L_fair = sum of mu_low (s S_all - S_g) + mu_high (S_g - s S_all)

s decides about levelling down, since a gap also closes when the better groups get worse. s = 0 (the default) only
raises the groups that are behind. With levelling > 0, s = min(1, levelling / sum of mu) over the groups present: the
pull on the images as a whole stays below that share of the loss's own, so that the better groups are at least never
trained to be wrong. Against the whole there is no S_all, unless rates are relative to the dense model.

A rate is a mean of soft events, so the term is linear in them, and all but their values is known without the logits.
"""

from __future__ import annotations

import numpy as np

from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.notion import Notion

LEAST_PULL = 0.1


def term_of(
    mu: np.ndarray,
    notion: Notion,
    rows: GroupRows,
    levelling: float,
    matched: bool,
    labels: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray | None,
) -> np.ndarray:
    """What the soft event "k is predicted for image b" is multiplied by.

    Args:
        mu: [2, M, R], multipliers.
        levelling: largest share of the loss's own pull that may act against the images as a whole; 0 to infinity.
        matched: one surrogate serves both signs of a rate.
        labels: int [B]; groups: int [B, A], -1 for none; weights: [B], 1 each where None.

    Returns:
        float32 [S, B, K]: falling and rising coefficients; where matched, those of false alarms and before them those
        of the other rates, alone where there are no false alarms.
    """
    cells = rows.cells(labels, groups)
    falling, rising = _per_image(mu, notion, rows, levelling, notion.sizes(rows.images(cells, weights)))
    sides = _by_rate(falling + rising, notion) if matched else np.stack([falling, rising])
    table = np.zeros((len(sides), (rows.total + 1) * rows.classes, rows.classes))  # nothing for images in no group
    table[:, : rows.total * rows.classes] = notion.spread(sides).reshape(len(sides), -1, rows.classes)
    term = table[:, cells[:, 0]] if cells.shape[1] == 1 else table[:, cells].sum(axis=2)
    if weights is not None:
        term *= weights[:, None]
    return term.astype(np.float32, order="C")


def _by_rate(both: np.ndarray, notion: Notion) -> np.ndarray:
    """[S, M, R] from [M, R]: false alarms are a side of their own."""
    high = notion.false_alarms[:, None]
    return np.stack([np.where(high, 0.0, both), np.where(high, both, 0.0)]) if high.any() else both[None]


def _per_image(
    mu: np.ndarray, notion: Notion, rows: GroupRows, levelling: float, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What an image of weight 1 adds to the term per soft event, falling and rising, both [M, R]; size: [M, R]."""
    mu = np.where(size > 0, mu, 0.0)  # groups absent from the batch are left out
    low, high = mu / np.where(size > 0, size, 1.0)
    falling, rising = -low, high
    if levelling > 0:
        of_attribute = mu @ rows.attribute  # [2, M, A]
        share = np.minimum(1.0, levelling / np.maximum(of_attribute.sum(axis=(0, 1)), 1e-9))  # [A]
        everyone = size @ rows.attribute
        whole_low, whole_high = (share * of_attribute / np.where(everyone > 0, everyone, 1.0)) @ rows.attribute.T
        falling = falling - whole_high
        if notion.against != "whole" or notion.relative:
            rising = rising + whole_low
    return falling, rising


def lagrangian_part(
    mu: np.ndarray, notion: Notion, rows: GroupRows, levelling: float, labels: np.ndarray, groups: np.ndarray,
    sizes: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The part of an image of each stratum in the Lagrangian, relative to that of an image in the loss alone.

    An image adds 1 / N to the loss and, through each rate m of its group g whose population has its label,
    mu[m, g] / n[m, g] to the constraint's term. With levelling, S_all takes some of it off again.

    Args:
        mu: [2, M, R], multipliers.
        levelling: as in `term_of`.
        labels: int [C]; groups: int [C, A], -1 for none; sizes: [C], images in each stratum.

    Returns:
        [C]; at least 1 without levelling, below 0 where the image is trained to be wrong.
    """
    cells = rows.cells(labels, groups)
    population = notion.sizes(rows.images(cells, sizes))  # [M, R]
    each = mu.sum(axis=0) / np.maximum(population, 1.0)
    if levelling > 0:
        falling, rising = _per_image(mu, notion, rows, levelling, population)
        alone = _per_image(mu, notion, rows, 0.0, population)
        each = each - (alone[0] - falling) - (rising - alone[1])
    table = np.zeros((rows.total + 1, rows.classes))
    table[: rows.total] = each.T @ notion.members
    part: np.ndarray = 1.0 + sizes.sum() * table.reshape(-1)[cells].sum(axis=1)
    return part


def prior_shift(part: np.ndarray, labels: np.ndarray, sizes: np.ndarray, classes: int) -> np.ndarray:
    """log of how much more of each class the Lagrangian has than the data, float32 [K]; 0 for a class without images.

    A network that is trained on scores + shift has, in its scores, the classes' shares of the data, although the loss
    has others (logit adjustment, Menon et al., arXiv 2007.07314).

    Args:
        part: [C], as from `lagrangian_part`; labels, sizes: [C].
    """
    natural = np.bincount(labels, sizes, classes)
    mass = np.bincount(labels, sizes * np.maximum(part, LEAST_PULL), classes)
    there = natural > 0
    shift = np.zeros(classes, dtype=np.float32)
    shift[there] = np.log(mass[there] / natural[there] * (natural.sum() / mass.sum()))
    return shift


def pull_of(part: np.ndarray) -> np.ndarray:
    """How much more often than it occurs a stratum is wanted in a batch, up to a factor: the size of its part, [C].

    What hardly counts is still looked at now and then, or its rates and the network's statistics would not know it.
    """
    return np.maximum(np.abs(part), LEAST_PULL)
