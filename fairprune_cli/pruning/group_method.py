"""What the methods that look at every group by itself have in common: importance per group, in rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.pruning import method
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.pruning.schedule import Plan


class GroupMethod(method.Method):
    """Importance (theta g)^2 of each unit for each group, g the gradient of that group's mean loss in a batch.

    Groups are the combinations of all attributes asked for; images without one are left out. What is pruned in a
    round stays pruned.
    """

    upper_gradient = True
    eval_gradient = True
    per_image = False  # I times the images of the group: the Fisher diagonal, whatever the size of the group

    def __init__(self, masks: Masks, options: method.MethodOptions) -> None:
        super().__init__(masks, options)
        self._combinations: list[list[int]] = []
        self._present: list[int] = []
        self._sums: dict[int, Tensor] = {}
        self._batches: dict[int, float] = {}
        self._right: dict[int, Tensor] = {}
        self._seen: dict[int, float] = {}

    @classmethod
    def gradual(cls, options: method.MethodOptions) -> Plan:
        return Plan(ramp=(0.0, options.ramp_share), rounds=options.rounds)

    def parts(self, groups: np.ndarray) -> Sequence[np.ndarray]:
        """One part per combination of groups in the batch."""
        rows = [tuple(row) for row in groups.tolist()]
        self._present, parts = [], []
        for combination in sorted({row for row in rows if min(row, default=0) >= 0}):
            if list(combination) not in self._combinations:
                self._combinations.append(list(combination))
            self._present.append(self._combinations.index(list(combination)))
            parts.append(np.asarray([i for i, row in enumerate(rows) if row == combination], dtype=np.int64))
        return parts

    def upper_step(self, part: int, logits: Tensor, labels: Tensor) -> None:
        group = self._present[part]
        squared = self.masks.saliency().square()
        if self.per_image:
            squared = squared * len(labels)
        right = (logits.argmax(1) == labels).sum()  # a number that is not read yet
        self._sums[group] = self._sums[group] + squared if group in self._sums else squared
        self._right[group] = self._right[group] + right if group in self._right else right
        self._batches[group] = self._batches.get(group, 0.0) + 1.0
        self._seen[group] = self._seen.get(group, 0.0) + len(labels)

    def take(self) -> tuple[Tensor, Tensor, Tensor]:
        """(importance [G, U], right [G], seen [G]) since the last time, which it then forgets.

        Groups keep their index; one without an image has importance 0. The last two are on the host.
        """
        groups = range(len(self._combinations))
        if not self._sums:
            raise FairpruneError(
                "none of the images looked at is in a group of every attribute", where="--attr",
                hint="name fewer attributes, or raise saliency_batches",
            )  # fmt: skip
        some = next(iter(self._sums.values()))
        zero = torch.zeros_like(some)
        none = torch.zeros((), dtype=torch.int64, device=some.device)
        importance = torch.stack([self._sums[g] / self._batches[g] if g in self._sums else zero for g in groups])
        right = torch.stack([self._right.get(g, none) for g in groups]).cpu().float()
        seen = torch.tensor([self._seen.get(g, 0.0) for g in groups])
        for store in (self._sums, self._batches, self._right, self._seen):
            store.clear()
        return importance, right, seen

    def only_kept(self, scores: Tensor) -> Tensor:
        """Scores with what is pruned already below everything else."""
        lowest = scores.min() - 1.0
        return torch.where(self.masks.keep, scores, lowest)

    def state_dict(self) -> dict[str, Tensor]:
        # Between rounds nothing is pending: a round measures and prunes within one step.
        return {"combinations": torch.tensor(self._combinations, dtype=torch.int64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._combinations = state["combinations"].tolist()
