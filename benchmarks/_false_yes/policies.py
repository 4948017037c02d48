"""Policies and settings that look as if they asked for something."""

from __future__ import annotations

from _false_yes.scene import Scene, attempt
from tests.support.commands import Ran

KIND = "policies"


@attempt(KIND, "nothing hidden: a gap of 90 points against 10 (control)", 1)
def control(scene: Scene) -> Ran:
    return scene.with_policy("rules: [{attribute: skin, max_gap: 0.1}]\n")


TEXTS = {
    "rules written twice": "rules: [{max_gap: 0.1}]\nrules: [{min_accuracy: 0.5}]\n",
    "a bound twice in a rule": "rules: [{attribute: skin, max_gap: 0.1, max_gap: 0.9}]\n",
    "a bound twice, once in quotes": 'max_gap: 0.1\n"max_gap": 0.9\n',
    "all rules commented out": "confidence: 0.95\nrules:\n#  - {max_gap: 0.1}\n",
    "settings and no rule": "confidence: 0.95\nmin_group: 30\n",
    "an empty list of rules": "rules: []\n",
    "a rule that is a mapping, not a list": "rules: {attribute: skin, max_gap: 0.1}\n",
    "an empty file": "",
    "two documents": "max_gap: 0.1\n---\nmax_gap: 0.9\n",
    "the key in upper case": "Rules: [{max_gap: 0.1}]\n",
    "a later version": "version: 2\nmax_gap: 0.1\n",
    "a rule without a bound": "rules: [{attribute: skin, confidence: 0.95}]\n",
    "a rule's bound left empty beside another": "rules: [{max_gap: , min_accuracy: 0.5}]\n",
    "a bound that is null": "max_gap: null\nmin_accuracy: 0.5\n",
    "a bound at the top left empty": "max_gap:\nmin_accuracy: 0.5\n",
    "an attribute left empty, so that all images are judged": "rules: [{attribute: , min_accuracy: 0.5}]\n",
    "an empty list of attributes": "rules: [{attribute: [], min_accuracy: 0.5}]\n",
    "an attribute that is not there": "rules: [{attribute: skn, max_gap: 0.1}]\n",
    "a notion that is not there": "rules: [{notion: equality, max_gap: 0.1}]\n",
    "a notion without a bound that it is of": "rules: [{attribute: skin, notion: odds, min_accuracy: 0.5}]\n",
    "a gap of at most 1": "max_gap: 1\n",
    "an accuracy of at least 0": "rules: [{attribute: skin, min_accuracy: 0}]\n",
    "a loss of at most 1": "max_degradation: 1.0\n",
    "a bound that is no number": "max_gap: .nan\n",
    "an infinite bound": "max_gap: .inf\n",
    "a negative bound": "min_accuracy: -0.1\n",
    "a bound that is true": "max_gap: yes\n",
    "a bound in points": "max_gap: 10\n",
    "a bound in percent": 'max_gap: "10 %"\n',
    "a bound with a decimal comma": "max_gap: 0,1\n",
    "no confidence at all": "max_gap: 0.1\nconfidence: 0\n",
}


def _of(text: str) -> None:
    @attempt(KIND, next(title for title, of in TEXTS.items() if of == text), 2)
    def run(scene: Scene) -> Ran:
        return scene.with_policy(text)


for _text in TEXTS.values():
    _of(_text)


@attempt(
    KIND, "a flag that no gap can exceed, --max-gap 1.0, which is told beside the verdict", 0,
    says="by a bound that no model could violate",
)  # fmt: skip
def largest_gap(scene: Scene) -> Ran:
    return scene.plain("--max-gap", "1.0")


@attempt(KIND, "--min-accuracy 0, which is told beside the verdict", 0, says="by a bound that no model could violate")
def least_accuracy(scene: Scene) -> Ran:
    return scene.plain("--min-accuracy", "0")


@attempt(KIND, "a flag given twice, of which the last would count", 2)
def twice(scene: Scene) -> Ran:
    return scene.plain("--max-gap", "0.1", "--max-gap", "0.95")


@attempt(KIND, "an empty variable over a bound in fairprune.yaml", 2)
def empty_variable(scene: Scene) -> Ran:
    (scene.folder / "fairprune.yaml").write_text("max_gap: 0.1\n")
    return scene.plain(env={"FAIRPRUNE_MAX_GAP": ""})


@attempt(KIND, "FAIRPRUNE_POLICY set to nothing", 2)
def empty_policy(scene: Scene) -> Ran:
    return scene.plain(env={"FAIRPRUNE_POLICY": ""})


@attempt(KIND, "a misspelt variable", 2)
def misspelt(scene: Scene) -> Ran:
    return scene.plain(env={"FAIRPRUNE_MAXGAP": "0.1"})


@attempt(KIND, "one setting in two spellings in fairprune.yaml", 2)
def two_spellings(scene: Scene) -> Ran:
    (scene.folder / "fairprune.yaml").write_text("max_gap: 0.1\nmax-gap: 0.95\n")
    return scene.plain()


@attempt(KIND, "a bound left empty in fairprune.yaml", 2)
def empty_setting(scene: Scene) -> Ran:
    (scene.folder / "fairprune.yaml").write_text("max_gap:\n")
    return scene.plain()


@attempt(KIND, "a policy that is not there", 2)
def absent(scene: Scene) -> Ran:
    return scene.plain("--policy", "polcy.yaml")


@attempt(KIND, "a least group that no group has", 4)
def huge_groups(scene: Scene) -> Ran:
    return scene.with_policy("min_group: 1000\nmax_gap: 0.1\n")


@attempt(KIND, "a least group that the bad one does not have", 4, says="dark (60 images)")
def larger_groups(scene: Scene) -> Ran:
    return scene.with_policy("min_group: 61\nmax_gap: 0.1\n")


@attempt(KIND, "lower confidence, which is told beside the verdict", 0, says="at confidence 0.5 instead of 0.95")
def unsure(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    return scene.audit("--max-gap", "0.1", "--confidence", "0.5")


@attempt(KIND, "bare figures, which is told beside the verdict", 0, says="by bare figures without their intervals")
def bare(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    return scene.audit("--max-gap", "0.1", "--point-estimate")


@attempt(KIND, "--dry-run, which judges nothing and says so", 0, says="nothing was computed")
def dry(scene: Scene) -> Ran:
    return scene.plain("--max-gap", "0.1", "--dry-run")
