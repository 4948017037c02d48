"""One bias per class on top of the scores, fitted to images that the weights did not see, and free of groups.

Under multipliers a network is trained on a mixture in which rare strata of label x group count for more, and so it
learns that mixture's shares of the classes: the rarer class is then predicted too often for everybody. What the weights
have learnt of the groups stays; the shares are put right again by the biases b that minimise

    1/n sum of CE(scores + b) + 1/(2 n) sum of b_k^2

over the n images (logistic calibration of the bias alone, after Platt 1999 and Guo et al., arXiv 1706.04599, section
4.2). The second part, worth about one image, keeps b finite for a class without images. The whole is strictly convex,
so it has one minimum, and its b add up to 0. Folded into the last layer they cost nothing and need no group in use.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.models.inference import evaluating
from fairprune_cli.models.read_out import by_task, read_out_of
from fairprune_cli.training.last_layer import LastLayer

STEPS = 100
CLOSE = 1e-10  # of the gradient, in nats


def class_biases(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The biases b, float64 [K], by Newton's method with halved steps.

    Args:
        scores: float [n, K], logits; labels: int [n], 0..K-1; n >= 1.
    """
    count, classes = scores.shape
    at = np.zeros(classes)
    wanted = np.bincount(labels, minlength=classes) / count

    def value(b: np.ndarray) -> float:
        return float(-log_softmax(scores + b, axis=1)[np.arange(count), labels].mean() + b @ b / (2 * count))

    now = value(at)
    for _ in range(STEPS):
        shares = softmax(scores + at, axis=1)
        gradient = shares.mean(axis=0) - wanted + at / count
        if np.abs(gradient).max() < CLOSE:
            break
        curvature = np.diag(shares.mean(axis=0)) - shares.T @ shares / count + np.eye(classes) / count
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while value(at - length * step) > now - 1e-4 * length * float(gradient @ step) and length > 1e-6:
            length /= 2
        at = at - length * step
        now = value(at)
    return at


@torch.no_grad()
def set_operating_point(model: nn.Module, layers: Sequence[LastLayer], pool: Pool, batch_size: int) -> list[np.ndarray]:
    """Add the biases of each task to its last layer, in place; what was added, [K] of each task.

    Args:
        layers: as from `last_layers`, one per task, each with a bias.
        pool: images that the weights have not seen; taken as they are.
    """
    read_out = read_out_of(model)
    modules = dict(model.named_modules())
    parts: list[list[tuple[Tensor, Tensor]]] = [[] for _ in layers]
    with evaluating(model):
        for batch in pool.batches(batch_size, next(model.parameters()).device):
            for own, found in zip(parts, by_task(read_out, model(batch.images), batch.labels), strict=True):
                own.append(found)
    added = []
    for layer, own in zip(layers, parts, strict=True):
        scores, labels = (torch.cat(column).cpu().numpy() for column in zip(*own, strict=True))
        biases = class_biases(scores.astype(np.float64), labels)
        change = biases[1:] - biases[:1] if len(layer.rows) == 1 else biases
        bias = modules[layer.name].bias
        assert isinstance(bias, Tensor)
        rows = torch.tensor(layer.rows, device=bias.device)
        bias[rows] += torch.from_numpy(change).to(bias)
        added.append(biases)
    return added
