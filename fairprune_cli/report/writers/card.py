"""A model card: YAML front matter with a model index that the hub reads, and a text for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fairprune_cli.report import words
from fairprune_cli.report.as_markdown import escaped, section_lines
from fairprune_cli.report.compose import build_document
from fairprune_cli.report.document import Note
from fairprune_cli.report.view import View

ALSO = ("model-card", "huggingface")

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

_EVALUATION = ("groups", "gaps", "degradation")
_REST = ("size", "data", "warnings", "settings")


def write(report: Mapping[str, Any]) -> str:
    """The card of the model that the report judges: the pruned one where there is one.

    The hub's library writes and checks what machines read of it; nothing is asked of the network.

    Raises:
        ValueError: the library does not read the card back as one.
    """
    from huggingface_hub import ModelCard

    view, document = View(report), build_document(report)
    sections = {section.anchor: section for section in document.sections}
    lines = ["---", card_data(view).to_yaml(), "---", "", f"# {escaped(document.title)}", ""]
    lines += [" · ".join(escaped(fact) for fact in document.facts), ""] if document.facts else []
    if verdict := sections.get("verdict"):
        for block in verdict.blocks:
            if isinstance(block, Note):
                lines += [escaped(block.text), ""]
    lines += _use(view)
    for title, names in (
        ("Evaluation", _EVALUATION),
        ("Model and training", ("model-itself", "gates", "training", "sparsity", *_REST)),
    ):
        found = [section for name in names for section in document.sections if section.name == name]
        lines += [f"## {title}", ""] if found else []
        for section in found:
            lines += section_lines(section, level=3)
    text = "\n".join([*lines, f"*{escaped(document.footer)}*", ""])
    ModelCard(text)
    return text


def card_data(view: View) -> ModelCardData:
    """The card's metadata. A metric that is undefined is left out: the hub takes numbers alone."""
    from huggingface_hub import EvalResult, ModelCardData

    name = view.text("model", "name") or view.text("model", "architecture") or "model"
    data = view.text("data", "name") or view.text("data", "manifest") or "unnamed"
    tags = ["image-classification", "fairness", *(["pruning"] if "pruned" in view.models else [])]
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Image classification",
            # The hub wants a lower-case identifier beside the name that people read.
            dataset_type=re.sub(r"[^a-z0-9._-]+", "-", data.casefold()).strip("-") or "data",
            dataset_name=data,
            dataset_split=view.text("data", "split") or None,
            metric_type=kind,
            metric_name=metric,
            metric_value=value,
        )
        for kind, metric, value in _metrics(view)
    ]
    return ModelCardData(
        library_name="fairprune",
        pipeline_tag="image-classification",
        tags=tags,
        model_name=name if results else None,
        eval_results=results or None,
    )


def _metrics(view: View) -> list[tuple[str, str, float]]:
    """(type, name, value) of each metric that is defined."""
    if not view.models:
        return []
    model = view.judged
    found: list[tuple[str, str, float | None]] = [("accuracy", "Accuracy", view.overall(model).value)]
    for attribute in view.attributes:
        found.append(("accuracy_gap", f"Accuracy gap, {attribute}", view.gap(model, attribute).value))
        found += [
            ("accuracy", f"Accuracy, {attribute}: {group}", view.group(model, attribute, group).value)
            for group in view.groups(attribute)
        ]
    return [(kind, name, round(value, 6)) for kind, name, value in found if value is not None]


def _use(view: View) -> list[str]:
    lines = ["## How to use", ""]
    if "pruned" in view.models:
        lines += [
            "```python",
            "import fairprune_cli",
            "",
            'model = fairprune_cli.load("model.safetensors")  # a torch.nn.Module in eval mode',
            "```",
            "",
        ]
    lines += ["## Limits", ""]
    limits = [
        "The figures hold for images like those of the data named here; other data may show other gaps.",
        "A gap that the intervals cannot tell from zero has not been shown to be absent.",
        "Only the attributes named here were looked at.",
    ]
    if small := [
        f"{group} ({attribute})"
        for attribute in view.attributes
        for group in view.groups(attribute)
        if group in view.small(attribute) or view.group(view.judged, attribute, group).value is None
    ]:
        limits.append(f"Not measured, too few images: {words.join(small)}.")
    return [*lines, *(f"- {escaped(limit)}" for limit in limits), ""]
