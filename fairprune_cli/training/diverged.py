"""A run whose numbers are no longer finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fairprune_cli.core.errors import ExitCode, FairpruneError


class NotFinite(ArithmeticError):
    """Something that a step computed is not finite; says what."""


class Diverged(FairpruneError):
    """The loss is no longer finite; the best state before is in the trainer's `best`."""


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
