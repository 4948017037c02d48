"""Deep feature reweighting: the last layer is trained again on group-balanced data (Kirichenko et al., 2204.02937).

The network is pruned without a constraint, on the data as they are, by the mask that `mask_score` names. Then its last
linear layer is fitted anew to the features of upper images, which the weights have not seen, on balanced subsets of
them (`balance_over`, `dfr_penalty`, `dfr_c`, `dfr_subsets`). What is masked in that layer stays zero.
"""

from __future__ import annotations

from fairprune_cli.pruning.methods import bip, magnitude

ALSO = ("deep-feature-reweighting", "last-layer-retraining")


class OnMagnitude(magnitude.Method):
    """After gradual magnitude pruning."""

    retrains = True


class Method(bip.Method):
    """After bip."""

    reads = bip.Method.reads
    retrains = True
    on_magnitude = OnMagnitude
