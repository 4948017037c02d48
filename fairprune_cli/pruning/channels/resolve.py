"""From what a walk has found out to spaces: channels that are tied are one, channels in the same places are alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from fairprune_cli.pruning.channels.marks import Ints, Ledger
from fairprune_cli.pruning.channels.spaces import ChannelSpace, Coupling, Slot

Producer = tuple[str, str, int]  # layer, its weight, the dimension of the channels
Place = tuple[str, int, int]  # tensor, dimension, indices that one channel has there
Kind = tuple[tuple[Place, ...], tuple[str, ...], bool]  # places, gates, whether masking is not exactly removal


def resolved_coupling(model: nn.Module, ledger: Ledger) -> Coupling:
    """Spaces of all channels that may go, and the layers that keep theirs.

    Args:
        model: that was walked through.
    """
    roots = ledger.roots()
    order = {name: position for position, name in enumerate(dict(model.named_parameters()))}
    producers = [
        (layer, tensor, dim) for tensor, (layer, dim) in ledger.producers.items() if tensor in order
    ]  # fmt: skip
    producers.sort(key=lambda producer: order[producer[1]])
    stays = _staying(ledger, roots)
    several = {root for ids in ledger.several for root in roots[ids].tolist()}
    spaces: list[ChannelSpace] = []
    for (places, gates, inexact), members in _alike(ledger, roots, producers, stays, order).items():
        own = [(layer, tensor, dim) for layer, tensor, dim in producers if any(p[:2] == (tensor, dim) for p in places)]
        if not own or len(members) < 2 or not gates:
            if own and not gates:
                stays.update(dict.fromkeys(members, f"{own[0][0]}: no scale and shift follow that could silence them"))
            continue
        channel, inside = np.full(ledger.count, -1, np.int64), set(members)
        rows = roots[ledger.slots[own[0][1:]]]
        channel[[root for root in dict.fromkeys(rows.tolist()) if root in inside]] = np.arange(len(members))

        def slot(tensor: str, dim: int, ids: Ints, channel: Ints = channel) -> Slot:
            return Slot(tensor, dim, torch.from_numpy(np.where(ids > 0, channel[roots[ids]], -1)))

        # Channels along another dimension of a weight are known by the scales after it alone.
        filters = [tensor for _, tensor, dim in own if dim == 0] or gates
        spaces.append(
            ChannelSpace(
                own[0][0], len(members),
                slots=tuple(slot(tensor, dim, ledger.slots[tensor, dim]) for tensor, dim, _ in places),
                gates=tuple(slot(tensor, 0, ledger.gates[tensor]) for tensor in gates),
                filters=tuple(slot(tensor, 0, ledger.slots[tensor, 0]) for tensor in filters),
                exact=not inexact, least=2 if several & inside else 1,
            )
        )  # fmt: skip
    at = {layer: position for position, (layer, _, _) in enumerate(producers)}
    spaces.sort(key=lambda space: at[space.name])
    fixed = {}
    for layer, tensor, dim in producers:
        reasons = {stays.get(root) for root in roots[ledger.slots[tensor, dim]].tolist()}
        if None not in reasons:
            fixed[layer] = next(iter(reasons)) or ""
    return Coupling(spaces, fixed)


def _staying(ledger: Ledger, roots: Ints) -> dict[int, str]:
    """Why the channels stay that have to, by root."""
    stays: dict[int, str] = {0: ""}
    for ids, why in (*ledger.fixed, *ledger.unequal(roots)):
        for root in np.unique(roots[ids]).tolist():
            # "inputs" says least, so anything else replaces it.
            if stays.get(root, "inputs") == "inputs":
                stays[root] = why
    return stays


def _silencers(ledger: Ledger, roots: Ints, producers: Sequence[Producer]) -> tuple[dict[int, set[str]], set[int]]:
    """By root, the tensors whose zeros silence a channel; and the roots for which masking is not exactly removal."""
    silencers: dict[int, set[str]] = {}
    loud = {root for ids in ledger.inexact for root in roots[ids].tolist()}
    for ids, sources in ledger.reads:
        for source in np.unique(sources).tolist():
            for root in np.unique(roots[ids[sources == source]]).tolist():
                silencers.setdefault(root, set()).update(ledger.sources[source])
                if not source:
                    loud.add(root)
    lonely: set[int] = set()  # nothing silences them on the way; the layers that produce them have to
    for _, tensor, dim in producers:
        own_gates = {tensor, f"{tensor.removesuffix('weight')}bias"} & ledger.gates.keys()
        for root in np.unique(roots[ledger.slots[tensor, dim]]).tolist():
            if not silencers.get(root) or root in lonely:
                silencers.setdefault(root, set()).update(own_gates)
                lonely.add(root)
                loud.add(root)
    return silencers, loud


def _alike(
    ledger: Ledger, roots: Ints, producers: Sequence[Producer], stays: Mapping[int, str],
    order: Mapping[str, int],
) -> dict[Kind, list[int]]:  # fmt: skip
    """The roots of channels that may go, together where they lie in the same places and have the same gates."""
    silencers, loud = _silencers(ledger, roots, producers)
    places: dict[int, list[Place]] = {}
    for (tensor, dim), ids in ledger.slots.items():
        found, counts = np.unique(roots[ids], return_counts=True)
        for root, count in zip(found.tolist(), counts.tolist(), strict=True):
            if root not in stays:
                places.setdefault(root, []).append((tensor, dim, count))
    alike: dict[Kind, list[int]] = {}
    for root, found_at in places.items():
        key = (tuple(sorted(found_at)), tuple(sorted(silencers.get(root, ()), key=order.__getitem__)), root in loud)
        alike.setdefault(key, []).append(root)
    return alike
