"""Reports in which a section speaks, where none of the usual ones makes it."""

from __future__ import annotations

_MOVE = {"name": "4", "correlation": 0.98, "change": 0.2, "sign_changes": 0.03}
_STILL = {"name": "5", "correlation": None, "change": None, "sign_changes": 0.0}
_CONSTANT = {
    "answer": "a", "share": 0.5, "better": False, "accuracy": 0.4, "low": 0.3, "high": 0.5, "n": 99, "present": 2,
    "balanced": 0.4, "tells_apart": False,
}  # fmt: skip
SECTIONS = {
    "model-itself": {"results": {"dense": {"accuracy": 0.4, "constant_answer": _CONSTANT}}},
    "storage": {"storage": {"format": "bf16", "accuracy_before": 0.9, "accuracy": 0.89}},
    "other-outputs": {"other_outputs": {"pruned": [_MOVE, _STILL]}},
}
