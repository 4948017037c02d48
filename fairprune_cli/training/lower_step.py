"""The weight steps: SGD on the lower data, which leaves masked weights where they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fairprune_cli.models.strides import like
from fairprune_cli.pruning.channels.removal import take
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.training.diverged import NotFinite
from fairprune_cli.training.objective import Objective
from fairprune_cli.training.optimizer import sgd
from fairprune_cli.training.options import TrainOptions
from fairprune_cli.training.passes import Passes


class Taken(NamedTuple):
    """What came up in a weight step: logits [B, K], the mean loss, the norm of the gradient before it is clipped."""

    logits: Tensor
    loss: float
    norm: float


class LowerStep:
    """Takes weight steps, and has the optimiser, whose memory follows what happens to the parameters."""

    def __init__(
        self, model: nn.Module, masks: Masks, objective: Objective, compute: Passes, options: TrainOptions
    ) -> None:
        self.model, self.masks, self.objective, self.compute, self.options = model, masks, objective, compute, options
        self.forget()

    def forget(self) -> None:
        """Let the optimiser begin anew, with the parameters that the model has now."""
        self.optimizer = sgd(self.model, self.options.lr, self.options.momentum, self.options.weight_decay)

    def take(self, batch: Any, lr: float, fair: bool) -> Taken:
        """One step at the learning rate `lr`, with the fairness term where `fair`.

        Raises:
            NotFinite: loss or gradient are not; no weight has moved.
        """

        def gradient() -> tuple[Tensor, Tensor, Tensor]:
            done = self.compute.forward(self.model, batch.images, self.compute.ranks.counts(len(batch.labels)))
            loss = self.objective.lower(done.logits, batch)
            whole = self.objective.lagrangian(loss, done.logits, batch) if fair else loss
            self.optimizer.zero_grad(set_to_none=True)
            done.backward(whole)
            return done.logits, loss, whole

        for group in self.optimizer.param_groups:
            group["lr"] = lr
        logits, loss, whole = self.compute.fitting(len(batch.images), gradient)
        value = float(loss.detach())
        self.masks.mask_gradients()
        norm = self._clip()
        if not all(map(math.isfinite, (value, float(whole.detach()), norm))):
            raise NotFinite(f"the loss is {value:.4g} and its gradient's norm {norm:.4g}")
        self.optimizer.step()
        self.masks.hold(self.model)
        return Taken(logits, value, norm)

    def _clip(self) -> float:
        """Norm of the gradient before it is clipped; without need it is not multiplied by one."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        total = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        norm = float(total)
        if not norm <= self.options.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.options.clip_norm, total)
        return norm

    def harden(self) -> None:
        """Let what the final mask removes leave the model, and the optimiser keep what it remembers of the rest."""
        before = dict(self.model.named_parameters())
        indices = self.masks.harden(self.model)
        if not indices:
            return
        self.compute.changed()
        old = {name: self.optimizer.state.get(parameter, {}) for name, parameter in before.items()}
        self.forget()
        for name, parameter in self.model.named_parameters():
            for key, value in old[name].items():
                if isinstance(value, Tensor):
                    self.optimizer.state[parameter][key] = like(take(value, indices.get(name, {})), parameter)

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(dict(state))
        for parameter, known in self.optimizer.state.items():
            for key, value in known.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    known[key] = like(value, parameter)
