"""Group DRO: train for the group with the largest loss (Sagawa et al., arXiv 1911.08731, algorithm 1).

    q_g <- q_g exp(eta (L_g + C / sqrt(n_g))), normalised; the loss of a step is sum of q_g L_g

Batches have all groups in equal shares, as the algorithm draws groups uniformly. `dro_step` is eta,
`size_adjustment` C; `balance_over` says what groups are, `mask_score` what the mask goes by, as for balanced.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fairprune_cli.pruning import method
from fairprune_cli.pruning.group_weights import GroupWeights
from fairprune_cli.pruning.methods import bip, magnitude

ALSO = ("gdro", "dro", "distributionally-robust")


class _Robust(method.Method):
    """The weights of the groups, whatever the mask goes by."""

    balanced = True
    by_group = True
    _weights: GroupWeights

    def begin(self, sizes: Tensor) -> None:
        self._weights = GroupWeights(sizes, self.options.dro_step, self.options.size_adjustment)

    def group_weights(self, losses: Tensor, groups: Tensor) -> Tensor:
        return self._weights.of_images(losses, groups)

    def after_lower(self, losses: Tensor, groups: Tensor) -> None:
        self._weights.learn(losses, groups)

    def state_dict(self) -> dict[str, Tensor]:
        return {**super().state_dict(), "q": self._weights.q}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        self._weights.q.copy_(state["q"])


class OnMagnitude(_Robust, magnitude.Method):
    """On the magnitude mask."""


class Method(_Robust, bip.Method):
    """On the mask of bip."""

    reads = (*bip.Method.reads, "dro_step", "size_adjustment")
    on_magnitude = OnMagnitude
