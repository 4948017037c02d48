"""Names that are probably meant as one: spelled apart in case, white space, a hyphen, a number's zeros, or as a date.

Nothing is joined: which of them are one only the data's author knows. They are counted and named.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Sequence
from decimal import Decimal

import numpy as np

SHOWN_PAIRS = 6
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_RANGE = re.compile(r"\d+(\s*[-\u2010-\u2015]\s*\d+)?\s*\+?", re.ASCII)
# Marks between two letters or digits; at an end they may have a meaning (A-, HER2-).
_JOINT = re.compile(r"(?<=[^\W_])[\s_\-\u2010-\u2015]+(?=[^\W_])")
_SPACE = re.compile(r"[\s_]+")
_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "mrz": 3, "mär": 3, "apr": 4, "may": 5, "mai": 5, "jun": 6, "jul": 7, "aug": 8,
    "sep": 9, "oct": 10, "okt": 10, "nov": 11, "dec": 12, "dez": 12,
}  # fmt: skip
_DAY_FIRST = re.compile(r"(\d{1,2})[-. /]+([^\W\d_]{3,4})\.?", re.ASCII | re.IGNORECASE)
_MONTH_FIRST = re.compile(r"([^\W\d_]{3,4})\.?[-. /]+(\d{1,2})", re.ASCII | re.IGNORECASE)
_ISO = re.compile(r"\d{4}-(\d{2})-(\d{2})([ T]00:00(:00)?)?", re.ASCII)


def alike_names(what: str, names: Sequence[str], index: np.ndarray, remedy: str = "`names` joins them") -> list[str]:
    """Sentences on names that may be one, with the number of images of each.

    Args:
        what: what the names are of (an attribute, `label`), for the sentences.
        index: int64 [N], the position of each image's name, -1 for none.
        remedy: what to do where two are one.
    """
    counts = np.bincount(index[index >= 0], minlength=len(names)).tolist()
    shown = {name: f"{name!r} ({n:,})" for name, n in zip(names, counts, strict=True)}
    found: dict[Hashable, list[str]] = defaultdict(list)
    for name in names:
        found[spelling_key(name)].append(name)
    texts = [
        f"{what}: {' and '.join(shown[name] for name in alike)} differ in {_difference(alike)} alone: one name or "
        f"{'two' if len(alike) == 2 else 'several'}? {remedy}"
        for alike in found.values() if len(alike) > 1
    ]  # fmt: skip
    texts += [
        f"{what}: {shown[name]} and {shown.get(meant, repr(meant))} differ as a spreadsheet that takes {meant!r} for a "
        f"date writes it: {'one group' if meant in shown else f'was it {meant!r}'}? {remedy}"
        for name, meant in spreadsheet_dates(names).items()
    ]  # fmt: skip
    if len(texts) > SHOWN_PAIRS:
        return [*texts[:SHOWN_PAIRS], f"{what}: {len(texts) - SHOWN_PAIRS:,} more names that differ so"]
    return texts


def spelling_key(name: str) -> Hashable:
    """The same for names that differ in case, white space, underscores, hyphens or a number's zeros alone."""
    plain = _without_marks(unicodedata.normalize("NFKC", name))
    if _NUMBER.fullmatch(plain) and len(plain) < 40:
        return Decimal(plain)

    def joint(found: re.Match[str]) -> str:
        between = plain[found.start() - 1] + plain[found.end()]
        return "-" if between.isdigit() else ""  # 1-12 is not 11-2

    return _SPACE.sub("", _JOINT.sub(joint, plain)).casefold()


def spreadsheet_dates(names: Sequence[str]) -> dict[str, str]:
    """Names that are dates among others that are ranges of numbers, each with the range that it must have been."""
    if not any(_RANGE.fullmatch(name) for name in names):
        return {}
    return {name: meant for name in names if (meant := _range_of(name))}


def _range_of(name: str) -> str:
    """The range of numbers that a spreadsheet shows as this date; "" where it is no such date."""
    if found := _ISO.fullmatch(name):
        month, other = int(found[1]), int(found[2])
    elif (found := _DAY_FIRST.fullmatch(name)) or (found := _MONTH_FIRST.fullmatch(name)):
        word, digits = (found[2], found[1]) if found[1].isdigit() else (found[1], found[2])
        month, other = _MONTHS.get(word[:3].lower(), 0), int(digits)
    else:
        return ""
    return f"{min(month, other)}-{max(month, other)}" if month else ""


def _difference(alike: Sequence[str]) -> str:
    """In what names of one key differ, in words."""
    if isinstance(spelling_key(alike[0]), Decimal):
        return "how the number is written"
    if len({name.casefold() for name in alike}) == 1:
        return "case"
    if len({_without_marks(name) for name in alike}) == 1:
        return "characters that do not show"
    if len({re.sub(r"\s+", "", name) for name in alike}) == 1:
        return "white space"
    return "case, white space, hyphens or underscores"


def _without_marks(text: str) -> str:
    """Without characters that do not show, and white space around it."""
    if text.isascii():
        return text.strip()
    return "".join(mark for mark in text if unicodedata.category(mark) != "Cf").strip()
