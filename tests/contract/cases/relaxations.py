"""The table of the literature: kappa and delta of each relaxation."""

from __future__ import annotations

import math

RELAXATIONS = {
    "linear": (lambda a: a, lambda a: a),
    "hinge": (lambda a: max(1 + a, 0.0), lambda a: min(a, 1.0)),
    "logistic": (lambda a: math.log(1 + math.exp(a)), lambda a: 1 - math.log(1 + math.exp(-a))),
    "squared": (lambda a: (1 + a) ** 2, lambda a: 1 - (1 - a) ** 2),
    "exponential": (math.exp, lambda a: 1 - math.exp(-a)),
    "sigmoid": (lambda a: 1 / (1 + math.exp(-a)), lambda a: 1 / (1 + math.exp(-a))),
}
