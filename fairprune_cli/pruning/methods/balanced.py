"""Group-balanced batches and the plain loss, without any constraint (Idrissi et al., arXiv 2110.14503, "RWG").

A batch has as many images of each group, and each image counts alike: the plainest way there is to let no group fall
behind. `balance_over` says whether groups are those of the attributes or of label x attributes, `mask_score` what the
mask goes by: the second-order score of bifp (as `mask_step` has it), or the weights' magnitude.
"""

from __future__ import annotations

from fairprune_cli.pruning.methods import bip, magnitude

ALSO = ("group-balanced", "rwg", "resampling")


class OnMagnitude(magnitude.Method):
    """On the magnitude mask."""

    balanced = True


class Method(bip.Method):
    """On the mask of bip."""

    reads = bip.Method.reads
    balanced = True
    on_magnitude = OnMagnitude
