"""A model that is not better than one answer to all images: what it is held against, and what would mend it."""

from __future__ import annotations

from typing import Any

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Note, Section, Table
from fairprune_cli.report.values import measure
from fairprune_cli.report.view import View

ORDER = 15
BY_TASK = True


def build(view: View) -> Section | None:
    blocks: list[Block] = []
    for model in view.models:
        found = view.mapping("results", model, "constant_answer")
        if found.get("better") is False:
            blocks += _about(view, model, found)
    if not blocks:
        return None
    lead = [
        "A model that is not better than the same answer to every image passes no gate: most often it is given its "
        "images, or its outputs are read, in another way than it was trained for.",
    ]
    return Section("model-itself", "The model itself", lead, blocks)


def _about(view: View, model: str, found: dict[str, Any]) -> list[Block]:
    accuracy, share = measure(found, "accuracy", "low", "high"), measure(found, "share")
    text = f"The {'model' if len(view.models) == 1 else f'{model} model'} is right on {words.percent(accuracy.value)} "
    text += f"({words.span(accuracy)}) of the images, always answering {found.get('answer')} on "
    text += f"{words.percent(share.value)}."
    if found.get("tells_apart") is True:
        text += f" Each class is recognised in {words.percent(measure(found, 'balanced').value)} on average."
    causes = [one for one in view.items("causes", model, "found") if isinstance(one, dict)]
    if not causes:
        return [Note(text, "warning")]
    rows = [
        [words.sentence(str(one.get("change"))), words.estimate(measure(one, "accuracy", "low", "high")),
         str(one.get("n")), words.sentence(str(one.get("mend")))]
        for one in causes
    ]  # fmt: skip
    columns = [
        Column("Read otherwise"),
        Column("Accuracy (%)", "number"),
        Column("Images", "number"),
        Column("To mend"),
    ]
    title = "What would mend it" if len(view.models) == 1 else f"What would mend the {model} model"
    return [Note(text, "warning"), Table(title, columns, rows)]
