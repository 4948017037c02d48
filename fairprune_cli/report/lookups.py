"""Reading a report document in which any part may be absent, null, or undefined with a reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fairprune_cli.report.plain import plain
from fairprune_cli.report.values import number, settings

# Control characters break terminals, XML and layouts; the direction marks can make one name read as another.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]+")


class Lookups:
    """A report document, cleaned, with look-ups that never fail.

    Args:
        report: the document of report.json; every key may be absent.
    """

    def __init__(self, report: Mapping[str, Any]) -> None:
        self.report: dict[str, Any] = _visible(plain(report))

    def at(self, *path: str) -> Any:
        """The value under the keys of `path`, or None."""
        value: Any = self.report
        for key in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value

    def mapping(self, *path: str) -> dict[str, Any]:
        value = self.at(*path)
        return value if isinstance(value, dict) else {}

    def items(self, *path: str) -> list[Any]:
        value = self.at(*path)
        return value if isinstance(value, list) else []

    def number(self, *path: str) -> float | None:
        return number(self.at(*path))

    def text(self, *path: str) -> str:
        value = self.at(*path)
        return "" if value is None or isinstance(value, dict | list) else str(value)

    def setting(self, name: str) -> Any:
        """A setting by its last name, whether `config` is flat or nested, with or without sources."""
        for key, value, _ in settings(self.mapping("config")):
            if key.rsplit(".", 1)[-1].replace("-", "_") == name:
                return value
        return None


def _visible(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSEEN.sub(" ", value)
    if isinstance(value, dict):
        return {_visible(key): _visible(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_visible(item) for item in value]
    return value
