"""Two stages: gradual magnitude pruning without a constraint, then fair fine-tuning of the pruned model.

The first order of the two-stage baselines of Dai et al. (arXiv 2312.10181), section 5; each stage has half of the
steps and a learning rate schedule of its own.
"""

from __future__ import annotations

from fairprune_cli.pruning import method
from fairprune_cli.pruning.methods import magnitude
from fairprune_cli.pruning.schedule import Plan


class Method(magnitude.Method):
    """The mask moves in the first half of the steps, the constraint acts in the second."""

    reads = ("ramp_share",)
    constrained = True
    operating_point = "shifted"

    @classmethod
    def gradual(cls, options: method.MethodOptions) -> Plan:
        return Plan(ramp=(0.0, options.ramp_share / 2), fair=(0.5, 1.0), restarts=(0.5,))
