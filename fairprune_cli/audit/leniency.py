"""What made a verdict easier to get than it is by default, in words that stand next to it wherever it is shown."""

from __future__ import annotations

from collections.abc import Sequence

from fairprune_cli.audit.gates import GateResult, cannot_fail
from fairprune_cli.audit.options import CONFIDENCE, MIN_GROUP
from fairprune_cli.audit.unseen import in_words

USUAL_SPLIT = "test"


def leniencies(gates: Sequence[GateResult], split: str = USUAL_SPLIT, points: Sequence[str] = ()) -> list[str]:
    """One phrase for each way in which gates were judged more leniently than by default; none without gates.

    Args:
        split: whose images were audited.
        points: attributes whose groups have thresholds of their own, which predictions were made with.
    """
    if not gates:
        return []
    found = []
    if idle := [gate for gate in gates if cannot_fail(gate.metric, gate.bound)]:
        found.append(f"by a bound that no model could violate{_of(idle, gates)}")
    if bare := [gate for gate in gates if gate.point_estimate]:
        found.append(f"by bare figures without their intervals{_of(bare, gates)}")
    if unsure := [gate for gate in gates if gate.confidence is not None and gate.confidence < CONFIDENCE]:
        least = min(gate.confidence or 0.0 for gate in unsure)
        found.append(f"at confidence {least:g} instead of {CONFIDENCE:g}{_of(unsure, gates)}")
    if tiny := [gate for gate in gates if gate.min_group is not None and gate.min_group < MIN_GROUP]:
        least_group = min(gate.min_group or 0 for gate in tiny)
        found.append(f"with groups of {least_group} or more images instead of {MIN_GROUP}{_of(tiny, gates)}")
    allowed = [gate for gate in gates if gate.allow_small_groups and gate.attribute is not None]
    for attribute in dict.fromkeys(gate.attribute for gate in allowed):
        small = {one.group: one for gate in allowed if gate.attribute == attribute for one in gate.small_groups}
        if small:
            found.append(f"without these groups of {attribute}: {in_words(small.values())}")
    lost = {gate.attribute: gate.ungrouped for gate in gates if gate.ungrouped}
    found += [f"without {n:,} images that are in no group of {attribute}" for attribute, n in lost.items()]
    found += [f"with thresholds of their own for groups of {name}, which need the group at use" for name in points]
    if split != USUAL_SPLIT:
        found.append(f"on the {split} split instead of {USUAL_SPLIT}")
    return found


def _of(some: Sequence[GateResult], gates: Sequence[GateResult]) -> str:
    return "" if len(some) == len(gates) else f" ({len(some)} of {len(gates)} gates)"
