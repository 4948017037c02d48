"""What a judged figure was computed from, so that its interval can be computed again for other counts.

The ends are those that the gates look at (intervals.py, simultaneous.py): nothing is approximated here. Figures, which
hold it, are read for reports without numpy, so that is imported where something is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fairprune_cli.audit.outcomes import Array, Outcomes

Extreme = Literal["gap", "largest", "lowest"]


@dataclass(frozen=True)
class Evidence:
    """Counts of groups that share no image, and which extreme of their rates is judged.

    Attributes:
        extreme: "gap", the largest difference of two groups in any rate; "largest" and "lowest" of one rate.
        rates: the rates, of all groups alike, [G] each.
        groups: names.
        images: [G], of which a rate may look at a part.
        confidence, least, family: as in `Judgement`; groups with less than `least` of n have no part in a rate.
    """

    extreme: Extreme
    rates: tuple[Outcomes, ...]
    groups: tuple[str, ...]
    images: NDArray[np.int64]
    confidence: float
    least: int
    family: int = 1

    def value(self, rates: Sequence[Outcomes]) -> Array:
        """The figure itself; rates: as its own, for any counts and groups, [..., G]. Gives [...]."""
        import numpy as np

        if self.extreme == "gap":
            return np.max([np.ptp(one.values, -1) for one in rates], 0)
        (one,) = rates
        found: Array = one.values.max(-1) if self.extreme == "largest" else one.values.min(-1)
        return found

    def low(self, rates: Sequence[Outcomes]) -> Array:
        """The lower end of its interval, likewise; rates that are not given count as lying lower."""
        from fairprune_cli.audit import intervals, simultaneous

        if self.extreme == "gap":
            return simultaneous.gap_low(rates, self.confidence, self.family, len(self.rates))
        if self.extreme == "largest":
            return intervals.largest_low(rates[0], self.confidence, self.family)
        return 1 - intervals.largest_high(rates[0].opposite(), self.confidence)

    def high(self, rates: Sequence[Outcomes]) -> Array:
        """The upper end, likewise."""
        from fairprune_cli.audit import intervals, simultaneous

        if self.extreme == "gap":
            return simultaneous.gap_high(rates, self.confidence)
        if self.extreme == "largest":
            return intervals.largest_high(rates[0], self.confidence)
        return 1 - intervals.largest_low(rates[0].opposite(), self.confidence, self.family)
