"""Fairness notions; each module builds one for a number of classes. Listing them loads neither numpy nor torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairprune_cli.core import plugins as registry
from fairprune_cli.core.errors import nearest

if TYPE_CHECKING:
    from fairprune_cli.fairness.notions.base import Notion


def names() -> list[str]:
    return registry.names(__name__)


def get(name: str, classes: int) -> Notion:
    """The notion `name` for `classes` classes.

    Raises:
        FairpruneError: no such notion.
    """
    notion: Notion = registry.find(__name__, name, "notion").build(classes)
    return notion


def why_unknown(name: str) -> str:
    """The nearest known name where there is no notion of this one, else "".

    A notion of one's own (package.module:Class) is not looked up before it is used: `get` says what is wrong with it.
    """
    return "" if ":" in name or name in (known := names()) else nearest(name, known)


__all__ = ["Notion", "get", "names", "why_unknown"]
