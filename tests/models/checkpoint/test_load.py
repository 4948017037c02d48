from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import json
import random
import struct
import sys
import textwrap
import types
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.contents import read_contents
from fairprune_cli.models.checkpoint.load import load_model, save_checkpoint
from fairprune_cli.models.checkpoint.weight_tables import WRAPPERS

MODELS = {name: architectures.build(name, 3, seed=1).eval() for name in ("resnet10-w16", "resnet10", "mobilenet_v2")}
SMALL = MODELS["resnet10-w16"]


def same(model: nn.Module, other: nn.Module) -> bool:
    first, second = model.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def nested(content: Any, wrapper: str) -> dict[str, Any]:
    return {"epoch": 3, wrapper: content, "optimizer": {"state": {0: {"momentum": torch.ones(4)}}}}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "backbone.", "module._orig_mod.model."])
@pytest.mark.parametrize("wrapper", ["", *WRAPPERS])
@pytest.mark.parametrize("name", ["resnet10", "mobilenet_v2"])
def test_every_wrapping_and_prefix(tmp_path: Path, name: str, wrapper: str, prefix: str) -> None:
    state: Any = OrderedDict((prefix + key, value) for key, value in MODELS[name].state_dict().items())
    path = saved(tmp_path / "a.pt", nested(state, wrapper) if wrapper else state)
    loaded = load_model(path)
    assert (loaded.architecture, loaded.classes, loaded.trusted) == (name, 3, False)
    assert same(loaded.model, MODELS[name])
    assert not loaded.model.training
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.metadata == {}
    assert [w["text"] for w in loaded.warnings] == ["the averaged weights (EMA) under 'ema' are used"] * (
        wrapper == "ema"
    )


def test_the_order_of_the_wrappers(tmp_path: Path) -> None:
    states = {key: {"fc.weight": torch.full((2, 2), float(i))} for i, key in enumerate(WRAPPERS)}
    for i, _ in enumerate(WRAPPERS):
        path = saved(tmp_path / f"{i}.pt", dict(list(states.items())[i:][::-1]))
        assert read_contents(path, trust=False).state["fc.weight"][0, 0] == i


@pytest.mark.parametrize("legacy", [False, True])
def test_training_extras_do_not_stop_the_weights(tmp_path: Path, legacy: bool) -> None:
    content = {
        "epoch": np.int64(3),
        "best": np.float32(0.5),
        "args": argparse.Namespace(lr=0.1, where=Path("/x")),
        "history": defaultdict(list, loss=[0.1, 0.2]),
        "optimizer": torch.optim.SGD(SMALL.parameters(), lr=0.1).state_dict(),
        "state_dict": SMALL.state_dict(),
    }
    path = saved(tmp_path / "a.pth", content, _use_new_zipfile_serialization=not legacy)
    assert same(load_model(path).model, SMALL)


def test_averaged_and_parallel_models(tmp_path: Path) -> None:
    averaged = torch.optim.swa_utils.AveragedModel(SMALL)
    assert same(load_model(saved(tmp_path / "a.pt", {"ema": averaged.state_dict()})).model, SMALL)
    assert same(load_model(saved(tmp_path / "b.pt", nn.DataParallel(SMALL))).model, SMALL)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrapper", ["", "model"])
def test_whole_modules_are_read_without_their_class(tmp_path: Path, legacy: bool, wrapper: str) -> None:
    gone = types.ModuleType("gone_xyz")
    exec(
        "from fairprune_cli.models.architectures.families.resnet import SmallImageResNet\n"
        "class Net(SmallImageResNet): pass",
        gone.__dict__,
    )
    sys.modules["gone_xyz"] = gone
    try:
        model = gone.Net((1, 1, 1, 1), 16, 3)
        model.register_buffer("scratch", torch.ones(2), persistent=False)
        path = saved(
            tmp_path / "a.pt",
            {"model": model} if wrapper else model,
            _use_new_zipfile_serialization=not legacy,
        )
    finally:
        del sys.modules["gone_xyz"]
    loaded = load_model(path)
    assert same(loaded.model, model)
    assert type(loaded.model) is type(SMALL)
    assert "gone_xyz" not in sys.modules


class Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.canary)!r}, 'w').close()",)


def test_hidden_code_never_runs_unless_trusted(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = saved(tmp_path / "a.pt", {"state_dict": SMALL.state_dict(), "args": Evil(canary)})
    assert same(load_model(path).model, SMALL)
    assert not canary.exists()
    trusted = load_model(path, trust=True)
    assert canary.exists()  # the code is real
    assert trusted.trusted
    assert [warning["code"] for warning in trusted.warnings] == ["trusted-checkpoint"]


class Doubled(nn.Module):
    """Tensors of a resnet10-w16, another forward."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__.update(architectures.build("resnet10-w16", 3, seed=1).__dict__)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * type(SMALL)._forward_impl(self, x)


def test_a_trusted_module_keeps_its_own_forward(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"model": nn.DataParallel(Doubled().half())})
    images = torch.randn(2, 3, 32, 32)
    loaded = load_model(path, trust=True)
    with torch.no_grad():
        own, plain = loaded.model(images), load_model(path).model(images)
    assert torch.allclose(own, 2 * plain, atol=1e-6)
    assert (loaded.architecture, loaded.classes, loaded.trusted) == (f"{__name__}:Doubled", 0, True)
    assert isinstance(loaded.structure, Doubled)


def test_a_trusted_module_of_no_known_architecture(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    loaded = load_model(saved(tmp_path / "a.pt", net), trust=True)
    assert loaded.classes == 0  # nobody is asked for a number; it is run to see its outputs
    assert loaded.architecture.endswith(":Sequential")
    with pytest.raises(FairpruneError, match="architecture cannot be told"):
        load_model(tmp_path / "a.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_other_precisions_become_float32(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in SMALL.state_dict().items()}
    path = tmp_path / f"a{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = load_model(path)
    assert all(p.dtype == torch.float32 for p in loaded.model.parameters())
    assert torch.equal(loaded.model.fc.weight, state["fc.weight"].float())
    assert loaded.warnings[0]["code"] == "checkpoint-converted"
    assert loaded.dtypes == {name: tensor.dtype for name, tensor in state.items()}


def test_the_number_format_of_each_tensor_is_remembered_under_its_name_in_the_model(tmp_path: Path) -> None:
    mixed = {key: tensor.half() if key.startswith("fc.") else tensor for key, tensor in SMALL.state_dict().items()}
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in mixed.items()}}, tmp_path / "a.pt")
    assert load_model(tmp_path / "a.pt").dtypes == {key: tensor.dtype for key, tensor in mixed.items()}
    torch.save(copy.deepcopy(SMALL).to(torch.bfloat16), tmp_path / "whole.pt")
    for trust in (False, True):
        dtypes = load_model(tmp_path / "whole.pt", trust=trust).dtypes
        assert set(dtypes) == set(mixed)
        assert dtypes["conv1.weight"] == dtypes["bn1.running_var"] == torch.bfloat16


def test_missing_batch_counters_are_filled(tmp_path: Path) -> None:
    state = {k: v for k, v in SMALL.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert same(load_model(saved(tmp_path / "a.pt", state)).model, SMALL)


def test_channels_last_shared_and_sliced_tensors(tmp_path: Path) -> None:
    state = dict(SMALL.state_dict())
    state["conv1.weight"] = state["conv1.weight"].to(memory_format=torch.channels_last)
    state["bn1.weight"] = torch.stack([state["bn1.weight"], torch.zeros(16)], 1)[:, 0]
    state["layer1.0.bn1.bias"] = state["layer1.0.bn2.bias"] = state["bn1.bias"]
    loaded = load_model(saved(tmp_path / "a.pt", state)).model
    assert same(loaded, SMALL)
    places = [tensor.data_ptr() for tensor in loaded.state_dict().values()]
    assert len(set(places)) == len(places)
    assert all(tensor.is_contiguous() for tensor in loaded.state_dict().values())


def test_masks_of_torch_prune_are_multiplied_in(tmp_path: Path) -> None:
    import torch.nn.utils.prune as prune

    model = architectures.build("resnet10-w16", 3, seed=2)
    prune.l1_unstructured(model.layer2[0].conv1, "weight", 0.5)
    for content in (model, model.state_dict()):
        loaded = load_model(saved(tmp_path / "a.pt", content))
        assert torch.equal(loaded.model.layer2[0].conv1.weight, model.layer2[0].conv1.weight)
        assert int((loaded.model.layer2[0].conv1.weight == 0).sum()) == loaded.model.layer2[0].conv1.weight.numel() // 2
        assert "torch.nn.utils.prune" in loaded.warnings[0]["text"]


def test_safetensors_and_exported_programs(tmp_path: Path) -> None:
    save_file(SMALL.state_dict(), tmp_path / "a.safetensors")
    assert same(load_model(tmp_path / "a.safetensors").model, SMALL)
    program = torch.export.export(SMALL, (torch.zeros(2, 3, 32, 32),))
    torch.export.save(program, tmp_path / "a.pt2")
    assert same(load_model(tmp_path / "a.pt2").model, SMALL)


def test_exported_programs_of_older_versions(tmp_path: Path) -> None:
    torch.save(SMALL.state_dict(), tmp_path / "inner.pt")
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.write(tmp_path / "inner.pt", "serialized_state_dict.pt")
    assert same(load_model(tmp_path / "a.pt2").model, SMALL)


# --- our own files ------------------------------------------------------------------------------------------


def test_own_model_files_and_run_folders(tmp_path: Path) -> None:
    from fairprune_cli.models.file.codec import ModelHeader, save_model

    transform = {"size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    narrow = type(SMALL)((1, 1, 1, 1), 8, 3).eval()
    header = ModelHeader("resnet10-w16", ("a", "b", "c"), transform, "channel", {})
    save_model(tmp_path / "model.safetensors", narrow, header=header)
    loaded = load_model(tmp_path)
    assert same(loaded.model, narrow)
    assert (loaded.architecture, loaded.classes, loaded.class_names) == ("resnet10-w16", 3, ("a", "b", "c"))
    assert loaded.source == tmp_path / "model.safetensors"
    assert loaded.metadata["granularity"] == "channel"
    assert loaded.transform == transform
    assert loaded.dtypes == {name: tensor.dtype for name, tensor in narrow.state_dict().items()}


def test_an_own_file_that_names_code_is_not_followed(tmp_path: Path) -> None:
    from fairprune_cli.models.file.codec import ModelHeader, save_model

    header = ModelHeader(
        "fairprune_cli.models.architectures.families.resnet:resnet10_w16", ("a", "b", "c"), {}, "dense", {}
    )
    save_model(tmp_path / "m.safetensors", SMALL, header=header)
    with pytest.raises(FairpruneError, match="no reason to import code"):
        load_model(tmp_path / "m.safetensors")
    assert same(load_model(tmp_path / "m.safetensors", arch=header.architecture).model, SMALL)


def test_an_own_file_with_another_number_of_outputs(tmp_path: Path) -> None:
    from fairprune_cli.models.file.codec import ModelHeader, save_model

    header = ModelHeader("resnet10-w16", ("a", "b"), {}, "dense", {})
    save_model(tmp_path / "m.safetensors", SMALL, header=header)
    with pytest.raises(FairpruneError, match="2 classes"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": tuple(map(str, range(16)))}, "names 16 classes, the network has 3 outputs"),  # 16: of a layer
        ({"removed": {"conv1.weight": 5}}, "removed of 'conv1.weight'"),
        ({"removed": {"conv1.weight": {"shape": [16, -3], "kept": 1}}}, "removed of 'conv1.weight'"),
        ({"removed": {"conv1.weight": {"shape": [2, 2], "kept": 5}}}, "keeps 5 of 4"),
        ({"transform": {"size": 20000, "mean": [0.5] * 3, "std": [0.25] * 3}}, "from 8 to 4096, found 20000"),
    ],
)
def test_a_header_that_lies_is_refused_by_whatever_reads_the_file(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    import fairprune_cli
    from fairprune_cli.models.file.codec import ModelHeader, save_model

    header = replace(ModelHeader("resnet10-w16", ("a", "b", "c"), {}, "dense", {}), **change)
    save_model(tmp_path / "m.safetensors", SMALL, header=header)
    for read in (load_model, fairprune_cli.load):
        with pytest.raises(FairpruneError, match=words) as caught:
            read(tmp_path / "m.safetensors")
        assert "m.safetensors" in str(caught.value)


def test_saved_checkpoints_come_back_whole(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "architecture": "resnet10-w16",
        "classes": ["a", "b", "c"],
        "transform": {"size": 32, "mean": (0.5, 0.5, 0.5)},
        "extra": {"epoch": 4},
    }
    save_checkpoint(tmp_path / "new" / "a.pt", SMALL, **options)
    save_checkpoint(tmp_path / "b.pt", SMALL, **options)
    assert (tmp_path / "new" / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    plain = torch.load(tmp_path / "b.pt", weights_only=True)
    assert plain["architecture"] == "resnet10-w16"
    loaded = load_model(tmp_path / "b.pt")
    assert same(loaded.model, SMALL)
    assert loaded.class_names == ("a", "b", "c")
    assert loaded.transform == {"size": 32, "mean": [0.5, 0.5, 0.5]}
    assert loaded.extra == {"epoch": 4}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.pt", "new"]


def test_a_checkpoint_holds_plain_values_only(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="float64"):
        save_checkpoint(
            tmp_path / "a.pt", SMALL, architecture="x", classes=[], transform={}, extra={"a": np.float64(1)}
        )
    assert list(tmp_path.iterdir()) == []


def test_what_a_checkpoint_says_of_its_architecture_must_fit(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", SMALL, architecture="resnet50", classes=["a"] * 2, transform={})
    loaded = load_model(tmp_path / "a.pt")
    assert (loaded.architecture, loaded.class_names) == ("resnet10-w16", None)
    vgg = architectures.build("squeezenet1_1", 2, seed=0)
    save_checkpoint(tmp_path / "b.pt", vgg, architecture="squeezenet1_1", classes=["a", "b"], transform={})
    assert load_model(tmp_path / "b.pt").architecture == "squeezenet1_1"


# --- --arch -------------------------------------------------------------------------------------------------


def test_arch_overrides_and_must_fit(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", SMALL.state_dict())
    assert load_model(path, arch="resnet10-w16").classes == 3
    with pytest.raises(FairpruneError) as caught:
        load_model(path, arch="resnet18")
    assert "its tensors are those of resnet10-w16, and do not fit resnet18" in str(caught.value)
    assert "give --arch resnet10-w16" in caught.value.hint
    with pytest.raises(FairpruneError, match="no architecture 'resnet11'"):
        load_model(path, arch="resnet11")


def test_arch_of_ones_own_with_names_that_look_like_a_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    from torch import nn
    class Net(nn.Module):
        def __init__(self, num_classes=2):
            super().__init__()
            self.backbone = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, num_classes))
        def forward(self, x):
            return self.backbone(x)
    def fixed(): return Net(4)
    """
    (tmp_path / "own_prefix_xyz.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_prefix_xyz  # type: ignore[import-not-found]

    for name, classes in (("Net", 6), ("fixed", 4)):
        model = own_prefix_xyz.Net(classes)
        for content in (model.state_dict(), nn.DataParallel(model).state_dict()):
            loaded = load_model(saved(tmp_path / "a.pt", content), arch=f"own_prefix_xyz:{name}")
            assert same(loaded.model, model)
            assert loaded.classes == (classes if name == "Net" else 0)  # where nobody asks for a number
    loaded = load_model(saved(tmp_path / "a.pt", own_prefix_xyz.Net(1).state_dict()), arch="own_prefix_xyz:fixed")
    (warning,) = loaded.warnings
    assert "has 1 of the 4 outputs of own_prefix_xyz:fixed's last layer, backbone.2" in warning["text"]
    # A pickled network of the very class that the factory builds is no other network.
    assert load_model(saved(tmp_path / "a.pt", own_prefix_xyz.Net(4)), arch="own_prefix_xyz:fixed").warnings == []


# --- bad files ----------------------------------------------------------------------------------------------


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in SMALL.state_dict().items()}
    state["fc.bias"][1] = float("nan")
    state["bn1.running_var"][0] = float("inf")
    with pytest.raises(FairpruneError) as caught:
        load_model(saved(tmp_path / "a.pt", {"model": state}))
    assert "fc.bias has 1 of 3 numbers" in str(caught.value)
    assert "bn1.running_var has 1 of 16 numbers" in str(caught.value)
    assert "a.pt" in str(caught.value)


def _zip_without_torch(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/readme.txt", "x")


def _compressed(path: Path) -> None:
    torch.save(SMALL.state_dict(), path.with_suffix(".tmp"))
    with (
        zipfile.ZipFile(path.with_suffix(".tmp")) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))


def _truncated(path: Path) -> None:
    torch.save(SMALL.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-5000])


def _claims_too_much(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)


def _expanded(path: Path) -> None:
    """A terabyte of numbers, all of them the same four bytes."""
    torch.save({"fc.weight": torch.zeros(1).expand(2**19, 2**19)}, path)


def _script(path: Path) -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.save(torch.jit.trace(Net(), torch.zeros(1)), str(path))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda p: p.write_bytes(b""), "the file is empty"),
    "junk": (lambda p: p.write_bytes(random.Random(0).randbytes(5000)), "neither a torch nor a safetensors"),
    "text": (lambda p: p.write_text("<!DOCTYPE html>"), "neither a torch nor a safetensors"),
    "pointer": (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "git-lfs pointer"),
    "truncated": (_truncated, "truncated or damaged"),
    "zip": (_zip_without_torch, "not one that torch.save wrote"),
    "compressed": (_compressed, "is compressed"),
    "pickle": (lambda p: p.write_bytes(b"\x80\x02}."), "a plain pickle"),
    "number": (lambda p: torch.save(3, p), "holds no weights of a network, but an object of type int"),
    "empty dict": (lambda p: torch.save({}, p), "holds no weights"),
    "no weights": (lambda p: torch.save({"epoch": 3, "lr": 0.1}, p), "a dict with the keys epoch, lr"),
    "claim": (_claims_too_much, "truncated or damaged"),
    "expanded": (_expanded, "claim more bytes than the file"),
    "complex": (lambda p: torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, p), "ComplexFloatStorage"),
    "folder": (lambda p: p.mkdir(), "no model.safetensors in this folder"),
    "missing": (lambda p: None, "there is no such file"),
    "TorchScript": (_script, "TorchScript"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("kind", "trust"),
    [(kind, False) for kind in BAD] + [(kind, True) for kind in BAD if kind != "compressed"],
)
def test_bad_files_give_one_clear_error(tmp_path: Path, kind: str, trust: bool) -> None:
    make, message = BAD[kind]
    path = tmp_path / "bad.pt"
    make(path)
    with pytest.raises(FairpruneError) as caught:
        load_model(path, trust=trust)
    assert "bad.pt" in str(caught.value)
    assert caught.value.code == ExitCode.BAD_INPUT
    if not trust:
        assert message in str(caught.value)


def test_a_missing_file_names_the_near_one_and_a_folder_its_checkpoints(tmp_path: Path) -> None:
    saved(tmp_path / "model.pt", {})
    (tmp_path / ".modle.pt.lock").touch()
    with pytest.raises(FairpruneError, match=r"did you mean 'model\.pt'"):
        load_model(tmp_path / "modle.pt")
    with pytest.raises(FairpruneError, match=r"name one in it, e\.g\. .*model\.pt"):
        load_model(tmp_path)
    with pytest.raises(FairpruneError):
        load_model(tmp_path / ("x" * 5000))


def test_hints_for_code_of_ones_own(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(FairpruneError, match="--trust-checkpoint"):
        load_model(saved(tmp_path / "a.pt", net))
    save_checkpoint(tmp_path / "b.pt", net, architecture="mynets:make", classes=["a", "b"], transform={})
    with pytest.raises(FairpruneError, match="names 'mynets:make'; if that is your own code"):
        load_model(tmp_path / "b.pt")


@pytest.mark.parametrize("content", [{"\x1b[2J": torch.ones(2)}, {"\x1b[2J": 1}])
def test_names_in_a_file_cannot_command_the_terminal(tmp_path: Path, content: dict[str, Any]) -> None:
    with pytest.raises(FairpruneError) as caught:
        load_model(saved(tmp_path / "a.pt", content))
    assert "?[2J" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_broken_safetensors_name(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(FairpruneError, match="not one of safetensors"):
        load_model(tmp_path / "a.safetensors")


def _evil_state(folder: Path) -> dict[str, Any]:
    return {
        "args": Evil(folder / "canary"),
        "state_dict": {"fc.weight": torch.ones(4, 4), "fc.bias": torch.ones(4)},
    }


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_mutated_files_fail_clearly_and_run_nothing(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source"
    if kind == "safetensors":
        save_file(_evil_state(tmp_path)["state_dict"], source)
    else:
        torch.save(_evil_state(tmp_path), source, _use_new_zipfile_serialization=kind == "zip")
    original = source.read_bytes()
    draw = random.Random(kind)
    path = tmp_path / "mutated.pt"
    for i in range(150):
        data = bytearray(original)
        if i % 3 == 0:
            del data[draw.randrange(len(data)) :]
        else:
            for _ in range(draw.choice((1, 1, 5, 30))):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        with contextlib.suppress(FairpruneError):  # damage to a weight's own bytes may go unnoticed
            read_contents(path, trust=False)
        with pytest.raises(FairpruneError, match=r"mutated\.pt"):
            load_model(path)  # too small for any architecture, even undamaged
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("byte", range(0, 256, 15))
def test_every_pickle_byte_can_be_wrong(tmp_path: Path, byte: int) -> None:
    """The checksums of a zip hide most damage from the reader behind; here they are made to fit."""
    torch.save(_evil_state(tmp_path), tmp_path / "source")
    with zipfile.ZipFile(tmp_path / "source") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickle_name = next(name for name in members if name.endswith("data.pkl"))
    draw = random.Random(byte)
    for _ in range(20):
        damaged = bytearray(members[pickle_name])
        damaged[draw.randrange(len(damaged))] = byte
        with zipfile.ZipFile(tmp_path / "mutated.pt", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, bytes(damaged) if name == pickle_name else content)
        with pytest.raises(FairpruneError):
            load_model(tmp_path / "mutated.pt")
    assert not (tmp_path / "canary").exists()
