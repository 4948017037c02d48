"""What a constraint is told of its data before the first step: how many images there are, and how the dense model does.

The dense model's rates are counted as the pruned one's will be: on changed images, in batches of the same kind, with
the same statistics of batch norms. Otherwise a loss would be found that is the picture's, and not pruning's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from fairprune_cli.data.batches.batch import known_of
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.batches.sampler import EndlessBatches
from fairprune_cli.fairness.group_rows import GroupRows
from fairprune_cli.fairness.tally import exact_counts
from fairprune_cli.models.frozen import training_mode
from fairprune_cli.models.read_out import read_out_of


def images_in(pools: Sequence[Pool], rows: GroupRows, task: int, weights: np.ndarray | None = None) -> list[np.ndarray]:
    """Images of each group and label of a task in all of the pools, [G, K] by attribute.

    Args:
        weights: [n], what an image counts; 1 each where None.
    """
    table = np.zeros((rows.total, rows.classes))
    for pool in pools:
        labels = pool.labels if pool.labels.ndim == 1 else pool.labels[:, task]
        table += rows.images(rows.cells(labels, pool.groups), weights)
    return rows.per_attribute(table)


def dense_counts(
    dense: nn.Module, drawn: Sequence[EndlessBatches], rows: Sequence[GroupRows], evaluated: bool
) -> tuple[list[list[np.ndarray]], int]:
    """Group x label x prediction of the dense model, [G, K, K] by attribute, of each task.

    Args:
        drawn: batches as the rates will come from; as many of each are taken as hold its images once.
        rows: of each task.
        evaluated: batch norms go by their running statistics; else by those of the batch. The model stays as it is.

    Returns:
        The counts, and the number of batches.
    """
    read_out = read_out_of(dense)
    columns = [slice(None)] if read_out is None or read_out.plain else read_out.columns
    counts = [np.zeros((own.total, own.classes, own.classes)) for own in rows]
    network, batches = copy.deepcopy(dense), 0
    (nn.Module.eval if evaluated else training_mode)(network)
    for sampler in drawn:
        sampler.divide(lambda count: slice(0, count))  # each of several processes counts all of them
        for _ in range(math.ceil(len(sampler.pool) / sampler.size)):
            batch = sampler.next()
            known, batches = known_of(batch), batches + 1
            with torch.no_grad():
                table = network(batch.images).float().cpu().numpy()
            labels = known.labels.reshape(len(table), -1).T
            for own, place, label, total in zip(rows, columns, labels, counts, strict=True):
                total += exact_counts(own, table[:, place], own.cells(label, known.groups), known.weights)
    return [own.per_attribute(total) for own, total in zip(rows, counts, strict=True)], batches
