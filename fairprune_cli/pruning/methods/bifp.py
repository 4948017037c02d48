"""Bi-level fair pruning (Dai et al., arXiv 2312.10181): weights and mask under one fairness constraint.

The lower level trains the weights under the mask; the upper level moves the mask on data that the weights do not
see. Both descend the same Lagrangian, cross-entropy plus the constraint's term. g is its gradient with respect to
z = m * theta, at every entry, kept or not.

First order (the paper's): scores <- scores - beta (theta - m g / gamma) g, starting from the magnitudes (or, by
`score_init`, from uniform random numbers or |theta g| of the first upper batch, either at the magnitudes' scale).
Both gradient terms come out of one backward pass. beta is relative: a step moves the scores by `mask_lr` times their
root mean square, since theta g is many orders of magnitude smaller than theta.

Second order (the default): near the lower level's optimum g vanishes in the mean, and what is left of removing
entry i is 1/2 z_i^2 E[g_i^2], optimal brain damage (LeCun et al., 1989) with the Fisher diagonal. The estimate is
noisy, so it is averaged and damped:

    score_i = |theta_i| (EMA of g_i^2)^rho        weights
    score_c = rms(theta_c) (EMA of (sum over c of theta g)^2)^rho      channels
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.transfer import on_host
from fairprune_cli.pruning import method
from fairprune_cli.pruning.masks import Masks

ALSO = ("bi-level-fair-pruning", "bilevel-fair", "fair", "fairness")

PIECE = 1 << 20  # scores that a CPU computes at a time, so that they stay in its cache
LEAST = 1e-12  # of the mean squared gradient


class Method(method.Method):
    """Scores of either form of the mask step, fed by gradients of upper batches."""

    reads: tuple[str, ...] = ("mask_step", "score_init", "ramp_share", "rho", "ema", "gamma", "mask_lr")
    constrained = True
    upper_gradient = True
    eval_gradient = True
    operating_point = "shifted"
    target = "dense"

    def __init__(self, masks: Masks, options: method.MethodOptions) -> None:
        super().__init__(masks, options)
        self._scores = masks.magnitude()
        self._scale = _rms(self._scores)  # of the magnitudes at the start
        if options.score_init == "random":
            generator = torch.Generator().manual_seed(options.seed)
            drawn = torch.rand(len(self._scores), generator=generator).to(self._scores.device)
            self._scores = drawn * (self._scale / _rms(drawn))
        self._average = torch.zeros_like(self._scores)
        self._seen = 0

    def upper_step(self, part: int, logits: Tensor, labels: Tensor) -> None:
        self._seen += 1
        if self.options.score_init == "gradient" and self._seen == 1:
            saliency = self.masks.saliency().abs()
            self._scores = saliency * (self._scale / _rms(saliency).clamp_min(torch.finfo(saliency.dtype).tiny))
        if self.options.mask_step == "first-order":
            gradient = self.masks.first_order_gradient(self.options.gamma)
            scale = self._scale / _rms(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)
            self._scores -= self.options.mask_lr * scale * gradient
        else:
            self.masks.average_squared_gradient(self._average, self.options.ema)
            if not on_host(self._average):
                self._scores = self._scores[:0].clone()  # made anew at each move, when a GPU has room for them

    def scores(self, sparsity: float = 0.0) -> Tensor:
        if self.options.mask_step == "first-order" or not self._seen:
            return self._scores
        out = self._scores if len(self._scores) else None
        return damp(self.masks.magnitude(out=out), self._average, self.options.rho)

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "scale": self._scale, "scores": self._scores, "average": self._average,
            "seen": torch.tensor(self._seen),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._scale, self._scores, self._average = state["scale"], state["scores"], state["average"]
        self._seen = int(state["seen"])


def damp(magnitude: Tensor, squared_gradient: Tensor, rho: float) -> Tensor:
    """magnitude <- magnitude * squared_gradient^rho, in place; both [U].

    The squared gradients are taken relative to their mean and kept above a millionth of a millionth of it, so that
    a unit whose gradient vanishes (behind a dead ReLU) is ranked last and not at exactly zero. rho = 1/2 is optimal
    brain damage, rho = 0 is magnitude.
    """
    mean = squared_gradient.mean().clamp_min(torch.finfo(squared_gradient.dtype).tiny)
    if not on_host(magnitude):
        return magnitude.mul_((squared_gradient / mean).clamp_min_(LEAST).pow_(rho))
    scores, squares = magnitude.numpy(), squared_gradient.numpy()
    factors = torch.empty(min(PIECE, len(scores)), dtype=magnitude.dtype)
    least = np.full_like(factors.numpy(), LEAST)  # an array, as numpy is slow with a number here
    for start in range(0, len(scores), PIECE):
        score, square = scores[start : start + PIECE], squares[start : start + PIECE]
        factor = factors[: len(score)]
        relative = factor.numpy()
        np.maximum(np.divide(square, mean.numpy(), out=relative), least[: len(score)], out=relative)
        factor.pow_(rho)
        np.multiply(score, relative, out=score)
    return magnitude


def _rms(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()
