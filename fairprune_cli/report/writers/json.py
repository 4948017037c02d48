"""report.json: the report itself, with keys in a stable order and no NaN."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fairprune_cli.report.plain import plain


def write(report: Mapping[str, Any]) -> str:
    """The same text for the same content, whatever the order of the keys was."""
    return json.dumps(plain(report), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
