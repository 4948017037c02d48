"""Settings of pruning: how much of what is removed, by which method, and when the mask moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairprune_cli.core import plugins
from fairprune_cli.core.settings import Need, setting
from fairprune_cli.data.options import SeedOptions
from fairprune_cli.models.options import GRANULARITIES

OF_CHANNELS = Need("granularity", ("channel",))
_FIRST_ORDER, _SECOND_ORDER = (Need("mask_step", (form,)) for form in ("first-order", "second-order"))
PATTERN, PATTERN_SPARSITY = GRANULARITIES[2], 0.5  # a granularity, and the only sparsity that it has


@dataclass(frozen=True)
class TargetOptions:
    """What is removed, and how much."""

    granularity: str = setting(
        "channel", "what is removed", choices=GRANULARITIES, also={
            "structured": "channel", "channels": "channel", "filter": "channel", "filters": "channel",
            "unstructured": "weight", "weights": "weight", "fine-grained": "weight",
            "n:m": PATTERN, "nm": PATTERN, "2-4": PATTERN, "semi-structured": PATTERN,
        },
    )  # fmt: skip
    sparsity: float = setting(
        0.8, "share of prunable parameters that is gone at the end", low=0.0, below=1.0, share=True
    )
    prune_frozen: bool = setting(False, "frozen parameters may be pruned, too; none of them is trained")
    sparsity_of: str = setting(
        "parameters", "channel: what the sparsity is a share of", choices=("parameters", "macs", "channels"),
        also={"flops": "macs", "params": "parameters"}, needs=(OF_CHANNELS,),
    )  # fmt: skip
    round_to: int = setting(
        1, "channel: shrunk layers keep a multiple of so many channels", low=1, high=1024, needs=(OF_CHANNELS,)
    )
    layer_floor: float = setting(
        0.05, "weight: share of an even budget that each layer keeps", low=0.0, high=1.0, share=True,
        needs=(Need("granularity", ("weight",)),),
    )  # fmt: skip
    min_channels: float = setting(
        0.05, "channel: share of its channels that each layer keeps", low=0.0, high=1.0, share=True,
        needs=(OF_CHANNELS,),
    )  # fmt: skip

    @staticmethod
    def settle(values: dict[str, Any], sources: Mapping[str, str]) -> list[tuple[str, str, str]]:
        """A pattern decides the sparsity; one that was given has to agree."""
        if values.get("granularity") != PATTERN:
            return []
        if sources["sparsity"] == "default":
            values["sparsity"] = PATTERN_SPARSITY
        elif "sparsity" in values and values["sparsity"] != PATTERN_SPARSITY:
            given = values["sparsity"]
            what = f"{given:g} cannot be had by {PATTERN}, which removes exactly half of the weights it fits"
            return [("sparsity", what, f"give {PATTERN_SPARSITY} or leave it out")]
        return []


@dataclass(frozen=True)
class MethodOptions(SeedOptions):
    """The method, and what only some methods read."""

    method: str = setting("bifp", "pruning method, or package.module:Class", plugins=plugins.METHOD)
    mask_step: str = setting(
        "second-order", "form of the mask step", choices=("first-order", "second-order"), by_method=True,
        also={"first": "first-order", "1": "first-order", "second": "second-order", "2": "second-order"},
    )  # fmt: skip
    schedule: str = setting(
        "gradual", "sparsity rises as the method has it, or at once", choices=("gradual", "one-shot")
    )
    score_init: str = setting(
        "magnitude", "first scores of bifp and bip", choices=("magnitude", "random", "gradient"), by_method=True
    )
    ramp_share: float = setting(
        0.4, "share of the steps in which sparsity rises", low=0.0, high=1.0, share=True, by_method=True,
        needs=(Need("schedule", ("gradual",)),),
    )  # fmt: skip
    rho: float = setting(
        0.35, "damping exponent of the second-order score", low=0.0, high=1.0, by_method=True, needs=(_SECOND_ORDER,)
    )
    ema: float = setting(
        0.9, "memory of the squared gradient", low=0.0, below=1.0, by_method=True, needs=(_SECOND_ORDER,)
    )
    gamma: float = setting(
        1.0, "regulariser in the first-order implicit term", above=0.0, by_method=True, needs=(_FIRST_ORDER,)
    )
    mask_lr: float = setting(
        0.1, "relative step of the first-order scores", above=0.0, by_method=True, needs=(_FIRST_ORDER,)
    )
    mask_score: str = setting(
        "bi-level", "what balanced, group-dro and dfr prune by: the scores of bifp or magnitude",
        choices=("bi-level", "magnitude"), by_method=True,
    )  # fmt: skip
    balance_over: str = setting(
        "groups", "what balanced, group-dro and dfr hold in equal shares", choices=("groups", "label-groups"),
        by_method=True,
    )  # fmt: skip
    dro_step: float = setting(0.01, "group-dro: step of the groups' weights", low=0.0, high=10.0, by_method=True)
    size_adjustment: float = setting(
        0.0, "group-dro: C in C / sqrt(n), which is added to the loss of a group of n images", low=0.0, high=1000.0,
        by_method=True,
    )  # fmt: skip
    dfr_penalty: str = setting("l1", "dfr: penalty on the last layer's weights", choices=("l1", "l2"), by_method=True)
    dfr_c: float = setting(
        0.0, "dfr: weight of the loss against the penalty; 0 takes the best of a grid on held-out images", low=0.0,
        high=1e6, by_method=True,
    )  # fmt: skip
    dfr_subsets: int = setting(20, "dfr: balanced subsets whose fits are averaged", low=1, high=1000, by_method=True)
    fairgrape_budget: str = setting(
        "equal", "fairgrape: the passes that all methods get, or its own: a tenth a round, three epochs after each",
        choices=("equal", "own"), by_method=True,
    )  # fmt: skip
    rounds: int = setting(5, "rounds of lottery, fairgrape and fairprune", low=1, high=1000, by_method=True)
    beta: float = setting(
        0.33, "fairprune: weight of the privileged groups' saliency", low=0.0, high=1000.0, by_method=True
    )
    weight_floor: float = setting(0.75, "weighted-loss: least weight of an image", low=0.0, high=1.0, by_method=True)
    weight_power: float = setting(
        5.0, "weighted-loss: power of the dense model's error", low=0.0, high=100.0, by_method=True
    )


@dataclass(frozen=True)
class MaskOptions:
    """When and by what the mask moves."""

    scope: str = setting(
        "auto", "units compete over all layers or within each; auto is the method's own",
        choices=("auto", "global", "layer"),
    )  # fmt: skip
    upper_every: int = setting(5, "lower steps per upper step", low=1, high=1_000_000)
    upper_share: float = setting(
        0.5, "share of val kept for upper steps; weights never see it", above=0.0, below=1.0, share=True
    )
    saliency_batches: int = setting(
        8, "upper batches that a pruning in rounds looks at", low=1, high=100_000, by_method=True
    )
