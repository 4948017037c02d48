"""What an audit found beside accuracy: how the predictions differ from the dense model's, and where they lean to.

Shares and changes are fractions; what cannot be computed is None with a `why`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairprune_cli.audit.estimates import Estimate, WorstFigure


@dataclass(frozen=True)
class PartFigure(Estimate):
    """A share of `n` images, `images` of them; the interval holds for all groups of the attribute at once."""

    images: int = 0
    n: int = 0


@dataclass(frozen=True)
class PairedTestFigure:
    """A test's p, None where there are no images, and p adjusted for the number of groups (Holm)."""

    p: float | None = None
    adjusted: float | None = None


@dataclass(frozen=True)
class ShiftFigure(PairedTestFigure):
    """A chi-square test of marginal homogeneity; `exact` says that p was enumerated."""

    statistic: float = 0.0
    df: int = 0
    exact: bool = True


@dataclass(frozen=True)
class ChurnFigures:
    """How the predictions on a group's images differ from the dense model's.

    Attributes:
        churn: predictions that changed; lost, gained (as in `ChangeFigure`) and otherwise, wrong before and wrong in
            another way now, add up to it.
        mcnemar: of lost against gained; shift: of the predicted classes.
        among_changed: the group's share of all images that changed.
        representation: that share over the group's share of all images.
    """

    churn: PartFigure
    lost: PartFigure
    gained: PartFigure
    otherwise: PartFigure
    mcnemar: PairedTestFigure
    shift: ShiftFigure
    among_changed: PartFigure
    representation: Estimate


@dataclass(frozen=True)
class FaithfulnessFigures:
    """The groups of one attribute, and the largest churn of any."""

    groups: Mapping[str, ChurnFigures]
    largest: WorstFigure


@dataclass(frozen=True)
class Exemplar:
    """An image whose prediction changed, with the names of the classes.

    `before` and `after` are the probability of the dense model's class in either model, None where nobody told it;
    `way`: lost, gained, otherwise.
    """

    file: str
    label: str
    dense: str
    predicted: str
    before: float | None
    after: float | None
    way: str


@dataclass(frozen=True)
class Exemplars:
    """The most confident flips of each group: at most `per_group`, by model, attribute and group."""

    per_group: int
    changed: Mapping[tuple[str, str, str], tuple[Exemplar, ...]]


@dataclass(frozen=True)
class ThresholdFigure(Estimate):
    """How much oftener the rarer class is predicted than it is there, of `n` images; `ratio` of the two shares."""

    n: int = 0
    predicted: int = 0
    labelled: int = 0
    ratio: float | None = None
    ratio_why: str = ""


@dataclass(frozen=True)
class BiasFigures:
    """How a model's predictions lean further towards what its labels lean to already; see bias.py.

    Attributes:
        amplification: of two classes and two groups; towards: the group in which the positive class is more frequent.
        directional: of any number of either.
        rare: the class that `thresholds`, by group, are about.
    """

    amplification: Estimate
    towards: str
    directional: Estimate
    rare: str
    thresholds: Mapping[str, ThresholdFigure]
