"""Settings of the model: how it is built and how its weights are stored."""

from __future__ import annotations

from dataclasses import dataclass

from fairprune_cli.core.settings import setting

GROUP_TABLE = "group-thresholds.csv"  # thresholds of groups, beside the model
GRANULARITIES = ("channel", "weight", "2:4")  # what can be removed


@dataclass(frozen=True)
class ModelOptions:
    """The model, and how it is stored."""

    arch: str | None = setting(None, "architecture name, or package.module:factory", metavar="name")
    weights: str | None = setting(
        None, "which copy of the weights the file holds: raw, ema, or the key that it is under", metavar="name"
    )
    classes_from: str = setting(
        "model", "whose class names are right where those of the model's file are not the manifest's: with model it is "
        "an error", choices=("model", "manifest"),
    )  # fmt: skip
    store: str = setting(
        "source", "number format of the weights in the file; source keeps that of the file they come from",
        choices=("source", "fp32", "fp16", "bf16"),
        also={"float32": "fp32", "float16": "fp16", "half": "fp16", "bfloat16": "bf16"},
    )  # fmt: skip
