"""From the tensors of a checkpoint to the network that they are of: which one, and where in the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.architectures import Placement
from fairprune_cli.models.checkpoint.contents import Contents
from fairprune_cli.models.checkpoint.fit_notes import notes_on, notes_on_narrower
from fairprune_cli.models.checkpoint.module_differences import inner_module, module_differences, surroundings
from fairprune_cli.models.checkpoint.module_tree import module_tree
from fairprune_cli.models.checkpoint.state_dict import converted
from fairprune_cli.models.checkpoint.weight_tables import is_averaged, is_teacher

_IN_SEQUENCE = re.compile(r"(?P<head>.*[^\W\d]\w*)\.(?P<place>\d+)\.weight")

USUAL_CLASSES = 1000  # what a factory is asked for where neither its head nor the data tells


@dataclass
class Recognised:
    """A network and how it was found.

    Attributes:
        model: with its tensors, float32.
        place: where its tensors are in the file.
        notes: what was converted, chosen or left out, a sentence each.
        differences: of a pickled network from the architecture whose tensors it has, a sentence each.
        refusal: what to refuse it with where it computes something else than that.
        computed: what `architectures.make_plain` said.
        dtypes: the number formats of the tensors in the file, by their names in the network.
        removed: what another tool removed from the architecture's network, as `architectures.Account`.
    """

    model: nn.Module
    place: Placement
    notes: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    refusal: FairpruneError | None = None
    computed: list[str] = field(default_factory=list)
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)
    removed: dict[str, dict[str, Any]] = field(default_factory=dict)


def recognise(
    contents: Contents, arch: str | None, said: str = "", weights: str | None = None, classes: int | None = None
) -> Recognised:
    """Build the network that the tensors are of and load them.

    Args:
        contents: of the file.
        arch: the architecture, as the user typed it; recognised where None.
        said: the architecture that the file names, which is taken where the tensors fit it.
        weights: which of several copies, as for `load_model`; classes: likewise.

    Raises:
        FairpruneError: no architecture fits, or not the one named; numbers that are not finite.
    """
    state = contents.state
    found = _places(state, arch, said)
    for shorter, note in () if found else _shortened(state):
        if found := _places(shorter, arch, said):
            state = shorter
            contents.notes += [note] if note else []
            break
    if found:
        place = _chosen(found, contents, weights)
        return _made(place, state, contents, arch, classes)
    _refuse_unmet(contents, [], weights)
    if arch is not None:
        try:
            return _made(architectures.placed(state, architectures.signature(arch)), state, contents, arch, classes)
        except architectures.OtherImageSize:
            raise
        except FairpruneError as error:
            raise _of_another(state, arch, error) from error
    failure = architectures.not_recognised(state)
    for place in architectures.narrowed(state):
        try:
            return _made(place, state, contents, arch, classes)
        except architectures.OtherImageSize:
            raise
        except FairpruneError as error:
            failure = FairpruneError(
                f"{failure.what}; its tensors are narrower than {place.signature.name}'s, and do not fit together:"
                f" {error.what}", hint=failure.hint,
            )  # fmt: skip
    raise failure


def _of_another(state: dict[str, Tensor], arch: str, error: FairpruneError) -> FairpruneError:
    """What to say where the tensors do not fit the architecture that was named: which one they are of, if any."""
    names = sorted({place.signature.name for place in architectures.placements(state)} - {arch})
    if not names:
        return error
    return FairpruneError(
        f"its tensors are those of {' or '.join(names)}, and do not fit {arch}", where=error.where,
        hint=f"the file belongs to another architecture: leave --arch out, or give --arch {names[0]}",
    )  # fmt: skip


def _shortened(state: dict[str, Tensor]) -> Iterator[tuple[dict[str, Tensor], str]]:
    """The tensors by names without a module that was put around a part of the network, and what is said about it."""
    parallel = {name.replace(".module.", "."): tensor for name, tensor in state.items()}
    if parallel.keys() != state.keys() and len(parallel) == len(state):
        yield parallel, ""
    matrices = [name for name, tensor in state.items() if tensor.ndim == 2]
    sequence = _IN_SEQUENCE.fullmatch(matrices[-1]) if matrices else None
    if sequence is None:
        return
    head, place = sequence["head"], f"{sequence['head']}.{sequence['place']}"
    if {name for name in state if name.startswith(f"{head}.")} <= {f"{place}.weight", f"{place}.bias"}:
        renamed = {head + name[len(place) :] if name.startswith(f"{place}.") else name: state[name] for name in state}
        text = f"the head is {place}, in a sequence; what else is in it has no tensors, and is taken for dropout or so"
        yield renamed, text


def _places(state: dict[str, Tensor], arch: str | None, said: str) -> list[Placement]:
    if arch is not None:
        return architectures.complete_places(state, architectures.signature(arch))
    if said and (found := architectures.complete_places(state, architectures.signature(said))):
        return found
    return architectures.placements(state)


def _chosen(found: list[Placement], contents: Contents, weights: str | None) -> Placement:
    """One of several copies of a network; raises where which one is meant cannot be told."""
    _refuse_unmet(contents, found, weights)
    asked = [one for one in found if weights is not None and weights in _names_of(one)]
    averages = [one for one in found if is_averaged(one.prefix.split("."))]
    raw = [one for one in found if one not in averages]
    wanted = asked or (averages if weights == "ema" and averages else raw) or averages
    students = [one for one in wanted if not is_teacher(one.prefix.split("."))] or wanted
    if len({one.prefix for one in students}) > 1:
        places = ", ".join(one.prefix.rstrip(".") or "the top" for one in students)
        hint = f"say which with --weights, e.g. --weights {students[-1].prefix.rstrip('.')}"
        raise FairpruneError(f"it holds several networks alike: {places}", hint=hint)
    chosen = architectures.only_one(students)
    others = sorted({one.prefix.rstrip(".") for one in found} - {chosen.prefix.rstrip(".")})
    if others:
        contents.notes.append(
            f"the weights under {chosen.prefix.rstrip('.') or 'the top'!r} are used; the file also holds"
            f" {', '.join(map(repr, others))} (--weights chooses)"
        )
    return chosen


def _names_of(place: Placement) -> set[str]:
    parts = place.prefix.rstrip(".").split(".")
    return {place.prefix.rstrip("."), parts[0], parts[-1]}


def _refuse_unmet(contents: Contents, found: Sequence[Placement], weights: str | None) -> None:
    """Raise where the copy that was asked for is not there."""
    table = contents.table
    averaged = [is_averaged(one.prefix.split(".")) for one in found]
    met = {
        None: True,
        "ema": table.averaged or any(averaged),
        "raw": not table.averaged and (not found or not all(averaged)),
    }.get(weights, weights in (table.name, *table.path[-1:]) or any(weights in _names_of(one) for one in found))
    if met:
        return
    kind = {"ema": "no averaged weights (EMA)", "raw": "averaged weights (EMA) alone"}.get(str(weights))
    here = f"it holds those under {table.name!r}" if table.name else "it holds one table of weights, at its top"
    what = f"it holds {kind}" if kind else f"it holds no weights under {weights!r}"
    raise FairpruneError(what, hint=f"leave out --weights {weights}; {here}")


def _made(
    place: Placement, state: dict[str, Tensor], contents: Contents, arch: str | None, wanted: int | None
) -> Recognised:
    sig, notes = place.signature, []
    inner, changes = converted(place.state(state))
    notes += changes
    classes = sig.classes_of(inner) or wanted or USUAL_CLASSES
    own = architectures.is_import_path(sig.name)
    room = sum(tensor.nbytes for tensor in inner.values())
    model = architectures.build(sig.name, classes) if own else architectures.skeleton(sig.name, classes, room)
    differences, refusal = _differences(model, place, contents, arch)
    notes += notes_on(place, state, inner)
    inner = _whole_numbers(model, architectures.settle_heads(model, sig.name, inner))
    differing = architectures.differences_at(place, state)
    narrower, computed = sig.narrower(inner) if differing else [], []
    removed: dict[str, dict[str, Any]] = {}
    if differing:
        architectures.refuse_other_image_size(model, sig.name, inner)
    try:
        if narrower:
            notes += notes_on_narrower(narrower, sig, inner)
            shapes = architectures.shapes_of(model)
            model = architectures.fit_to_state(model, inner)
            removed = architectures.account_of(model, shapes)
        else:
            parts = {name: state[name] for name in architectures.parts_beside(place, state)}
            parts = {name.removeprefix(place.prefix): tensor for name, tensor in parts.items()}
            computed = architectures.load_plain(model, {**inner, **parts})
    except FairpruneError as error:
        if not differing or narrower:
            raise
        raise FairpruneError(
            f"the tensors do not fit: {architectures.shortened(differing)}",
            hint=f"the file belongs to another architecture than {sig.name}, or is damaged",
        ) from error
    _freeze(model, place, contents)
    dtypes = {name: state[origin].dtype for name, origin in place.names.items()}
    return Recognised(model, place, notes, differences, refusal, computed, dtypes, removed)


def _differences(
    model: nn.Module, place: Placement, contents: Contents, arch: str | None
) -> tuple[list[str], FairpruneError | None]:
    """How a pickled network differs from `model`, a sentence each.

    With them what to refuse it with where it surely computes something else, and nobody said which architecture to
    take.
    """
    module = contents.table.module
    if module is None:
        return [], None
    whole = module_tree(module)
    given = inner_module(whole, place.prefix)
    if given is None:
        return [], None
    found, name = module_differences(given, module_tree(model)), place.signature.name
    around = surroundings(whole, place.prefix)
    found.changed[:0], found.unknown[:0] = around.changed, around.unknown
    refusal, texts = None, []
    if found.changed and arch is None:
        refusal = FairpruneError(
            f"its tensors are those of {name}, but the network that was pickled computes something else:"
            f" {architectures.shortened(found.changed)}",
            hint="--trust-checkpoint runs the network's own code, if you trust where it comes from; or name what"
            f" builds it with --arch package.module:factory; --arch {name} takes the plain {name} all the same",
        )
        texts.append(refusal.what)
    elif found.changed:
        texts.append(
            f"the plain {name} is used, as --arch says; the network that was pickled computes something else:"
            f" {architectures.shortened(found.changed)}"
        )
    if found.unknown:
        texts.append(
            f"the network that was pickled is read as {name} without running its code, which may compute something"
            f" else: {architectures.shortened(found.unknown)}"
        )
    if found.training:
        texts.append(f"differs from {name} in training alone: {architectures.shortened(found.training)}")
    return texts, refusal


def _whole_numbers(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Indices that a conversion of all tensors made floats, as `.half()` over a state dict does, are indices again."""
    result = dict(state)
    for name, tensor in model.state_dict().items():
        given = result.get(name)
        if given is not None and not tensor.is_floating_point() and given.is_floating_point():
            whole = given.round()
            if bool((whole == given).all()):
                result[name] = whole.to(tensor.dtype)
    return result


def _freeze(model: nn.Module, place: Placement, contents: Contents) -> None:
    """Parameters that a pickled network froze stay frozen; where all are, it is a copy that was kept for evaluation."""
    weights = contents.table.weights
    frozen = [name for name, origin in place.names.items() if getattr(weights.get(origin), "frozen", False)]
    parameters = dict(model.named_parameters())
    if set(frozen) >= parameters.keys():
        return
    for name in frozen:
        if name in parameters:
            parameters[name].requires_grad_(False)
