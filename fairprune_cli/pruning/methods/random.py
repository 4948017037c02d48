"""Random pruning, gradual, with fine-tuning; the floor that every other method has to clear."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fairprune_cli.pruning import method
from fairprune_cli.pruning.masks import Masks

ALSO = ("rand", "baseline")


class Method(method.Method):
    """Scores drawn once from the seed, uniform; random within each layer, so that none is emptied by chance."""

    reads = ("ramp_share",)
    scope = "layer"

    def __init__(self, masks: Masks, options: method.MethodOptions) -> None:
        super().__init__(masks, options)
        generator = torch.Generator().manual_seed(options.seed)
        self._scores = torch.rand(len(masks.keep), generator=generator).to(masks.keep.device)

    def scores(self, sparsity: float = 0.0) -> Tensor:
        return self._scores

    def state_dict(self) -> dict[str, Tensor]:
        return {"scores": self._scores}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._scores = state["scores"]
