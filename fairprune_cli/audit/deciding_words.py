"""How many images would decide a gate, put into words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairprune_cli.audit.deciding import CHANCE, MOST, Deciding, Question, images_that_decide, rounded_up
from fairprune_cli.audit.doubt import ConstantAnswer
from fairprune_cli.audit.estimates import Estimate, WorstFigure
from fairprune_cli.audit.evidence import Evidence
from fairprune_cli.audit.figures import GapFigure, SmallGroup
from fairprune_cli.audit.outcomes import shares_of


def would_decide(found: Deciding, figure: Estimate, small: Sequence[SmallGroup]) -> str:
    """A clause; empty where nothing can be said.

    Args:
        figure: that was judged, with its evidence.
        small: groups that it does not rest on.
    """
    if found.images is not None:
        shares = f"in the same shares{_of_group(found, figure, small)}"
        chance = f"would decide with a chance of {100 * CHANCE:.0f} %"
        return f"about {found.images:,} images instead of {found.now:,}, {shares}, {chance}"
    if found.without:
        return f"no number of images in the same shares would decide: {', '.join(found.without)} is not looked at"
    if found.passes is not None:
        return f"{MOST:,} images in the same shares would not decide: the value is all but the bound"
    return "" if found.value is None else "no number of images would decide: the value equals the bound"


def would_show_it(found: ConstantAnswer, confidence: float) -> tuple[int | None, str]:
    """How many images would show a model to be better than one answer to all, and a clause; None and "" if none would.

    Its accuracy is then above the share of that answer, and no other order of the classes fits better.
    """
    if found.fits_better:
        return None, ""
    right = (shares_of([round(found.accuracy * found.n)], [found.n]),)
    evidence = Evidence("lowest", right, ("",), np.array([found.n]), confidence, 1)
    deciding = images_that_decide(evidence, Question(found.share, floor=True))
    if not deciding.passes or deciding.images is None:
        return None, ""
    return deciding.images, f"; about {deciding.images:,} images in the same shares would show it to be better"


def _of_group(found: Deciding, figure: Estimate, small: Sequence[SmallGroup]) -> str:
    """The group that is hardest to find among those that matter, with its share of the images."""
    evidence = figure.evidence
    assert evidence is not None
    images = dict(zip(evidence.groups, evidence.images.tolist(), strict=True))
    matter = [one.group for one in small if one.group in images]
    if not matter and isinstance(figure, GapFigure):
        matter = list(figure.between)
    elif not matter and isinstance(figure, WorstFigure):
        matter = [figure.group]
    if not matter or len(images) < 2 or found.images is None:
        return ""
    group = min(matter, key=images.__getitem__)
    return f" ({rounded_up(images[group] * found.images / found.now):,} of {group} instead of {images[group]:,})"
