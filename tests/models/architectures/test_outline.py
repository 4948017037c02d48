"""Networks as shapes, before any memory is taken for them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.architectures.outline import bytes_of, outline, within_memory


def test_a_huge_network_is_shapes_alone() -> None:
    model = outline(lambda: architectures.build("regnet_y_32gf", 3))
    assert bytes_of(model) > 500_000_000
    assert sum(one.nbytes for one in (*model.parameters(), *model.buffers()) if not one.is_meta) < 20_000_000
    whole = outline(lambda: architectures.build("regnet_y_400mf", 3))
    assert {n: p.shape for n, p in whole.named_parameters()} == {
        n: p.shape for n, p in architectures.build("regnet_y_400mf", 3).named_parameters()
    }


def test_random_numbers_that_it_draws_are_not_the_callers() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    outline(lambda: nn.Linear(4, 4))
    assert torch.equal(torch.rand(3), expected)


def test_a_file_that_names_a_network_beyond_the_limit_is_refused_before_it_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "network_bytes=1000000")
    with pytest.raises(FairpruneError, match=r"regnet_y_400mf that the file names has [0-9,]+ network bytes") as caught:
        architectures.skeleton("regnet_y_400mf", 2)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert architectures.skeleton("regnet_y_400mf", 2, room=100_000_000).stem  # a file with as many bytes
    assert architectures.skeleton("resnet50", 2).fc  # without numbers it takes none
    with pytest.raises(FairpruneError, match="as far as it was built"):
        within_memory(lambda: nn.Linear(1000, 1000))


def test_a_number_of_outputs_that_no_network_has_is_refused() -> None:
    for build in (architectures.build, architectures.skeleton):
        with pytest.raises(FairpruneError, match="999,999,999 classes"):
            build("resnet10-w16", 999_999_999)
