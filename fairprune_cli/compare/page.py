"""A comparison as a neutral document for compare.html and compare.md: pictures, tables, paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fairprune_cli.compare import picture, verdicts
from fairprune_cli.compare.measures import COMPARED, what_is_compared
from fairprune_cli.compare.pairs import gap_title
from fairprune_cli.report import words
from fairprune_cli.report.document import Block, Column, Document, Heading, Note, Plot, Section, Table
from fairprune_cli.report.values import Measure, in_known_order

Data = Mapping[str, Any]
SHOWN = 5  # images of a row


def build_page(document: Data, pictures: bool = True) -> Document:
    """The page of a compare.json document; without pictures also nothing that speaks of them."""
    sections = verdicts.section(document)
    sections += [_overview(document)] if pictures else _remarks(document)
    for i, target in enumerate(document["targets"]):
        section = target_section(document, target, i)
        if section is not None:
            sections.append(section)
    if not pictures:
        sections = [replace(section, blocks=_as_text(section.blocks)) for section in sections]
    if shared := shared_settings(document):
        sections.append(Section("settings", "Settings", [], [Note(shared)]))
    return Document(
        title=f"{words.plural(len(document['methods']), 'method')} compared"
        + (f", {document['model']['architecture']}" if document["model"]["architecture"] else ""),
        facts=facts(document), verdict="none", sections=sections,
        footer=f"Written by fairprune {document['tool_version']} from compare.json.",
    )  # fmt: skip


def facts(document: Data) -> list[str]:
    """Short lines under the title: data, split, seeds, what the intervals are."""
    seeds = document["seeds"]
    span = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    split = f"{document['data']['split']} split" if document["data"]["split"] else ""
    lines = [document["data"]["name"] or "", split, f"{words.plural(len(seeds), 'seed')} ({span})"]
    return [line for line in [*lines, f"{100 * document['confidence']:g} % t intervals over seeds"] if line]


def _as_text(blocks: Sequence[Block]) -> list[Block]:
    """Blocks for Markdown, whose tables carry no title of their own."""
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Table):
            found.append(Note(f"{block.title}:"))
        if not isinstance(block, Plot):
            found.append(block)
    return found


def shared_settings(document: Data) -> str:
    """A sentence on what all cells share and that is not at its default; empty without any."""
    settings = [f"{key} = {words.shown(value)}" for key, value in document["settings"].items()]
    return f"What all cells share and that is not at its default: {', '.join(settings)}." if settings else ""


def _notes(document: Data) -> list[Block]:
    blocks: list[Block] = [Note(text, "warning") for text in document["warnings"]]
    return blocks + [Note(text, "notice") for text in document["notes"]]


def _remarks(document: Data) -> list[Section]:
    blocks = _notes(document)
    return [Section("remarks", "To know first", [], blocks)] if blocks else []


def _overview(document: Data) -> Section:
    blocks = [*_notes(document), *picture.plots(document)]
    lead = [
        "Up is more accurate, left is fairer. A cross of whiskers is the interval of the mean over the seeds, "
        "in both directions.",
    ]
    return Section("overview", "Accuracy against gap", lead, blocks)


def target_section(document: Data, target: Data, index: int) -> Section | None:
    """All tables of one granularity and sparsity; None where no method works there."""
    rows = [row for row in document["rows"] if is_at(row, target)]
    if not rows:
        return None
    blocks: list[Block] = []
    several = len(document["attributes"]) > 1
    for attribute in document["attributes"] or [""]:
        if several:
            blocks.append(Heading(attribute))
        blocks += attribute_blocks(document, target, rows, attribute)
    blocks += exemplar_blocks(rows)
    lead = [
        "Mean ± standard deviation over the seeds, accuracies and gaps in percent. The accuracies of the groups stand "
        "beside the gap: it can close because everybody gets worse.",
        "Paired differences compare a row with its reference on the same seeds. Better or worse is said only where "
        "the whole interval lies on one side of zero.",
    ]
    return Section(f"target{index}", f"{target['granularity'].capitalize()} {target['sparsity']:g}", lead, blocks)


def exemplar_blocks(rows: Sequence[Data]) -> list[Block]:
    """The images that the seeds of a row change most often, and whose they are."""
    found = [(row, row["exemplars"]) for row in rows if row.get("exemplars", {}).get("images")]
    if not found:
        return []
    shares = []
    for row, record in found:
        for attribute, groups in record["attributes"].items():
            for group in in_known_order(groups, _groups_of(row, attribute)):
                entry = groups[group]
                share = Measure(entry["share"], entry["low"], entry["high"])
                times = entry["representation"]
                shares.append([
                    row["label"], f"{attribute} = {group}", words.whole_number(entry["images"]), words.estimate(share),
                    words.NOTHING if times is None else words.fixed(times, 2),
                ])  # fmt: skip
    images = [
        [row["label"], one["image"], str(one["label"]), *(words.shown(one[key]) for key in ("dense", "predicted")),
         f"{one['changed_in']} of {record['seeds']}"]
        for row, record in found for one in record["images"][:SHOWN]
    ]  # fmt: skip
    columns = [Column("model"), Column("Group"), Column("Images", "number"), Column("Share (%)", "number"),
               Column("Times its share of all images", "number")]  # fmt: skip
    note = (
        "Exemplars are images for which most seeds predict another class than the dense model; where each seed has its "
        "own dense model, those that changed in any seed. exemplars.csv lists all."
    )
    named = [Column(title) for title in ("model", "Image", "Label", "Dense", "Most often predicted")]
    return [
        Table("Whose images change", columns, shares, note, folded=True),
        Table("Images that change most often", [*named, Column("Seeds", "number")], images, folded=True),
    ]


def _groups_of(row: Data, attribute: str) -> Sequence[str]:
    """In the manifest's order, which the figures have."""
    return list((row["figures"] or {}).get("attributes", {}).get(attribute, {}).get("groups", {}))


def attribute_blocks(document: Data, target: Data, rows: Sequence[Data], attribute: str) -> list[Block]:
    """Means, intervals, paired differences and training gaps of one attribute at one target."""
    with_figures = [row for row in rows if row["figures"] and attribute in row["figures"]["attributes"]]
    blocks: list[Block] = []
    if with_figures:
        plot = picture.target_plot(document, attribute, target)
        blocks += [plot] if plot is not None else []
        blocks.append(_means(document, with_figures, attribute))
        if len(document["seeds"]) > 1:
            blocks.append(_intervals(document, with_figures, attribute))
    differences = [c for c in document["comparisons"] if is_at(c, target) and attribute in c["attributes"]]
    if differences:
        blocks.append(_differences(differences, attribute, gap_title(row["notion"] for row in rows)))
    if with_figures:
        blocks.append(_training(with_figures, attribute))
    for row in rows:
        for failure in row["failed"]:
            text = f"{row['label']}, seed {failure['seed']}, failed: {' '.join(failure['reason'].split())}"
            blocks.append(Note(text, "warning"))
        if not row["figures"]:
            blocks.append(Note(f"{row['label']} has no finished cell here.", "aside"))
    return blocks


def figure_columns(rows: Sequence[Data], attribute: str) -> list[tuple[str, tuple[str, ...]]]:
    """(title, keys) of the figures that are shares: accuracy, every group, then the gaps, each once."""
    notions = {row["notion"] for row in rows}
    entry = rows[0]["figures"]["attributes"][attribute]
    keys: list[tuple[str, tuple[str, ...]]] = [("accuracy", ("accuracy",))]
    keys += [(group, ("groups", group)) for group in entry["groups"]]
    keys.append(("gap", ("gap",)))
    if any(what_is_compared(notion) == "rates" for notion in notions - {"odds"}):
        keys.append((gap_title(notions), ("notion_gap",)))
    return [*keys, ("odds gap", ("odds_gap",)), ("degradation gap", ("degradation_gap",))]


def _get(figures: Data, attribute: str, path: tuple[str, ...]) -> Data:
    value: Any = figures if path == ("accuracy",) else figures["attributes"].get(attribute, {})
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value or {"n": 0, "mean": None, "sd": None, "low": None, "high": None}


def mean_text(spread: Data, scale: float = 100.0, digits: int = 1) -> str:
    """Mean ± standard deviation; only the mean where one seed has no spread."""
    if spread["mean"] is None:
        return words.NOTHING
    text = words.fixed(scale * spread["mean"], digits)
    if spread["sd"] is None:
        return text
    return f"{text}{words.SPACE}±{words.SPACE}{words.fixed(scale * spread['sd'], digits)}"


def _means(document: Data, rows: Sequence[Data], attribute: str) -> Table:
    keys = figure_columns(rows, attribute)
    columns = [Column("model"), *(Column(title, "number") for title, _ in keys)]
    columns += [Column(title, "number") for title in ("sparsity", "passes", "seconds", "MACs (M)", "kB", "seeds")]
    cells = []
    for label, dense in dense_rows(document, attribute):
        texts = [mean_text(_get(dense, attribute, path)) for _, path in keys]
        cells.append([
            label, *texts, *[words.NOTHING] * 3, words.fixed(dense["dense_macs"]["mean"] / 1e6),
            words.fixed(dense["dense_bytes"]["mean"] / 1e3, 0), str(dense["accuracy"]["n"]),
        ])  # fmt: skip
    for row in rows:
        found = row["figures"]
        texts = [mean_text(_get(found, attribute, path)) for _, path in keys]
        cells.append([
            row["label"], *texts, words.fixed(100 * found["achieved_sparsity"]["mean"], 2),
            words.fixed(found["passes"]["mean"], 0), words.fixed(found["seconds"]["mean"], 0),
            words.fixed(found["macs"]["mean"] / 1e6), words.fixed(found["file_bytes"]["mean"] / 1e3, 0),
            str(row["done"]),
        ])  # fmt: skip
    note = "Sparsity in percent. Passes: forward and backward passes of a batch; a forward pass alone counts a third."
    return Table("Means over seeds", columns, cells, note)


def dense_rows(document: Data, attribute: str) -> list[tuple[str, Data]]:
    """(label, figures) of the dense models that were audited by the attribute; most often one."""
    found = [d for d in document["dense"] if attribute in d["figures"]["attributes"]]
    if len(found) == 1:
        return [("dense", found[0]["figures"])]
    return [
        (
            " ".join(["dense", *(f"{key}={words.shown(value)}" for key, value in one["grid"].items())]),
            one["figures"],
        )
        for one in found
    ]


def _intervals(document: Data, rows: Sequence[Data], attribute: str) -> Table:
    keys = figure_columns(rows, attribute)
    models = [*dense_rows(document, attribute), *((row["label"], row["figures"]) for row in rows)]
    cells = [[label, *(_interval(_get(found, attribute, path)) for _, path in keys)] for label, found in models]
    columns = [Column("model"), *(Column(title, "number") for title, _ in keys)]
    return Table(f"{100 * document['confidence']:g} % intervals of the means", columns, cells, folded=True)


def _interval(spread: Data) -> str:
    if spread["low"] is None:
        return words.NOTHING
    return f"{words.fixed(100 * spread['low'])}{words.SPACE}to{words.SPACE}{words.fixed(100 * spread['high'])}"


def _differences(found: Sequence[Data], attribute: str, gap: str) -> Table:
    keys = [key for key in COMPARED if key == "accuracy" or any(key in one["attributes"][attribute] for one in found)]
    titles = {**{key: COMPARED[key][0] for key in keys}, "notion_gap": gap}
    columns = [Column("model"), Column("against")]
    columns += [Column(titles[key]) for key in keys] + [Column("ratio of gaps", "number")]  # text may be wrapped
    cells = []
    for one in found:
        entry = {**one["attributes"][attribute], "accuracy": one["accuracy"]}
        ratio = words.NOTHING if entry["ratio"] is None else words.fixed(entry["ratio"], 2)
        cells.append([one["label"], one["against"], *(difference(entry.get(key)) for key in keys), ratio])
    note = (
        "Points: the row minus its reference, with the interval. Of a gap less is better; a degradation gap also "
        "widens when the group that was behind gains more than the others."
    )
    return Table("Paired differences over seeds", columns, cells, note)


def difference(record: Data | None) -> str:
    """better: −3.2 (−5.8 to −0.7); a dash for what was not compared."""
    if record is None:
        return words.NOTHING
    if record["mean"] is None:
        return str(record["statement"])
    text = f"{record['statement']}: {words.signed(record['mean'])}"
    if record["low"] is None:
        return text
    return f"{text} ({words.signed(record['low'])}{words.SPACE}to{words.SPACE}{words.signed(record['high'])})"


def _training(rows: Sequence[Data], attribute: str) -> Table:
    columns = [Column("model")]
    columns += [Column(title, "number") for title in ("exact gap", "surrogate gap", "largest multiplier")]
    cells = []
    for row in rows:
        entry = row["figures"]["attributes"][attribute]
        cells.append([
            row["label"], mean_text(entry["exact_gap"]), mean_text(entry["surrogate_gap"]),
            mean_text(entry["multiplier"], 1.0, 2),
        ])  # fmt: skip
    note = "Running figures at the end of the last epoch; gaps of the notion in points."
    return Table("Gap that the training saw", columns, cells, note, folded=True)


def is_at(row: Data, target: Data) -> bool:
    """Whether a row, or a comparison of two, is of a target: a granularity and a sparsity."""
    return bool(row["granularity"] == target["granularity"] and row["sparsity"] == target["sparsity"])
