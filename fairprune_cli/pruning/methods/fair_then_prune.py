"""Two stages: fair fine-tuning of the dense model, then gradual magnitude pruning without a constraint.

The second order of the two-stage baselines of Dai et al. (arXiv 2312.10181), section 5; each stage has half of the
steps and a learning rate schedule of its own.
"""

from __future__ import annotations

from fairprune_cli.pruning import method
from fairprune_cli.pruning.methods import magnitude
from fairprune_cli.pruning.schedule import Plan


class Method(magnitude.Method):
    """The constraint acts in the first half of the steps, the mask moves in the second."""

    reads = ("ramp_share",)
    constrained = True
    operating_point = "shifted"

    @classmethod
    def gradual(cls, options: method.MethodOptions) -> Plan:
        return Plan(ramp=(0.5, 0.5 + options.ramp_share / 2), fair=(0.0, 0.5), restarts=(0.5,))
