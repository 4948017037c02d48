"""Whether a training pass runs, in which layout and format, without a trace left on the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fairprune_cli.models.inference import fault_of_training


class Viewing(nn.Module):
    """A view of a feature map in another shape, as is common: it is none where channels lie last."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.Linear(8 * 7 * 7, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).view(x.size(0), -1))


class Adding(nn.Module):
    """What it adds up, it expects in float32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.conv(x).mean((2, 3))
        return self.fc(torch.zeros(len(x), 8).index_add(0, torch.arange(len(x)), pooled))


def test_the_layout_decides_whether_a_view_runs() -> None:
    model = Viewing().eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not fault_of_training(model, 16)
    assert fault_of_training(model, 16, channels_last=True).startswith("RuntimeError: view size is not compatible")
    assert fault_of_training(model, 20)
    assert not model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_format_decides_whether_code_that_expects_float32_runs() -> None:
    assert not fault_of_training(Adding(), 16)
    assert fault_of_training(Adding(), 16, bf16=True)


def test_no_random_number_of_the_run_is_drawn_and_outputs_of_any_form_are_taken() -> None:
    class Several(Viewing):
        def forward(self, x: Tensor) -> dict[str, object]:  # type: ignore[override]
            return {"logits": super().forward(torch.dropout(x, 0.5, True)), "name": "x", "more": (x, [x])}

    model = Several()
    state = torch.get_rng_state()
    assert not fault_of_training(model, 16)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_network_with_nothing_to_train_runs() -> None:
    assert not fault_of_training(Viewing().requires_grad_(False), 16)
