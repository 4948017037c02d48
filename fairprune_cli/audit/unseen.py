"""What a gate's figure does not rest on, and what follows: groups with too few images or none, images in no group.

Nothing passes because something was not looked at. `allow_small_groups` is the word of whoever asks that the groups
named are to be left out, and `missing: drop` of a manifest the same for images without a value; both are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fairprune_cli.audit.figures import SmallGroup
from fairprune_cli.audit.gates import GatePolicy, Unseen

ALL_IMAGES = "all images"


def groups_left_out(
    small: Sequence[str], denominators: Iterable[SmallGroup], sizes: Mapping[str, int], hidden: Unseen
) -> tuple[SmallGroup, ...]:
    """The groups that a figure does not rest on, those without a single image last.

    Args:
        small: their names.
        denominators: what each of them has too few of; images where it is not among these.
        sizes: images by group.
    """
    known = {one.group: one for one in denominators}
    found = [known.get(name) or SmallGroup(name, sizes.get(name, 0)) for name in small]
    return (*found, *(SmallGroup(name, 0) for name in hidden.absent))


def keeps_from_passing(small: Sequence[SmallGroup], ungrouped: int, dropped: bool, policy: GatePolicy) -> bool:
    """Whether a gate that would pass may not, for what its figure does not rest on."""
    if any(one.group == ALL_IMAGES for one in small):
        return True  # without it nothing is left to judge
    return not policy.allow_small_groups and (bool(small) or (ungrouped > 0 and not dropped))


def in_words(small: Iterable[SmallGroup]) -> str:
    """dark (29 images), few (5 images labelled smiling)."""
    return ", ".join(f"{one.group} ({_counted(one.n, one.of)})" for one in small)


def remarks(
    small: Sequence[SmallGroup], ungrouped: int, dropped: bool, attribute: str, policy: GatePolicy
) -> list[str]:
    """What a gate says of it, and how to mend it."""
    found = []
    if any(one.group == ALL_IMAGES for one in small):
        found.append(f"there are only {_counted(small[0].n, small[0].of)}, and {policy.min_group} are asked for")
    elif small and policy.allow_small_groups:
        found.append(f"left out as was asked for, fewer than {policy.min_group}: {in_words(small)}")
    elif small:
        found.append(
            f"not judged, fewer than {policy.min_group}: {in_words(small)} "
            "(with --allow-small-groups the others are judged without them)"
        )
    if ungrouped:
        how = "" if dropped or policy.allow_small_groups else (
            " and were not looked at (in the manifest, `missing: unknown` makes them a group and `missing: drop` says "
            "that they are to be left out)"
        )  # fmt: skip
        found.append(f"{_counted(ungrouped, 'images')} in no group of {attribute}{how}")
    return found


def _counted(n: int, of: str) -> str:
    return f"{n:,} {of.replace('images', 'image', 1) if n == 1 else of}"
