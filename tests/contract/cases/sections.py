"""Reports in which a section speaks, where none of the usual ones makes it."""

from __future__ import annotations

_MOVE = {"name": "4", "correlation": 0.98, "change": 0.2, "sign_changes": 0.03}
_STILL = {"name": "5", "correlation": None, "change": None, "sign_changes": 0.0}
SECTIONS = {
    "storage": {"storage": {"format": "bf16", "accuracy_before": 0.9, "accuracy": 0.89}},
    "other-outputs": {"other_outputs": {"pruned": [_MOVE, _STILL]}},
}
