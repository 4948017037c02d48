"""Weights of groups that follow their losses: group DRO (Sagawa et al., arXiv 1911.08731, algorithm 1).

    q_g <- q_g exp(eta (L_g + C / sqrt(n_g))), normalised          of the groups that are in the batch
    L    = sum of q_g L_g                                          with the new q

L_g is the mean loss of the group's images in a batch. C / sqrt(n_g), the size adjustment, makes up for what is fitted
by heart of small groups. A batch has as many images of each group, as the algorithm draws groups uniformly.
"""

from __future__ import annotations

import torch
from torch import Tensor


class GroupWeights:
    """The distribution q over groups.

    Args:
        sizes: [G], images of each group.
        step: eta, from 0.
        adjustment: C, from 0.

    Attributes:
        q: float32 [G], adding up to 1; it keeps its storage.
    """

    def __init__(self, sizes: Tensor, step: float, adjustment: float) -> None:
        self.step = step
        self._adjustment = adjustment / sizes.float().sqrt()
        self.q = torch.full_like(self._adjustment, 1.0 / max(len(sizes), 1))

    def of_images(self, losses: Tensor, groups: Tensor) -> Tensor:
        """What each image weighs in the mean of a batch, [B], for that to be the sum of q_g L_g with the new q.

        Images in no group weigh 1, and the others as much as before all together.

        Args:
            losses: [B]; groups: int64 [B], -1 for none.
        """
        member, counts = self._members(losses, groups)
        each = self._moved(losses, member, counts) / counts.clamp_min(1.0)
        inside = member.sum(1)
        return (member * each).sum(1) * inside.sum() + (1.0 - inside)

    def learn(self, losses: Tensor, groups: Tensor) -> None:
        """Take a step; arguments as in `of_images`."""
        self.q.copy_(self._moved(losses, *self._members(losses, groups)))

    def _members(self, losses: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Whether an image is in a group, [B, G] of zeros and ones, and the images of each group, [G]."""
        # Compared, as `one_hot` scatters: where results must repeat, CUDA carries that out by many kernels.
        member = (groups[:, None] == torch.arange(len(self.q), device=groups.device)).to(losses.dtype)
        return member, member.sum(0)

    def _moved(self, losses: Tensor, member: Tensor, counts: Tensor) -> Tensor:
        """The new q, [G]."""
        mean = (member * losses[:, None]).sum(0) / counts.clamp_min(1.0)
        moved = self.q * (self.step * (mean + self._adjustment)).exp()
        moved = torch.where(counts > 0, moved, self.q)  # of a group that is not in the batch nothing is known
        return moved / moved.sum()
