"""A report that is rendered again, and comments and alerts of which silence could be read as a yes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from _false_yes.scene import BAD, GAP, Scene, attempt
from tests.support.commands import Ran

KIND = "reports"
Change = Callable[[dict[str, Any]], None]


def passed(report: dict[str, Any]) -> None:
    """Every gate and the verdict made to pass."""
    report["verdict"] = "pass"
    for gate in report["gates"]:
        gate["verdict"], gate["reason"] = "pass", "the whole interval lies within the bound"


def edited(scene: Scene, change: Change, to: str = "md", bad: int = 60, *, base: bool = False) -> Ran:
    """The report of an honest audit, changed, and rendered again (or given as the base of an honest one)."""
    scene.write(scene.rows(bad=bad))
    scene.audit(*GAP)
    report = scene.report()
    change(report)
    if base:
        (scene.folder / "base.json").write_text(json.dumps(report), "utf-8")
        return scene.fairprune("report", "out", "--to", to, "--base", "base.json")
    (scene.folder / "out" / "report.json").write_text(json.dumps(report), "utf-8")
    return scene.fairprune("report", "out", "--to", to)


def _form(to: str) -> None:
    @attempt(KIND, f"the verdicts made to pass and rendered as {to}", 2, says="contradicts itself")
    def run(scene: Scene) -> Ran:
        return edited(scene, passed, to)


for _to in ("html", "json", "junit", "github", "card", "comment", "sarif"):
    _form(_to)


@attempt(KIND, "an edited report as the base of a comment", 2, says="contradicts itself")
def edited_base(scene: Scene) -> Ran:
    return edited(scene, passed, "comment", base=True)


@attempt(KIND, "a gate without its interval made to pass", 2, says="contradicts itself")
def no_interval(scene: Scene) -> Ran:
    def change(report: dict[str, Any]) -> None:
        passed(report)
        report["gates"][0].update(low=None, high=None)

    return edited(scene, change)


@attempt(KIND, "a gate of which the small groups are not said to be allowed made to pass", 2, says="nobody allowed")
def small_groups(scene: Scene) -> Ran:
    return edited(scene, passed, bad=29)


@attempt(KIND, "a gate with images in no group made to pass", 2, says="contradicts itself")
def ungrouped(scene: Scene) -> Ran:
    scene.write([row | {"skin": ""} if row["skin"] == BAD else row for row in scene.rows()])
    scene.audit(*GAP)
    report = scene.report()
    passed(report)
    (scene.folder / "out" / "report.json").write_text(json.dumps(report), "utf-8")
    return scene.fairprune("report", "out", "--to", "md")


@attempt(KIND, "a model at chance level made to pass", 2, says="contradicts itself")
def chance_level(scene: Scene) -> Ran:
    rows = scene.rows(bad=0)
    other = {"neutral": "smiling", "smiling": "neutral"}
    scene.write([row | {"expression": other[row["expression"]]} for row in rows])
    scene.audit(*GAP)
    report = scene.report()
    passed(report)
    (scene.folder / "out" / "report.json").write_text(json.dumps(report), "utf-8")
    return scene.fairprune("report", "out", "--to", "md")


@attempt(KIND, "a verdict without a gate", 2, says="there is no gate")
def no_gate(scene: Scene) -> Ran:
    return edited(scene, lambda report: report.update(verdict="pass", gates=[]), "sarif")


@attempt(KIND, "a verdict that is no verdict: that of the gates is told", 0, says="Fail: 1 of 1 gate failed")
def no_verdict(scene: Scene) -> Ran:
    return edited(scene, lambda report: report.update(verdict="PASS"), "md")


@attempt(KIND, "gates that are no list", 2, says="there is no gate")
def no_list(scene: Scene) -> Ran:
    return edited(scene, lambda report: report.update(verdict="pass", gates={"a": 1}), "junit")


@attempt(KIND, "a bound in words", 2, says="it has no figure")
def bound_in_words(scene: Scene) -> Ran:
    def change(report: dict[str, Any]) -> None:
        passed(report)
        report["gates"][0]["bound"] = "0.95"

    return edited(scene, change)


@attempt(KIND, "half of a report", 2)
def half(scene: Scene) -> Ran:
    scene.write(scene.rows())
    scene.audit(*GAP)
    path = scene.folder / "out" / "report.json"
    text = path.read_text("utf-8")
    path.write_text(text[: len(text) // 2], "utf-8")
    return scene.fairprune("report", "out", "--to", "junit")


@attempt(KIND, "the verdict twice in report.json", 2, says="stands twice")
def verdict_twice(scene: Scene) -> Ran:
    scene.write(scene.rows())
    scene.audit(*GAP)
    path = scene.folder / "out" / "report.json"
    text = path.read_text("utf-8").rstrip().removesuffix("}")
    path.write_text(f'{text}, "verdict": "none", "gates": []}}', "utf-8")
    return scene.fairprune("report", "out", "--to", "junit")


def beside_base(scene: Scene, now: tuple[str, ...], base: tuple[str, ...] = GAP, images: int = 300) -> Ran:
    """A comment on the pull request: an audit beside that of the base branch, whose bad group is the same."""
    scene.write(scene.rows())
    scene.fairprune("audit", scene.model, "--data", "manifest.yaml", "--out", "base", *base)
    if images != 300:
        scene.write(scene.rows(bad=0, good=images))
    scene.audit(*now)
    return scene.fairprune("report", "out", "--to", "comment", "--base", "base")


@attempt(KIND, "a comment on a pull request that drops the gate, which it says", 0, says="a gate that is gone")
def gate_gone(scene: Scene) -> Ran:
    return beside_base(scene, ())


@attempt(KIND, "a comment on a pull request that loosens the bound, which it says", 0, says="looser than at the base")
def looser(scene: Scene) -> Ran:
    return beside_base(scene, ("--max-gap", "0.9"))


@attempt(KIND, "a comment on a pull request with lower confidence, which it says", 0, says="confidence 0.5")
def less_sure(scene: Scene) -> Ran:
    return beside_base(scene, (*GAP, "--confidence", "0.5"))


@attempt(KIND, "a comment beside a report of other images, which it says", 0, says="of other test images")
def other_images(scene: Scene) -> Ran:
    return beside_base(scene, GAP, images=200)


@attempt(KIND, "a comment beside a report of another split, which it says", 0, says="of other test images")
def other_split(scene: Scene) -> Ran:
    rows = scene.rows()
    scene.write([*rows, *(row | {"split": "val", "skin": "light"} for row in scene.stage.all_rows[:200])])
    scene.fairprune("audit", scene.model, "--data", "manifest.yaml", "--out", "base", *GAP)
    scene.audit("--split", "val", "--min-accuracy", "0.5")
    return scene.fairprune("report", "out", "--to", "comment", "--base", "base")


@attempt(KIND, "SARIF of an audit without gates, which has a warning", 0, says="not judged")
def sarif(scene: Scene) -> Ran:
    scene.plain()
    ran = scene.fairprune("report", "out", "--to", "sarif")
    levels = [one["level"] for one in json.loads(ran.out)["runs"][0]["results"]]
    return ran if levels == ["warning"] else Ran(ran.code, "no warning", "")


@attempt(KIND, "SARIF of a small group, which has a warning", 0, says="dark (29 images)")
def sarif_small(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=29))
    scene.audit(*GAP)
    ran = scene.fairprune("report", "out", "--to", "sarif")
    levels = [one["level"] for one in json.loads(ran.out)["runs"][0]["results"]]
    return ran if levels == ["warning"] else Ran(ran.code, "no warning", "")


def _of_small_group(to: str) -> None:
    @attempt(KIND, f"29 images left out by --allow-small-groups, named by {to}", 0, says="dark (29 images)")
    def run(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=29))
        scene.audit(*GAP, "--allow-small-groups")
        return scene.fairprune("report", "out", "--to", to)


for _to in ("html", "md", "json", "junit", "github", "card", "comment", "sarif"):
    if _to != "json":
        _of_small_group(_to)


@attempt(KIND, "JUnit of an audit without gates, which has no test that passed", 0, says="skipped")
def junit_without(scene: Scene) -> Ran:
    scene.plain()
    return scene.fairprune("report", "out", "--to", "junit")
