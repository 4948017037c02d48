import copy
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from fairprune_cli.models.widths import set_widths


def _narrowed(layer: nn.Module, **shapes: tuple[int, ...]) -> nn.Module:
    for name, shape in shapes.items():
        if name in layer._parameters:
            layer._parameters[name] = nn.Parameter(torch.ones(shape))
        else:
            layer._buffers[name] = torch.ones(shape)
    set_widths(layer)
    return layer


@pytest.mark.parametrize(
    ("layer", "shapes", "fresh", "image"),
    [
        (nn.Conv2d(8, 12, 3), {"weight": (5, 7, 3, 3), "bias": (5,)}, nn.Conv2d(7, 5, 3), (7, 6, 6)),
        (
            nn.Conv2d(8, 12, 3, groups=4), {"weight": (6, 2, 3, 3), "bias": (6,)},
            nn.Conv2d(4, 6, 3, groups=2), (4, 6, 6),
        ),
        (nn.Conv2d(8, 8, 3, groups=8), {"weight": (1, 1, 3, 3), "bias": (1,)}, nn.Conv2d(1, 1, 3), (1, 6, 6)),
        (nn.Conv1d(8, 12, 3), {"weight": (5, 7, 3), "bias": (5,)}, nn.Conv1d(7, 5, 3), (7, 6)),
        (nn.ConvTranspose2d(8, 12, 2), {"weight": (7, 5, 2, 2), "bias": (5,)}, nn.ConvTranspose2d(7, 5, 2), (7, 6, 6)),
        (
            nn.ConvTranspose2d(8, 12, 2, groups=4), {"weight": (4, 3, 2, 2), "bias": (6,)},
            nn.ConvTranspose2d(4, 6, 2, groups=2), (4, 6, 6),
        ),
        (nn.Linear(8, 12), {"weight": (5, 7), "bias": (5,)}, nn.Linear(7, 5), (7,)),
        (
            nn.BatchNorm2d(8, affine=False), {"running_mean": (5,), "running_var": (5,)},
            nn.BatchNorm2d(5, affine=False), (5, 4, 4),
        ),
        (
            nn.InstanceNorm2d(8, affine=True), {"weight": (5,), "bias": (5,)},
            nn.InstanceNorm2d(5, affine=True), (5, 4, 4),
        ),
        (nn.GroupNorm(4, 8), {"weight": (6,), "bias": (6,)}, nn.GroupNorm(3, 6), (6, 4, 4)),
        (nn.GroupNorm(1, 8), {"weight": (5,), "bias": (5,)}, nn.GroupNorm(1, 5), (5, 4, 4)),
        (nn.GroupNorm(8, 8), {"weight": (1,), "bias": (1,)}, nn.GroupNorm(1, 1), (1, 4, 4)),
        (nn.LayerNorm(8), {"weight": (5,), "bias": (5,)}, nn.LayerNorm(5), (5,)),
        (nn.LayerNorm((8, 4, 4)), {"weight": (5, 4, 4), "bias": (5, 4, 4)}, nn.LayerNorm((5, 4, 4)), (5, 4, 4)),
        (nn.RMSNorm(8), {"weight": (5,)}, nn.RMSNorm(5), (5,)),
        (nn.PReLU(8), {"weight": (5,)}, nn.PReLU(5), (5, 4, 4)),
    ],
)  # fmt: skip
def test_a_narrowed_layer_declares_and_computes_what_one_built_so_does(layer, shapes, fresh, image):
    narrowed = _narrowed(layer, **shapes).eval()
    assert repr(narrowed) == repr(fresh)
    fresh.load_state_dict(narrowed.state_dict())
    x = torch.rand(2, *image)
    assert torch.equal(narrowed(x), fresh.eval()(x))
    set_widths(narrowed)
    assert repr(narrowed) == repr(fresh)


@pytest.mark.parametrize("layer", [nn.GroupNorm(2, 8, affine=False), nn.ReLU(), nn.PReLU()])
def test_a_layer_without_tensors_per_channel_stays_as_it_is(layer):
    before = repr(layer)
    set_widths(layer)
    assert repr(layer) == before


def test_an_instance_norm_without_tensors_takes_the_width_of_its_next_input_once():
    layer, plain = nn.InstanceNorm2d(8), nn.InstanceNorm2d(5)
    for _ in range(2):
        set_widths(layer)
    x = torch.rand(2, 5, 4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(copy.deepcopy(layer)(x), plain(x))
        assert torch.equal(layer(x[0]), plain(x[0]))
    assert repr(layer) == repr(plain)
    assert not layer._forward_pre_hooks


def test_importing_the_package_leaves_the_filters_of_warnings_alone():
    code = "import warnings, torch; before = list(warnings.filters); import fairprune_cli.models.widths; "
    code += "assert warnings.filters == before"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
