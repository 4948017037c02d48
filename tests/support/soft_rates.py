"""The Lagrangian's term by its definition: a loop over attributes, rates, groups and classes, with masks of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.fairness.notion import Notion
from fairprune_cli.fairness.relaxations import Relaxation, Surrogate


def margins_by_definition(logits: Tensor) -> Tensor:
    """z_k - max over j != k of z_j, [B, K]."""
    others = [[j for j in range(logits.shape[1]) if j != k] for k in range(logits.shape[1])]
    return torch.stack([logits[:, k] - logits[:, rest].max(1).values for k, rest in enumerate(others)], dim=1)


def lagrangian_by_definition(
    notion: Notion, relaxation: Relaxation, bound: str, levelling: float, multipliers: Sequence[np.ndarray],
    logits: Tensor, labels: np.ndarray, groups: np.ndarray, weights: np.ndarray | None,
) -> Tensor:  # fmt: skip
    """Sum of mu_low (s S_all - S_g) + mu_high (S_g - s S_all) over all attributes; see fairness/term.py."""
    each = torch.ones(len(labels)) if weights is None else torch.tensor(weights)
    margins = margins_by_definition(logits)

    def rate(indicator: Surrogate, m: int, among: np.ndarray) -> Tensor:
        """Surrogate rate m of the images of the mask `among`."""
        inside = torch.tensor(among & notion.population[m, labels])
        soft = torch.where(torch.tensor(notion.event[m, labels]), indicator(margins), 0.0).sum(1)
        return (each * soft)[inside].sum() / each[inside].sum()

    total = torch.zeros((), dtype=logits.dtype)
    for a, (too_low, too_high) in enumerate(multipliers):
        grouped = groups[:, a] >= 0
        present = [
            (m, g) for m, g in np.ndindex(too_low.shape) if (notion.population[m, labels] & (groups[:, a] == g)).any()
        ]
        acting = sum(too_low[at] + too_high[at] for at in present)
        share = 0.0 if not levelling else min(1.0, levelling / max(acting, 1e-9))
        for m, g in present:
            alarm = bound == "matched" and notion.direction[m] < 0
            upwards = relaxation.kappa if bound == "upper" or alarm else relaxation.delta  # of terms with a plus
            downwards = relaxation.kappa if bound == "lower" or alarm else relaxation.delta
            own = groups[:, a] == g
            has_reference = notion.against != "whole" or notion.relative
            if has_reference:
                total = total + too_low[m, g] * share * rate(upwards, m, grouped)
            total = total - too_low[m, g] * rate(downwards, m, own)
            total = total + too_high[m, g] * (rate(upwards, m, own) - share * rate(downwards, m, grouped))
    return total
