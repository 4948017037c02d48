"""Fine-tuning under the multipliers on the magnitude mask: bifp's lower level alone.

The constraint acts from the first step to the last, and the mask is that of gradual magnitude pruning (Zhu & Gupta,
arXiv 1710.01878): what the multipliers are worth without the bi-level mask.
"""

from __future__ import annotations

from fairprune_cli.pruning.methods import magnitude


class Method(magnitude.Method):
    """Magnitude pruning whose weight steps descend the Lagrangian."""

    reads = ("ramp_share",)
    constrained = True
    operating_point = "shifted"
