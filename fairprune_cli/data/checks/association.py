"""How closely labels and groups go together: Cramér's V, and what it means in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Cohen (1988), Statistical Power Analysis, ch. 7: small, medium and large effects of w = V sqrt(min(R, C) - 1).
_STEPS = ((0.5, "strongly"), (0.3, "moderately"), (0.1, "weakly"))
_NOTABLE = 0.3


@dataclass(frozen=True)
class Association:
    """Cramér's V of label and group, from 0 to 1, None where it is undefined.

    `chance` is about what independent labels and groups would give with so few images: sqrt of the mean of
    chi-squared under independence over n (min(R, C) - 1).
    """

    attribute: str
    cramers_v: float | None
    chance: float | None
    n: int
    text: str
    notable: bool

    def document(self) -> dict[str, Any]:
        undefined = {} if self.cramers_v is not None else {"cramers_v_undefined": self.text}
        return {
            "attribute": self.attribute, "cramers_v": self.cramers_v, "chance": self.chance, "n": self.n,
            "text": self.text, **undefined,
        }  # fmt: skip


def cramers_v(counts: np.ndarray) -> tuple[float | None, float | None]:
    """V = sqrt(chi2 / (n (min(R, C) - 1))) of a table of counts [R, C], and what chance alone gives of it.

    Empty rows and columns are left out; None where fewer than two of either are left.
    """
    counts = np.asarray(counts, dtype=np.int64)
    counts = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
    least = min(counts.shape) - 1
    if least < 1:
        return None, None
    from scipy.stats import contingency  # half a second, which only those pay who ask

    n = int(counts.sum())
    value = float(contingency.association(counts, method="cramer"))
    freedom = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    return min(1.0, value), min(1.0, math.sqrt(freedom / (max(n - 1, 1) * least)))


def associate(attribute: str, groups: Sequence[str], classes: Sequence[str], counts: np.ndarray) -> Association:
    """How label and group go together; `counts` is [G, K], images per group and class."""
    n = int(counts.sum())
    value, chance = cramers_v(counts)
    if value is None or chance is None:
        return Association(attribute, None, None, n, f"{attribute} and label: only one group or class occurs", False)
    shape = ((counts.sum(1) > 0).sum(), (counts.sum(0) > 0).sum())
    effect = value * math.sqrt(min(shape) - 1)
    word = next((word for bound, word in _STEPS if effect >= bound), "hardly")
    if value <= 2 * chance and word != "hardly":
        word = "not distinguishably"
    filled = [i for i in range(len(groups)) if counts[i].sum()]
    shares = counts[filled] / counts[filled].sum(1, keepdims=True)
    k = int((shares.max(0) - shares.min(0)).argmax())
    low, high = int(shares[:, k].argmin()), int(shares[:, k].argmax())
    most, least = (f"{100 * shares[i, k]:.0f} % of {groups[filled[i]]}" for i in (high, low))
    told = f"{most}, {least}" if low != high else f"{100 * shares[0, k]:.0f} % of each group"
    text = f"{attribute} and label are {word} related (Cramér's V {value:.2f}): {classes[k]} are {told}"
    notable = effect >= _NOTABLE and value > 2 * chance
    return Association(attribute, round(value, 4), round(chance, 4), n, text, notable)
