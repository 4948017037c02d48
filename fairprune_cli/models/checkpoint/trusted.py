"""Networks that were unpickled for real, because the user said that the file is trusted: their own forward is used."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.plugins import is_pickled_network
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.models import architectures
from fairprune_cli.models.checkpoint.contents import find_model_file, unpickled
from fairprune_cli.models.checkpoint.module_differences import module_differences
from fairprune_cli.models.checkpoint.module_tree import module_tree
from fairprune_cli.models.checkpoint.torch_file import reading
from fairprune_cli.models.checkpoint.weight_tables import find_table
from fairprune_cli.models.checkpoint.wrappers import is_wrapper
from fairprune_cli.models.inference import wanted_channels
from fairprune_cli.models.sameness import same_network

_SIZES = (64, 96)  # of the images on which networks are compared that take any


def class_name(module: nn.Module) -> str:
    """`package.module:Class` of a network."""
    kind = type(module)
    return f"{kind.__module__}:{kind.__qualname__}"


def structure_file(arch: str, trust: bool) -> Path | None:
    """The file that `arch` names, to be unpickled for its network; None where it names an architecture.

    Raises:
        FairpruneError: it is a file, and nobody said that it is trusted; or there is no such file.
    """
    path = Path(arch)
    if not is_pickled_network(arch):
        return None
    with reading(path):
        file = find_model_file(path)
    if not trust:
        raise FairpruneError(
            "a network that is in a file is built by unpickling it, which runs the code that the file names",
            where=f"--arch {arch}", hint="add --trust-checkpoint if you trust where it comes from",
        )  # fmt: skip
    return file


def structure_in(file: Path) -> nn.Module:
    """The network that was pickled whole in a trusted file; its code runs. In eval mode, float32."""
    with reading(file):
        table, _ = find_table(unpickled(file))
    if not isinstance(table.module, nn.Module):
        raise FairpruneError(
            "it holds weights, but no network that was pickled whole", where=f"--arch {file}",
            hint="name the file of torch.save(model, PATH), or what builds the network: package.module:factory",
        )  # fmt: skip
    architectures.refuse_lazy(table.module)
    module = unwrapped(table.module).float().eval()
    architectures.make_plain(module)
    return module


def unwrapped(module: nn.Module) -> nn.Module:
    """The network itself, without what spreads, compiles or averages it."""
    while _is_wrapper(module):
        (module,) = module.children()
    return module


def _is_wrapper(module: nn.Module) -> bool:
    kinds = [kind for kind in type(module).__mro__ if kind.__module__.startswith("torch.")]
    return any(is_wrapper(kind.__name__, list(module.children())) for kind in kinds)


def known_as(module: nn.Module) -> tuple[str, int] | None:
    """Name and number of classes of the architecture that computes the same as a module, to the bit; else None."""
    state = module.state_dict()
    try:
        name, classes = architectures.identify(state)
    except FairpruneError:
        return None
    built = architectures.skeleton(name, classes)
    if module_differences(module_tree(module), module_tree(built)):
        return None
    built = architectures.load_strictly(built, architectures.settle_heads(built, name, state))
    return None if any(same_network(module, built, images) for images in _images(built)) else (name, classes)


def _images(model: nn.Module) -> list[Tensor]:
    """Noise of the channels and sizes that a network takes."""
    generator, colour = torch.Generator().manual_seed(0), ImageShape.sized(3, _SIZES[0])
    channels = wanted_channels(model, colour) or colour.channels
    size = architectures.own_size(model)
    return [torch.randn((2, channels, n, n), generator=generator) for n in ([size] if size else _SIZES)]
