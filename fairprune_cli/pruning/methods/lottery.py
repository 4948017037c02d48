"""Lottery ticket with rewinding (Frankle and Carbin, arXiv 1803.03635; Frankle et al., arXiv 1912.05671).

Iterative magnitude pruning in rounds: each removes the same share of what is left, by the trained weights'
magnitude, and puts the kept weights back to an early point of training. That point is the checkpoint the run
started from: what came before it is not known to the tool.
"""

from __future__ import annotations

from fairprune_cli.pruning import method
from fairprune_cli.pruning.methods import magnitude
from fairprune_cli.pruning.schedule import Plan

ALSO = ("lottery-ticket", "lth", "imp", "iterative-magnitude", "rewinding")


class Method(magnitude.Method):
    """Magnitude pruning in rounds; weights, batch norms and momentum go back after each, the learning rate restarts."""

    reads = ("rounds",)

    @classmethod
    def gradual(cls, options: method.MethodOptions) -> Plan:
        # The first prune falls on the trained checkpoint itself; half of the steps are left for the last ticket.
        return Plan(ramp=(0.0, 0.5), rounds=options.rounds, rewind=True)
