from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli import export as exports
from fairprune_cli.core import plugins
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.data.batches.pool import load_images
from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.export.formats import onnx, safetensors
from fairprune_cli.export.job import job_of, largest_difference
from fairprune_cli.export.samples import real_images
from fairprune_cli.models import architectures
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.codec import ModelHeader
from tests.support.heads import InDataclass

HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
TRANSFORM = {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


@dataclass
class Loaded:
    """The part of `checkpoint.LoadedModel` that exports read."""

    model: nn.Module
    source: Path
    architecture: str = "resnet10-w16"
    classes: int = 2
    class_names: tuple[str, ...] | None = None
    transform: dict[str, Any] | None = None
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)

    @property
    def structure(self) -> str:
        return self.architecture


def network(density: float = 0.3) -> tuple[nn.Module, dict[str, Tensor]]:
    """A network in eval mode with zeros, and the masks that made them."""
    model = architectures.build("resnet10-w16", 2, seed=0)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
    masks = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4 and density < 1:
            masks[name] = torch.rand(parameter.shape, generator=generator) < density
            parameter.data *= masks[name]
    return model.eval(), masks


def in_file(path: Path, dtype: torch.dtype = torch.float32) -> Loaded:
    model, masks = network()
    header = ModelHeader("resnet10-w16", ("neutral", "smiling"), TRANSFORM, "weight", {})
    codec.save_model(path, model.to(dtype), header=header, masks=masks)
    return Loaded(codec.load_network(path).float(), path)


@pytest.fixture
def source(tmp_path: Path) -> Loaded:
    return in_file(tmp_path / "model.safetensors")


def test_the_formats_of_the_contract_are_there() -> None:
    formats = plugins.EXPORT_FORMAT.load_all()
    assert {"safetensors", "safetensors-dense", "onnx", "pt2"} <= set(formats)
    assert len({module.SUFFIX for module in formats.values()}) == len(formats)


def test_unknown_format_names_the_nearest(source: Loaded) -> None:
    with pytest.raises(FairpruneError, match="safetensors-dense"):
        exports.export_model(source, "safetensor-dense")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_sparse_to_dense_and_back_gives_the_same_file(tmp_path: Path, dtype: torch.dtype) -> None:
    source = in_file(tmp_path / "model.safetensors", dtype)
    dense = exports.export_model(source, "safetensors-dense")
    assert dense.path == tmp_path / "model-dense.safetensors"
    assert dense.max_difference == 0
    assert dense.bytes == dense.path.stat().st_size > 2 * source.source.stat().st_size
    back = exports.export_model(
        Loaded(codec.load_network(dense.path).float(), dense.path), "safetensors", tmp_path / "back.safetensors"
    )
    assert back.max_difference == 0
    assert back.path.read_bytes() == source.source.read_bytes()
    wanted, masks = codec.read_model(source.source)[0], codec.read_masks(source.source)
    for path in (dense.path, back.path):
        assert codec.read_header(path) == codec.read_header(source.source)
        state = codec.load_network(path).state_dict()
        assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())
        assert all(torch.equal(mask, masks[name]) for name, mask in codec.read_masks(path).items())
    assert json.dumps(back.to_dict())


def test_a_checkpoint_of_unknown_history_is_described_by_what_it_is(tmp_path: Path) -> None:
    model, masks = network()
    job = job_of(Loaded(model, tmp_path / "x.pt", class_names=("no", "yes"), transform=TRANSFORM))
    assert job.header.granularity == "weight"
    assert job.header.classes == ("no", "yes")
    assert job.shape == ImageShape(3, 32, 32)
    assert job.masks.keys() == masks.keys()
    name = next(iter(masks))
    assert torch.equal(job.masks[name], masks[name])
    assert job.header.removed[name] == {"shape": list(masks[name].shape), "kept": int(masks[name].sum())}

    dense = job_of(Loaded(network(1.0)[0], tmp_path / "x.pt"), 64)
    assert (dense.header.granularity, dense.header.removed, dense.masks) == ("dense", {}, {})
    assert dense.header.classes == ("0", "1")
    assert dense.header.transform == {}
    assert dense.shape == ImageShape(3, 64, 64)


def test_a_checkpoint_in_half_precision_keeps_its_dtype(tmp_path: Path) -> None:
    model = network()[0].half()
    loaded = Loaded(model, tmp_path / "x.pt", transform=TRANSFORM)
    result = exports.export_model(loaded, "safetensors")
    assert result.max_difference == 0
    state = codec.read_model(result.path)[0]
    assert state["fc.weight"].dtype == torch.float16
    assert next(loaded.model.parameters()).dtype == torch.float16


def test_what_is_no_number_is_no_agreement(source: Loaded) -> None:
    job = job_of(source)
    difference, _ = largest_difference(job, lambda images: job.reference(images) * float("nan"))
    assert difference == float("inf")


def without_channels(model: nn.Module) -> nn.Module:
    """Without the second half of the channels inside its first block."""
    block = next(module for module in model.modules() if hasattr(module, "conv2") and hasattr(module, "bn1"))
    half = block.conv1.out_channels // 2
    block.conv1.weight = nn.Parameter(block.conv1.weight[:half].detach().clone())
    block.conv2.weight = nn.Parameter(block.conv2.weight[:, :half].detach().clone())
    block.conv1.out_channels = block.conv2.in_channels = block.bn1.num_features = half
    for name in ("weight", "bias"):
        setattr(block.bn1, name, nn.Parameter(getattr(block.bn1, name)[:half].detach().clone()))
    block.bn1.running_mean, block.bn1.running_var = (
        block.bn1.running_mean[:half],
        block.bn1.running_var[:half],
    )
    return model


@pytest.mark.parametrize("to", ["safetensors", "safetensors-dense", "pt2"])
def test_removed_channels_stay_removed(tmp_path: Path, to: str) -> None:
    model = without_channels(network(1.0)[0])
    result = exports.export_model(
        Loaded(model, tmp_path / "small.pt", transform=TRANSFORM), to, tmp_path / f"small.{to}"
    )
    assert result.max_difference < 1e-5
    if to != "pt2":
        header = codec.read_header(result.path)
        assert header.granularity == "channel"
        assert any(entry["shape"][0] == 2 * entry["kept"] for entry in header.removed.values())
        assert codec.read_masks(result.path) == {}


def test_pt2_runs_without_the_models_code_at_any_batch(source: Loaded) -> None:
    result = exports.export_model(source, "pt2")
    assert result.path.name == "model.pt2"
    files = {"fairprune.json": ""}
    graph = torch.export.load(result.path, extra_files=files).module()
    for batch in (1, 2, 7):
        images = torch.randn(batch, 3, 32, 32)
        with torch.no_grad():
            assert torch.allclose(graph(images), source.model(images), atol=1e-5)
    assert json.loads(json.loads(files["fairprune.json"])["transform"]) == TRANSFORM


def test_graphs_of_half_precision_models_compute_in_float32(tmp_path: Path) -> None:
    source = in_file(tmp_path / "model.safetensors", torch.bfloat16)
    result = exports.export_model(source, "pt2")
    assert result.max_difference < 1e-5
    assert torch.export.load(result.path).module()(torch.randn(1, 3, 32, 32)).dtype == torch.float32


@pytest.mark.skipif(not HAS_ONNX, reason="the extra onnx is not installed")
def test_onnx_runs_at_any_batch_and_knows_its_input(source: Loaded, capsys: pytest.CaptureFixture) -> None:
    import onnxruntime

    result = exports.export_model(source, "onnx")
    assert capsys.readouterr().out == ""
    assert 0 <= result.max_difference < 1e-4
    session = onnxruntime.InferenceSession(str(result.path), providers=["CPUExecutionProvider"])
    for batch in (1, 2, 7):
        images = torch.randn(batch, 3, 32, 32)
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        with torch.no_grad():
            assert torch.allclose(torch.from_numpy(logits), source.model(images), atol=1e-4)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["fairprune.transform"]) == TRANSFORM
    assert json.loads(metadata["fairprune.classes"]) == ["neutral", "smiling"]
    assert [file.name for file in result.path.parent.iterdir() if file.suffix == ".data"] == []


def test_onnx_without_its_extra_says_what_to_install(source: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FairpruneError, match="pip install onnx onnxscript onnxruntime"):
        exports.export_model(source, "onnx")
    assert not source.source.with_name("model.onnx").exists()


def test_a_model_that_cannot_be_traced_is_an_error(tmp_path: Path, source: Loaded) -> None:
    class Stubborn(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(images) * (1 if float(images.sum()) > 0 else 2)

    loaded = Loaded(Stubborn(source.model), tmp_path / "x.pt", transform=TRANSFORM)
    with pytest.raises(FairpruneError, match="cannot trace"):
        exports.export_model(loaded, "pt2")
    if HAS_ONNX:
        with pytest.raises(FairpruneError, match=r"cannot express .*data-dependent") as caught:
            exports.export_model(loaded, "onnx")
        assert caught.value.what.isprintable()
    assert list(tmp_path.iterdir()) == [source.source]


@pytest.mark.parametrize("to", ["pt2", pytest.param("onnx", marks=pytest.mark.skipif(not HAS_ONNX, reason="no onnx"))])
def test_a_dataclass_of_outputs_is_a_dict_of_them_in_a_graph(tmp_path: Path, to: str) -> None:
    model = InDataclass().eval()
    name = "tests.support.heads:InDataclass"
    torch.save(model.state_dict(), tmp_path / "x.pt")
    done = exports.export_model(Loaded(model, tmp_path / "x.pt", name, 0, transform=TRANSFORM), to)
    job = job_of(Loaded(model, tmp_path / "x.pt", name, 0, transform=TRANSFORM))
    images = job.images(2)
    found = plugins.EXPORT_FORMAT.load(to).reload(job, done.path)(images)
    expected = model(images)
    given = found if isinstance(found, list) else [found["hidden"], found["logits"]]
    assert torch.allclose(given[0], expected.hidden, atol=1e-5)
    assert torch.allclose(given[1], expected.logits, atol=1e-5)


@pytest.mark.parametrize("wrong", ["tensor", "logits"])
def test_a_file_that_gives_other_results_is_not_kept(
    source: Loaded, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    to = "safetensors" if wrong == "tensor" else "pt2"
    module: ModuleType = plugins.EXPORT_FORMAT.load(to)
    original = module.write

    def write(job: Any, path: Path) -> None:
        other = architectures.build("resnet10-w16", 2, seed=3).eval()
        original(replace(job, model=other, reference=other, masks={}), path)

    monkeypatch.setattr(module, "write", write)
    word = "give back" if wrong == "tensor" else "other results"
    with pytest.raises(FairpruneError, match=word) as caught:
        exports.export_model(source, to)
    assert caught.value.code == ExitCode.RUNTIME
    assert list(source.source.parent.iterdir()) == [source.source]


def test_nothing_is_replaced_unasked(source: Loaded, tmp_path: Path) -> None:
    before = source.source.read_bytes()
    with pytest.raises(FairpruneError, match="own source"):
        exports.export_model(source, "safetensors-dense", source.source, force=True)
    taken = tmp_path / "model-dense.safetensors"
    taken.write_text("mine")
    for out in (None, taken):
        with pytest.raises(FairpruneError, match="--force"):
            exports.export_model(source, "safetensors-dense", out)
    assert taken.read_text() == "mine"
    exports.export_model(source, "safetensors-dense", force=True)
    assert codec.is_model_file(taken)
    with pytest.raises(FairpruneError, match="folder"):
        exports.export_model(source, "safetensors-dense", tmp_path, force=True)
    assert source.source.read_bytes() == before


def test_wrong_image_size_is_an_error(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    architecture = f"{__name__}:flat"
    with pytest.raises(FairpruneError, match="224x224"):
        exports.export_model(Loaded(model, tmp_path / "x.pt", architecture), "safetensors")
    result = exports.export_model(Loaded(model, tmp_path / "x.pt", architecture), "safetensors", input_size=8)
    assert result.max_difference == 0


def flat(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, num_classes))


def test_export_of_a_checkpoint_and_of_a_run_folder(tmp_path: Path) -> None:
    model, masks = network()
    checkpoint = tmp_path / "net.pt"
    torch.save({"state_dict": {f"module.{name}": t for name, t in model.state_dict().items()}}, checkpoint)
    sparse = exports.export(checkpoint, "safetensors", input_size=32)
    assert sparse.path == tmp_path / "net-sparse.safetensors"
    assert sparse.bytes < 0.5 * checkpoint.stat().st_size
    state = codec.load_network(sparse.path).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    run = tmp_path / "run"
    run.mkdir()
    sparse.path.rename(run / "model.safetensors")
    dense = exports.export(run, "safetensors-dense", input_size=32)
    assert dense.path == run / "model-dense.safetensors"
    assert {name: int(mask.sum()) for name, mask in codec.read_masks(dense.path).items()} == {
        name: int(mask.sum()) for name, mask in masks.items()
    }


def test_the_sparse_format_checks_every_tensor(source: Loaded, tmp_path: Path) -> None:
    job = job_of(source)
    path = tmp_path / "other.safetensors"
    state = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    state["fc.bias"][0] += 1e-6
    codec.save_model(path, state, header=job.header, masks=job.masks)
    with pytest.raises(FairpruneError, match=r"fc\.bias"):
        safetensors.reload(job, path)


@pytest.mark.parametrize("to", ["pt2", "safetensors"])
def test_files_are_compared_on_images_of_a_manifest_too(tmp_path: Path, to: str, source: Loaded) -> None:
    manifest = load_manifest(write_sample(tmp_path / "faces", sizes={"train": 8, "val": 8, "test": 40}))
    result = exports.export_model(source, to, tmp_path / "out", manifest=manifest)
    assert result.real_images == min(32, len(manifest.rows_of("test")))
    assert exports.export_model(source, to, tmp_path / "again").real_images == 0


def test_real_images_are_what_an_audit_reads(tmp_path: Path) -> None:
    manifest = load_manifest(write_sample(tmp_path / "faces", sizes={"train": 8, "val": 8, "test": 40}))
    images = real_images(manifest, manifest.transform, 3)
    pool = load_images(manifest, ()).pool(manifest.rows_of("test"))
    batch = next(iter(pool.batches(len(pool), "cpu"))).images
    assert torch.equal(images, batch[[0, round((len(pool) - 1) / 2), len(pool) - 1]])


def test_an_image_that_is_gone_is_named(tmp_path: Path, source: Loaded) -> None:
    manifest = load_manifest(write_sample(tmp_path / "faces", sizes={"train": 8, "val": 8, "test": 40}))
    lost = manifest.files[manifest.rows_of("test")[0]]
    (manifest.images / lost).unlink()
    with pytest.raises(FairpruneError, match="does not exist") as caught:
        exports.export_model(source, "pt2", tmp_path / "out.pt2", manifest=manifest)
    assert lost in str(caught.value)
    assert not (tmp_path / "out.pt2").exists()
