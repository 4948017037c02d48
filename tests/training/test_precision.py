"""The number format is chosen by kind of network, and a compiled network computes what the plain one does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.architectures.attention import SelfAttention
from fairprune_cli.training import precision
from fairprune_cli.training.passes import Passes
from fairprune_cli.training.precision import (
    LEAST_HEAD,
    MOST_DEPTHWISE,
    chosen_precision,
    compiling,
    depthwise_share,
    narrowest_head,
)

TABLE = Path(__file__).parents[2] / "benchmarks" / "results" / "precision.json"


BF16, FP32 = ("resnet10-w16", "regnet_y_400mf", "convnext_tiny"), ("mobilenet_v2", "shufflenet_v2_x1_0", "vit-tiny")


@pytest.mark.parametrize(
    ("name", "gains"), [*((name, True) for name in BF16), *((name, False) for name in FP32)],
)  # fmt: skip
def test_auto_goes_by_the_kind_of_network_where_the_processor_has_bfloat16(
    name: str, gains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, device = architectures.build(name, 2, seed=0), torch.device("cpu")
    monkeypatch.setattr(precision, "native_bf16", lambda _: True)
    assert chosen_precision("auto", model, 64, device) == ("bf16" if gains else "fp32")
    assert [chosen_precision(asked, model, 64, device) for asked in ("fp32", "bf16")] == ["fp32", "bf16"]
    monkeypatch.setattr(precision, "native_bf16", lambda _: False)
    assert chosen_precision("auto", model, 64, device) == "fp32"


def test_the_share_of_depthwise_convolutions_counts_the_numbers_that_they_give() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),  # 4 x 8 x 8
        nn.Conv2d(4, 4, 3, padding=1, groups=4),  # the same, depthwise
        nn.Conv2d(4, 8, 1, stride=2, groups=2),  # 8 x 4 x 4, grouped
        nn.Flatten(), nn.Linear(128, 16),
    )  # fmt: skip
    assert depthwise_share(model, 8) == pytest.approx(256 / (256 + 256 + 128 + 16))
    assert narrowest_head(model) is None


def test_the_narrowest_head_decides_whichever_attention_has_it() -> None:
    torchs = nn.MultiheadAttention(96, 4)
    assert narrowest_head(nn.ModuleList([torchs, nn.MultiheadAttention(96, 6)])) == 16
    assert narrowest_head(nn.ModuleList([torchs, SelfAttention(96, 20, 4)])) == 20


def test_auto_and_the_format_that_it_names_agree_with_what_was_measured() -> None:
    """Every network of the table that gained gets bf16, every one that lost does not."""
    rows = json.loads(TABLE.read_text(encoding="utf-8"))["rows"]
    assert len(rows) > 15
    assert [row["architecture"] for row in rows if (row["auto"] == "bf16") != (row["bf16_over_fp32"] < 1)] == []
    for row in rows:
        known = row["depthwise_share"] <= MOST_DEPTHWISE and (row["narrowest_head"] or LEAST_HEAD) >= LEAST_HEAD
        assert (row["auto"] == "bf16") == known


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler; there is no g++")
def test_a_compiled_network_has_the_same_gradient_also_after_it_has_changed() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2))
    plain, compiled = Passes(Ranks()), Passes(Ranks(), compiled=True)
    for _ in range(2):
        images = torch.randn(6, 3, 4, 4)
        gradients = []
        for passes in (plain, compiled):
            model.zero_grad()
            done = passes.forward(model, images, [6])
            done.backward(done.logits.square().sum())
            gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        for a, b in zip(*gradients, strict=True):
            assert torch.allclose(a, b, atol=1e-5)
        model[1].weight = nn.Parameter(torch.randn(3, 48))
        model[1].bias = nn.Parameter(torch.randn(3))
        model[3].weight = nn.Parameter(torch.randn(2, 3))
        compiled.changed()


def test_what_the_compiler_says_becomes_one_message() -> None:
    fault = type("InvalidCxxCompiler", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    with pytest.raises(FairpruneError, match="cannot be compiled: no compiler") as error, compiling(True):
        raise fault("\nno compiler\nat line 3")
    assert error.value.code == ExitCode.RUNTIME
    assert error.value.where == "--compile"
    with pytest.raises(RuntimeError, match="other"), compiling(True):
        raise RuntimeError("other")
