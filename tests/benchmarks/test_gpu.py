"""docs/gpu.md says what was measured on a GPU, and is there only when something was."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "results" / "gpu.json", ROOT / "docs" / "gpu.md"
ROW = {"network": "resnet18", "size": 64, "batch": 128, "precision": "bf16", "granularity": "", "mask": ""}
FIGURES = {"least": 5.9, "largest": 6.3, "launches": 480.0, "waits": 0.0, "busy_ms": 3.0}
DOCUMENT: dict[str, Any] = {
    "trial": False, "machine": "A card", "torch": "2.11", "seconds": 300.0,
    "checks": [
        {"name": "prune by weight, twice: the same bytes", "outcome": "failed", "text": "ab | cd\nef", "seconds": 9.0}
    ],
    "measures": {
        "steps": [
            {**ROW, **FIGURES, "row": "plain, eager", "ms": 6.0, "peak_bytes": 388e6, "ratio": 1.0,
             "memory_ratio": 1.0},
            {**ROW, **FIGURES, "row": "bifp", "granularity": "weight", "mask": "moving", "ms": 9.0, "ratio": 1.5,
             "over_floor": 1.25, "peak_bytes": 485e6, "memory_ratio": 1.25},
            {**ROW, "row": "bifp", "granularity": "channel", "mask": "moving", "skipped": "no time was left"},
        ],
        "linear_layers": {"skipped": "no CUDA device"},
    },
}  # fmt: skip


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # the script sets it; afterwards it is what it was


@pytest.fixture
def rendering(benchmarks: None) -> ModuleType:
    return importlib.import_module("_gpu_page")


def test_the_page_is_the_rendering_of_the_results_and_is_not_there_without_them(rendering: ModuleType) -> None:
    assert PAGE.exists() == RESULTS.exists()
    if RESULTS.exists():
        document = json.loads(RESULTS.read_text(encoding="utf-8"))
        assert not document["trial"]
        assert PAGE.read_text(encoding="utf-8") == rendering.page(document)


def test_the_page_has_every_figure_and_says_what_is_missing(rendering: ModuleType) -> None:
    text = rendering.page(DOCUMENT)
    assert "| prune by weight, twice: the same bytes | failed | ab \\| cd ef | 9 |" in text
    assert "### resnet18, 64 px, 128 images, bf16" in text
    assert "| plain, eager | 6.0 [5.9, 6.3] | 1.00 |  | 388 | 1.00 | 480 | 0.0 | 3.0 |" in text
    assert "| bifp weight, mask moving | 9.0 [5.9, 6.3] | 1.50 | 1.25 | 485 | 1.25 | 480 | 0.0 | 3.0 |" in text
    assert "| bifp channel, mask moving | not measured: no time was left |" in text
    assert text.rstrip().endswith("Not measured: no CUDA device.")
    assert "2:4" not in rendering.page({**DOCUMENT, "measures": {}})


def test_what_failed_is_named_and_what_was_skipped_is_not(benchmarks: None) -> None:
    gpu = importlib.import_module("gpu")
    assert gpu.failed(DOCUMENT) == ["prune by weight, twice: the same bytes"]
    steps = [{**ROW, "row": "bifp", "failed": "RuntimeError: x"}, {**ROW, "row": "bifp", "skipped": "no time was left"}]
    broken = {"checks": [], "measures": {"steps": steps, "linear_layers": {"failed": "x"}}}
    assert gpu.failed(broken) == ["resnet18 bf16 bifp", "linear layers"]


def test_a_fault_in_one_check_or_measure_is_recorded_and_the_others_are_made(
    benchmarks: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checks, measures = importlib.import_module("_gpu_checks"), importlib.import_module("_gpu_measures")

    def broken(*_: Any) -> str:
        raise ValueError("broken")

    def skipped(*_: Any) -> str:
        raise checks.Skipped("nothing there")

    monkeypatch.setattr(checks, "dense_model", lambda _: "trained")
    for name, made in (
        ("twice", broken),
        ("attention", skipped),
        ("killed", skipped),
        ("audited", lambda *_: "the same"),
        ("exported", broken),
    ):
        monkeypatch.setattr(checks, name, made)
    monkeypatch.setattr(checks, "marked_tests", skipped)
    seen: list[Any] = []
    found = checks.made_checks(checks.Shop(tmp_path, "cpu", True, 2, 0.0), seen.append)
    assert [(c["outcome"], c["text"]) for c in found] == [
        ("ok", "trained"), *[("failed", "ValueError: broken")] * 3, *[("skipped", "nothing there")] * 3,
        *[("ok", "the same")] * 3, *[("failed", "ValueError: broken")] * 3,
    ]  # fmt: skip
    assert len(seen) == len(found)

    monkeypatch.setattr(measures, "Plain", broken)
    rows: list[Any] = []
    times = iter([1.0, 0.0, 0.0, 0.0, 0.0])
    pool = SimpleNamespace(images=SimpleNamespace(resident=lambda _: None))
    measures.network_rows(measures.jobs(True, "cpu")[0], pool, True, lambda: next(times), rows.append)
    assert rows[0]["failed"] == "ValueError: broken"
    assert [row["skipped"] for row in rows[1:]] == ["no time was left"] * 4
