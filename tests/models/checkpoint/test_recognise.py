"""Whatever a network's tensors are wrapped in: found, and said what was chosen, changed and left out."""

from __future__ import annotations

import argparse
import collections
import datetime
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.load import LoadedModel, load_model

NET = architectures.build("resnet10-w16", 2, seed=1).eval()
STATE = dict(NET.state_dict())
IMAGES = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
State = dict[str, torch.Tensor]


def behind(prefix: str, state: State = STATE) -> State:
    return {prefix + key: value for key, value in state.items()}


def scaled(factor: float) -> State:
    return {key: value * factor if value.is_floating_point() else value for key, value in STATE.items()}


def read(tmp_path: Path, content: Any, **options: Any) -> LoadedModel:
    torch.save(content, tmp_path / "c.pt")
    return load_model(tmp_path / "c.pt", **options)


def texts(loaded: LoadedModel) -> str:
    return " | ".join(warning["text"] for warning in loaded.warnings)


def same(loaded: LoadedModel, state: State = STATE) -> bool:
    found = loaded.model.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[key], state[key].to(found[key])) for key in state)


def counters(change: Callable[[torch.Tensor], torch.Tensor]) -> State:
    return {key: change(value) if key.endswith("tracked") else value for key, value in STATE.items()}


def with_thop() -> State:
    """A state dict as thop leaves it: two counters in every module."""
    found = dict(STATE)
    for name, _ in NET.named_modules():
        for counter in ("total_ops", "total_params"):
            found[f"{name}.{counter}".lstrip(".")] = torch.zeros(1, dtype=torch.float64)
    return found


class Averages:
    """A home-made average, as many training scripts have it."""

    def __init__(self) -> None:
        self.decay, self.shadow = 0.999, STATE


QUIET: dict[str, Any] = {
    "counters as floats": {k: v.float() for k, v in STATE.items()},
    "counters of averages, no whole numbers": counters(lambda v: v.float() + 0.25),
    "counters of shape [1]": counters(lambda v: v.reshape(1)),
    "counters beyond half precision": counters(lambda v: torch.tensor(float("inf")).half()),
    "one of several keys, two deep": {"best": {"weights": STATE}, "best_acc": torch.tensor(93.0)},
    "a list of dicts": [{"epoch": 1}, STATE],
    "a tuple": (3, STATE, {"lr": 0.1}),
    "nested tuples as keys": {"state_dict": STATE, "cache": {((1, 2), (3, (4, 5))): 1, tuple(range(40)): 2}},
    "nothing but an optimiser beside": {
        "network": STATE,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(4)}}, "param_groups": [{"params": [0]}]},
        "optimizer_by_name": {"exp_avg": {k: v * 0 for k, v in STATE.items()}},
        "gradients": {k: v * 0 for k, v in STATE.items()},
        "custom": {"state": {"conv1.weight": {"exp_avg": torch.ones(4)}}, "param_groups": []},
    },
    "arrays": {k: v.numpy() for k, v in STATE.items()},
    "DataParallel in Lightning": {"state_dict": behind("model.module.")},
    "compiled inside": {k.replace("layer1.", "layer1._orig_mod."): v for k, v in STATE.items()},
    "DataParallel around a part": {k.replace("layer2.", "layer2.module."): v for k, v in STATE.items()},
}  # fmt: skip


@pytest.mark.parametrize("kind", QUIET)
def test_what_needs_no_word(tmp_path: Path, kind: str) -> None:
    loaded = read(tmp_path, QUIET[kind])
    found = loaded.model.state_dict()
    assert (loaded.architecture, loaded.structure, loaded.classes) == ("resnet10-w16", "resnet10-w16", 2)
    assert all(torch.equal(found[k], v) for k, v in STATE.items() if v.is_floating_point())
    assert {found[k].dtype for k in STATE if k.endswith("tracked")} == {torch.int64}
    assert {found[k].shape for k in STATE if k.endswith("tracked")} == {torch.Size([])}
    assert loaded.warnings == []


@pytest.mark.parametrize(
    "weights", ["weights", "params", "network", "student", "best_model", "model_weights", "generator"]
)
def test_weights_under_any_key_beside_metrics(tmp_path: Path, weights: str) -> None:
    metrics = {"best_acc": torch.tensor(93.0), "metrics": {"confmat": torch.ones(2, 2)}, "epoch": 3}
    assert same(read(tmp_path, {**metrics, weights: STATE}))


@pytest.mark.parametrize("prefix", ["net.", "resnet.", "model.net.module.", "encoder.", "0.", "layer1.", "a.b.c.d.e."])
@pytest.mark.parametrize("beside", [{}, {"criterion.pos_weight": torch.ones(1)}, {"0.mean": torch.ones(3, 1, 1)}])
def test_any_prefix_is_found_and_said(tmp_path: Path, prefix: str, beside: State) -> None:
    loaded = read(tmp_path, {"state_dict": {**behind(prefix), **beside}})
    assert same(loaded)
    assert f"names stand behind {prefix!r}" in texts(loaded)
    assert all(name in texts(loaded) for name in beside)


BESIDE: dict[str, State] = {
    "a loss": {"criterion.pos_weight": torch.tensor(3.0), "loss.weight": torch.ones(2, 2)},
    "metrics": {"metrics.confmat": torch.ones(2, 2), "val_acc.correct": torch.tensor(float("nan"))},
    "averaging": {"n_averaged": torch.tensor(3)},
    "centres of classes": {"centers": torch.ones(2, 128)},
    "an optimiser's": {"exp_avg.conv1.weight": torch.ones(16, 3, 3, 3)},
}  # fmt: skip


@pytest.mark.parametrize("kind", BESIDE)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_what_is_no_part_of_it_is_left_out_and_said(tmp_path: Path, kind: str, suffix: str) -> None:
    path = tmp_path / f"c{suffix}"
    state = {**STATE, **BESIDE[kind]}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = load_model(path)
    assert same(loaded)
    assert all(name in texts(loaded) for name in BESIDE[kind] if name != "n_averaged")


def test_what_thop_leaves_in_every_module(tmp_path: Path) -> None:
    loaded = read(tmp_path, with_thop())
    assert same(loaded)
    assert "total_ops, " in texts(loaded)
    assert f"and {len(with_thop()) - len(STATE) - 6} more" in texts(loaded)


@pytest.mark.parametrize(
    ("beside", "prefix"),
    [
        ({"attention.weight": torch.ones(16, 16)}, ""),
        ({"layer1.0.se.fc.weight": torch.ones(16, 16)}, ""),
        ({"layer1.1.conv1.weight": torch.ones(16, 16, 3, 3)}, ""),
        ({"norm.weight": torch.ones(128)}, "backbone."),
    ],
)
def test_layers_of_the_network_itself_are_never_left_out(tmp_path: Path, beside: State, prefix: str) -> None:
    with pytest.raises(FairpruneError, match=f"{next(iter(beside))} does not belong to it"):
        read(tmp_path, behind(prefix, {**STATE, **beside}))


def test_a_layer_that_takes_the_outputs_is_not_left_out(tmp_path: Path) -> None:
    """A complete network with a further layer behind: to drop that one would give other outputs."""
    for beside in ({"classifier.weight": torch.ones(7, 2)}, {"bn.running_mean": torch.ones(2)}):
        with pytest.raises(FairpruneError, match=f"{next(iter(beside))} does not belong to it"):
            read(tmp_path, {**behind("backbone."), **beside})
    loaded = read(tmp_path, {**behind("backbone."), "projector.0.weight": torch.ones(64, 128)})
    assert "projector.0.weight" in texts(loaded)


def test_names_of_the_network_itself_are_no_prefix(tmp_path: Path) -> None:
    for name in ("vit-tiny", "resnet10-w16"):
        net = architectures.build(name, 2, seed=0)
        loaded = read(tmp_path, {"state_dict": behind("encoder.", net.state_dict())})
        assert (loaded.architecture, loaded.classes) == (name, 2)


def test_a_lightning_checkpoint_with_all_that_is_in_it(tmp_path: Path) -> None:
    content = {
        "epoch": 3, "global_step": 40, "pytorch-lightning_version": "2.2.0",
        "state_dict": {**behind("model."), "train_acc.tp": torch.tensor([3]), "loss.weight": torch.ones(2)},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.9), "best_k_models": {}},
            "Averaging": {"state_dict": {k: v * 0 for k, v in STATE.items()}},
        },
        "optimizer_states": [torch.optim.Adam(NET.parameters()).state_dict()],
        "lr_schedulers": [collections.Counter(a=1)],
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "lr": np.float64(0.1), "args": argparse.Namespace(a=1), "act": nn.ReLU, "path": Path("/x"),
            "when": datetime.timedelta(1), "partial": functools.partial(int, "3"), "dtype": torch.float16,
            "device": torch.device("cpu"), "queue": collections.deque([1]), "keys": {(1, (2, 3)): frozenset({1})},
        },
    }  # fmt: skip
    loaded = read(tmp_path, content)
    assert same(loaded)
    assert "train_acc.tp" in texts(loaded)


# --- averages -----------------------------------------------------------------------------------------------

BOTH: dict[str, Any] = {
    "timm": {"state_dict": scaled(2), "state_dict_ema": STATE},
    "model_ema": {"model": scaled(2), "model_ema": behind("module.")},
    "ema_state_dict": {"model": scaled(2), "ema_state_dict": {**behind("module."), "steps": torch.tensor(5)}},
    "swa": {"net": scaled(2), "swa_model": torch.optim.swa_utils.AveragedModel(NET).state_dict()},
    "modules": {"model": architectures.build("resnet10-w16", 2, seed=9), "ema": NET},
    "shadow": {"model": scaled(2), "ema": Averages()},
    "behind prefixes": {"state_dict": {**behind("model.", scaled(2)), **behind("ema_model.module.")}},
    "Lightning's": {"current_model_state": behind("model.", scaled(2)), "state_dict": behind("model.")},
}  # fmt: skip


@pytest.mark.parametrize("kind", BOTH)
def test_raw_and_averaged_weights(tmp_path: Path, kind: str) -> None:
    default, raw, ema = (read(tmp_path, BOTH[kind], weights=weights) for weights in (None, "raw", "ema"))
    assert same(ema)
    assert not same(raw)
    assert all(torch.equal(a, b) for a, b in zip(default.model.parameters(), raw.model.parameters(), strict=True))
    assert "--weights chooses" in texts(default)
    assert default.warnings == raw.warnings != ema.warnings


@pytest.mark.parametrize("content", [STATE, {"state_dict": behind("model.")}])
def test_averages_that_are_not_there(tmp_path: Path, content: Any) -> None:
    with pytest.raises(FairpruneError, match=r"no averaged weights \(EMA\)"):
        read(tmp_path, content, weights="ema")
    with pytest.raises(FairpruneError, match="no weights under 'teacher'"):
        read(tmp_path, content, weights="teacher")
    assert same(read(tmp_path, content, weights="raw"))


@pytest.mark.parametrize("content", [{"model_ema": behind("module.")}, {"state_dict": behind("ema.module.")}])
def test_averages_alone_are_used_and_said(tmp_path: Path, content: Any) -> None:
    loaded = read(tmp_path, content)
    assert same(loaded)
    assert "ema" in texts(loaded)
    with pytest.raises(FairpruneError, match=r"averaged weights \(EMA\) alone"):
        read(tmp_path, content, weights="raw")


def test_an_average_of_parameters_alone_takes_the_raw_buffers(tmp_path: Path) -> None:
    shadow = {name: 3 * value.detach() for name, value in NET.named_parameters()}
    loaded = read(tmp_path, {"model": STATE, "ema": {"decay": 0.9, "shadow": shadow}}, weights="ema")
    assert torch.equal(loaded.model.fc.weight, shadow["fc.weight"])
    assert torch.equal(loaded.model.bn1.running_var, STATE["bn1.running_var"])
    assert "running_mean" in texts(loaded)


def test_a_key_of_ones_own_is_chosen_by_its_name(tmp_path: Path) -> None:
    several = {"first": scaled(2), "second": STATE}
    with pytest.raises(FairpruneError, match="several networks alike: first, second"):
        read(tmp_path, several)
    assert same(read(tmp_path, several, weights="second"))
    inside = {**behind("left.", scaled(2)), **behind("right.")}
    with pytest.raises(FairpruneError, match="several networks alike: left, right"):
        read(tmp_path, inside)
    assert same(read(tmp_path, inside, weights="right"))
    taught = {**behind("teacher.net.", scaled(2)), **behind("student.net.")}
    assert same(read(tmp_path, taught))
    assert same(read(tmp_path, {"teacher": scaled(2), "student": STATE}))


# --- heads, precision, arrays -------------------------------------------------------------------------------


def head_in_sequence(*layers: nn.Module) -> nn.Module:
    net = architectures.build("resnet10-w16", 2, seed=1).eval()
    net.fc = nn.Sequential(*(net.fc if layer is HEAD else layer for layer in layers)).eval()
    return net


HEAD = nn.Identity()


def test_a_head_behind_dropout_is_the_head(tmp_path: Path) -> None:
    net = head_in_sequence(nn.Dropout(), HEAD)
    loaded = read(tmp_path, {"state_dict": behind("model.", net.state_dict())})
    assert same(loaded)
    assert "the head is model.fc.1, in a sequence" in texts(loaded)
    whole = read(tmp_path, net)  # what stands beside it is known
    assert same(whole)
    assert whole.refusal is None
    after = read(tmp_path, head_in_sequence(HEAD, nn.Softplus()))
    assert after.refusal is not None
    assert "fc is Linear there and Sequential here" in after.refusal.what
    with pytest.raises(FairpruneError, match=r"closest is resnet10-w16, but fc.weight is missing"):
        read(tmp_path, head_in_sequence(nn.Linear(128, 8), nn.ReLU(), nn.Linear(8, 2)).state_dict())


def test_a_head_without_bias(tmp_path: Path) -> None:
    state = {key: value for key, value in STATE.items() if key != "fc.bias"}
    for arch in (None, "resnet10-w16"):
        loaded = read(tmp_path, state, arch=arch)
        assert loaded.model.fc.bias is None
        assert same(loaded, state)
        assert "fc.bias" in texts(loaded)
        with torch.no_grad():
            expected = NET(IMAGES) - NET.fc.bias
        assert torch.allclose(loaded.model(IMAGES), expected, atol=1e-6)


def test_a_head_without_bias_comes_back_from_our_own_file(tmp_path: Path) -> None:
    from fairprune_cli.models.file.codec import ModelHeader, save_model

    net = read(tmp_path, {key: value for key, value in STATE.items() if key != "fc.bias"}).model
    save_model(tmp_path / "m.safetensors", net, header=ModelHeader("resnet10-w16", ("a", "b"), {}, "dense", {}))
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.model.fc.bias is None
    assert torch.equal(loaded.model(IMAGES), net(IMAGES))


def test_indices_that_were_halved_with_the_rest(tmp_path: Path) -> None:
    net = architectures.build("swin_t", 2, seed=0)
    state = {key: value.half() for key, value in net.state_dict().items()}
    found = read(tmp_path, state).model.state_dict()
    wanted = net.state_dict()
    indices = [key for key in wanted if not wanted[key].is_floating_point()]
    assert indices
    assert all(torch.equal(found[key], wanted[key]) for key in indices)


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_of_any_precision_and_order(tmp_path: Path, protocol: int, dtype: Any) -> None:
    arrays = {key: np.asfortranarray(value.numpy()) for key, value in STATE.items()}
    arrays = {key: value.astype(dtype) if value.dtype == np.float32 else value for key, value in arrays.items()}
    torch.save({"params": arrays}, tmp_path / "c.pt", pickle_protocol=protocol)
    for trust in (False, True):
        loaded = load_model(tmp_path / "c.pt", trust=trust)
        assert np.array_equal(loaded.model.conv1.weight.detach().numpy(), arrays["conv1.weight"].astype(np.float32))


# --- messages -----------------------------------------------------------------------------------------------


def test_three_differences_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    other = {k: v for k, v in architectures.build("resnet18", 2, seed=0).state_dict().items() if "layer4.1" not in k}
    for arch in ("resnet34", "resnet10-w16"):
        with pytest.raises(FairpruneError) as caught:
            read(tmp_path, other, arch=arch)
        assert "and 4" in str(caught.value) or "more" in str(caught.value)
        assert len(str(caught.value)) < 500
    odd = {key: value for key, value in STATE.items() if "layer3" not in key}
    with pytest.raises(
        FairpruneError, match=r"closest is resnet10.*layer3\.0\.conv1\.weight is missing, .*and 12 more"
    ):
        read(tmp_path, behind("net.", odd))


@pytest.mark.parametrize("change", ["bias gone", "weight gone", "both differ", "wrong rank"])
@pytest.mark.parametrize("arch", [None, "resnet10-w16"])
def test_no_number_of_our_own_is_in_a_message(tmp_path: Path, change: str, arch: str | None) -> None:
    state = dict(STATE)
    if change == "weight gone":
        del state["fc.weight"]
    elif change == "bias gone":
        del state["fc.bias"]
        state["spare.weight"] = torch.ones(2, 2)
    elif change == "both differ":
        state["fc.weight"] = torch.ones(5, 77)
    else:
        state["fc.weight"] = torch.ones(())
    with pytest.raises(FairpruneError) as caught:
        read(tmp_path, state, arch=arch)
    assert "1009" not in str(caught.value)
    assert "fc." in str(caught.value) or "spare" in str(caught.value)


# --- narrowed by another tool -------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", [None, "mobilenet_v2"])
def test_a_network_that_another_tool_narrowed(tmp_path: Path, arch: str | None) -> None:
    from torchvision.models import MobileNetV2

    torch.manual_seed(0)
    narrow = MobileNetV2(num_classes=2, width_mult=0.5).eval()
    loaded = read(tmp_path, {"state_dict": behind("net.", narrow.state_dict())}, arch=arch)
    assert (loaded.architecture, loaded.structure, loaded.classes) == ("mobilenet_v2", "mobilenet_v2", 2)
    assert "tensors are narrower than mobilenet_v2's" in texts(loaded)
    with torch.no_grad():
        assert torch.allclose(loaded.model(IMAGES), narrow(IMAGES), rtol=1e-4, atol=0)


def test_widths_that_do_not_fit_together_are_an_error(tmp_path: Path) -> None:
    state = {**STATE, "layer2.0.conv2.weight": torch.ones(32, 20, 3, 3)}
    with pytest.raises(FairpruneError, match="do not fit together"):
        read(tmp_path, state)


def test_the_smallest_architecture_that_holds_it_is_taken(tmp_path: Path) -> None:
    state = architectures.skeleton("wide_resnet50_2", 2).state_dict()
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in state.items()}
    state["layer1.0.conv1.weight"] = torch.zeros(60, 64, 1, 1)
    state["layer1.0.conv2.weight"] = torch.zeros(128, 60, 3, 3)
    for key in ("weight", "bias", "running_mean", "running_var"):
        state[f"layer1.0.bn1.{key}"] = torch.ones(60)
    loaded = read(tmp_path, state)
    assert loaded.architecture == "wide_resnet50_2"
    assert "6 tensors are narrower" in texts(loaded)


# --- auxiliary heads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", [None, "googlenet"])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_auxiliary_heads_are_dropped_with_a_word(tmp_path: Path, arch: str | None) -> None:
    from torchvision.models import googlenet

    torch.manual_seed(0)
    net = googlenet(weights=None, num_classes=2, aux_logits=True, init_weights=False).eval()
    whole = net.state_dict()
    loaded = read(tmp_path, whole, arch=arch)
    assert (loaded.architecture, loaded.classes) == ("googlenet", 2)
    assert "auxiliary heads" in texts(loaded)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded.model(images), net(images))
    torch.save(net, tmp_path / "whole.pt")
    assert torch.equal(load_model(tmp_path / "whole.pt", arch=arch).model.fc.weight, net.fc.weight)
    plain = read(tmp_path, {key: value for key, value in whole.items() if not key.startswith("aux")}, arch=arch)
    assert plain.warnings == []
    assert torch.equal(plain.model(images), loaded.model(images))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_older_file_of_ours_that_holds_auxiliary_heads(tmp_path: Path) -> None:
    from torchvision.models import googlenet

    from fairprune_cli.models.file.codec import ModelHeader, load_network, save_model

    net = googlenet(weights=None, num_classes=2, aux_logits=True, init_weights=False).eval()
    save_model(tmp_path / "m.safetensors", net, header=ModelHeader("googlenet", ("a", "b"), {}, "dense", {}))
    assert not [key for key in load_network(tmp_path / "m.safetensors").state_dict() if key.startswith("aux")]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_inception_is_recognised_without_its_auxiliary_head() -> None:
    state = architectures.skeleton("inception_v3", 3).state_dict()
    assert not [key for key in state if key.startswith("AuxLogits")]
    assert architectures.identify(state) == ("inception_v3", 3)
