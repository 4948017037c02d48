"""The walk over a network: it runs on blank images, and what is found out on the way becomes a coupling."""

from __future__ import annotations

import contextlib
import copy

import torch
from torch import Tensor, nn

from fairprune_cli.data.manifest.image_shape import Shape
from fairprune_cli.models.inference import blank_images, evaluating
from fairprune_cli.pruning.channels import layer_rules
from fairprune_cli.pruning.channels.marks import Ledger
from fairprune_cli.pruning.channels.observer import Decides, Observer, own_tensors
from fairprune_cli.pruning.channels.resolve import resolved_coupling
from fairprune_cli.pruning.channels.spaces import FROZEN, Coupling
from fairprune_cli.pruning.options import TargetOptions


class WalkFailed(Exception):
    """The network cannot be walked; `at` is the layer or operation where it ended, if it was known."""

    def __init__(self, at: str, cause: BaseException | str) -> None:
        text = cause if isinstance(cause, str) else f"{type(cause).__name__}: {str(cause).partition(chr(10))[0]}"
        super().__init__(text)
        self.at = at


def coupling(model: nn.Module, shape: Shape, prune_frozen: bool = TargetOptions.prune_frozen) -> Coupling:
    """All channels that can be removed.

    Args:
        model: left as it was.
        shape: of the images.
        prune_frozen: also those of parameters that do not require a gradient; else these stay whole.

    Raises:
        WalkFailed: its forward goes by the values of the image, or does not take such an image.
    """
    images, opaque = blank_images(model, 2, shape), frozenset[str]()
    while True:
        ledger = Ledger()
        walk = Observer(model, ledger, opaque)
        try:
            with evaluating(model):
                walk.run(model, images)
        except Decides as decides:
            if not decides.module or decides.module in opaque:
                raise WalkFailed("", "its code goes by the values of the image") from None
            opaque |= {decides.module}
            continue
        except Exception as error:
            raise WalkFailed(walk.last, error) from error
        break
    _walk_training(model, images, walk)
    if not prune_frozen:
        _freeze(model, ledger)
    return resolved_coupling(model, ledger)


def _walk_training(model: nn.Module, images: Tensor, walk: Observer) -> None:
    """Walk as well through what only training runs, such as auxiliary classifiers, where there is any."""
    layers = {walk.layers[id(module)] for module in model.modules() if next(own_tensors(module), None) is not None}
    if layers <= walk.visited:
        return
    # The copy shares its parameters; the statistics, which move in training, are its own.
    copied = copy.deepcopy(model, {id(p): p for p in model.parameters()}).train()
    again = Observer(copied, walk.ledger, walk.opaque)
    # Where it cannot be run in training, the trial of a removal says so.
    with (
        contextlib.suppress(Exception, Decides),
        torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []),
    ):
        again.run(copied, images)


def _freeze(model: nn.Module, ledger: Ledger) -> None:
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    for (tensor, _), ids in ledger.slots.items():
        if tensor in frozen:
            ledger.fix(ids, f"{layer_rules.layer_of(tensor)} {FROZEN}")
