"""Classes and models of which an equal or a high accuracy says nothing."""

from __future__ import annotations

from _false_yes.scene import GAP, Scene, attempt, flipped
from tests.support.commands import Ran

KIND = "classes"


def untrained(scene: Scene, name: str = "untrained.pt") -> str:
    """A network of the same architecture that was never trained."""
    import torch

    from fairprune_cli.models import architectures
    from fairprune_cli.models.checkpoint.load import save_checkpoint

    torch.manual_seed(0)
    path = scene.folder / name
    model = architectures.build("resnet10-w16", 2, seed=0).eval()
    transform = {"size": 40, "mean": [0.5] * 3, "std": [0.25] * 3}
    save_checkpoint(
        path, model, architecture="resnet10-w16", classes=["neutral", "smiling"], transform=transform, extra={}
    )
    return str(path)


@attempt(KIND, "all labels the other way round: wrong for every group alike", 2, 4)
def reversed_labels(scene: Scene) -> Ran:
    scene.write([flipped(row) for row in scene.rows(bad=0)])
    return scene.audit(*GAP)


@attempt(KIND, "the classes of the manifest in another order than the model's", 2, 4)
def reversed_classes(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0), classes="[smiling, neutral]")
    return scene.audit(*GAP)


@attempt(KIND, "an untrained network, equally bad for all", 4)
def never_trained(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    return scene.fairprune("audit", untrained(scene), "--data", "manifest.yaml", "--max-gap", "0.3")


@attempt(KIND, "test images of one class alone, by accuracy", 2, 4)
def one_class(scene: Scene) -> Ran:
    scene.write([row for row in scene.rows(bad=0) if row["expression"] == "neutral"])
    return scene.audit(*GAP)


@attempt(KIND, "test images of one class alone, by opportunity of the other", 2, 4)
def no_positives(scene: Scene) -> Ran:
    rows = scene.rows(bad=0)
    train = [row | {"split": "train"} for row in rows[:20]]
    scene.write([*train, *(row for row in rows[20:] if row["expression"] == "neutral")])
    return scene.audit(*GAP, "--notion", "opportunity")


@attempt(KIND, "two models of which the second fails", 1)
def second_fails(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    models = (scene.model, untrained(scene))
    return scene.fairprune("audit", *models, "--data", "manifest.yaml", "--min-accuracy", "0.75")


@attempt(KIND, "a model held against itself", 2)
def itself(scene: Scene) -> Ran:
    scene.write(scene.rows())
    return scene.audit("--against", scene.model, "--max-degradation", "0.01")


@attempt(KIND, "a model held against a copy of itself", 2)
def copy(scene: Scene) -> Ran:
    scene.write(scene.rows())
    (scene.folder / "dense.pt").write_bytes(scene.stage.model.read_bytes())
    return scene.audit("--against", "dense.pt", "--max-degradation", "0.01")


@attempt(KIND, "a loss by pruning without the dense model", 2)
def no_dense(scene: Scene) -> Ran:
    return scene.plain("--max-degradation", "0.01")


@attempt(KIND, "a gap of losses without the dense model", 2)
def no_dense_notion(scene: Scene) -> Ran:
    return scene.plain(*GAP, "--notion", "degradation")


@attempt(KIND, "a label that is no class", 2)
def no_class(scene: Scene) -> Ran:
    scene.write([row | {"expression": "angry"} if i == 7 else row for i, row in enumerate(scene.rows())])
    return scene.audit(*GAP)
