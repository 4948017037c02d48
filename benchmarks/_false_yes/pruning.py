"""`prune` with gates: what it may not train for, and what it may not say after."""

from __future__ import annotations

from _false_yes.classes import untrained
from _false_yes.scene import GAP, Scene, attempt
from tests.support.commands import Ran

KIND = "pruning"
SHORT = ("--sparsity", "0.3", "--method", "magnitude", "--granularity", "weight", "--epochs", "1", "--attr", "skin")


def pruned(scene: Scene, *arguments: str, bad: int = 60, model: str = "", classes: str = "") -> Ran:
    """One epoch of pruning on the stage's images of train and val, judged on test."""
    others = [
        row | {"skin": ("light", "medium", "dark")[i % 3]}
        for i, row in enumerate(row for row in scene.stage.all_rows if row["split"] != "test")
    ]
    scene.write([*others, *scene.rows(bad=bad)], classes=classes)
    named = model or scene.model
    return scene.fairprune("prune", named, "--data", "manifest.yaml", "--out", "run", *SHORT, *(arguments or GAP))


@attempt(KIND, "nothing hidden: the pruned model fails (control)", 1)
def control(scene: Scene) -> Ran:
    return pruned(scene)


@attempt(KIND, "a dense model at chance level, which is not trained on", 4, says="before training")
def chance_level(scene: Scene) -> Ran:
    ran = pruned(scene, "--max-gap", "0.3", model=untrained(scene))
    return ran if not (scene.folder / "run" / "model.safetensors").exists() else Ran(0, "trained", "")


@attempt(KIND, "29 test images of the bad group", 4, says="dark (29 images)")
def few(scene: Scene) -> Ran:
    return pruned(scene, bad=29)


@attempt(KIND, "the classes of the manifest in another order than the model's", 2, says="neutral, smiling")
def other_classes(scene: Scene) -> Ran:
    return pruned(scene, classes="[smiling, neutral]")


@attempt(KIND, "a policy without a rule", 2, says="policy.yaml")
def no_rule(scene: Scene) -> Ran:
    return pruned(scene, "--policy", scene.policy("confidence: 0.95\n"))


@attempt(KIND, "no gate, which is said beside the figures", 0, says="no gate was asked for")
def no_gate(scene: Scene) -> Ran:
    return pruned(scene, "--seed", "1")


@attempt(KIND, "a sparsity that leaves one answer for all", 4, says="not better than always answering")
def destroyed(scene: Scene) -> Ran:
    last = ("--sparsity", "0.999", "--method", "magnitude-oneshot", "--epochs", "1", "--lr", "0.0000001")
    rows = [row | {"skin": "light"} for row in scene.stage.all_rows if row["split"] != "test"]
    scene.write([*rows, *scene.rows(bad=0)])
    return scene.fairprune(
        "prune", scene.model, "--data", "manifest.yaml", "--out", "run", "--attr", "skin", "--granularity", "weight",
        *last, "--max-gap", "0.3",
    )  # fmt: skip


@attempt(KIND, "--max-churn of a model held against itself", 2, says="same file")
def churn_itself(scene: Scene) -> Ran:
    scene.write(scene.rows())
    return scene.audit("--against", scene.model, "--max-churn", "0.01")


@attempt(KIND, "--max-churn without the dense model", 2, says="dense model")
def churn_alone(scene: Scene) -> Ran:
    return scene.plain("--max-churn", "0.01")


def fresh(scene: Scene) -> str:
    """A model of the same architecture, the dense one to be held against, which was never trained."""
    return untrained(scene, "dense.pt")


@attempt(KIND, "--max-churn against another model", 1, says="max-churn skin")
def churn_other(scene: Scene) -> Ran:
    scene.write(scene.rows())
    return scene.audit("--against", fresh(scene), "--max-churn", "0.05")


@attempt(KIND, "--max-degradation against an untrained model, against which nothing is lost", 4, says="dense model")
def worse_dense(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    return scene.audit("--against", fresh(scene), "--max-degradation", "0.05")


@attempt(KIND, "--max-churn with 29 images of the bad group", 4, says="dark (29 images)")
def churn_small(scene: Scene) -> Ran:
    import torch

    scene.write(scene.rows(bad=29))
    content = torch.load(scene.model, weights_only=True)
    content["state_dict"] = {key: value * 1.0001 if value.is_floating_point() else value
                             for key, value in content["state_dict"].items()}  # fmt: skip
    torch.save(content, scene.folder / "other.pt")
    return scene.audit("--against", "other.pt", "--max-churn", "0.1")


@attempt(KIND, "a run folder of which the report was edited, audited again", 1)
def edited_run(scene: Scene) -> Ran:
    pruned(scene)
    report = scene.folder / "run" / "report.json"
    report.write_text(report.read_text().replace('"fail"', '"pass"'))
    return scene.fairprune("audit", "run", "--data", "manifest.yaml", *GAP)


@attempt(KIND, "the test images of the bad group said to be of train", 2, says="'dark' has no test image")
def moved(scene: Scene) -> Ran:
    rows = scene.rows()
    scene.write([row | {"split": "train"} if row["skin"] == "dark" else row for row in rows])
    return scene.audit(*GAP)
