"""The report as a document, and every writer on a full, a bare and a hostile report."""

from __future__ import annotations

import itertools
import json
import random
import re
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from markdown_it import MarkdownIt

from fairprune_cli import report
from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.report.as_markdown import escaped
from fairprune_cli.report.compose import build_document
from fairprune_cli.report.document import Gallery, Heading, Note, Plot, Table
from fairprune_cli.report.view import View
from fairprune_cli.report.writers import github
from tests.support import reports as fixture

FORMATS = plugins.REPORT_WRITER.names()
REPORTS = {
    "full": fixture.full, "audit": fixture.audit_only, "hostile": fixture.hostile, "empty": dict,
    "several": fixture.several, "examples": fixture.with_examples,
}  # fmt: skip


def shuffled(value: Any, seed: int) -> Any:
    """The same document with its keys in another order."""
    if isinstance(value, dict):
        keys = list(value)
        random.Random(seed).shuffle(keys)
        return {key: shuffled(value[key], seed + 1) for key in keys}
    return [shuffled(item, seed) for item in value] if isinstance(value, list) else value


def without(value: Any, path: tuple[str, ...], replacement: Any) -> Any:
    """A copy with the key at `path` dropped, or replaced."""
    result = dict(value)
    if len(path) > 1:
        result[path[0]] = without(result[path[0]], path[1:], replacement)
    elif replacement is ...:
        del result[path[0]]
    else:
        result[path[0]] = replacement
    return result


def paths(value: Any, depth: int, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict) or depth == 0:
        return []
    found = [(*prefix, key) for key in value]
    return found + list(itertools.chain.from_iterable(paths(value[key], depth - 1, (*prefix, key)) for key in value))


def section(document: Any, name: str) -> Any:
    return next(part for part in document.sections if part.name == name)


def texts(part: Any) -> str:
    """Everything a reader sees of a section, as one string."""
    seen = [part.title, *part.lead]
    for block in part.blocks:
        if isinstance(block, Heading | Note):
            seen.append(block.text)
        elif isinstance(block, Plot):
            seen += [block.title, block.sentence]
        elif isinstance(block, Gallery):
            seen += [block.title, *(picture.text for picture in block.pictures)]
        else:
            seen += [block.title, block.note, *itertools.chain.from_iterable(block.rows)]
    return "\n".join(seen).replace("\u00a0", " ")


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("name", REPORTS)
def test_every_writer_takes_every_report_whatever_the_order_of_its_keys(name: str, to: str) -> None:
    document = REPORTS[name]()
    text = report.render(document, to)
    assert text
    assert all(text == report.render(shuffled(document, seed), to) for seed in (1, 2))
    text.encode("utf-8")


def test_any_part_may_be_absent_or_null_or_of_another_kind() -> None:
    whole = fixture.full()
    whole["training"] = whole["training"][:2]
    for model in ("dense", "pruned"):
        whole["results"][model]["attributes"] = {"age": whole["results"][model]["attributes"]["age"]}
    whole["degradation"] = {"age": whole["degradation"]["age"]}
    inside = [("results", "pruned", "attributes", "age", key) for key in ("groups", "gap", "metrics", "gap_low")]
    for path in paths(whole, 2) + inside:
        for replacement in (..., 3, "text", [], {}):
            assert build_document(without(whole, path, replacement)).sections[0].name == "verdict", path
        for to in ("html", "junit", "github", "card", "comment", "sarif"):
            assert report.render(without(whole, path, None), to), path


def test_rendering_leaves_the_report_as_it_was() -> None:
    document = fixture.full()
    for to in FORMATS:
        report.render(document, to)
    assert document == fixture.full()


def test_unknown_format_names_the_nearest() -> None:
    with pytest.raises(FairpruneError) as caught:
        report.render({}, "htm")
    assert "'html'" in caught.value.hint


def test_write_puts_three_whole_files_into_the_folder(tmp_path: Any) -> None:
    report.write(fixture.full(), tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    again = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
    assert report.render(again, "html") == (tmp_path / "run" / "report.html").read_text("utf-8")
    assert again == json.loads(json.dumps(fixture.full()))


def test_write_into_a_file_is_a_clear_error(tmp_path: Any) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(FairpruneError, match="cannot write"):
        report.write(fixture.full(), tmp_path / "run")


def test_json_turns_what_is_not_finite_into_null_with_a_reason() -> None:
    document = fixture.full()
    document["training"][3]["loss"] = float("nan")
    document["results"]["pruned"]["accuracy"] = float("inf")
    document["results"]["pruned"]["accuracy_undefined"] = "diverged"
    again = json.loads(report.render(document, "json"))
    assert again["training"][3]["loss"] is None
    assert again["training"][3]["loss_undefined"] == "not a finite number"
    assert again["results"]["pruned"]["accuracy"] is None
    assert again["results"]["pruned"]["accuracy_undefined"] == "diverged"
    assert "Overall accuracy is undefined: diverged." in texts(section(build_document(document), "verdict"))


def test_verdict_comes_first_and_names_the_gates() -> None:
    document = build_document(fixture.full())
    first = document.sections[0]
    assert first.name == "verdict"
    assert first.blocks[0].tone == "fail"
    assert first.blocks[0].text.startswith("Fail: 1 of 5 gates failed: gap (age);")
    assert "gap (gender)" not in first.blocks[0].text
    text = texts(first)
    assert "20-40 at 93.4 % against 60-120 at 86.1 %; in the dense model the gap is 3.9 points" in text
    assert "19.6 MB (5.0 times smaller)" in text
    assert "Levelling down" in text


@pytest.mark.parametrize(
    ("verdicts", "said", "expected"),
    [
        (["pass", "pass"], "pass", "Pass: all 2 gates passed."),
        (["inconclusive"], "inconclusive", "Inconclusive: 1 of 1 gate could not be decided: g0."),
        (["pass", "nonsense"], None, "Inconclusive: 1 of 2 gates could not be decided: g1."),
        (["pass", "fail"], "bogus", "Fail: 1 of 2 gates failed: g1."),
        ([], None, "No verdict: no gate was asked for, so these figures are not judged."),
    ],
)
def test_verdict_in_words(verdicts: list[str], said: str | None, expected: str) -> None:
    gates = [{"name": f"g{i}", "verdict": verdict} for i, verdict in enumerate(verdicts)]
    first = section(build_document({"gates": gates, "verdict": said}), "verdict")
    assert first.blocks[0].text == expected


def test_an_undefined_figure_is_named_with_its_reason_and_never_shown_as_zero() -> None:
    document = build_document(fixture.full())
    groups = section(document, "groups")
    table = next(b for b in groups.blocks if isinstance(b, Table) and b.title == "Accuracy by gender*age")
    row = next(row for row in table.rows if row[0] == "female*0-20")
    assert list(row) == ["female*0-20", "12", "undefined", "undefined", "–"]
    assert f"Undefined for female*0-20: {fixture.FEW}." in table.note
    assert fixture.NO_POSITIVES in texts(section(document, "gaps"))


def test_groups_too_small_for_the_gap_are_not_called_the_worst() -> None:
    document = fixture.full()
    for model in ("dense", "pruned"):
        cell = document["results"][model]["attributes"]["gender*age"]["groups"]["female*0-20"]
        del cell["accuracy_undefined"]
        cell |= {"accuracy": 0.5, "low": 0.25, "high": 0.75}
    document["degradation"]["gender*age"]["groups"]["female*0-20"] = {
        "change": -0.4,
        "low": -0.7,
        "high": 0.0,
    }
    built = build_document(document)
    for name in ("verdict", "groups", "degradation"):
        for text in texts(section(built, name)).split("\n"):
            assert not text.startswith("female*0-20 is classified")
            assert not text.startswith("female*0-20 lost most")
            assert "against female*0-20" not in text
    assert "Too few images to count in the gap: female*0-20." in texts(section(built, "groups"))


def test_degradation_calls_a_loss_beyond_chance_only_where_the_joint_interval_says_so() -> None:
    document = fixture.full()
    assert "60-120 lost most: 3.8 points (interval 1.8 to 5.8)" in texts(section(build_document(document), "groups"))
    document["degradation"]["age"]["largest"]["low"] = -0.001
    seen = texts(section(build_document(document), "groups"))
    assert "No group's loss is beyond chance; the largest is 3.8 points (interval −0.1 to 5.8), of 60-120." in seen
    assert "). 60-120 lost most" not in seen


def test_an_audit_alone_has_no_sections_about_pruning() -> None:
    document = build_document(fixture.audit_only())
    names = [part.name for part in document.sections]
    assert names[:3] == ["verdict", "groups", "gaps"]
    assert not {"training", "sparsity", "degradation", "gates"} & set(names)
    assert "pruned" not in report.render(fixture.audit_only(), "md").lower()


def test_several_models_stand_side_by_side_with_their_own_degradation() -> None:
    document = fixture.full()
    results = document["results"]
    document["results"] = {"dense": results["dense"], "a": results["pruned"], "b": results["pruned"]}
    document["degradations"] = {"a": document["degradation"], "b": document["degradation"]}
    built = build_document(document)
    table = next(b for b in section(built, "verdict").blocks if isinstance(b, Table))
    assert [column.title for column in table.columns] == ["Measure", "Dense", "a", "b"]
    headings = [b.text for b in section(built, "degradation").blocks if isinstance(b, Heading)]
    assert headings == ["gender, a", "age, a", "gender*age, a", "gender, b", "age, b", "gender*age, b"]


def test_a_surrogate_on_another_scale_gets_its_own_figure() -> None:
    document = fixture.full()
    for record in document["training"]:
        record["surrogate_gap"]["age"] = 3.0
    titles = [b.title for b in section(build_document(document), "training").blocks if isinstance(b, Plot)]
    assert "Exact gap, age" in titles
    assert "Surrogate gap, age" in titles
    assert "Exact and surrogate gap, gender" in titles


def test_settings_show_where_each_value_came_from() -> None:
    table = section(build_document(fixture.full()), "settings").blocks[-1]
    rows = {row[0]: list(row[1:]) for row in table.rows}
    assert rows["epochs"] == ["20", "FAIRPRUNE_EPOCHS"]
    assert rows["attr"] == ["gender, age, gender*age", "flag --attr"]
    assert rows["point_estimate"] == ["no", "default"]


def test_the_report_says_how_passes_were_computed_and_memory_was_counted() -> None:
    document = fixture.full()
    assert "Arithmetic" not in facts_of(document)
    assert "Memory is" not in note_under_sizes(document)
    document["cost"]["arithmetic"] = "float32, convolutions and matrix products in TF32"
    document["speed"] |= {"device": "cuda", "peak_memory": "allocated on the device"}
    said = "training passes in float32, convolutions and matrix products in TF32; the audit in float32"
    assert facts_of(document)["Arithmetic"] == said
    assert note_under_sizes(document).endswith("; cuda, 2 threads. Memory is allocated on the device.")


def facts_of(document: dict[str, Any]) -> dict[str, str]:
    table = section(build_document(document), "settings").blocks[0]
    return {row[0]: row[1] for row in table.rows}


def note_under_sizes(document: dict[str, Any]) -> str:
    tables = [block for block in section(build_document(document), "size").blocks if isinstance(block, Table)]
    return tables[0].note


# --- markdown ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["md", "github", "card"])
@pytest.mark.parametrize("name", ["full", "hostile"])
def test_markdown_holds_no_markup_but_its_own(name: str, to: str) -> None:
    text = report.render(REPORTS[name](), to)
    if to == "card":
        text = text.split("\n---\n", 1)[1]
    if to == "github":
        text = github.summary(build_document(REPORTS[name]()))
    parser = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
    kinds = set()
    for token in parser.parse(text):
        kinds |= {token.type, *(child.type for child in token.children or ())}
    forbidden = {"html_block", "html_inline", "link_open", "image", "code_inline", "code_block", "s_open"}
    assert not kinds & forbidden
    assert "table_open" in kinds
    for word in ("bold", "em", "heading"):
        assert f"<em>{word}" not in parser.render(text)
        assert f"<strong>{word}" not in parser.render(text)


@pytest.mark.parametrize("name", ["full", "hostile"])
def test_markdown_tables_keep_their_columns(name: str) -> None:
    lines = report.render(REPORTS[name](), "md").split("\n")
    tables = [list(rows) for is_row, rows in itertools.groupby(lines, key=lambda line: line.startswith("|")) if is_row]
    assert len(tables) > 8
    for rows in tables:
        widths = {len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", row))) for row in rows}
        assert len(widths) == 1, rows[0]
        assert re.fullmatch(r"\|( -{3}:? \|)+", rows[1])


def test_markdown_shows_names_as_they_are() -> None:
    parser = MarkdownIt("commonmark", {"html": True})
    for name in (
        "a|b",
        "gender*age",
        "_x_",
        "<b>",
        "1. x",
        "- y",
        "# z",
        "C:\\dir\\",
        "a_b",
        "`c`",
        "a&amp;b",
        "::x",
    ):
        html = parser.render(escaped(name)).strip()
        shown = html.removeprefix("<p>").removesuffix("</p>")
        for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
            shown = shown.replace(entity, character)
        assert shown == name


# --- junit ------------------------------------------------------------------------------------------------


def test_junit_has_a_suite_per_metric_and_attribute_and_a_case_per_gate() -> None:
    root = ElementTree.fromstring(report.render(fixture.full(), "junit"))
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {
        "max-gap x gender",
        "max-gap x age",
        "max-degradation x age",
        "max-gap x gender*age",
        "min-accuracy",
    }
    assert {key: root.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "5",
        "failures": "1",
        "errors": "3",
    }
    failed = suites["max-gap x age"].find("testcase/failure")
    assert failed is not None
    assert failed.get("message") == "the whole interval lies beyond the bound"
    undecided = suites["min-accuracy"].find("testcase/error")
    assert undecided is not None
    assert undecided.get("type") == "inconclusive"
    assert suites["max-gap x gender"].find("testcase/failure") is None


def test_junit_is_xml_for_hostile_names_and_passes_only_what_passed() -> None:
    root = ElementTree.fromstring(report.render(fixture.hostile(), "junit"))
    cases = root.findall("testsuite/testcase")
    assert len(cases) == len(fixture.HOSTILE_NAMES)
    passed = [case for case in cases if case.find("failure") is None and case.find("error") is None]
    assert len(passed) == sum(gate["verdict"] == "pass" for gate in fixture.hostile()["gates"])


# --- github -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["full", "hostile"])
def test_github_has_one_annotation_per_gate_that_did_not_pass(name: str) -> None:
    document = REPORTS[name]()
    commands = [line for line in report.render(document, "github").split("\n") if line.lstrip().startswith("::")]
    verdicts = [gate["verdict"] for gate in document["gates"]]
    assert len(commands) == len(verdicts) - verdicts.count("pass")
    assert sum(line.startswith("::error ") for line in commands) == verdicts.count("fail")
    for line in commands:
        assert re.fullmatch(r"::(error|warning) title=[^:,]+::.+", line)
        assert not re.search(r"%(?!25|0D|0A|3A|2C)", line)


def test_github_summary_stays_within_its_limit() -> None:
    document = fixture.full()
    attribute = document["results"]["pruned"]["attributes"]["gender"]
    cell = attribute["groups"]["male"]
    names = [f"{i} {'long name ' * 400}" for i in range(400)]
    attribute["groups"] = dict.fromkeys(names, cell)
    text = github.summary(build_document(document))
    assert len(text.encode()) < github.LIMIT
    assert "Left out, too long for a step summary: What changed for whom." in text
    assert "Gates" in text


# --- model card -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REPORTS)
def test_card_front_matter_is_yaml_with_numbers_only(name: str) -> None:
    text = report.render(REPORTS[name](), "card")
    assert text.startswith("---\n")
    front = yaml.safe_load(text.split("\n---\n", 1)[0])
    assert front["pipeline_tag"] == "image-classification"
    for result in front.get("model-index", [{"results": []}])[0]["results"]:
        assert result["task"]["type"] == "image-classification"
        assert re.fullmatch(r"[a-z0-9._-]+", result["dataset"]["type"])
        assert result["metrics"]
        for metric in result["metrics"]:
            assert isinstance(metric["value"], float)


def test_card_reports_the_pruned_model_and_what_was_not_measured() -> None:
    text = report.render(fixture.full(), "card")
    front = yaml.safe_load(text.split("\n---\n", 1)[0])
    metrics = {m["name"]: m["value"] for m in front["model-index"][0]["results"][0]["metrics"]}
    assert metrics["Accuracy"] == pytest.approx(0.9115)
    assert metrics["Accuracy, age: 60-120"] == pytest.approx(0.861)
    assert "Accuracy, gender*age: female*0-20" not in metrics
    assert "Not measured, too few images: female\\*0-20 (gender\\*age)." in text
    assert front["model-index"][0]["results"][0]["dataset"]["split"] == "test"
    assert "compliant" not in text


@pytest.mark.parametrize("name", REPORTS)
def test_the_hubs_library_reads_the_card_without_a_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import ModelCard

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    text = report.render(REPORTS[name](), "card")
    data = ModelCard(text).data
    assert (data.library_name, data.pipeline_tag) == ("fairprune", "image-classification")
    front = yaml.safe_load(text.split("\n---\n", 1)[0])
    listed = [m["value"] for i in front.get("model-index", []) for r in i["results"] for m in r["metrics"]]
    assert [result.metric_value for result in data.eval_results or []] == listed


def test_gate_names_are_split_into_metric_and_attribute_where_the_fields_are_absent() -> None:
    names = ("max-gap gender", "max_gap:gender*age", "max-gap [age]", "min-accuracy", "max-gap (a b)")
    gates = View({"gates": [{"name": name} for name in names]}).gates
    assert [(gate.metric, gate.attribute) for gate in gates] == [
        ("max-gap", "gender"),
        ("max_gap", "gender*age"),
        ("max-gap", "age"),
        ("min-accuracy", ""),
        ("max-gap", "a b"),
    ]


def test_the_report_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from fairprune_cli import report; from fairprune_cli.core import plugins;"
        "import fairprune_cli.report.read;"
        "from tests.support import reports as f;"
        "[report.render(f.full(), to) for to in plugins.REPORT_WRITER.names()];"
        "sys.exit(','.join({'torch', 'numpy', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    folder = fixture.__file__.rsplit("/", 3)[0]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r}); {code}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_lost_images_are_shown_with_what_they_were_taken_for() -> None:
    made = build_document(fixture.with_examples())
    male, female = (block for block in section(made, "examples").blocks if isinstance(block, Gallery))
    assert female.title == "female, 4 of 35 shown"
    assert male.title.startswith("male, 1 of ")
    assert [bool(picture.source) for picture in female.pictures] == [True, False, False, True]
    assert "smiling, taken for neutral; 90 % → 20 %" in female.pictures[0].text.replace("\u00a0", " ")
    assert "data:image" not in report.render(fixture.with_examples(), "card")
    assert "data:image" not in report.render(fixture.with_examples(), "github")
    text = report.render(fixture.with_examples(), "md")
    assert "faces/a.jpg" in text
    assert "data:image" not in text


def test_several_models_are_judged_and_named_each() -> None:
    made = build_document(fixture.several())
    verdict = texts(section(made, "verdict"))
    assert "1 of 5 gates failed: gap (age) of runs/model-bifp-channel-0.98" in verdict
    assert "The a model is right on 91." in verdict
    columns = [c.title for b in section(made, "verdict").blocks if isinstance(b, Table) for c in b.columns]
    assert columns == ["Measure", "Dense", "a", "runs/model-bifp-channel-0.98"]
    size = next(block for block in section(made, "size").blocks if isinstance(block, Table))
    assert [row[0] for row in size.rows] == ["dense", "a", "runs/model-bifp-channel-0.98"]


def test_confidence_is_told_with_what_chance_would_show() -> None:
    made = build_document(fixture.full())
    seen = texts(section(made, "calibration"))
    assert "surer than it is right by" in seen
    assert "3.0 / 1.7" in seen  # of 1203 images
    assert "calibration" not in [part.name for part in build_document(fixture.hostile() | {"results": {}}).sections]
