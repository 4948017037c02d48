"""Typed settings, merged in layers that remember where each value came from.

Precedence: flag > environment (FAIRPRUNE_<KEY>) > file (fairprune.yaml, or --config) > default.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairprune_cli.core.errors import Problems, nearest

CONFIG_FILE = "fairprune.yaml"
PATTERN, PATTERN_SPARSITY = "2:4", 0.5  # a granularity, and the only sparsity that it has


def setting(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field with its help text and range: low <= value <= high, above < value < below."""
    meta = {"text": text, "low": low, "high": high, "above": above, "below": below, "choices": choices}
    return dataclasses.field(default=default, metadata=meta)


@dataclass(frozen=True)
class Settings:
    """Everything a run can be told; each field is a key of fairprune.yaml and FAIRPRUNE_<KEY>."""

    data: str | None = setting(None, "manifest of the data set")
    arch: str | None = setting(None, "architecture name, or package.module:factory")
    attr: tuple[str, ...] = setting((), "sensitive attributes; a*b is an intersection")
    seed: int = setting(0, "seed of every random draw", low=0, high=2**31 - 1)
    device: str = setting("auto", "auto, cpu, cuda, cuda:N or mps")
    threads: int = setting(0, "CPU threads; 0 leaves it to torch", low=0)
    save_minutes: float = setting(5.0, "minutes between saved states; 0 is after every step", low=0.0)

    method: str = setting("bifp", "pruning method")
    granularity: str = setting("channel", "what is removed", choices=("channel", "weight", PATTERN))
    sparsity: float = setting(0.8, "share of prunable parameters that is gone at the end", low=0.0, below=1.0)
    sparsity_of: str = setting(
        "parameters", "channel: what the sparsity is a share of", choices=("parameters", "macs", "channels")
    )
    round_to: int = setting(1, "channel: shrunk layers keep a multiple of so many channels", low=1, high=1024)
    store: str = setting("fp32", "number format of the weights in the file", choices=("fp32", "fp16", "bf16"))
    fairness_on: str = setting(
        "both", "level whose Lagrangian has the fairness term", choices=("both", "weights", "mask", "none")
    )
    mask_step: str = setting("second-order", "form of the mask step", choices=("first-order", "second-order"))
    notion: str = setting("accuracy", "fairness notion of constraint and gate")
    relaxation: str = setting("logistic", "surrogate of the indicator")
    bound: str = setting("matched", "side from which the surrogate bounds", choices=("matched", "upper", "lower"))
    schedule: str = setting(
        "gradual", "sparsity rises as the method has it, or at once", choices=("gradual", "one-shot")
    )
    scope: str = setting(
        "auto", "units compete over all layers or within each; auto is the method's own",
        choices=("auto", "global", "layer"),
    )  # fmt: skip
    score_init: str = setting("magnitude", "first scores of bifp and bip", choices=("magnitude", "random", "gradient"))
    tolerance: float = setting(0.02, "allowed difference between groups", low=0.0, high=1.0)

    epochs: int = setting(6, "passes over the pruning data, upper steps included", low=1, high=100_000)
    batch_size: int = setting(128, "images per step, over all processes", low=2, high=65_536)
    lr: float = setting(0.1, "peak learning rate", above=0.0, high=10.0)
    momentum: float = setting(0.9, "momentum of SGD", low=0.0, below=1.0)
    weight_decay: float = setting(5e-4, "decay of weights (not of norms)", low=0.0, high=1.0)
    precision: str = setting(
        "fp32", "arithmetic of the training passes, auto the faster one; weights, audit and file stay fp32",
        choices=("fp32", "bf16", "auto"),
    )  # fmt: skip
    compile: bool = setting(False, "compile the network before training; pays on GPUs and for long runs")
    clip_norm: float = setting(5.0, "largest gradient norm", above=0.0)
    augment: bool = setting(True, "flips and small shifts while training")
    balance: str = setting(
        "adaptive", "shares of label x group in a batch: as in the data, as the Lagrangian weighs them, or even",
        choices=("none", "adaptive", "even"),
    )  # fmt: skip
    distill: float = setting(0.0, "share of the loss that is distillation from the dense model", low=0.0, high=1.0)
    temperature: float = setting(2.0, "of the distillation", above=0.0)
    average: float = setting(0.0, "last share of the steps whose weights are averaged", low=0.0, high=1.0)

    upper_every: int = setting(5, "lower steps per upper step", low=1)
    upper_share: float = setting(0.5, "share of val kept for upper steps; weights never see it", above=0.0, below=1.0)
    ramp_share: float = setting(0.4, "share of the steps in which sparsity rises", low=0.0, high=1.0)
    rho: float = setting(0.35, "damping exponent of the second-order score", low=0.0, high=1.0)
    ema: float = setting(0.9, "memory of the squared gradient", low=0.0, below=1.0)
    gamma: float = setting(1.0, "regulariser in the first-order implicit term", above=0.0)
    mask_lr: float = setting(0.1, "relative step of the first-order scores", above=0.0)
    saliency_batches: int = setting(8, "upper batches that a pruning in rounds looks at", low=1)
    rounds: int = setting(5, "rounds of lottery, fairgrape and fairprune", low=1)
    beta: float = setting(0.33, "fairprune: weight of the privileged groups' saliency", low=0.0)
    weight_floor: float = setting(0.75, "weighted-loss: least weight of an image", low=0.0, high=1.0)
    weight_power: float = setting(5.0, "weighted-loss: power of the dense model's error", low=0.0)
    layer_floor: float = setting(0.05, "share of an even budget that each layer keeps", low=0.0, high=1.0)
    min_channels: float = setting(0.05, "share of its channels that each layer keeps", low=0.0, high=1.0)

    multiplier_rate: float = setting(0.05, "step of the multipliers", low=0.0)
    multiplier_cap: float = setting(3.0, "largest multiplier", low=0.0)
    multiplier_decay: float = setting(
        0.0, "share of a multiplier lost per step inside the tolerance, beside the dual step", low=0.0, high=1.0
    )
    multiplier_memory: float = setting(2000.0, "images that the running rates look back on", above=0.0)
    levelling: float = setting(0.0, "how far a gap may close by making the better groups worse", low=0.0, high=1.0)
    multiplier_data: str = setting(
        "upper", "batches whose exact rates move the multipliers", choices=("upper", "lower", "both")
    )

    max_gap: float | None = setting(None, "gate: largest gap of the notion", low=0.0, high=1.0)
    max_degradation: float | None = setting(None, "gate: largest loss of a group", low=0.0, high=1.0)
    min_accuracy: float | None = setting(None, "gate: least accuracy", low=0.0, high=1.0)
    min_group: int = setting(30, "least denominator of a rate", low=1)
    confidence: float = setting(0.95, "confidence of the intervals", low=0.5, high=0.999)
    point_estimate: bool = setting(False, "gates judge the bare figure")
    policy: str | None = setting(None, "policy file with gates of its own")
    split: str = setting("test", "split that the audit reads", choices=("train", "val", "test"))
    show_examples: int = setting(0, "images that each group lost through pruning, shown in the report", low=0, high=100)
    track: str = setting("none", "where runs are tracked as well", choices=("none", "mlflow"))


@dataclass(frozen=True)
class Resolved:
    """Settings and, for each key, the layer its value came from."""

    settings: Settings
    sources: Mapping[str, str]

    def document(self) -> dict[str, dict[str, Any]]:
        """`config.yaml`: key -> value and source."""
        values = dataclasses.asdict(self.settings)
        return {
            key: {"value": list(v) if isinstance(v, tuple) else v, "source": self.sources[key]}
            for key, v in values.items()
        }


FIELDS = {f.name: f for f in dataclasses.fields(Settings)}
_TYPES = typing.get_type_hints(Settings)


def resolve(flags: Mapping[str, Any], env: Mapping[str, str], file: Path | None) -> Resolved:
    """Merge the layers; flags that are None were not given.

    Args:
        flags: values from the command line, by key.
        env: environment; FAIRPRUNE_SEED and the like.
        file: a YAML mapping, or None.

    Raises:
        FairpruneError: every unknown key, wrong type and value out of range at once.
    """
    values: dict[str, Any] = {}
    sources = dict.fromkeys(FIELDS, "default")
    problems = Problems("settings")
    for source, layer in _layers(flags, env, file, problems):
        for key, raw in layer.items():
            name = key.replace("-", "_")
            if name not in FIELDS:
                problems.add(f"{source}: unknown key {key!r}; {nearest(name, FIELDS)}")
                continue
            try:
                values[name] = _checked(name, raw, text=source == "environment")
            except ValueError as error:
                problems.add(f"{source}: {name}: {error}")
                continue
            sources[name] = source
    if values.get("granularity") == PATTERN:
        if sources["sparsity"] == "default":
            values["sparsity"] = PATTERN_SPARSITY
        elif "sparsity" in values and values["sparsity"] != PATTERN_SPARSITY:
            problems.add(
                f"{sources['sparsity']}: sparsity: {values['sparsity']:g} cannot be had by {PATTERN}, which removes "
                f"exactly half of the weights it fits: give {PATTERN_SPARSITY} or leave it out"
            )
    problems.raise_if_any()
    return Resolved(Settings(**values), sources)


def _layers(
    flags: Mapping[str, Any], env: Mapping[str, str], file: Path | None, problems: Problems
) -> list[tuple[str, Mapping[str, Any]]]:
    layers: list[tuple[str, Mapping[str, Any]]] = []
    if file is not None:
        layers.append((str(file), read_config(file, problems)))
    prefix = "FAIRPRUNE_"
    not_settings = {"FAIRPRUNE_CACHE", "FAIRPRUNE_CACHE_LIMIT", "FAIRPRUNE_DATA_ROOT", "FAIRPRUNE_DEBUG"}
    found = {k[len(prefix) :].lower(): v for k, v in env.items() if k.startswith(prefix) and k not in not_settings}
    layers.append(("environment", found))
    layers.append(("flag", {k: v for k, v in flags.items() if v is not None and v != ()}))
    return layers


def read_config(file: Path, problems: Problems) -> Mapping[str, Any]:
    """The mapping in a YAML file; what is wrong with it goes to `problems`."""
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        problems.add(f"{file}: cannot be read: {' '.join(str(error).split())}")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(k, str) for k in content):
        problems.add(f"{file}: must be a mapping of keys to values")
        return {}
    return content


def check_value(key: str, raw: Any) -> Any:
    """A value for a setting, converted to the setting's type.

    Raises:
        ValueError: a wrong type or a value out of range, in words.
    """
    return _checked(key, raw, text=False)


def _checked(name: str, raw: Any, text: bool) -> Any:
    kind = _TYPES[name]
    optional = isinstance(kind, types.UnionType)
    if optional:
        if raw is None or (text and raw == ""):
            return None
        kind = next(k for k in kind.__args__ if k is not type(None))
    value = _converted(kind, raw, text)
    meta = FIELDS[name].metadata
    if meta["choices"] and value not in meta["choices"]:
        raise ValueError(f"{value!r} is none of {', '.join(meta['choices'])}; {nearest(str(value), meta['choices'])}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{value} is not a finite number")
        for bound, wrong, sign in (
            ("low", lambda v, b: v < b, ">="), ("high", lambda v, b: v > b, "<="),
            ("above", lambda v, b: v <= b, ">"), ("below", lambda v, b: v >= b, "<"),
        ):  # fmt: skip
            limit = meta[bound]
            if limit is not None and wrong(value, limit):
                raise ValueError(f"{value} must be {sign} {limit}")
    return value


def _converted(kind: Any, raw: Any, text: bool) -> Any:
    if kind == tuple[str, ...]:
        items = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(items, list | tuple) or not all(isinstance(i, str) for i in items):
            raise ValueError(f"{raw!r} is not a list of names")
        return tuple(item.strip() for item in items if item.strip())
    if kind is bool:
        if isinstance(raw, bool):
            return raw
        if text and raw.lower() in {"1", "true", "yes", "0", "false", "no"}:
            return raw.lower() in {"1", "true", "yes"}
        raise ValueError(f"{raw!r} is neither true nor false")
    if kind is str:
        if not isinstance(raw, str):
            raise ValueError(f"{raw!r} is not text")
        return raw
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise ValueError(f"{raw!r} is not a number")
    try:
        number = kind(raw)
    except (ValueError, OverflowError):
        raise ValueError(f"{raw!r} is not a {'whole number' if kind is int else 'number'}") from None
    if kind is int and isinstance(raw, float) and raw != number:
        raise ValueError(f"{raw!r} is not a whole number")
    return number
