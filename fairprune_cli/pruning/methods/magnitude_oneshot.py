"""Magnitude pruning at once, then fine-tuning (Han et al., arXiv 1506.02626, with one round)."""

from __future__ import annotations

from fairprune_cli.pruning import method
from fairprune_cli.pruning.methods import magnitude
from fairprune_cli.pruning.schedule import Plan

ALSO = ("one-shot", "oneshot", "magnitude-one-shot")


class Method(magnitude.Method):
    """The smallest weights go before the first step."""

    reads = ()

    @classmethod
    def gradual(cls, options: method.MethodOptions) -> Plan:
        return Plan(ramp=(0.0, 0.0), rounds=1)
