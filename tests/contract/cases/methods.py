"""Scores and selections of the methods, worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

from tests.contract.shapes import ByHand, Look, convolutions

# Half of six by size: unit 4, then units 1 and 5 of the same size.
MAGNITUDE = ByHand([1, 4, 5], [1.0, 2.0, 0.5, 1.0, 4.0, 2.0])

# theta g = 3 -3 1 .5 2 .1, so g = 3 1.5 2 .5 .5 .05 with the squares 9 2.25 4 .25 .25 .0025, 2.62542 in the mean.
# At rho = 1/2 a score is |theta| sqrt(g^2 / mean) = |theta g| / sqrt(mean); the memory cancels out.
_PRODUCTS = [3.0, -3.0, 1.0, 0.5, 2.0, 0.1]
BILEVEL = ByHand(
    [0, 1, 4], [abs(p) / math.sqrt(15.7525 / 6) for p in _PRODUCTS], looks=[Look([_PRODUCTS])], options={"rho": 0.5}
)

# Two batches; eq. 6 wants |theta dL/dtheta| of their mean loss, so they are added with their signs. The absolute values
# added up would be 6, 5.5, 2, 1, 5, 0.1 and would keep 0, 1 and 4.
SNIP = ByHand(
    [2, 3, 4], [0.0, 0.5, 2.0, 1.0, 1.0, 0.1],
    looks=[Look([[3.0, -3.0, 1.0, 0.5, 2.0, 0.0]]), Look([[-3.0, 2.5, 1.0, 0.5, -3.0, 0.1]])],
)  # fmt: skip

# First layer: |01| = 5, |02| = 10, |03| = 12, |12| = 5, |13| = sqrt(9 + 16 + 144) = 13, |23| = sqrt(244).
# Second layer: three on a line, 50 apart. 16 + 15 + 8 parameters: filter 1 of the first layer takes 4 + 3 along, then
# filter 1 of the second 3 + 1 + 2. Filter 0, all zeros, is the smallest of both layers and stays in both.
_FAR = math.sqrt(244.0)
FPGM = ByHand(
    [0, 2, 3, 4, 6], [27.0, 23.0, 15.0 + _FAR, 25.0 + _FAR, 150.0, 100.0, 150.0], 13 / 39, network=convolutions
)

# Importances 9 4 1 1 0 0 (15 in all) and 0 0 1 0 2.25 1 (4.25): group a has .779 of them, b .221.
#   kept      of a, b      share of a   behind   next
#   nothing    0  0                      a       0
#   0          9  0         1            b       4
#   0 4        9  2.25       .8          b       2, the lower of two with 1
# By the sum over groups it would be 0, 1 and 4.
FAIRGRAPE = ByHand([0, 2, 4], looks=[Look([[3.0, 2.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 1.5, 1.0]])])

# Group 1, with 1 of 4 right, is the unprivileged one: s = 1/2 (u - p / 2), u and p four times (the images of a group)
# the squares. Unit 0 is the second most important one of all, but it is the privileged group that needs it.
FAIRPRUNE = ByHand(
    [1, 3, 5], [-1.0, 1.0, -4.0, 0.5, -2.0, 7.0],
    looks=[Look([[3.0, 1.0, 2.0, 0.0, 2.0, 1.0], [2.0, 1.0, 0.0, 0.5, 1.0, 2.0]], [3, 1])], options={"beta": 0.5},
)  # fmt: skip

# The first six numbers of torch's generator at seed 0; what they choose is checked in tests/pruning/methods.
RANDOM = ByHand([0, 1, 5], [0.49626, 0.76822, 0.08848, 0.13203, 0.30742, 0.63408])

# The dense model says (.8, .2) twice: the first time rightly, so that it is the target, the second time not.
_EASY = (0.3 + 0.7 * 0.2) * -(0.8 * math.log(0.25) + 0.2 * math.log(0.75))
_HARD = (0.3 + 0.7 * 0.8) * -math.log(0.75)
WEIGHTED = ByHand(
    MAGNITUDE.kept, MAGNITUDE.scores, options={"weight_floor": 0.3, "weight_power": 1.0}, losses=[_EASY, _HARD]
)

# Mean losses 1.5 and 3; with C = 2 the groups of four and of one get 2 / 2 and 2 / 1 on top. At eta = log 2 the weights
# go up by 2^2.5 and 2^5, so the second group has 2^2.5 times the weight of the first. Their three images weigh three.
_SECOND = 2.0**2.5 / (1.0 + 2.0**2.5)
_FIRST = 1.0 - _SECOND
ROBUST = replace(
    BILEVEL, options={"rho": 0.5, "dro_step": math.log(2.0), "size_adjustment": 2.0},
    weights=[1.5 * _FIRST, 1.5 * _FIRST, 3.0 * _SECOND, 1.0],
)  # fmt: skip

METHODS = {
    "balanced": BILEVEL, "bifp": BILEVEL, "bip": BILEVEL, "ceag": MAGNITUDE, "constrained": MAGNITUDE,
    "dfr": BILEVEL, "fair-then-prune": MAGNITUDE, "fairgrape": FAIRGRAPE, "fairprune": FAIRPRUNE, "fpgm": FPGM,
    "group-dro": ROBUST, "lottery": MAGNITUDE, "magnitude": MAGNITUDE, "magnitude-oneshot": MAGNITUDE,
    "prune-then-fair": MAGNITUDE, "random": RANDOM, "snip": SNIP, "weighted-loss": WEIGHTED,
}  # fmt: skip
