"""What an audit found, as typed figures: judged by gates, put into words by notices, written as JSON by to_json.

Shares, gaps and changes are fractions. What cannot be computed is None with a `why`; it is never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairprune_cli.audit.doubt import ConstantAnswer
from fairprune_cli.audit.estimates import Estimate as Estimate
from fairprune_cli.audit.estimates import WorstFigure as WorstFigure
from fairprune_cli.audit.faithfulness_figures import BiasFigures, ChurnFigures, FaithfulnessFigures
from fairprune_cli.audit.options import FigureOptions

NO_DENSE = "no dense model was audited on the same images"
_UNKNOWN = Estimate(why=NO_DENSE)


@dataclass(frozen=True)
class Judgement(FigureOptions):
    """How figures are made: confidence of the intervals, least denominator, seed of what calibration errs by chance.

    `notions` are those whose gaps are wanted beside the listed ones. `family` is the number of attributes over which
    gates of one kind shall fail falsely no more often than 1 - confidence says; the audit sets it to those it has.
    """

    notions: tuple[str, ...] = ()
    family: int = 1

    @property
    def how(self) -> tuple[float, int, int]:
        """Confidence, least denominator and family, which figures with one interval for all groups ask for."""
        return self.confidence, self.min_group, self.family


@dataclass(frozen=True)
class ShareFigure(Estimate):
    """A share of `n` images."""

    n: int = 0


@dataclass(frozen=True)
class SmallGroup:
    """A group that no verdict rests on: it has `n` of what a rate is out of, fewer than are asked for.

    `of` says in words what that is: "images", or "images labelled smiling".
    """

    group: str
    n: int
    of: str = "images"


@dataclass(frozen=True)
class GapFigure(Estimate):
    """The largest difference between two groups by one notion.

    Attributes:
        between: the groups with the highest and the lowest rate; empty where undefined.
        rate: in words, which of the notion's rates it was found in.
        small: groups that stayed out of at least one of the rates.
        denominators: of each of these, its smallest.
        compares, against: as in `Notion`.
    """

    between: tuple[str, ...] = ()
    rate: str = ""
    small: tuple[str, ...] = ()
    denominators: tuple[SmallGroup, ...] = ()
    compares: str = "rates"
    against: str = "best"


@dataclass(frozen=True)
class ChangeFigure(Estimate):
    """Accuracy minus that of the dense model on the same `n` images.

    `lost` were right before and wrong after, `gained` the opposite; `lost_low` and `lost_high` bound lost / n.
    """

    n: int = 0
    lost: int = 0
    gained: int = 0
    lost_low: float | None = None
    lost_high: float | None = None


@dataclass(frozen=True)
class BinaryRates:
    """Rates of a group for two classes, of which the last is the positive one."""

    selection_rate: ShareFigure
    tpr: ShareFigure
    fpr: ShareFigure


@dataclass(frozen=True)
class ClassRates:
    """Rates of a group by class, for three classes or more; `images` by label."""

    selection_rate: Mapping[str, ShareFigure]
    recall: Mapping[str, ShareFigure]
    images: Mapping[str, int]


@dataclass(frozen=True)
class CalibrationFigures:
    """How far the confidence on `n` images can be trusted.

    Attributes:
        confidence: its mean.
        overconfidence: mean confidence minus accuracy.
        ece: expected calibration error, or None and `ece_why`.
        ece_chance, ece_chance_high: its mean and its quantile under perfect calibration.
    """

    n: int
    confidence: float | None
    overconfidence: Estimate
    ece: float | None
    ece_why: str = ""
    ece_chance: float | None = None
    ece_chance_high: float | None = None


@dataclass(frozen=True)
class BinFigures:
    """The images with a confidence above `low` and up to `high`: mean confidence and accuracy."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class GroupFigures:
    """One group of one attribute; its intervals hold for it alone."""

    n: int
    correct: int
    accuracy: Estimate
    rates: BinaryRates | ClassRates
    calibration: CalibrationFigures | None = None


@dataclass(frozen=True)
class AttributeFigures:
    """One attribute of one model.

    Attributes:
        groups: by name, in their order.
        gap: of accuracies.
        gaps: by notion, every listed one and those asked for.
        worst_group: the lowest accuracy.
        ungrouped: images that are in none of the groups.
        bias: None where it was not looked at.
    """

    groups: Mapping[str, GroupFigures]
    gap: GapFigure
    gaps: Mapping[str, GapFigure]
    worst_group: WorstFigure
    ungrouped: int
    bias: BiasFigures | None = None


@dataclass(frozen=True)
class DegradationFigures:
    """What one attribute's groups lost against the dense model, R = accuracy dense - accuracy now.

    `gap` is the largest R minus the smallest, most degraded group first; `largest` is the largest R. `gap_change` and
    `worst_change` are the gap of accuracies and the lowest of them, now minus dense.
    """

    groups: Mapping[str, ChangeFigure]
    gap: GapFigure
    largest: WorstFigure
    gap_change: Estimate = _UNKNOWN
    worst_change: Estimate = _UNKNOWN


@dataclass(frozen=True)
class ModelFigures:
    """One model over all images.

    Attributes:
        predicted: images by predicted class.
        against_dense: None for the dense model itself and where there is none.
        degradation: by attribute; empty as above.
        bins: of the calibration, those that hold images.
        constant_answer: the model held against one answer to all images; None where nobody looked.
        churn: over all images; faithfulness: by attribute. Both are empty without a dense model.
    """

    n: int
    correct: int
    accuracy: Estimate
    predicted: Mapping[str, int]
    attributes: Mapping[str, AttributeFigures]
    against_dense: ChangeFigure | None = None
    degradation: Mapping[str, DegradationFigures] = field(default_factory=dict)
    calibration: CalibrationFigures | None = None
    bins: tuple[BinFigures, ...] = ()
    constant_answer: ConstantAnswer | None = None
    churn: ChurnFigures | None = None
    faithfulness: Mapping[str, FaithfulnessFigures] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditFigures:
    """Every figure of one audit, by model, as `judgement` asked for them.

    One called "dense" is what the others are paired with.
    """

    judgement: Judgement
    models: Mapping[str, ModelFigures]


@dataclass(frozen=True)
class Example:
    """An image that was lost: its file, the names of its label and of what is predicted now.

    `before` and `after` are the true class's probability in either model.
    """

    file: str
    label: str
    predicted: str
    before: float
    after: float


@dataclass(frozen=True)
class Examples:
    """The plainest losses of each group.

    Attributes:
        per_group: at most how many of each.
        root: folder of the images.
        lost: by model, attribute and group.
        pictures: by file, the data URI of a small JPEG.
    """

    per_group: int
    root: str
    lost: Mapping[tuple[str, str, str], tuple[Example, ...]]
    pictures: Mapping[str, str]


@dataclass(frozen=True)
class StorageCost:
    """What a shorter number format cost: the model before and after it was stored in `format`."""

    format: str
    before: ModelFigures
    after: ModelFigures
    predictions_changed: float
