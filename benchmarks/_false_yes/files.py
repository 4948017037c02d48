"""Files that are not what they were, or of another run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from _false_yes.scene import GAP, Scene, attempt
from tests.support.commands import Ran

KIND = "files"


def edited(scene: Scene, change: Callable[[dict[str, Any]], None], to: str = "junit", bad: int = 60) -> Ran:
    """The report of an honest audit, changed and rendered again."""
    scene.write(scene.rows(bad=bad))
    scene.audit(*GAP)
    report = scene.report()
    change(report)
    (scene.folder / "out" / "report.json").write_text(json.dumps(report), "utf-8")
    return scene.fairprune("report", "out", "--to", to)


@attempt(KIND, "report.json edited: the verdict", 2)
def edited_verdict(scene: Scene) -> Ran:
    return edited(scene, lambda report: report.update(verdict="pass"), "md")


@attempt(KIND, "report.json edited: the verdict of the gate", 2)
def edited_gate(scene: Scene) -> Ran:
    def change(report: dict[str, Any]) -> None:
        report["verdict"] = report["gates"][0]["verdict"] = "pass"

    return edited(scene, change)


@attempt(KIND, "report.json edited: the gates taken out", 2)
def edited_gates(scene: Scene) -> Ran:
    return edited(scene, lambda report: report.update(verdict="pass", gates=[]), "md")


@attempt(KIND, "report.json edited: an inconclusive gate with a small group made to pass", 2)
def edited_small(scene: Scene) -> Ran:
    def change(report: dict[str, Any]) -> None:
        report["verdict"] = report["gates"][0]["verdict"] = "pass"

    return edited(scene, change, bad=29)


@attempt(KIND, "a report of an earlier run in --out", 2)
def old_report(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    scene.audit(*GAP)
    scene.write(scene.rows())
    return scene.audit(*GAP)


@attempt(KIND, "half of a model", 2)
def half_a_model(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    content = scene.stage.model.read_bytes()
    (scene.folder / "half.pt").write_bytes(content[: len(content) // 2])
    return scene.fairprune("audit", "half.pt", "--data", "manifest.yaml", *GAP)


@attempt(KIND, "no model", 2)
def no_model(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    return scene.fairprune("audit", "absent.pt", "--data", "manifest.yaml", *GAP)


@attempt(KIND, "a table with a header alone", 2)
def no_rows(scene: Scene) -> Ran:
    scene.write([])
    return scene.audit(*GAP)


@attempt(KIND, "no image in the test split", 2)
def no_test(scene: Scene) -> Ran:
    scene.write([row | {"split": "train"} for row in scene.rows()])
    return scene.audit(*GAP)


@attempt(KIND, "an image that is missing", 2)
def missing_image(scene: Scene) -> Ran:
    scene.write([row | {"file": "gone.png"} if i == 5 else row for i, row in enumerate(scene.rows(bad=0))])
    return scene.audit(*GAP)


@attempt(KIND, "an image in train and in test", 2)
def two_splits(scene: Scene) -> Ran:
    rows = scene.rows(bad=0)
    scene.write([*rows, *(row | {"split": "train"} for row in rows[:50])])
    return scene.audit(*GAP)


@attempt(KIND, "rows named twice, so that a small group looks large", 2)
def doubled_rows(scene: Scene) -> Ran:
    rows = scene.rows(bad=29)
    scene.write([*rows, *(row for row in rows if row["skin"] == "dark")])
    return scene.audit(*GAP)


@attempt(KIND, "a folder for a policy", 2)
def folder(scene: Scene) -> Ran:
    return scene.plain("--policy", ".")


@attempt(
    KIND, "a policy below --data and not among the settings: no gate, which is said", 0, says="no gate was asked for"
)
def unnamed_policy(scene: Scene) -> Ran:
    scene.policy("max_gap: 0.1\n")
    return scene.plain()
