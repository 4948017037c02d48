"""Files of .onnx and .pt2 that are not what they look like."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _false_yes.scene import GAP, Scene, Stage, attempt
from tests.support.commands import Ran, fairprune

KIND = "graphs"
NEEDS = ("onnx", "onnxruntime", "onnxscript")
HAS_ONNX = all(importlib.util.find_spec(name) for name in NEEDS)


def exported(stage: Stage, form: str) -> Path:
    """The stage's model as .onnx or .pt2, made once."""
    path = stage.folder / f"model.{form}"
    with stage.making:
        if not path.exists():
            ran = fairprune("export", "model.pt", "--to", form, "--out", path.name, "--quiet", cwd=stage.folder)
            if ran.code:
                raise SystemExit(ran.err)
    return path


def onnx(scene: Scene, change: Callable[[Any], None], name: str = "model.onnx") -> str:
    """A copy of the ONNX file with something in it changed."""
    import onnx as library

    model = library.load(exported(scene.stage, "onnx"))
    change(model)
    library.save(model, scene.folder / name)
    return name


def copied(scene: Scene, form: str, name: str, share: float = 1.0) -> str:
    content = exported(scene.stage, form).read_bytes()
    (scene.folder / name).write_bytes(content[: int(len(content) * share)])
    return name


def judged(scene: Scene, name: str, *more: str) -> Ran:
    return scene.fairprune("audit", name, "--data", "manifest.yaml", "--out", "out", *(more or GAP))


def bare(model: Any) -> None:
    """Without what fairprune wrote of classes and transform."""
    del model.metadata_props[:]


def head(model: Any) -> tuple[Any, Any]:
    """Weights and bias of the last layer."""
    last = [node for node in model.graph.node if node.op_type == "Gemm"][-1]
    named = {one.name: one for one in model.graph.initializer}
    return named[last.input[1]], named[last.input[2]]


def with_weights(change: Callable[[Any], Any]) -> Callable[[Any], None]:
    """A change of the last layer's weights and bias, each a numpy array [2, ...]."""

    def run(model: Any) -> None:
        from onnx import numpy_helper

        for one in head(model):
            one.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(one).copy()), one.name))

    return run


def in_metadata(key: str, change: Callable[[Any], Any]) -> Callable[[Any], None]:
    """A change of one of the values that fairprune wrote into the file."""

    def run(model: Any) -> None:
        found = next(prop for prop in model.metadata_props if prop.key == f"fairprune.{key}")
        found.value = json.dumps(change(json.loads(found.value)))

    return run


if HAS_ONNX:

    @attempt(KIND, "ONNX with nothing hidden (control)", 1)
    def control_onnx(scene: Scene) -> Ran:
        scene.write(scene.rows())
        return judged(scene, copied(scene, "onnx", "model.onnx"))

    @attempt(KIND, "ONNX whose file has the classes in another order than the manifest", 2, says="classes")
    def other_classes(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0), classes="[smiling, neutral]")
        return judged(scene, copied(scene, "onnx", "model.onnx"))

    @attempt(KIND, "the same, without what the file says of classes", 4, says="With the classes in reverse")
    def silent_classes(scene: Scene) -> Ran:
        size = "transform: {size: 40, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n"
        scene.write(scene.rows(bad=0), classes="[smiling, neutral]", more=size)
        return judged(scene, onnx(scene, bare))

    @attempt(KIND, "ONNX whose last layer has its rows swapped", 4, says="With the classes in reverse")
    def swapped_rows(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        return judged(scene, onnx(scene, with_weights(lambda values: values[::-1].copy())))

    @attempt(KIND, "ONNX whose last layer is zero", 4, says="not better than always answering")
    def zero_weights(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        return judged(scene, onnx(scene, with_weights(lambda values: values * 0)), "--max-gap", "0.3")

    @attempt(KIND, "ONNX whose last layer is no number", 2, 3)
    def nan_weights(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        return judged(scene, onnx(scene, with_weights(lambda values: values * float("nan"))))

    @attempt(KIND, "ONNX for images of another size than the manifest's", 2, says="40")
    def other_size(scene: Scene) -> Ran:
        more = "transform: {size: 64, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}\n"
        scene.write(scene.rows(bad=0), more=more)
        return judged(scene, onnx(scene, bare))

    @attempt(KIND, "ONNX whose file names a mean that is far off", 4, says="not better than always answering")
    def far_mean(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        return judged(
            scene,
            onnx(scene, in_metadata("transform", lambda old: old | {"mean": [5.0, 5.0, 5.0]})),
            "--max-gap",
            "0.3",
        )

    @attempt(KIND, "half of an ONNX file", 2)
    def half_onnx(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        return judged(scene, copied(scene, "onnx", "model.onnx", 0.5))

    @attempt(KIND, "an ONNX file without its last byte", 2)
    def short_onnx(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        return judged(scene, copied(scene, "onnx", "model.onnx", 0.99999))

    @attempt(KIND, "an empty ONNX file", 2)
    def empty_onnx(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        return judged(scene, copied(scene, "onnx", "model.onnx", 0.0))

    @attempt(KIND, "an ONNX file called .pt2", 2)
    def onnx_as_pt2(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        return judged(scene, copied(scene, "onnx", "model.pt2"))

    @attempt(KIND, "an ONNX file called .pt", 2)
    def onnx_as_pt(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        return judged(scene, copied(scene, "onnx", "model2.pt"))

    @attempt(KIND, "a .pt2 called .onnx", 2)
    def pt2_as_onnx(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        return judged(scene, copied(scene, "pt2", "model.onnx"))

    @attempt(KIND, "a checkpoint called .onnx", 2)
    def pt_as_onnx(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        (scene.folder / "model.onnx").write_bytes(scene.stage.model.read_bytes())
        return judged(scene, "model.onnx")

    @attempt(KIND, "ONNX held against a copy of itself, by losses", 2, says="same file")
    def copy_onnx(scene: Scene) -> Ran:
        scene.write(scene.rows())
        names = copied(scene, "onnx", "a.onnx"), copied(scene, "onnx", "b.onnx")
        return judged(scene, names[0], "--against", names[1], "--max-degradation", "0.01")

    @attempt(KIND, "ONNX held against another spelling of itself, by churn", 2)
    def link_onnx(scene: Scene) -> Ran:
        scene.write(scene.rows())
        copied(scene, "onnx", "a.onnx")
        (scene.folder / "b.onnx").symlink_to("a.onnx")
        return judged(scene, "a.onnx", "--against", "b.onnx", "--max-churn", "0.01")

    @attempt(KIND, "a good ONNX beside one that fails", 1)
    def second_fails(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=0))
        good = copied(scene, "onnx", "good.onnx")
        bad = onnx(scene, with_weights(lambda values: values * 0), "bad.onnx")
        return judged(scene, good, bad, "--min-accuracy", "0.75")

    @attempt(KIND, "29 images of the bad group, ONNX", 4, says="dark (29 images)")
    def few_onnx(scene: Scene) -> Ran:
        scene.write(scene.rows(bad=29))
        return judged(scene, copied(scene, "onnx", "model.onnx"))


@attempt(KIND, ".pt2 with nothing hidden (control)", 1)
def control_pt2(scene: Scene) -> Ran:
    scene.write(scene.rows())
    return judged(scene, copied(scene, "pt2", "model.pt2"))


@attempt(KIND, ".pt2 whose file has the classes in another order than the manifest", 2, says="classes")
def other_classes_pt2(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0), classes="[smiling, neutral]")
    return judged(scene, copied(scene, "pt2", "model.pt2"))


@attempt(KIND, "half of a .pt2", 2)
def half_pt2(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    return judged(scene, copied(scene, "pt2", "model.pt2", 0.5))


@attempt(KIND, "a .pt2 of which weights were changed in the archive", 2)
def spoilt_pt2(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    content = bytearray(exported(scene.stage, "pt2").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    (scene.folder / "model.pt2").write_bytes(content)
    return judged(scene, "model.pt2")


@attempt(KIND, "a .pt2 that lacks a part", 2)
def without_a_part(scene: Scene) -> Ran:
    scene.write(scene.rows(bad=0))
    with zipfile.ZipFile(exported(scene.stage, "pt2")) as old, zipfile.ZipFile(scene.folder / "m.pt2", "w") as new:
        for name in old.namelist():
            if "weight" not in name:
                new.writestr(name, old.read(name))
    return judged(scene, "m.pt2")


@attempt(KIND, "a checkpoint called .pt2, which is read as what it is", 1)
def pt_as_pt2(scene: Scene) -> Ran:
    scene.write(scene.rows())
    (scene.folder / "model.pt2").write_bytes(scene.stage.model.read_bytes())
    return judged(scene, "model.pt2")


@attempt(KIND, "a .pt2 called .pt, which is read as what it is", 1)
def pt2_as_pt(scene: Scene) -> Ran:
    scene.write(scene.rows())
    return judged(scene, copied(scene, "pt2", "model2.pt"))


@attempt(KIND, "a .pt2 held against a copy of itself, by losses", 2, says="same file")
def copy_pt2(scene: Scene) -> Ran:
    scene.write(scene.rows())
    names = copied(scene, "pt2", "a.pt2"), copied(scene, "pt2", "b.pt2")
    return judged(scene, names[0], "--against", names[1], "--max-degradation", "0.01")
