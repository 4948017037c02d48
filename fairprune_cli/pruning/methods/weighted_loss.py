"""Performance-weighted loss (Meyer and Wong, arXiv 2211.10285), with gradual magnitude pruning.

    w      = floor + (1 - floor) (1 - p_true(dense))^power       weight of an image
    target = the dense model's probabilities where it is right, else the label

Images that the dense model finds hard count more; it needs no groups. The dense model's outputs are computed once,
on the images as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fairprune_cli.pruning.methods import magnitude

ALSO = ("performance-weighted-loss", "pw")


class Method(magnitude.Method):
    """Magnitude pruning whose weight steps see the weighted loss."""

    reads = ("ramp_share", "weight_floor", "weight_power")
    teacher = True

    def image_loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        assert teacher is not None
        probabilities = teacher.softmax(1)
        # Compared, as `one_hot` scatters: where results must repeat, CUDA carries that out by many kernels.
        truth = (labels[:, None] == torch.arange(logits.shape[1], device=labels.device)).to(logits.dtype)
        right = (teacher.argmax(1) == labels)[:, None]
        target = torch.where(right, probabilities, truth)
        hardness = 1.0 - probabilities.gather(1, labels[:, None])[:, 0]
        weight = self.options.weight_floor + (1.0 - self.options.weight_floor) * hardness.pow(self.options.weight_power)
        return weight * F.cross_entropy(logits, target, reduction="none")
