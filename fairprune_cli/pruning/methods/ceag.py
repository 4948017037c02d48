"""CEAG: constraints on excess accuracy gaps (Hashemizadeh et al., arXiv 2310.20673, eq. 3-7).

    psi_g = (A_g dense - A_g) - (A dense - A) <= tolerance     for every group g
    L     = CE + sum of mu_g (CE_g - CE)                       cross-entropies stand in for accuracies
    mu_g <- max(0, mu_g + eta (psi_g - tolerance)), and 0 at once where psi_g is within the tolerance (dual restart)

Exact accuracies come from the images that the weights are trained on, remembered for each group by itself (replay
buffers). For more than two classes the cross-entropy in the constraint is that of the true class against its strongest
rival. Weights are pruned by magnitude along a cubic ramp. Its constraint is the excess loss against the dense
model, so it keeps the gap that the dense model has. Where another notion is asked for, it is that notion's rates that
are held equal, with the same multipliers and buffers.
"""

from __future__ import annotations

import math

from fairprune_cli.pruning import method
from fairprune_cli.pruning.methods import magnitude

ALSO = ("excess-accuracy-gap", "accuracy-gap")


class Method(magnitude.Method):
    """Magnitude pruning under CEAG's constraint; tolerance, eta and memory are the settings' own."""

    reads = ("ramp_share",)
    constrained = True
    dual = method.Dual(
        notion="degradation", against="whole", data="lower", relaxation="logistic", bound="matched", levelling=math.inf,
        start="zero", step="additive", fall="zero", unit="one", errors=0.0, cap=math.inf, decay=1.0, normalise=False,
        per_group=True,
    )  # fmt: skip
