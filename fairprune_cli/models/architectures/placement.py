"""Find a network among the tensors of a checkpoint: which architecture it is, and what stands before its names.

`model.module.`, `encoder.`, `0.` and the like are found by themselves: a prefix is what stands before all names of an
architecture whose shapes fit as well, so that what belongs to the network itself is never taken for one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models.architectures.fingerprints import COUNTER, PARTS, TABLE, candidates, candidates_by_names
from fairprune_cli.models.architectures.foreign import COUNTERS, part_of_it
from fairprune_cli.models.architectures.registry import names, other_names
from fairprune_cli.models.architectures.signatures import Signature, shortened, signature
from fairprune_cli.models.architectures.torchvision_models import AUXILIARY


@dataclass(frozen=True)
class Placement:
    """Where in a checkpoint a network's tensors are.

    Attributes:
        signature: of the architecture.
        prefix: what the file puts before the network's own names.
        names: the network's own name of each tensor -> its name in the file.
        beside: names in the file that are no part of the network.
    """

    signature: Signature
    prefix: str
    names: Mapping[str, str]
    beside: tuple[str, ...]

    def state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's tensors under its own names."""
        return {name: state[origin] for name, origin in self.names.items()}

    @property
    def auxiliary(self) -> list[str]:
        """Those beside it that are of heads which serve training alone."""
        starts = tuple(self.prefix + start for start in AUXILIARY.get(self.signature.name, ()))
        return [name for name in self.beside if starts and name.startswith(starts)]


def placements(state: Mapping[str, Tensor]) -> list[Placement]:
    """Every known architecture, ours or torchvision's, that is entirely in `state`, with its place."""
    own = [signature(name) for name in names() if name not in TABLE.values()]
    found = [one for sig in own for one in complete_places(state, sig)]
    known = {*names(), *other_names()}
    for prefix, inner in _with_parts(state):
        fitting = [name for name in candidates({n: state[o] for n, o in inner.items()}) if name in known]
        found += [one for name in fitting for one in complete_places(state, signature(name)) if one.prefix == prefix]
    return list({(one.signature.name, one.prefix): one for one in found}.values())


def narrowed(state: Mapping[str, Tensor]) -> list[Placement]:
    """The architectures of whose tensors `state` has all names, some of them narrower; the smallest first."""
    known = {*names(), *other_names()}
    own = [signature(name) for name in names() if name not in TABLE.values()]
    found = [placed(state, sig) for sig in own]
    for _, inner in _with_parts(state):
        found += [placed(state, signature(name)) for name in candidates_by_names(inner) if name in known]
    fitting = [one for one in found if one.signature.narrower(one.state(state)) and not parts_beside(one, state)]
    return sorted(fitting, key=lambda one: _size(one.signature))


def placed(state: Mapping[str, Tensor], sig: Signature) -> Placement:
    """The place where most of an architecture's names are, behind the shortest prefix among equal ones; fit or not.

    The network's own names may begin with a prefix that those of the file lack.
    """
    counts = _prefixes(state, sig.shapes)
    prefix = max(counts, key=lambda one: (counts[one], -len(one)), default="")
    shared = _shared(sig.shapes)
    if shared and counts[prefix] < len(sig.shapes):
        short = {name[len(shared) :]: name for name in sig.shapes}
        others = _prefixes(state, short)
        other = max(others, key=lambda one: (others[one], -len(one)), default="")
        if others[other] > counts[prefix]:
            return _placement(state, sig, other, shared)
    return _placement(state, sig, prefix)


def differences_at(place: Placement, state: Mapping[str, Tensor]) -> list[str]:
    """In words, how the tensors at a place differ from the architecture; none where they are its own and no more."""
    found = place.signature.differences(place.state(state))
    return found + [f"{name} does not belong to it" for name in parts_beside(place, state)]


def identify(state: Mapping[str, Tensor]) -> tuple[str, int]:
    """Name and number of classes of the one architecture, ours or torchvision's, that `state` fits entirely.

    Args:
        state: tensors by name, without prefixes such as `module.`.

    Raises:
        FairpruneError: none fits (the message names the closest one and where it differs), or several do.
    """
    found = [one for one in placements(state) if not one.prefix and not one.beside]
    if not found:
        raise not_recognised(state)
    return (one := only_one(found)).signature.name, one.signature.classes_of(one.state(state)) or 0


def only_one(found: list[Placement]) -> Placement:
    """The one architecture; raises where the tensors fit several."""
    if len(found) > 1:
        choices = " and ".join(one.signature.name for one in found)
        raise FairpruneError(f"the tensors fit several architectures: {choices}", hint="say which one with --arch NAME")
    return found[0]


def not_recognised(state: Mapping[str, Tensor]) -> FairpruneError:
    """What is said where no architecture fits: the closest one, and the first of its differences."""
    places = [placed(state, signature(name)) for name in names()]
    closest = max(places, key=lambda one: one.signature.likeness(_at(one, state)))
    likeness, _ = closest.signature.likeness(_at(closest, state))
    text = f"none of {', '.join(names())} is near"
    if likeness > 0.5:
        whole = differences_at(closest, state) or closest.signature.differences(_at(closest, state))
        differences = whole or ["it has no outputs"]
        text = f"closest is {closest.signature.name}, but {shortened(differences)}"
        text += f" (names behind {closest.prefix!r})" if closest.prefix else ""
    hint = "name it with --arch timm/NAME or --arch package.module:factory"
    return FairpruneError(f"the architecture cannot be told from the tensors: {text}", hint=hint)


def _at(place: Placement, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(place.prefix) :]: state[name] for name in state if name.startswith(place.prefix)}


def complete_places(state: Mapping[str, Tensor], sig: Signature) -> list[Placement]:
    """Every place at which an architecture is entirely, shapes and all."""
    found = []
    biases = {head for head in sig.heads if head.endswith("bias")}
    for prefix, count in _prefixes(state, sig.shapes).items():
        if count < len(sig.shapes) - len(biases):
            continue
        place = _placement(state, sig, prefix)
        if not differences_at(place, state) and (not sig.heads or sig.classes_of(place.state(state))):
            found.append(place)
    return found


def _placement(state: Mapping[str, Tensor], sig: Signature, prefix: str, shared: str = "") -> Placement:
    """`shared`: what the network's own names begin with and the file's lack."""
    origins = {name: prefix + name.removeprefix(shared) for name in sig.shapes}
    counters = {name.rpartition(".")[0] for name in sig.shapes if name.endswith(".running_mean")}
    origins |= {f"{name}.{COUNTER}": f"{prefix}{name.removeprefix(shared)}.{COUNTER}" for name in counters}
    inner = {name: origin for name, origin in origins.items() if origin in state}
    own = set(inner.values())
    return Placement(sig, prefix, inner, tuple(name for name in state if name not in own))


def parts_beside(place: Placement, state: Mapping[str, Tensor]) -> list[str]:
    """Tensors beside the network's own that are part of what is computed all the same."""
    auxiliary = set(place.auxiliary)
    beside = [name for name in place.beside if name not in auxiliary]
    parts = {name.partition(".")[0] for name in place.signature.shapes}
    classes = place.signature.classes_of(place.state(state))
    return part_of_it(beside, state, place.prefix, parts, classes)


def _prefixes(listed: Iterable[str], shapes: Mapping[str, object]) -> Counter[str]:
    """How many of an architecture's names stand behind each prefix."""
    counts: Counter[str] = Counter()
    for name in listed:
        start = 0
        while start >= 0:
            if name[start:] in shapes:
                counts[name[:start]] += 1
            start = name.find(".", start) + 1 or -1
    return counts


def _shared(shapes: Iterable[str]) -> str:
    """The modules that all names of a network are in."""
    split = [name.split(".")[:-1] for name in shapes]
    shared = []
    for level in zip(*split, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "".join(f"{part}." for part in shared)


def _with_parts(state: Mapping[str, Tensor]) -> Iterable[tuple[str, dict[str, str]]]:
    """Each prefix behind which all parts of some architecture are, and the names in these parts."""
    tops: dict[str, set[str]] = defaultdict(set)
    for name in state:
        start = 0
        while start >= 0:
            tops[name[:start]].add(name[start:].partition(".")[0])
            start = name.find(".", start) + 1 or -1
    for prefix, there in tops.items():
        for parts in PARTS:
            if there >= set(parts):
                inner = {name[len(prefix) :]: name for name in state if name.startswith(prefix)}
                kept = {n: o for n, o in inner.items() if n.partition(".")[0] in parts}
                yield prefix, {n: o for n, o in kept.items() if n.rpartition(".")[2] not in COUNTERS}


def _size(sig: Signature) -> int:
    total = 0
    for shape in sig.shapes.values():
        count = 1
        for n in shape:
            count *= n
        total += count
    return total
