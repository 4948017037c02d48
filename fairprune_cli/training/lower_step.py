"""The weight steps: SGD on the lower data, which leaves masked weights where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fairprune_cli.core.transfer import on_host
from fairprune_cli.data.batches.batch import Known
from fairprune_cli.models.strides import like, refuse_other_strides
from fairprune_cli.pruning.channels.removal import take
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.training.diverged import refuse_not_finite
from fairprune_cli.training.objective import Answers, Objective, Terms, weights_of
from fairprune_cli.training.optimizer import sgd
from fairprune_cli.training.options import TrainOptions
from fairprune_cli.training.passes import Passes


class Taken(NamedTuple):
    """What came up in a weight step, on its device."""

    logits: Tensor  # [B, K]
    figures: Tensor  # [3]: the mean loss, the objective, and the norm of the gradient before it is clipped


class LowerStep:
    """Takes weight steps, and has the optimiser, whose memory follows what happens to the parameters."""

    def __init__(
        self, model: nn.Module, masks: Masks, objective: Objective, compute: Passes, options: TrainOptions
    ) -> None:
        self.model, self.masks, self.objective, self.compute, self.options = model, masks, objective, compute, options
        self._passes = compute.captured(model, self._gradient)
        self.forget()

    def forget(self) -> None:
        """Let the optimiser begin anew, with the parameters that the model has now."""
        self._parameters = list(self.model.parameters())
        self.optimizer = sgd(self.model, self.options.lr, self.options.momentum, self.options.weight_decay)

    def take(self, batch: Any, known: Known, lr: float, fair: bool) -> Taken:
        """One step at the learning rate `lr`, with the fairness term where `fair`.

        No weight moves where loss or gradient are not finite; on an accelerator nobody knows yet, and the figures tell.

        Raises:
            NotFinite: on the CPU, loss or gradient are not.
        """
        terms = self.objective.terms(known, batch.labels.device) if fair else None
        dense = self._dense_logits(batch)
        logits, losses = self.compute.fitting(
            len(batch.images),
            lambda: self._passes(
                batch.images, batch.labels, batch.rows, weights_of(batch), dense, *(terms or (None, None, None))
            ),
        )
        self.objective.learn(logits, Answers(batch.labels, batch.rows, None, dense))
        self.masks.mask_gradients()
        parameters = [p for p in self._parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        figures = torch.cat([losses, norm[None].to(losses.dtype)])
        self._clip(parameters, figures, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.masks.hold(self.model)
        return Taken(logits, figures)

    def _dense_logits(self, batch: Any) -> Tensor | None:
        """The dense model's logits on the pictures that the student is about to see, [B, W]; None where nobody asks."""
        dense = self.objective.dense
        if dense is None or not self.objective.distill:
            return None
        counts = self.compute.ranks.counts(len(batch.labels))
        return self.compute.fitting(len(batch.images), lambda: self.compute.of_another(dense, batch.images, counts))

    def _gradient(
        self, images: Tensor, labels: Tensor, rows: Tensor, weights: Tensor | None, dense: Tensor | None,
        term: Tensor | None, scale: Tensor | None, shift: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Leave the objective's gradient in the parameters; logits [B, K], and loss and objective, [2]."""
        done = self.compute.forward(self.model, images, self.compute.ranks.counts(len(labels)))
        loss = self.objective.lower(done.logits, Answers(labels, rows, weights, dense), shift)
        terms = None if term is None or scale is None else Terms(term, scale, shift)
        whole = self.objective.lagrangian(loss, done.logits, terms)
        self.model.zero_grad(set_to_none=True)
        done.backward(whole)
        return done.logits.detach(), torch.stack([loss.detach(), whole.detach()])

    def _clip(self, parameters: Sequence[nn.Parameter], figures: Tensor, norm: Tensor) -> None:
        """Bound the gradient's norm, and let the optimiser leave the weights where a figure is not finite."""
        most = self.options.clip_norm
        if on_host(figures) or figures.device.type == "mps":  # whose fused SGD takes neither of what is handed on below
            known = figures if figures.device.type == "cpu" else figures.cpu()
            loss, objective, length = known.numpy().tolist()
            refuse_not_finite(loss, objective, length)
            if not length <= most:  # without need nothing is multiplied by one
                torch.nn.utils.clip_grads_with_norm_(parameters, most, norm)
            return
        # The optimiser's kernels divide the gradient by the one, and do nothing where the other is 1.
        bad = (figures * 0.0).sum() != 0.0  # zero times what is not finite is not a number
        vars(self.optimizer).update(grad_scale=(norm / most).clamp_min(1.0), found_inf=bad.to(torch.float32))

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
        refuse_other_strides(self.model, self.optimizer.state)

    def state_dict(self) -> dict[str, Any]:
        """The optimiser's."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(dict(state))
        for parameter, known in self.optimizer.state.items():
            for key, value in known.items():
                if value is None:
                    continue
                if not isinstance(value, Tensor) or value.shape != parameter.shape:
                    raise ValueError(f"the optimizer's {key} does not fit its parameter")
                known[key] = like(value, parameter)
        refuse_other_strides(self.model, self.optimizer.state)
