"""Reports in which a section speaks, where none of the usual ones makes it."""

from __future__ import annotations

_MOVE = {"name": "4", "correlation": 0.98, "change": 0.2, "sign_changes": 0.03}
_STILL = {"name": "5", "correlation": None, "change": None, "sign_changes": 0.0}
_CONSTANT = {
    "answer": "a", "share": 0.5, "better": False, "accuracy": 0.4, "low": 0.3, "high": 0.5, "n": 99, "present": 2,
    "balanced": 0.4, "tells_apart": False,
}  # fmt: skip
_BOTH = {"common": {"value": 0.9, "low": 0.8, "high": 0.95}, "own": None, "own_undefined": "no images"}
_POINTS = {
    "attribute": "gender", "judged": False, "fitted": {"f": {"images": 9, "biases": {"no": 0.0, "yes": 0.5}}},
    "fitted_notion": "odds", "fitted_tolerance": 0.02, "notion": "odds", "accuracy": _BOTH,
    "change": {"change": None, "change_undefined": "no images", "low": None, "high": None, "n": 40},
    "groups": {}, "gaps": {"odds": _BOTH}, "rates": [{"rate": "classified right", "of": "images", "groups": {}}],
}  # fmt: skip
SECTIONS = {
    "group-thresholds": {"results": {"dense": {"accuracy": 0.9}}, "group_thresholds": {"dense": _POINTS}},
    "model-itself": {"results": {"dense": {"accuracy": 0.4, "constant_answer": _CONSTANT}}},
    "storage": {"storage": {"format": "bf16", "accuracy_before": 0.9, "accuracy": 0.89}},
    "other-outputs": {"other_outputs": {"pruned": [_MOVE, _STILL]}},
}
