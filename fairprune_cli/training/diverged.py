"""A run whose numbers are no longer finite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from fairprune_cli.core.errors import ExitCode, FairpruneError

SCORES = "scores of the mask are not finite"


class NotFinite(ArithmeticError):
    """Something that a step computed is not finite; says what."""


class Diverged(FairpruneError):
    """The loss is no longer finite; the best state before is in the trainer's `best`."""


def refuse_not_finite(loss: float, objective: float, norm: float) -> None:
    """Raise NotFinite unless all three figures of a weight step are finite; `norm` is its gradient's."""
    if not all(map(math.isfinite, (loss, objective, norm))):
        raise NotFinite(f"the loss is {loss:.4g} and its gradient's norm {norm:.4g}")


@contextmanager
def refusing_divergence(step: int, steps: int) -> Iterator[None]:
    """A block that is part of step `step` (from 1) of `steps`; Diverged (exit code 3) names it."""
    try:
        yield
    except NotFinite as found:
        raise Diverged(
            f"the run diverged: {found} at step {step} of {steps}", hint="lower --lr, or raise --tolerance",
            code=ExitCode.RUNTIME,
        ) from found  # fmt: skip
