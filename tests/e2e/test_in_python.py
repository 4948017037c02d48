"""`fairprune_cli.prune` and `audit` beside the commands of the same names."""

from __future__ import annotations

import json
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fairprune_cli
from fairprune_cli import FairpruneError, FairpruneWarning
from fairprune_cli.core.errors import ExitCode
from tests.support.commands import Work, fairprune
from tests.support.own_networks import block

QUICK: dict[str, Any] = {"sparsity": 0.5, "attr": "gender", "epochs": 1, "batch_size": 64, "method": "magnitude"}


class Own(nn.Module):
    """A network of one's own, that may interrupt its training."""

    interrupts_at = 0
    passes = 0

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(block(3, 8, 2), block(8, 16, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(16, 2)

    def forward(self, images: Tensor) -> Tensor:
        if self.training and len(images) > 2:
            Own.passes += 1
            if Own.passes == Own.interrupts_at:
                signal.raise_signal(signal.SIGINT)
        return self.head(self.body(images))


@pytest.fixture
def own() -> Own:
    torch.manual_seed(0)
    Own.interrupts_at = 0
    return Own()


def audited(work: Work, model: Any, **more: Any) -> fairprune_cli.Report:
    return fairprune_cli.audit(model, **{"data": work.folder / "manifest.yaml", "attr": "gender", **more})


def network_of(work: Work) -> nn.Module:
    saved = torch.load(work.model, weights_only=True)
    network = fairprune_cli.architectures.build(saved["architecture"], 2)
    network.load_state_dict(saved["state_dict"])
    return network


def test_an_audit_is_the_commands(work: Work, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ran = fairprune("audit", "model.pt", "--attr", "gender", "--max-gap", "0.01", "--json", cwd=work.folder)
    report = audited(work, work.model, max_gap=0.01, out=tmp_path / "audit")
    assert capfd.readouterr() == ("", "")
    told = json.loads(ran.out)
    for part in ("results", "gates", "verdict", "warnings", "notices"):
        assert report.document[part] == told[part]
    assert report.exit_code == ran.code
    assert json.loads((tmp_path / "audit" / "report.json").read_text())["verdict"] == report.verdict
    assert fairprune_cli.Report.read(tmp_path / "audit").results == report.results


def test_a_network_and_functions_of_it_give_the_files_counts(work: Work) -> None:
    network = network_of(work).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def scores(images: Tensor) -> Tensor:
        return network(images)

    def probabilities(images: Tensor) -> np.ndarray:
        return network(images).softmax(1).numpy()

    expected = audited(work, work.model).results["dense"]
    taken = audited(work, network)
    assert taken.results["dense"] == expected
    assert taken.document["model"]["architecture"] == "resnet10-w16"
    assert taken.document["size"]["parameters"] == sum(p.numel() for p in network.parameters())
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    network.eval()
    several = audited(work, [scores, probabilities, work.model], against=network, max_degradation=0.1)
    assert [one["attributes"]["gender"]["groups"]["male"]["correct"] for one in several.results.values()] == [
        expected["attributes"]["gender"]["groups"]["male"]["correct"]
    ] * 4
    assert several.passed
    assert {gate["model"] for gate in several.gates} == set(several.results) - {"dense"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda images: images.mean((1, 2, 3)), r"wrong \(in memory\): it gives \[2\] for 2 images, not \[2, 2\]"),
        (lambda images: images.mean((2, 3)), r"it gives \[2, 3\]"),
        (lambda images: ["female"] * len(images), "it gives list, not a table of scores"),
        (nn.Identity, "model: is the class Identity, neither a path nor a network"),
        (lambda images: torch.zeros(len(images), 2, dtype=torch.complex64), "it gives Tensor, not a table of scores"),
        (3, "model: is int, neither a path nor a network"),
        ([], "no model was given"),
    ],
)
def test_what_gives_no_scores_is_refused(wrong: Any, message: str, work: Work) -> None:
    if hasattr(wrong, "__name__") and wrong.__name__ == "<lambda>":
        wrong.__qualname__ = "wrong"
    with pytest.raises(FairpruneError, match=message):
        audited(work, wrong)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_gapp": 0.1}, "unknown key 'max_gapp'\n  to mend: did you mean 'max_gap'?"),
        ({"againts": "x"}, "did you mean 'against'?"),
        ({"max_gap": True}, "max_gap: True is not a share from 0 to 1"),
        ({"max_gap": np.array([0.5])}, "max_gap: (0.5,) is not a share from 0 to 1"),
        ({"max_gap": float("nan")}, "max_gap: nan is not a share from 0 to 1"),
        ({"max_gap": 5}, "max_gap: a share from 0 to 1; 5 % is written 0.05"),
        ({"attr": "gendre"}, "gendre"),
        ({"data": "absent.yaml"}, "--data = absent.yaml: no such manifest"),
        ({"policy": Path("absent.yaml")}, "absent.yaml: no such policy"),
        ({"config": "absent.yaml"}, "absent.yaml: no such file"),
        ({"max_degradation": 0.1}, "--max-degradation: degradation needs the dense model"),
    ],
)
def test_errors_are_those_of_the_command(given: dict[str, Any], message: str, work: Work) -> None:
    with pytest.raises(FairpruneError) as caught:
        audited(work, work.model, **given)
    assert message in str(caught.value)
    assert caught.value.code == ExitCode.BAD_INPUT


def test_numbers_of_numpy_and_lists_are_settings(work: Work) -> None:
    report = audited(work, work.model, max_gap=np.float32(0.5), attr=["gender", "age"], min_group=np.int64(10))
    assert [gate["bound"] for gate in report.gates] == [0.5, 0.5]


def test_a_report_is_no_truth_value(work: Work) -> None:
    asked, unasked = audited(work, work.model, max_gap=1e-9), audited(work, work.model)
    for report in (asked, unasked):
        with pytest.raises(TypeError, match=r"report\.passed"):
            bool(report)
        assert not report.passed
        with pytest.raises(FairpruneError) as caught:
            report.check()
        assert caught.value.code != ExitCode.OK
    passing = audited(work, work.model, max_gap=1.0)
    assert passing.check() is passing
    with pytest.raises(FairpruneError, match="an audit writes no model"):
        passing.model()
    assert "gender" in str(passing)
    assert repr(passing).startswith("<Report resnet10-w16")
    assert "<testsuites" in passing.to("junit")
    with pytest.raises(FairpruneError, match="did you mean 'html'"):
        passing.to("htlm")


@pytest.mark.parametrize(
    "document",
    [{"verdict": "pass"}, {"verdict": "pass", "gates": [{"name": "x", "verdict": "fail"}]}, {"verdict": "PASS"}, {}],
)
def test_a_report_passes_by_its_gates(document: dict[str, Any]) -> None:
    report = fairprune_cli.Report(document)
    assert not report.passed
    with pytest.raises(FairpruneError) as caught:
        report.check()
    assert caught.value.code != ExitCode.OK


def test_a_model_is_not_judged_against_itself(work: Work) -> None:
    with pytest.raises(FairpruneError, match=r"is the same file as .*model\.pt, so nothing can be lost"):
        audited(work, work.model, against=work.model, max_degradation=0.1)


def test_a_report_is_saved_once(work: Work, tmp_path: Path) -> None:
    report = audited(work, work.model)
    assert report.save(tmp_path / "kept") == tmp_path / "kept"
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"report.json", "report.html", "report.md"}
    with pytest.raises(FairpruneError, match="already exists"):
        report.save(tmp_path / "kept")
    report.save(tmp_path / "kept", force=True)


def test_a_network_of_ones_own_is_pruned_and_loaded_again(
    own: Own, work: Work, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own.eval()
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    generator, threads = torch.get_rng_state(), torch.get_num_threads()
    report = fairprune_cli.prune(own, data=work.folder / "manifest.yaml", out=tmp_path / "run", **QUICK)
    assert capfd.readouterr() == ("", "")
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.get_num_threads() == threads
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())
    assert report.document["model"]["source"] == "Own (in memory)"
    assert report.document["sparsity"]["achieved"] >= 0.45
    assert report.folder == tmp_path / "run"
    images = torch.randn(3, 3, 40, 40)
    pruned, again = report.model(), fairprune_cli.load(tmp_path / "run", arch=own)
    with torch.no_grad():
        assert torch.equal(pruned(images), again(images))
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in own.parameters())
    with pytest.raises(FairpruneError, match="Own"):
        fairprune_cli.load(tmp_path / "run")
    # The file is judged on the network that it came from, without its code being named.
    later = audited(work, tmp_path / "run", against=own)
    assert later.results["pruned"]["accuracy"] == report.results["pruned"]["accuracy"]


def test_a_known_network_in_memory_needs_no_code_to_be_loaded(work: Work, tmp_path: Path) -> None:
    report = fairprune_cli.prune(network_of(work), data=str(work.folder), out=str(tmp_path / "run"), **QUICK)
    assert isinstance(fairprune_cli.load(tmp_path / "run"), nn.Module)
    assert report.model() is not report.model()
    from_file = fairprune_cli.prune(work.model, out=tmp_path / "other", **QUICK)
    written = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "other")]
    assert written[0] == written[1]
    assert from_file.results == report.results


@pytest.mark.parametrize("given", [{"arch": "resnet18"}, {"weights": "ema"}, {"trust_checkpoint": True}])
def test_what_says_how_a_file_is_read_is_refused_for_a_network(given: dict[str, Any], own: Own, work: Work) -> None:
    for call in (audited, fairprune_cli.prune):
        with pytest.raises(FairpruneError, match="the network was given in memory"):
            call(work, own, **given) if call is audited else call(own, **QUICK, **given)


def test_an_interrupted_run_goes_on(own: Own, work: Work, tmp_path: Path) -> None:
    settings = {**QUICK, "data": work.folder / "manifest.yaml", "epochs": 2}
    whole = fairprune_cli.prune(own, out=tmp_path / "whole", **settings)
    Own.interrupts_at, Own.passes = 8, 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    with pytest.raises(FairpruneError, match="stopped at step") as caught:
        fairprune_cli.prune(own, out=tmp_path / "run", **settings)
    assert caught.value.code == ExitCode.INTERRUPTED
    assert caught.value.hint == f"continue with: fairprune_cli.prune(network, resume={str(tmp_path / 'run')!r})"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(FairpruneError, match=r"began with a network in memory, Own \(in memory\)"):
        fairprune_cli.prune(resume=tmp_path / "run")
    with pytest.raises(FairpruneError, match="the model changed since the run began"):
        fairprune_cli.prune(Own(), resume=tmp_path / "run")
    with pytest.raises(FairpruneError, match="out cannot go with it"):
        fairprune_cli.prune(own, resume=tmp_path / "run", out=tmp_path / "x")
    done = fairprune_cli.prune(own, resume=tmp_path / "run")
    assert done.results == whole.results
    written = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "whole")]
    assert written[0] == written[1]


def test_it_works_beside_the_main_thread(work: Work, tmp_path: Path) -> None:
    found: list[Any] = []

    def run() -> None:
        found.append(fairprune_cli.prune(work.model, out=tmp_path / "run", **QUICK))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found[0].verdict == "none"


def test_warnings_are_pythons_and_the_reports(work: Work, capfd: pytest.CaptureFixture[str]) -> None:
    network = nn.Sequential(network_of(work), nn.Softmax(1))
    with pytest.warns(FairpruneWarning, match="probabilities") as caught:
        report = audited(work, network)
    assert [item["code"] for item in report.warnings] == ["probabilities"]
    assert caught[0].filename == __file__
    assert capfd.readouterr() == ("", "")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audited(work, work.model)


def test_progress_is_shown_where_it_is_asked_for(work: Work, capfd: pytest.CaptureFixture[str]) -> None:
    audited(work, work.model, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "auditing" in err
