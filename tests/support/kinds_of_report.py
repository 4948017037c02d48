"""Every kind of report that there is, by name, for tests that look at all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support import many_groups, reports

REPORTS: dict[str, Callable[[], dict[str, Any]]] = {
    "full": reports.full,
    "audit": reports.audit_only,
    "hostile": reports.hostile,
    "several": reports.several,
    "examples": reports.with_examples,
    "many": many_groups.many_groups,
}
