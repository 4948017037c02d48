"""Where a pruning run stands."""

from __future__ import annotations

import enum

from fairprune_cli.pruning.schedule import Plan


class Phase(enum.Enum):
    """A run prunes, either gradually or in rounds; then its mask is fixed; then its budget is spent."""

    GRADUAL = "gradual"  # the mask moves every few steps, along a curve
    ROUNDS = "rounds"  # the mask waits for the next round
    FIXED = "fixed"  # the mask is final, channels are gone, and what is left is trained
    DONE = "done"  # nothing is left to train; averaged weights are in place

    @staticmethod
    def first(plan: Plan) -> Phase:
        """The phase in which a run with this plan begins."""
        return Phase.ROUNDS if plan.rounds else Phase.GRADUAL

    @property
    def prunes(self) -> bool:
        """Whether the mask may still move."""
        return self in (Phase.GRADUAL, Phase.ROUNDS)
