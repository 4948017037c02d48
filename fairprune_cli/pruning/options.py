"""Settings of pruning: how much of what is removed, by which method, and when the mask moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import Problems
from fairprune_cli.core.settings import setting
from fairprune_cli.data.options import SeedOptions
from fairprune_cli.models.options import GRANULARITIES

PATTERN, PATTERN_SPARSITY = GRANULARITIES[2], 0.5  # a granularity, and the only sparsity that it has


@dataclass(frozen=True)
class TargetOptions:
    """What is removed, and how much."""

    granularity: str = setting("channel", "what is removed", choices=GRANULARITIES)
    sparsity: float = setting(0.8, "share of prunable parameters that is gone at the end", low=0.0, below=1.0)
    prune_frozen: bool = setting(False, "frozen parameters may be pruned, too; none of them is trained")
    sparsity_of: str = setting(
        "parameters", "channel: what the sparsity is a share of", choices=("parameters", "macs", "channels")
    )
    round_to: int = setting(1, "channel: shrunk layers keep a multiple of so many channels", low=1, high=1024)
    layer_floor: float = setting(0.05, "share of an even budget that each layer keeps", low=0.0, high=1.0)
    min_channels: float = setting(0.05, "share of its channels that each layer keeps", low=0.0, high=1.0)

    @staticmethod
    def settle(values: dict[str, Any], sources: Mapping[str, str], problems: Problems) -> None:
        """A pattern decides the sparsity; one that was given has to agree."""
        if values.get("granularity") != PATTERN:
            return
        if sources["sparsity"] == "default":
            values["sparsity"] = PATTERN_SPARSITY
        elif "sparsity" in values and values["sparsity"] != PATTERN_SPARSITY:
            problems.add(
                f"{sources['sparsity']}: sparsity: {values['sparsity']:g} cannot be had by {PATTERN}, which removes "
                f"exactly half of the weights it fits: give {PATTERN_SPARSITY} or leave it out"
            )


@dataclass(frozen=True)
class MethodOptions(SeedOptions):
    """The method, and what only some methods read."""

    method: str = setting("bifp", "pruning method, or package.module:Class", plugins=plugins.METHOD)
    mask_step: str = setting("second-order", "form of the mask step", choices=("first-order", "second-order"))
    schedule: str = setting(
        "gradual", "sparsity rises as the method has it, or at once", choices=("gradual", "one-shot")
    )
    score_init: str = setting("magnitude", "first scores of bifp and bip", choices=("magnitude", "random", "gradient"))
    ramp_share: float = setting(0.4, "share of the steps in which sparsity rises", low=0.0, high=1.0)
    rho: float = setting(0.35, "damping exponent of the second-order score", low=0.0, high=1.0)
    ema: float = setting(0.9, "memory of the squared gradient", low=0.0, below=1.0)
    gamma: float = setting(1.0, "regulariser in the first-order implicit term", above=0.0)
    mask_lr: float = setting(0.1, "relative step of the first-order scores", above=0.0)
    mask_score: str = setting(
        "bi-level", "what balanced, group-dro and dfr prune by: the scores of bifp or magnitude",
        choices=("bi-level", "magnitude"),
    )  # fmt: skip
    balance_over: str = setting(
        "groups", "what balanced, group-dro and dfr hold in equal shares", choices=("groups", "label-groups")
    )
    dro_step: float = setting(0.01, "group-dro: step of the groups' weights", low=0.0, high=10.0)
    size_adjustment: float = setting(
        0.0, "group-dro: C in C / sqrt(n), which is added to the loss of a group of n images", low=0.0, high=1000.0
    )
    dfr_penalty: str = setting("l1", "dfr: penalty on the last layer's weights", choices=("l1", "l2"))
    dfr_c: float = setting(
        0.0, "dfr: weight of the loss against the penalty; 0 takes the best of a grid on held-out images", low=0.0,
        high=1e6,
    )  # fmt: skip
    dfr_subsets: int = setting(20, "dfr: balanced subsets whose fits are averaged", low=1, high=1000)
    fairgrape_budget: str = setting(
        "equal", "fairgrape: the passes that all methods get, or its own: a tenth a round, three epochs after each",
        choices=("equal", "own"),
    )  # fmt: skip
    rounds: int = setting(5, "rounds of lottery, fairgrape and fairprune", low=1)
    beta: float = setting(0.33, "fairprune: weight of the privileged groups' saliency", low=0.0)
    weight_floor: float = setting(0.75, "weighted-loss: least weight of an image", low=0.0, high=1.0)
    weight_power: float = setting(5.0, "weighted-loss: power of the dense model's error", low=0.0)


@dataclass(frozen=True)
class MaskOptions:
    """When and by what the mask moves."""

    scope: str = setting(
        "auto", "units compete over all layers or within each; auto is the method's own",
        choices=("auto", "global", "layer"),
    )  # fmt: skip
    upper_every: int = setting(5, "lower steps per upper step", low=1)
    upper_share: float = setting(0.5, "share of val kept for upper steps; weights never see it", above=0.0, below=1.0)
    saliency_batches: int = setting(8, "upper batches that a pruning in rounds looks at", low=1)
