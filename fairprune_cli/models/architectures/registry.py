"""Names to networks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import ModuleType

import torch
from torch import nn

from fairprune_cli.core import limits, plugins
from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.core.plugins import is_import_path
from fairprune_cli.models.architectures.attention import with_free_heads
from fairprune_cli.models.architectures.factories import build_from_factory
from fairprune_cli.models.architectures.outline import bytes_of, outline
from fairprune_cli.models.architectures.timm_models import build_timm, is_timm
from fairprune_cli.models.architectures.torchvision_models import build_torchvision, torchvision_names


@functools.cache
def _families() -> tuple[list[ModuleType], list[FairpruneError]]:
    """The files of families/ that can be loaded, and what is wrong with the others."""
    modules, faults = plugins.ARCHITECTURE.load_sound()
    sound: list[ModuleType] = []
    taken: dict[str, str] = {}
    for module in modules.values():
        what = _fault_of(module, taken)
        if what:
            faults.append(FairpruneError(what, where=str(module.__file__), hint="mend the file"))
        else:
            sound.append(module)
            taken |= dict.fromkeys(module.ARCHITECTURES, str(module.__file__))
    return sound, faults


def _fault_of(family: ModuleType, taken: Mapping[str, str]) -> str:
    """What is wrong with the table of a family, else ""; `taken`: names and the files that have them."""
    table = family.ARCHITECTURES
    if not isinstance(table, dict) or not all(isinstance(n, str) and callable(make) for n, make in table.items()):
        return "ARCHITECTURES must say by name what builds the network: dict[str, Callable[[int], nn.Module]]"
    doubled = sorted(table.keys() & taken.keys())
    return f"the architecture {doubled[0]} is in {taken[doubled[0]]} already" if doubled else ""


def _supported() -> dict[str, Callable[[int], nn.Module]]:
    return {name: make for family in _families()[0] for name, make in family.ARCHITECTURES.items()}


def _refuse_faulty_families() -> None:
    for fault in _families()[1]:
        raise fault


def names() -> list[str]:
    """The supported architectures: recognised from their tensors, pruned and exported in the tests.

    Raises:
        FairpruneError: a family cannot be loaded: what is not known cannot be ruled out either.
    """
    _refuse_faulty_families()
    return list(_supported())


def is_supported(name: str) -> bool:
    """Whether an architecture is one of the supported, as far as families can be loaded."""
    return name in _supported()


def other_names() -> list[str]:
    """torchvision's further classifiers, which `build` takes too."""
    return [name for name in torchvision_names() if name not in _supported()]


def default_lr(name: str) -> float:
    """The peak learning rate at which an architecture is trained where none is given: 0.1, unless its file says so."""
    rates = {n: lr for family in _families()[0] for n, lr in getattr(family, "LEARNING_RATES", {}).items()}
    return float(rates.get(name, 0.1))


def build(name: str, num_classes: int, seed: int | None = None) -> nn.Module:
    """A network with fresh weights, in training mode, on the CPU.

    Args:
        name: one of `names()` or `other_names()`, or `package.module:factory` (imported and called: pass
            only what the user has typed, never what a file says), or `timm/NAME`.
        num_classes: number of outputs, at least 1.
        seed: draws the weights from this seed and leaves the global generator alone; None uses the latter.

    Raises:
        FairpruneError: no such architecture, or the factory is at fault.
    """
    if num_classes < 1:
        raise FairpruneError(f"a network needs at least one class, not {num_classes}", where=name)
    limits.refuse_above(num_classes, "classes", name, "the network")
    if seed is None:
        return _build(name, num_classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(name, num_classes)


def skeleton(name: str, num_classes: int, room: int = 0) -> nn.Module:
    """The network with the right shapes but without numbers, to load weights into with `assign=True`.

    Its tensors lie on the meta device, which saves the time of drawing weights; where an architecture
    cannot be built there it has ordinary, fresh weights. A name that means "import this" is refused, so
    that this function may be called with what a file says.

    Args:
        room: bytes of the tensors that are to be loaded. A network that is built with numbers takes no more than those
            or than the limit `network_bytes`, whichever is more.

    Raises:
        FairpruneError: no such architecture, or it takes more memory than that.
    """
    refuse_code(name, num_classes)
    try:
        if is_timm(name):
            raise NotImplementedError  # its constructors read values, which tensors on meta lack
        with torch.device("meta"):
            made = _build(name, num_classes)
        # What no state dict holds would stay without numbers.
        saved = made.state_dict()
        if all(buffer in saved for buffer, _ in made.named_buffers()):
            return made
    # regnet computes its widths with tensors, which have no values there.
    except NotImplementedError:
        pass
    if (needed := bytes_of(outlined(name, num_classes))) > room:
        limits.refuse_above(needed, "network_bytes", what=f"the network {name} that the file names")
    return build(name, num_classes, seed=0)


def outlined(name: str, num_classes: int) -> nn.Module:
    """The network for its shapes alone, which takes no memory worth mentioning; names are refused as in `skeleton`."""
    refuse_code(name, num_classes)
    return outline(lambda: _build(name, num_classes))


def refuse_code(name: str, num_classes: int) -> None:
    """Refuse a name in a file that means "import this", and a number of classes that no network has."""
    if is_import_path(name):
        raise FairpruneError(
            f"the file names {name!r} as its architecture, and a file's word is no reason to import code",
            hint=f"if that is your own code, say so with --arch {name!r} (in Python arch={name!r}, or the network"
            " itself); of a network that was pickled whole, name the file with --arch FILE.pt --trust-checkpoint",
        )
    if num_classes < 1:
        raise FairpruneError(f"a network needs at least one class, not {num_classes}", where=name)
    limits.refuse_above(num_classes, "classes", name, "the network")


def _build(name: str, num_classes: int) -> nn.Module:
    return with_free_heads(_made(name, num_classes))


def _made(name: str, num_classes: int) -> nn.Module:
    if is_import_path(name):
        return build_from_factory(name, num_classes)
    if name in _supported():
        return _supported()[name](num_classes)
    if name in torchvision_names():
        return build_torchvision(name, num_classes)
    if is_timm(name):
        return build_timm(name, num_classes)
    _refuse_faulty_families()  # it may have been one of theirs
    hint = nearest(name, [*names(), *torchvision_names()])
    if hint.startswith("known"):
        hint = f"supported: {', '.join(names())}; torchvision's other classifiers; timm/NAME; or package.module:factory"
    raise FairpruneError(f"there is no architecture {name!r}", hint=hint)
