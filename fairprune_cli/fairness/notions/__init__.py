"""Fairness notions; each module builds one for a number of classes."""

from __future__ import annotations

from fairprune_cli.core import plugins as registry
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


__all__ = ["Notion", "get", "names"]
