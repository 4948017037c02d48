"""What every plug-in of a kind has to keep, whoever wrote it. Each function takes a name of the listing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.audit.counts import audit_models
from fairprune_cli.audit.figures import Judgement
from fairprune_cli.audit.policy import Policy
from fairprune_cli.audit.to_json import audit_record, metric_key
from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.data.manifest.load import Manifest, init_manifest, load_manifest
from fairprune_cli.export.job import ExportJob
from fairprune_cli.fairness import notions, relaxations
from fairprune_cli.models import architectures
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.codec import ModelHeader
from fairprune_cli.pruning import methods
from fairprune_cli.pruning.channels.removal import channel_spaces, remove_channels
from fairprune_cli.pruning.masks import ChannelMasks
from fairprune_cli.pruning.methods import MethodOptions
from fairprune_cli.report.document import Section
from fairprune_cli.report.view import View
from fairprune_cli.training.trainer import Trainer, TrainOptions
from tests.contract.cases import gathered
from tests.contract.shapes import THETA, ByHand, DataSet, Look, Rates
from tests.support import networks, reports
from tests.support.datasets import TRANSFORM
from tests.support.training import trainer

NO_LABELS = torch.zeros(4, dtype=torch.int64)


# --- methods


def method_by_hand(name: str) -> None:
    """The scores, the selection and the loss are those that the case has worked out."""
    case: ByHand | None = gathered("METHODS").get(name)
    assert case is not None, f"the method {name} has no case worked by hand: METHODS in tests/contract/cases"
    kind = methods.get(name)
    assert kind.granularities, f"the method {name} works for nothing"
    net, masks = case.network()
    assert 0 < len(case.kept) < len(masks.keep), "the case keeps all or nothing"
    assert case.scores is not None or case.looks, "the case says neither scores nor what they come from"
    method = kind(masks, MethodOptions(**case.options))
    for look in case.looks:
        _let_look(method, net, look)
    scores = method.scores(case.sparsity)
    assert torch.isfinite(scores).all()
    if case.scores is not None:
        assert scores.tolist() == pytest.approx(list(case.scores), rel=1e-4)
    ranks = masks.rank_within(scores) if kind.scope == "layer" and len(masks.sizes) > 1 else scores
    assert torch.nonzero(masks.select(ranks, case.sparsity))[:, 0].tolist() == list(case.kept)
    student = torch.tensor([[0.25, 0.75], [0.25, 0.75]]).log()
    teacher = torch.tensor([[0.8, 0.2], [0.8, 0.2]]).log() + 5.0  # a shift of the logits changes nothing
    losses = method.image_loss(student, torch.tensor([0, 1]), teacher if kind.teacher else None)
    plain = [-float(np.log(0.25)), -float(np.log(0.75))]
    assert losses.tolist() == pytest.approx(list(case.losses or plain), rel=1e-5)
    assert kind.by_group == (case.weights is not None)
    if case.weights is not None:
        method.begin(torch.tensor([4.0, 1.0]))
        weights = method.group_weights(torch.tensor([1.0, 2.0, 3.0, 5.0]), torch.tensor([0, 0, 1, -1]))
        assert weights.tolist() == pytest.approx(list(case.weights), rel=1e-5)


def _let_look(method: methods.Method, net: nn.Module, look: Look) -> None:
    groups = np.arange(len(look.products)).repeat(4)[:, None]
    parts = method.parts(groups)
    assert len(parts) in (1, len(look.products))
    for part, products in enumerate(look.products):
        net.weight.grad = torch.tensor(products).view(3, 2) / torch.tensor(THETA)
        right = look.right[part] if look.right else 4
        labels = torch.tensor([0] * right + [1] * (4 - right))
        method.upper_step(part, torch.tensor([[1.0, 0.0]] * 4), labels)


OPTIONS = TrainOptions(upper_every=2, epochs=3, saliency_batches=2, average=0.3)


@cache
def _uninterrupted(name: str, granularity: str) -> Trainer:
    run = trainer(name, granularity, options=OPTIONS)
    assert run.run()
    return run


def method_meets_its_target(name: str, granularity: str) -> None:
    """Exactly, or by channel to within the largest group; what is masked is zero."""
    run = _uninterrupted(name, granularity)
    if isinstance(run.masks, ChannelMasks):
        left = sum(p.numel() for p in run.model.parameters())
        assert left == run.masks.kept
        assert abs(run.masks.achieved - run.sparsity) <= run.masks.largest_unit()
    else:
        assert run.masks.kept == round((1.0 - run.sparsity) * run.masks.total)
        for tensor, keep in run.masks.entries(run.masks.keep).items():
            assert dict(run.model.named_parameters())[tensor].detach()[~keep].abs().sum() == 0
    assert len(run.records) == 3
    assert run.records[-1].exact_gap["gender"] is not None


def method_continues_to_the_same_bytes(name: str, granularity: str, stop_at: int) -> None:
    """Stopped after so many steps and continued by another trainer, it ends where it would have ended."""
    whole = _uninterrupted(name, granularity)
    first = trainer(name, granularity, options=OPTIONS)
    first.run(lambda: first.done >= stop_at)
    second = trainer(name, granularity, options=OPTIONS)
    second.load_state_dict(first.state_dict())
    assert second.run()
    expected, got = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(expected[tensor], got[tensor]) for tensor in expected)
    assert [replace(r, images_per_second=0.0) for r in whole.records] == [
        replace(r, images_per_second=0.0) for r in second.records
    ]


# --- notions


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor
    groups: Tensor


class Logits:
    """Images that are logits of two models, dense and pruned, so that predictions are known without either."""

    def __init__(self, classes: int, groups: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(60 * groups) % classes  # every label in every group
        self.groups = torch.arange(60 * groups) // 60
        self.images = torch.randn(len(self.labels), 2 * classes, generator=generator)
        help_ = 0.5 + self.groups  # the higher the group, the more often right
        for start in (0, classes):
            self.images[torch.arange(len(self.labels)), start + self.labels] += help_ / (1 + start)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, device: object) -> Iterator[Batch]:
        yield Batch(self.images, self.labels, self.groups[:, None])


class Columns(nn.Module):
    def __init__(self, start: int, classes: int) -> None:
        super().__init__()
        self.part = slice(start, start + classes)

    def forward(self, images: Tensor) -> Tensor:
        return images[:, self.part]


class Attribute(NamedTuple):
    name: str
    groups: tuple[str, ...]


def notion_is_one_figure(name: str, classes: int, groups: int) -> None:
    """What it defines, what the audit reports, what a gate judges and what a loop over images finds are one number."""
    case: Rates | None = gathered("NOTIONS").get(name)
    assert case is not None, f"the notion {name} is nowhere said in plain words: NOTIONS in tests/contract/cases"
    images = Logits(classes, groups, seed=1)
    models = {"dense": Columns(0, classes), "pruned": Columns(classes, classes)}
    attribute = Attribute("a", tuple("ABCDEF"[:groups]))
    result = audit_models(
        models, images, [attribute], tuple("vwxyz"[:classes]), torch.device("cpu")  # type: ignore[arg-type]
    )  # fmt: skip
    expected = _by_a_loop(case, images, classes, groups)
    assert 0.01 < expected < 1.0  # images that show something
    notion = notions.get(name, classes)
    reference, _ = notion.rates(result.counts("dense", "a"))
    exact = notion.exact(result.counts("pruned", "a"), reference)
    assert exact == pytest.approx(expected, abs=1e-12)
    policy = Policy.parse({"min_group": 1, "rules": [{"notion": name, "max_gap": 0.05}]})
    ((gate,), _) = policy.judge(result)
    assert gate.value == pytest.approx(expected, abs=1e-12), "the gate judges something else"
    record = audit_record(result.figures(Judgement(min_group=1)))
    told = record["results"]["pruned"]["attributes"]["a"]
    if notion.compares == "losses":
        reported = record["degradation"]["a"]["gap"]
    elif notion.compares == "accuracies":
        reported = told["gap"]
    else:
        reported = told["metrics"][metric_key(name)]["value"]
    assert reported == pytest.approx(expected, abs=1e-12), "the audit reports something else"


def _by_a_loop(case: Rates, images: Logits, classes: int, groups: int) -> float:
    rates = []
    for member, event in case.of(classes):
        row = []
        for group in range(groups):
            seen, hits = 0, {0: 0, classes: 0}
            for logits, label, of in zip(images.images, images.labels.tolist(), images.groups.tolist(), strict=True):
                if of == group and member(label):
                    seen += 1
                    for start in hits:
                        hits[start] += event(label, int(logits[start : start + classes].argmax()))
            row.append((hits[classes] - (hits[0] if case.lost else 0)) / seen)
        rates.append(max(row) - min(row))
    return max(rates)


# --- relaxations


NEAR = torch.linspace(-0.9, 0.9, 19)


def relaxation_equals_its_row(name: str) -> None:
    """Values of both surrogates; rising at zero; finite far away."""
    row: tuple[Callable[[float], float], Callable[[float], float]] | None = gathered("RELAXATIONS").get(name)
    assert row is not None, f"the relaxation {name} has no row of values: RELAXATIONS in tests/contract/cases"
    found = relaxations.get(name)
    for a in (-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 2.5):
        assert found.kappa(torch.tensor(a)).item() == pytest.approx(row[0](a), rel=1e-5, abs=1e-6)
        assert found.delta(torch.tensor(a)).item() == pytest.approx(row[1](a), rel=1e-5, abs=1e-6)
    for side in (found.kappa, found.delta):
        zero = torch.zeros(1, requires_grad=True)
        side(zero).sum().backward()
        assert zero.grad is not None
        assert zero.grad.item() > 0, "no positive slope at 0"
        assert torch.isfinite(side(torch.tensor([-1e4, 1e4]))).all()
    # What a surrogate of 1[a > 0] is for: the higher the margin, the more it counts, near where decisions fall.
    assert (found.kappa(NEAR).diff() > 0).all(), "kappa does not rise"
    assert (found.delta(NEAR).diff() > 0).all(), "delta does not rise"


# --- architectures


def architecture_comes_back_pruned(name: str, folder: Path) -> None:
    """Recognised from its tensors, smaller by its channels, and the same again out of its file."""
    assert architectures.identify(dict(architectures.skeleton(name, 7).state_dict())) == (name, 7)
    model = networks.unlike_fresh(architectures.build(name, 3, seed=0))
    side = getattr(model, "image_size", 64)
    masks = ChannelMasks(model, channel_spaces(model, side))
    before = sum(p.numel() for p in model.parameters())
    masks.apply(masks.select(masks.magnitude(), 0.5))
    remove_channels(model, masks.spaces, masks.keep)
    assert sum(p.numel() for p in model.parameters()) == masks.kept <= 0.51 * before
    path = folder / "model.safetensors"
    codec.save_model(path, model, header=ModelHeader(name, ("a", "b", "c"), {}, "channel", {}), masks={})
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images)
        assert expected.shape == (1, 3)
        assert torch.equal(codec.load_network(path)(images), expected)


# --- export formats


def _job(seed: int) -> ExportJob:
    """A small network with zeros, as a format is handed it."""
    model = networks.unlike_fresh(architectures.build("resnet10-w16", 2, seed=seed), seed)
    generator = torch.Generator().manual_seed(seed)
    masks = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4:
            masks[name] = torch.rand(parameter.shape, generator=generator) < 0.3
            parameter.data *= masks[name]
    transform = {"size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    header = ModelHeader("resnet10-w16", ("neutral", "smiling"), transform, "weight", {})
    return ExportJob(model, model, "resnet10-w16", header, masks, ImageShape.of(32))


def export_can_be_read_back(name: str, folder: Path) -> None:
    """The file gives the source's logits; and it is the file that gives them, not what the format was handed."""
    module = plugins.EXPORT_FORMAT.load(name)
    assert (module.__doc__ or "").splitlines()[0].endswith(".")
    job, other = _job(0), _job(1)
    path, another = folder / f"one{module.SUFFIX}", folder / f"other{module.SUFFIX}"
    try:
        module.write(job, path)
        module.write(other, another)
    except FairpruneError as error:
        extra = re.match(r"pip install .*?([a-z_]+)['\"\]]*$", error.hint)
        if extra is not None and find_spec(extra[1]) is None:
            pytest.skip(error.what)
        raise AssertionError(f"it cannot be written: {error.what}") from error
    kept = sum(int(parameter.count_nonzero()) for parameter in job.reference.parameters())
    assert path.stat().st_size > kept, "too small to hold the weights: a byte for each is the least"
    moved = folder / f"moved{module.SUFFIX}"  # nothing can be known of this path, and the other file is gone
    path.rename(moved)
    read = _reloaded(module.reload, job, moved)
    for batch in (1, 3):
        images = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            expected, got = job.reference(images), read(images)
            elsewhere = other.reference(images)
        scale = max(1.0, float(expected.abs().max()))
        assert float((got - expected).abs().max()) <= module.TOLERANCE * scale
        assert float((elsewhere - expected).abs().max()) > 100 * module.TOLERANCE * scale
    try:  # the source of the one beside the file of the other: refused, or read for what it is
        swapped = module.reload(job, another)
    except FairpruneError:
        return
    with torch.no_grad():
        off = float((swapped(images) - elsewhere).abs().max())
    assert off <= module.TOLERANCE * scale, "what is read is not the file"


def _reloaded(reload: Callable[..., Callable[[Tensor], Tensor]], job: ExportJob, path: Path) -> Callable[..., Tensor]:
    try:
        return reload(job, path)
    except Exception as error:
        raise AssertionError(f"what was written cannot be read back: {type(error).__name__}: {error}") from error


# --- dataset formats


def data_set_is_read(name: str, folder: Path) -> None:
    """Recognised, and by no other format; suggested and read alike."""
    case: DataSet | None = gathered("DATA_SETS").get(name)
    assert case is not None, f"the dataset format {name} has no small data set: DATA_SETS in tests/contract/cases"
    case.make(folder)
    formats = plugins.DATASET_FORMAT.load_all()
    assert [other for other, module in formats.items() if module.recognise(folder)] == [name]
    manifest = _manifest(
        folder,
        f"version: 1\nformat: {name}\nroot: .\nlabel: {case.label}\nattributes: {{a: {{column: {case.attribute}}}}}\n",
    )
    assert len(manifest) == len(manifest.labels) == case.images
    assert all((folder / file).is_file() for file in manifest.files)
    assert len(manifest.grouping("a").groups) >= 2
    assert set(manifest.labels.tolist()) == set(range(len(manifest.classes)))
    suggestion = formats[name].suggest(folder)
    problems = Problems("")
    source = formats[name].read(folder, [suggestion.label], problems)
    assert not problems.texts
    assert len(source.columns[suggestion.label]) == len(source.files) == case.images
    assert suggestion.attributes
    assert suggestion.sample
    assert set(suggestion.sample) <= {folder / file for file in source.files}
    assert f"format: {name}" in init_manifest(folder)


def _manifest(folder: Path, text: str) -> Manifest:
    path = folder / "manifest.yaml"
    path.write_text(text + TRANSFORM)
    try:
        return load_manifest(path)
    finally:
        path.unlink()


# --- report sections and writers


REPORTS = (reports.full, reports.with_examples, reports.several, reports.audit_only)


def section_is_built(name: str) -> None:
    """Built of a full report and of an empty one; it has something to say about at least one."""
    module = plugins.REPORT_SECTION.load(name)
    assert isinstance(module.ORDER, int)
    made = [module.build(View(report())) for report in REPORTS]
    if name in gathered("SECTIONS"):
        made.append(module.build(View(gathered("SECTIONS")[name])))
    assert all(section is None or isinstance(section, Section) for section in made)
    assert any(made), f"no report makes the section {name} say anything: SECTIONS in tests/contract/cases"
    assert all(section.title and section.name for section in made if section is not None)
    empty = module.build(View({}))
    assert empty is None or isinstance(empty, Section)


def writer_takes_any_report(name: str) -> None:
    """Text of a full report and of an empty one."""
    module = plugins.REPORT_WRITER.load(name)
    assert all(module.write(report()).encode("utf-8") for report in (*REPORTS, dict))
