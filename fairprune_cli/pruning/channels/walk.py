"""The walk over a network: it runs on blank images, and what is found out on the way becomes a coupling."""

from __future__ import annotations

import copy
import traceback

import torch
from torch import Tensor, nn

from fairprune_cli.data.manifest.image_shape import Shape
from fairprune_cli.models.inference import blank_images, evaluating
from fairprune_cli.pruning.channels import layer_rules
from fairprune_cli.pruning.channels.marks import Ledger
from fairprune_cli.pruning.channels.observer import Decides, Observer, own_tensors
from fairprune_cli.pruning.channels.resolve import resolved_coupling
from fairprune_cli.pruning.channels.sizes import Place, numbers_in
from fairprune_cli.pruning.channels.spaces import FROZEN, Coupling
from fairprune_cli.pruning.options import TargetOptions


class _Everywhere(frozenset[Place]):
    """All places of all code."""

    def __contains__(self, place: object) -> bool:
        return True


Places = frozenset[Place]


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
    plain: Places = frozenset()
    while True:
        ledger = Ledger()
        walk = Observer(model, ledger, opaque, plain)
        try:
            with evaluating(model):
                walk.run(model, images)
        except Decides as decides:
            if not decides.module or decides.module in opaque:
                raise WalkFailed("", "its code goes by the values of the image") from None
            opaque |= {decides.module}
            continue
        except Exception as error:
            # What takes whole numbers alone may have been given one that shrinks with channels.
            more = _wanting_plain(error, walk)
            if more is None:
                raise WalkFailed(walk.last, error) from error
            plain = more
            continue
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
    plain: Places | None = walk.plain
    while plain is not None:
        again = Observer(copied, walk.ledger, walk.opaque, plain)
        try:
            with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
                again.run(copied, images)
            return
        except Decides:
            return
        except Exception as error:
            # Where it cannot be run in training at all, the trial of a removal says so.
            plain = _wanting_plain(error, again)


def _wanting_plain(error: Exception, walk: Observer) -> Places | None:
    """The places of a walk that need plain numbers of channels after it has failed; None where all had them."""
    frames = [
        (frame, line) for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_globals.get("__name__", "").startswith(__package__)
    ][::-1]  # fmt: skip
    if isinstance(walk.plain, _Everywhere) or not walk.places:
        return None
    for frame, line in frames:
        held = {place for number in numbers_in(list(frame.f_locals.values())) for place in number.places}
        new = {place for place in held | ({(frame.f_code, line)} & walk.places) if place not in walk.plain}
        if new:
            return walk.plain | new
    for frame, _ in frames:
        new = {place for place in walk.places if place[0] is frame.f_code and place not in walk.plain}
        if new:
            return walk.plain | new
    return _Everywhere()


def _freeze(model: nn.Module, ledger: Ledger) -> None:
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    for (tensor, _), ids in ledger.slots.items():
        if tensor in frozen:
            ledger.fix(ids, f"{layer_rules.layer_of(tensor)} {FROZEN}")
