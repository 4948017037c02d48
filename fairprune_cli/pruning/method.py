"""What the training loop asks of a pruning method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fairprune_cli.models.options import GRANULARITIES
from fairprune_cli.pruning.masks import Masks
from fairprune_cli.pruning.options import MethodOptions
from fairprune_cli.pruning.schedule import Plan


@dataclass(frozen=True)
class Dual:
    """What a method prescribes about the constraint; None leaves it to the settings.

    Attributes:
        notion: as in `--notion`, unless one is asked for; against: as in `Notion`, of that notion.
        data: as `multiplier_data`.
        relaxation, bound: as in the settings.
        start, step, fall, unit, errors: as `multiplier_start`, `multiplier_step`, `multiplier_fall`, `multiplier_unit`,
            `tolerance_errors`.
        levelling, cap, decay, normalise, per_group: as in `Constraint`.
    """

    notion: str | None = None
    against: str | None = None
    data: str | None = None
    relaxation: str | None = None
    bound: str | None = None
    start: str | None = None
    step: str | None = None
    fall: str | None = None
    unit: str | None = None
    errors: float | None = None
    levelling: float | None = None
    cap: float | None = None
    decay: float | None = None
    normalise: bool = True
    per_group: bool = False

    def own_notion(self, method_notion: str) -> str | None:
        """The notion that the method prescribes, unless another one is asked for by the setting of that name."""
        return None if method_notion == "asked" else self.notion


# Settings of the constraint, by the name of what prescribes them in `Dual`; "" where nothing does.
CONSTRAINT = {
    "fairness_on": "", "tolerance": "", "target": "", "max_accuracy_loss": "", "tolerance_errors": "errors",
    "multiplier_start": "start", "multiplier_step": "step", "multiplier_fall": "fall", "multiplier_unit": "unit",
    "multiplier_rate": "", "multiplier_memory": "", "relaxation": "relaxation", "bound": "bound",
    "levelling": "levelling", "multiplier_cap": "cap", "multiplier_decay": "decay", "multiplier_data": "data",
}  # fmt: skip
RETRAINING = {"dfr_penalty", "dfr_c", "dfr_subsets"}  # settings of a last layer that is trained again


class Method:
    """Scores for the units of a mask; the training loop projects them onto the wanted sparsity.

    Class attributes:
        constrained: the method has a fairness constraint in its Lagrangian; not together with `parts`.
        dual: what it prescribes about that constraint.
        upper_gradient: it wants the gradient of an upper batch while the mask moves, or at each of its rounds.
        eval_gradient: that gradient is taken in eval mode, batch norms with their running statistics. In training mode
            a gradient also runs through the batch's own statistics, which is noise to a score, and means little
            for a part that holds one group only.
        scope: "global", or "layer" where scores of different layers cannot be compared.
        granularities: those it is defined for.
        teacher: it needs the dense model's outputs on the lower data.
        reads: settings that its code reads, of those that only some methods read (`by_method`); None where it does not
            say, and may read any.
        balanced: its lower batches hold all groups (or label x group, `balance_over`) in equal shares, and each image
            of them counts alike in the loss.
        by_group: its loss weighs the same groups, by `group_weights`.
        on_magnitude: the same method on the magnitude mask, which `mask_score` can ask for; None where it has one mask.
        retrains: at the end the last layer is trained again on balanced upper data.
        operating_point, target: as in the settings, where these leave it to the method.
    """

    constrained = False
    dual = Dual()
    upper_gradient = False
    eval_gradient = False
    scope = "global"
    granularities: tuple[str, ...] = GRANULARITIES
    teacher = False
    reads: tuple[str, ...] | None = None
    balanced = False
    by_group = False
    retrains = False
    operating_point = "as-trained"
    target = "absolute"
    on_magnitude: type[Method] | None = None

    def __init__(self, masks: Masks, options: MethodOptions) -> None:
        self.masks = masks
        self.options = options

    @classmethod
    def settings_read(cls) -> frozenset[str] | None:
        """Keys of the settings that only some methods read and this one does; None where it does not say.

        Beside those that its code reads they are the constraint's, where it has one and prescribes no other value.
        """
        if cls.reads is None or "reads" not in vars(cls):  # what a class is derived from does not speak for it
            return None
        own = set(cls.reads)
        if cls.upper_gradient and cls.gradual(MethodOptions()).rounds:
            own.add("saliency_batches")
        if cls.balanced or cls.by_group or cls.retrains:
            own.add("balance_over")
        if cls.on_magnitude is not None:
            own.add("mask_score")
        if cls.retrains:
            own |= RETRAINING
        if cls.constrained and cls.dual.notion is not None:
            own.add("method_notion")
        if cls.constrained:
            dual = vars(cls.dual)
            own |= {key for key, prescribed in CONSTRAINT.items() if dual.get(prescribed) is None}
        return frozenset(own)

    @classmethod
    def formed(cls, options: MethodOptions) -> type[Method]:
        """The class that these options make of it."""
        return cls.on_magnitude if cls.on_magnitude is not None and options.mask_score == "magnitude" else cls

    @classmethod
    def constrains(cls, fairness_on: str) -> bool:
        """Whether the constraint is part of what is minimised, given the setting of that name."""
        return cls.constrained and fairness_on != "none"

    @classmethod
    def fits_biases(cls, operating_point: str) -> bool:
        """Whether one bias per class is fitted at the end, given the setting of that name."""
        return cls._point(operating_point) in ("fitted", "both")

    @classmethod
    def shifts_scores(cls, operating_point: str) -> bool:
        """Whether scores are shifted while training, given the setting of that name."""
        return cls.constrained and cls._point(operating_point) in ("shifted", "both")

    @classmethod
    def to_dense(cls, target: str, compares: str) -> bool:
        """Whether a gap may be as large as the dense model's.

        Where it is left to the method, that is only what rates other than accuracies do: groups' accuracies come
        together when the weaker ones are given more of the loss, odds of groups that are not equally easy do not.

        Args:
            target: as in the settings; compares: as in `Notion`, no "losses".
        """
        if target == "method":
            return cls.target == "dense" and compares == "rates"
        return target == "dense"

    @classmethod
    def _point(cls, operating_point: str) -> str:
        return cls.operating_point if operating_point == "method" else operating_point

    @classmethod
    def own_budget(cls, options: MethodOptions, sparsity: float) -> Mapping[str, Any]:
        """Settings that the method decides itself where it is not to keep to the passes of all others."""
        return {}

    @classmethod
    def plan(cls, options: MethodOptions) -> Plan:
        """When the mask moves and the constraint acts; one shot prunes at the start of the ramp."""
        plan = cls.gradual(options)
        if options.schedule == "gradual":
            return plan
        return replace(plan, ramp=(plan.ramp[0], plan.ramp[0]), rounds=1)

    @classmethod
    def gradual(cls, options: MethodOptions) -> Plan:
        """The method's own schedule."""
        return Plan(ramp=(0.0, options.ramp_share))

    def parts(self, groups: np.ndarray) -> Sequence[np.ndarray]:
        """Positions of an upper batch, int64 [B_i] each, whose gradients are wanted one after the other.

        Args:
            groups: int64 [B, A], -1 for none.
        """
        return [np.arange(len(groups))]

    def upper_step(self, part: int, logits: Tensor, labels: Tensor) -> None:
        """Called after the backward pass of a part; the parameters' `grad` is with respect to z.

        Args:
            part: index in `parts`.
            logits: [B_i, K], labels: [B_i], of that part.
        """

    def scores(self, sparsity: float = 0.0) -> Tensor:
        """[U] scores; the largest are kept.

        Args:
            sparsity: that the scores are about to be projected onto; a method may leave what it would not keep
                anyway unsorted.
        """
        raise NotImplementedError

    def image_loss(self, logits: Tensor, labels: Tensor, teacher: Tensor | None) -> Tensor:
        """Loss of each image, [B].

        On a GPU the pass is recorded once and replayed, so it may depend on its arguments, on settings, and on tensors
        that stay where they are, but on nothing that the host computes anew, and it may read no number.

        Args:
            logits: [B, K]; labels: [B]; teacher: [B, K] logits of the dense model, for methods that ask for them.
        """
        return F.cross_entropy(logits, labels, reduction="none")

    def begin(self, sizes: Tensor) -> None:
        """Called before the first step where `by_group`; sizes: [G], lower images of each group."""

    def group_weights(self, losses: Tensor, groups: Tensor) -> Tensor:
        """What each image of a lower batch weighs in the mean of the losses, [B], where `by_group`.

        It keeps to what `image_loss` keeps to on a GPU, and changes nothing: that is for `after_lower`.

        Args:
            losses: [B], without a gradient; groups: int64 [B], -1 for images in none.
        """
        return torch.ones_like(losses)

    def after_lower(self, losses: Tensor, groups: Tensor) -> None:
        """Called after a lower step with what `group_weights` was given, where `by_group`."""

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state_dict` gave."""
