"""What the report says of bias amplification."""

from __future__ import annotations

from typing import Any

from fairprune_cli.report.document import Table
from fairprune_cli.report.sections import bias
from fairprune_cli.report.view import View


def record(amplification: float | None, shift: float) -> dict[str, Any]:
    found: dict[str, Any] = {
        "amplification": None, "amplification_undefined": "it is defined for two classes and two groups",
        "directional_amplification": {"value": 0.03, "low": 0.01, "high": 0.05},
        "threshold_calibration": {
            "class": "blond", "groups": {
                "m": {"value": shift, "low": shift - 0.02, "high": shift + 0.02, "ratio": 0.5},
                "f": {"value": None, "value_undefined": "no images", "low": None, "high": None, "ratio": None},
            },
        },
    }  # fmt: skip
    if amplification is not None:
        found["amplification"] = {"value": amplification, "low": -0.01, "high": 0.09, "towards": "f"}
    return found


def table(**models: dict[str, Any]) -> Table:
    results = {name: {"accuracy": 0.9, "attributes": {"gender": {"bias": of}}} for name, of in models.items()}
    section = bias.build(View({"results": results}))
    assert section is not None
    assert isinstance(section.blocks[1], Table)
    return section.blocks[1]


def test_the_models_stand_side_by_side() -> None:
    found = table(dense=record(0.01, -0.01), pruned=record(0.04, -0.03))
    rows = {row[0]: [cell.replace("\u00a0", " ") for cell in row[1:]] for row in found.rows}
    assert rows["Amplification, towards f"] == ["+1.0 (−1.0 to 9.0)", "+4.0 (−1.0 to 9.0)"]
    assert rows["Directional amplification"] == ["+3.0 (1.0 to 5.0)"] * 2
    assert rows["blond predicted for m"] == ["−1.0 (−3.0 to 1.0); ×0.50", "−3.0 (−5.0 to −1.0); ×0.50"]
    assert rows["blond predicted for f"] == ["undefined"] * 2


def test_what_is_not_defined_says_why() -> None:
    more = record(None, 0.0) | {
        "threshold_calibration": None, "threshold_calibration_undefined": "it is defined for two classes"
    }  # fmt: skip
    found = table(dense=more)
    assert [row[0] for row in found.rows] == ["Amplification", "Directional amplification"]
    assert found.note == (
        "Undefined for amplification: it is defined for two classes and two groups. "
        "Undefined for threshold calibration bias: it is defined for two classes."
    )
    assert bias.build(View({"results": {"dense": {"accuracy": 0.9}}})) is None
