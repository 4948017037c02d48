"""Reports in which a section speaks, where none of the usual ones makes it."""

from __future__ import annotations

SECTIONS = {"storage": {"storage": {"format": "bf16", "accuracy_before": 0.9, "accuracy": 0.89}}}
