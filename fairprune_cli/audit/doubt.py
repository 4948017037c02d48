"""What an audit finds of a model that does not do what it was made for, as typed figures beside those of figures.py."""

from __future__ import annotations

from dataclasses import dataclass

CHANCE_LEVEL = "chance-level"  # code of the warning on a model that is not better than one answer to all images


@dataclass(frozen=True)
class Cause:
    """A change of how images or outputs are read under which a model is better than one answer to all images.

    Attributes:
        change: in words, "with ImageNet's mean and std".
        mend: what to do about it.
        accuracy: with it, on `n` images; low, high: its exact interval.
        mean, std, size: of the input, where the manifest's section `transform` mends it; size is height and width.
        classes: in the order of the outputs, where that mends it.
    """

    change: str
    mend: str
    accuracy: float
    low: float
    high: float
    n: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: tuple[int, ...] | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ConstantAnswer:
    """A model held against the same answer to every image, the most common class of the `n` audited ones.

    Attributes:
        answer: that class; share: of the images.
        accuracy: of the model; low, high: its exact interval (Clopper and Pearson), which decides.
        present: classes that have images.
        balanced: mean recall of those.
        tells_apart: whether that is above chance.
        fits_better: the classes in another order, in which the outputs would be right more often beyond chance.
        causes: what would make it better, the likeliest first, where it is not.
        tried: how many changes were tried, on `tried_on` images.
    """

    answer: str
    share: float
    accuracy: float
    low: float
    high: float
    n: int
    present: int
    balanced: float
    tells_apart: bool
    fits_better: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    tried: int = 0
    tried_on: int = 0

    @property
    def better(self) -> bool:
        """Whether the model is better, by its interval, with the classes in their order and no other."""
        return self.low > self.share and not self.fits_better
