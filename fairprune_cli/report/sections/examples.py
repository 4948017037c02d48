"""Images that groups lost through pruning, as small pictures: what the figures are about."""

from __future__ import annotations

import re

from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Gallery, Heading, Picture, Section
from fairprune_cli.report.values import natural, number
from fairprune_cli.report.view import View

ORDER = 55
BY_TASK = True
# A report may come from anywhere: nothing but an embedded JPEG or PNG is passed on to the page.
_EMBEDDED = re.compile(r"data:image/(?:jpeg|png);base64,[A-Za-z0-9+/]+={0,2}")


def build(view: View) -> Section | None:
    blocks: list[Block] = []
    lost = view.mapping("examples", "lost")
    for model in sorted(lost, key=natural):
        for attribute in view.order_attributes(view.mapping("examples", "lost", model)):
            groups = view.mapping("examples", "lost", model, attribute)
            galleries = [
                gallery for group in view.order_groups(attribute, groups)
                if (gallery := _gallery(view, model, attribute, group, groups[group])).pictures
            ]  # fmt: skip
            if galleries:
                title = attribute if len(lost) == 1 else f"{attribute}, {model}"
                blocks += [Heading(title), *galleries]
    if not blocks:
        return None
    lead = [
        "Right in the dense model, wrong after pruning: those in which the true class lost most of its probability.",
        "They are a few of many, picked for being plain. The counts under Change by pruning say how many there are.",
    ]
    return Section("examples", "Lost images", lead, blocks, folded=True)


def _gallery(view: View, model: str, attribute: str, group: str, entries: object) -> Gallery:
    pictures = []
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            file = str(entry.get("file", ""))
            source = view.text("examples", "pictures", file)
            before, after = (words.percent(number(entry.get(key)), 0) for key in ("before", "after"))
            text = f"{entry.get('label')}, taken for {entry.get('predicted')}; {before} → {after}"
            pictures.append(Picture(source if _EMBEDDED.fullmatch(source) else "", text, file))
    of = view.degradations.get(model, {}).get(attribute)
    record = (of or {}).get("groups", {}).get(group, {}) if isinstance(of, dict) else {}
    total = number(record.get("lost")) if isinstance(record, dict) else None
    shown = f", {len(pictures)} of {words.whole_number(total)} shown" if total and total > len(pictures) else ""
    return Gallery(f"{group}{shown}", pictures)
