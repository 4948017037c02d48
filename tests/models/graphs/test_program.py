"""Programs of torch.export: what they compute is what torch computes, and nothing in the file is run."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.models.checkpoint.load import load_model
from fairprune_cli.models.graphs.load import is_graph, load_graph
from fairprune_cli.models.graphs.network import GraphNetwork

CPU = torch.device("cpu")
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Several(nn.Module):
    """Gives a dict, with a part that records no gradient, sizes that are computed, and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.25), persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            images = (images - self.mean) * torch.tensor([2.0])
        found = self.body(images).relu_()
        found = found.reshape(images.shape[0], 4, -1).mean(-1)
        return {"features": found, "scores": self.head(found).softmax(1)}


def exported(network: nn.Module, path: Path, batch: int | None = None, mode: str = "eval") -> Path:
    network.train(mode == "train")
    shapes = None if batch else ({0: torch.export.Dim("batch", min=1)},)
    torch.export.save(torch.export.export(network, (IMAGES[: batch or 2],), dynamic_shapes=shapes), str(path))
    return path


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return exported(Several(), tmp_path_factory.mktemp("pt2") / "several.pt2")


def opened(path: Path) -> GraphNetwork:
    network = load_graph(path, CPU).model
    assert isinstance(network, GraphNetwork)
    return network


def same(path: Path, network: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected, found = network.eval()(images), opened(path)(images)
    expected, found = (one if isinstance(one, dict) else {"": one} for one in (expected, found))
    assert list(found) == list(expected)
    for key, table in expected.items():
        torch.testing.assert_close(found[key], table)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5", "vit"])
def test_it_computes_what_the_network_does(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    if name == "vit":
        network: nn.Module = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=4)
    else:
        network = getattr(torchvision.models, name)(num_classes=4)
    path = exported(network, tmp_path / "model.pt2")
    for count in (1, 3):
        same(path, network, IMAGES[:count])


def test_dicts_parts_without_gradient_and_constants(several: Path) -> None:
    torch.manual_seed(0)
    same(several, Several(), IMAGES)
    assert opened(several).undoes == {"features": "", "scores": "log"}


def test_images_are_left_as_they_are(tmp_path: Path) -> None:
    class InPlace(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mul_(2).mean((2, 3))

    images = IMAGES.clone()
    opened(exported(InPlace(), tmp_path / "model.pt2"))(images)
    assert torch.equal(images, IMAGES)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_batch_is_filled(batch: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.squeezenet1_1(num_classes=4).eval()
    path = exported(network, tmp_path / "model.pt2", batch)
    assert opened(path).takes.batch == batch
    same(path, network, IMAGES)


def test_training_mode_is_refused(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(1800, 2))
    path = exported(network, tmp_path / "model.pt2", mode="train")
    with pytest.raises(FairpruneError, match="training mode"):
        load_graph(path, CPU)


def test_another_size_is_refused_with_both(tmp_path: Path) -> None:
    network = opened(exported(torchvision.models.squeezenet1_1(num_classes=4), tmp_path / "model.pt2"))
    with pytest.raises(FairpruneError, match=r"32x32 pixels only.*48x32 pixels"):
        network.accept(Transform((48, 32), (0.5,) * 3, (0.25,) * 3), "manifest.yaml")


def changed(path: Path, to: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The archive with another description of the program."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("models/model.json"):
                document = json.loads(data)
                change(document)
                data = json.dumps(document).encode()
            new.writestr(name, data)
    return to


def first_node(document: dict[str, Any]) -> dict[str, Any]:
    return document["graph_module"]["graph"]["nodes"][0]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load", "_operator.methodcaller", "_operator.call", "torch.ops.aten.save.default",
        "torch.ops.aten.from_file.default", "torch.ops.aten._print.default", "torch.ops.other.conv2d.default",
        "torch.ops.aten.__class__.default", "torch.ops.aten.conv2d.__init__", "math.__loader__",
    ],
)  # fmt: skip
def test_other_functions_are_refused(target: str, several: Path, tmp_path: Path) -> None:
    path = changed(several, tmp_path / "other.pt2", lambda document: first_node(document).update(target=target))
    with pytest.raises(FairpruneError, match="none of torch's own") as caught:
        load_graph(path, CPU)
    assert "--predictions" in caught.value.hint


def test_no_text_of_the_file_is_evaluated(several: Path, tmp_path: Path) -> None:
    """Sizes, guards and names, which `torch.export.load` evaluates or makes source code of."""
    mark = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    def poison(document: dict[str, Any]) -> None:
        graph = document["graph_module"]["graph"]
        document["guards_code"] = [code]
        for values in (graph["tensor_values"], graph["sym_int_values"]):
            text = json.dumps(values)
            values.update(json.loads(text.replace('"expr_str": "s', '"expr_str": "' + code + " or s")))
        first_node(document)["metadata"] = {"stack_trace": f"\n{code}\n", "nn_module_stack": code}
        first_node(document)["name"] = f"a\n{code}"

    path = changed(several, tmp_path / "poisoned.pt2", poison)
    opened(path)(IMAGES)
    assert not mark.exists()


def test_pickles_in_it_are_not_read(several: Path, tmp_path: Path) -> None:
    path = tmp_path / "pickled.pt2"
    with zipfile.ZipFile(several) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("_weights_config.json"):
                config = json.loads(data)
                next(iter(config["config"].values()))["use_pickle"] = True
                data = json.dumps(config).encode()
            new.writestr(name, data)
    with pytest.raises(FairpruneError, match="stored as a pickle"):
        load_graph(path, CPU)


def test_what_is_damaged_is_told_in_a_sentence(several: Path, tmp_path: Path) -> None:
    def cut(document: dict[str, Any]) -> None:
        del document["graph_module"]["graph"]["nodes"][0]["inputs"]

    path = changed(several, tmp_path / "damaged.pt2", cut)
    with pytest.raises(FairpruneError, match="not a readable checkpoint"):
        load_graph(path, CPU)


def test_a_checkpoint_is_no_graph(tmp_path: Path) -> None:
    torch.save(Several().state_dict(), tmp_path / "model.pt")
    assert not is_graph(tmp_path / "model.pt")
    (tmp_path / "model.zip").write_bytes(io.BytesIO(b"PK junk").getvalue())
    assert not is_graph(tmp_path / "model.zip")


class Repeated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.conv(images.repeat(1, 1, 13, 1)).mean((2, 3)) + torch.zeros(7, 11).sum()


@pytest.mark.parametrize(("old", "new"), [("[1, 1, 13, 1]", [1, 1, 13 << 30, 1]), ("[7, 11]", [7 << 20, 11 << 20])])
def test_what_an_operator_makes_is_known_before_it_takes_memory(old: str, new: list[int], tmp_path: Path) -> None:
    sound = exported(Repeated(), tmp_path / "sound.pt2")
    assert load_graph(sound, CPU).model(IMAGES).shape[-1] == 2

    def larger(document: dict[str, Any]) -> None:
        nodes = document["graph_module"]["graph"]["nodes"]
        text = json.dumps(nodes)
        assert old in text
        nodes[:] = json.loads(text.replace(old, json.dumps(new)))

    network = load_graph(changed(sound, tmp_path / "large.pt2", larger), CPU).model
    with pytest.raises(FairpruneError, match="graph bytes; at most") as caught:
        network(IMAGES)
    assert "FAIRPRUNE_LIMITS=graph_bytes=" in caught.value.hint


def test_programs_within_programs_are_not_followed(tmp_path: Path) -> None:
    inner = b""
    for _ in range(3):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("serialized_state_dict.pt", inner)
        inner = stream.getvalue()
    (tmp_path / "nested.pt2").write_bytes(inner)
    with pytest.raises(FairpruneError, match="within an exported program"):
        load_model(tmp_path / "nested.pt2")
