"""Logistic regression on group-balanced subsets (Kirichenko et al., arXiv 2204.02937, "DFR"), on the host.

    minimise  sum of CE(scores) C + ||W||_1   (or 1/2 ||W||^2)          scores = W x, x with a 1 for the intercept

as the authors have it: features are scaled to mean 0 and variance 1, every subset has as many images of each group as
the smallest group has, C is the one whose worst group is best on a half that was held out, and the weights of the fits
on several random subsets are averaged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from fairprune_cli.pruning.options import MethodOptions

STRENGTHS = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)  # of C, as in the paper's grid


@dataclass(frozen=True)
class LabelledFeatures:
    """What is learnt from.

    Attributes:
        features: float64 [n, F]; labels: int [n]; groups: int [n], -1 for images in none, which are left out.
        allowed: bool [R, F], False where a weight stays 0.
        intercept: whether there is one.
    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    allowed: np.ndarray
    intercept: bool = True

    @property
    def single(self) -> bool:
        """One row is the score of the second of two classes; else there is a row per class."""
        return len(self.allowed) == 1

    def at(self, chosen: np.ndarray) -> LabelledFeatures:
        """Some of them."""
        return replace(self, features=self.features[chosen], labels=self.labels[chosen], groups=self.groups[chosen])


def retrained(examples: LabelledFeatures, options: MethodOptions) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights [R, F] and intercepts [R] for features as they are, and C.

    Everything random comes from `seed`.
    """
    rng = np.random.default_rng(options.seed)
    known = examples.at(np.flatnonzero(examples.groups >= 0))
    center, scale = scaling(known.features, examples.intercept)
    strength = options.dfr_c or chosen_strength(known, options.dfr_penalty, rng)
    scaled = replace(known, features=(known.features - center) / scale)
    subsets = [balanced(known.groups, rng) for _ in range(options.dfr_subsets)]
    fits = [fitted(scaled.at(chosen), options.dfr_penalty, strength) for chosen in subsets]
    weights, intercepts = (np.mean(parts, axis=0) for parts in zip(*fits, strict=True))
    weights = weights / scale
    return weights, intercepts - weights @ center, strength


def scaling(features: np.ndarray, centered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, [F] each; 0 unless centered, and 1 for a constant feature."""
    deviation = features.std(axis=0)
    return features.mean(axis=0) * centered, np.where(deviation > 0, deviation, 1.0)


def balanced(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions of as many random images of each group as the smallest has, int64 [n']; groups: int [n], from 0."""
    least = np.unique(groups, return_counts=True)[1].min()
    return np.concatenate([rng.permutation(np.flatnonzero(groups == g))[:least] for g in np.unique(groups)])


def chosen_strength(examples: LabelledFeatures, penalty: str, rng: np.random.Generator) -> float:
    """The C with the best worst group on a half that is held out; of equal ones the largest."""
    mixed = [rng.permutation(np.flatnonzero(examples.groups == g)) for g in np.unique(examples.groups)]
    learnt, held = (examples.at(np.concatenate([own[start::2] for own in mixed])) for start in (0, 1))
    learnt = learnt.at(balanced(learnt.groups, rng))
    center, scale = scaling(learnt.features, examples.intercept)
    learnt = replace(learnt, features=(learnt.features - center) / scale)
    worst = []
    for strength in STRENGTHS:
        weights, intercepts = fitted(learnt, penalty, strength)
        scores = (held.features - center) / scale @ weights.T + intercepts
        right = predicted(scores) == held.labels
        worst.append(min((right[held.groups == g].mean() for g in np.unique(held.groups)), default=0.0))
    return STRENGTHS[int(np.argmax(worst))]


def predicted(scores: np.ndarray) -> np.ndarray:
    """The class of the largest score, [n]; of a single score [n, 1] whether it is above 0."""
    answers: np.ndarray = scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(axis=1)
    return answers.astype(np.int64)


def fitted(examples: LabelledFeatures, penalty: str, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights [R, F] and intercepts [R] at the minimum, by L-BFGS-B; l1 in two parts, each from 0.

    The intercept is penalised as the weights are, as in the authors' solver (liblinear).
    """
    inputs = np.hstack([examples.features, np.ones((len(examples.features), int(examples.intercept)))])
    free = np.hstack([examples.allowed, np.ones((len(examples.allowed), int(examples.intercept)), dtype=bool)])
    count, size, truth = len(inputs), int(free.sum()), np.arange(len(inputs))
    weights = np.zeros(free.shape)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean cross-entropy and its slope in the free weights."""
        weights[free] = values
        scores = inputs @ weights.T
        table = np.hstack([np.zeros((count, 1)), scores]) if examples.single else scores
        slope = softmax(table, axis=1)
        value = float((logsumexp(table, axis=1) - table[truth, examples.labels]).mean())
        slope[truth, examples.labels] -= 1.0
        return value, ((slope[:, 1:] if examples.single else slope).T @ inputs / count)[free]

    each = 1.0 / (strength * count)

    def ridge(values: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = loss(values)
        return value + each / 2 * float(values @ values), slope + each * values

    def lasso(parts: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = loss(parts[:size] - parts[size:])
        return value + each * float(parts.sum()), np.concatenate([slope, -slope]) + each

    options = {"maxiter": 2000, "maxfun": 10_000, "gtol": 1e-7, "ftol": 1e-12}
    if penalty == "l1":
        parts = minimize(
            lasso, np.zeros(2 * size), jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * (2 * size), options=options
        ).x
        weights[free] = parts[:size] - parts[size:]
    else:
        weights[free] = minimize(ridge, np.zeros(size), jac=True, method="L-BFGS-B", options=options).x
    width = examples.features.shape[1]
    return weights[:, :width].copy(), weights[:, width:].sum(axis=1)
