"""Why a model is at chance level: networks made by hand for one way to read images, given another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fairprune_cli.audit.counts import audit_models
from fairprune_cli.audit.doubt import ConstantAnswer
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import load_images
from fairprune_cli.data.manifest.load import load_manifest
from fairprune_cli.run.cause_search import Search, rows_of_each_class

COUNT = 240
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CENTRES = ((0.7, 0.3, 0.3), (0.3, 0.3, 0.7), (0.3, 0.7, 0.3))  # red, blue, green
MEAN, STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


class Made(nn.Module):
    """Scores linear in the mean colour of the normalised image."""

    def __init__(self, weight: Sequence[Sequence[float]], bias: Sequence[float]) -> None:
        super().__init__()
        self.weight, self.bias = torch.tensor(weight), torch.tensor(bias)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x.mean((2, 3)), self.weight, self.bias)


def nearest_colour(
    mean: Sequence[float], std: Sequence[float], classes: int, order: Sequence[int] | None = None,
    blue_first: bool = False,
) -> Made:  # fmt: skip
    """Which of the centres the colour is nearest to, for inputs that are read so; output j is class order[j]."""
    weight, bias = [], []
    for k in order or range(classes):
        centre = np.array(CENTRES[k])
        if blue_first:
            centre = centre[::-1]
        # |u - c|^2 is smallest where 2 c u - |c|^2 is largest, with u = x std + mean
        weight.append((2 * centre * np.array(std)).tolist())
        bias.append(float((2 * centre * np.array(mean)).sum() - (centre**2).sum()))
    return Made(weight, bias)


class Brightness(nn.Module):
    """The second class where the image is brighter than a bound, as the network's input has it."""

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    def forward(self, x: Tensor) -> Tensor:
        score = x.mean((1, 2, 3)) - self.bound
        return torch.stack([-score, score], 1)


def made(root: Path, pixels: Callable[[int, np.random.Generator], np.ndarray], classes: int, noise: float) -> Path:
    generator, lines = np.random.default_rng(0), ["file,label,gender,split"]
    for i in range(COUNT):
        label = i % classes
        shown = label if generator.random() >= noise else int(generator.integers(classes))
        Image.fromarray(pixels(shown, generator)).save(root / f"{i}.png")
        lines.append(f"{i}.png,c{label},{'fm'[i // 7 % 2]},test")
    (root / "t.csv").write_text("\n".join(lines) + "\n")
    (root / "manifest.yaml").write_text(
        "version: 1\ntable: t.csv\ncolumns: {image: file, label: label, split: split}\n"
        f"classes: [{', '.join(f'c{k}' for k in range(classes))}]\nattributes: {{gender: {{column: gender}}}}\n"
        f"transform: {{size: 8, mean: {list(MEAN)}, std: {list(STD)}}}\n"
    )
    return root / "manifest.yaml"


def colours(shown: int, generator: np.random.Generator) -> np.ndarray:
    u = np.array(CENTRES[shown]) + generator.normal(0, 0.05, (8, 8, 3))
    return (255 * u.clip(0, 1)).astype(np.uint8)


def looked_at(path: Path, model: nn.Module) -> ConstantAnswer:
    """What is found of a model; a good one is not read in any other way."""
    manifest = load_manifest(path)
    pool = load_images(manifest, ()).pool(np.arange(len(manifest)))
    result = audit_models({"dense": model}, pool, (), manifest.classes)
    found = result.figures().models["dense"].constant_answer
    assert found is not None
    if found.better:
        return found
    search = Search(manifest, pool, torch.device("cpu"), 0.95, 0, Terminal(quiet=True))
    return search.explained(found, result.overall["dense"], 0, model)


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Two and three classes of colour, 8 % of which show another one."""
    return {k: made(tmp_path_factory.mktemp(f"colours{k}"), colours, k, 0.08) for k in (2, 3)}


def test_a_good_model_is_left_alone(coloured: dict[int, Path]) -> None:
    for classes, path in coloured.items():
        found = looked_at(path, nearest_colour(MEAN, STD, classes))
        assert (found.better, found.causes, found.tried) == (True, (), 0)


@pytest.mark.parametrize("order", [[1, 0], [1, 2, 0], [2, 0, 1]])
def test_classes_in_another_order(coloured: dict[int, Path], order: list[int]) -> None:
    found = looked_at(coloured[len(order)], nearest_colour(MEAN, STD, len(order), order))
    cause = found.causes[0]
    assert cause.classes == tuple(f"c{k}" for k in order)
    assert cause.mean is cause.size is None
    assert cause.accuracy > 0.88
    assert f"`classes: [{', '.join(cause.classes)}]`" in cause.mend
    assert (cause.n, found.tried_on) == (200, 200)


def test_blue_as_the_first_channel(coloured: dict[int, Path]) -> None:
    """Of two colours that are each other's mirror it cannot be told from classes in reverse, so both are named."""
    found = looked_at(coloured[2], nearest_colour(MEAN, STD, 2, blue_first=True))
    assert any("(BGR)" in cause.change and "[2, 1, 0]" in cause.mend for cause in found.causes)
    assert found.causes[0].accuracy > 0.9


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def pixels(shown: int, generator: np.random.Generator) -> np.ndarray:
        return (255 * (0.35 + 0.25 * shown + generator.normal(0, 0.02, (8, 8, 3)))).clip(0, 255).astype(np.uint8)

    return made(tmp_path_factory.mktemp("bright"), pixels, 2, 0.1)


@pytest.mark.parametrize(
    ("bound", "change", "mean"),
    [
        ((0.47 - 0.449) / 0.226, "ImageNet's mean and std", IMAGENET[0]),
        ((0.47 - 0.5) / 0.5, "mean and std 0.5", (0.5,) * 3),
        (0.47 * 255, "values from 0 to 255", (0.0,) * 3),
    ],
)
def test_mean_and_std(bright: Path, bound: float, change: str, mean: tuple[float, ...]) -> None:
    found = looked_at(bright, Brightness(bound))
    assert not found.better
    (cause,) = [cause for cause in found.causes if change in cause.change]
    assert cause.mean == mean
    assert cause.accuracy > 0.85
    assert "`transform: {size: 8, mean: [" in cause.mend


def test_mean_and_std_and_classes_at_once(bright: Path) -> None:
    class Reversed(Brightness):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).flip(1)

    cause = looked_at(bright, Reversed(0.47 * 255)).causes[0]
    assert cause.classes == ("c1", "c0")
    assert cause.std == pytest.approx((1 / 255,) * 3)


def test_images_of_another_size(tmp_path: Path) -> None:
    """Stripes one pixel wide are gone at half of the size."""

    def stripes(shown: int, generator: np.random.Generator) -> np.ndarray:
        lines = 128 + 100 * (np.arange(32) % 2 * 2 - 1) * shown + generator.normal(0, 10, (32, 32))
        return np.repeat(lines.clip(0, 255).astype(np.uint8)[:, :, None], 3, 2)

    path = made(tmp_path, stripes, 2, 0.05)
    path.write_text(path.read_text().replace("size: 8", "size: 16"))

    class Contrast(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            score = x.diff(dim=3).abs().mean((1, 2, 3)) - 0.3
            return torch.stack([-score, score], 1)

    cause = looked_at(path, Contrast()).causes[0]
    assert (cause.size, "size: 32" in cause.mend) == ((32, 32), True)


def test_where_nothing_helps_nothing_is_named(coloured: dict[int, Path]) -> None:
    found = looked_at(coloured[2], Made([[0.0, 9.0, 0.0], [0.0, -9.0, 0.0]], [-2.7, 2.7]))  # green says nothing here
    assert (found.better, found.causes) == (False, ())
    assert found.tried > 10


def test_a_hard_task_is_left_alone(tmp_path: Path) -> None:
    """60 % right of two classes of equal size: little, and honest."""
    found = looked_at(made(tmp_path, colours, 2, 0.7), nearest_colour(MEAN, STD, 2))
    assert found.better
    assert found.accuracy < 0.7


def test_networks_that_take_one_size_are_tried_in_the_other_ways(bright: Path) -> None:
    class OneSize(Brightness):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[2:] != (8, 8):
                raise AssertionError("wrong size")
            return super().forward(x)

    assert looked_at(bright, OneSize(0.47 * 255)).causes[0].std == pytest.approx((1 / 255,) * 3)


def test_without_a_network_the_counts_tell_of_the_order_alone(coloured: dict[int, Path]) -> None:
    manifest = load_manifest(coloured[2])
    pool = load_images(manifest, ()).pool(np.arange(len(manifest)))
    counts = np.array([[10, 110], [105, 15]])
    search = Search(manifest, pool, torch.device("cpu"), 0.95, 0, Terminal(quiet=True))
    none = ConstantAnswer("c0", 0.5, 25 / 240, 0.0, 0.2, 240, 2, 0.1, False)
    found = search.explained(none, counts, 0, None)
    assert [(one.classes, one.n, one.accuracy) for one in found.causes] == [(("c1", "c0"), 240, 215 / 240)]


def test_the_images_are_as_many_of_each_class(coloured: dict[int, Path]) -> None:
    manifest = load_manifest(coloured[2])
    labels = np.array([0] * 225 + [1] * 15)
    manifest = replace(manifest, labels=labels, tasks=(replace(manifest.tasks[0], labels=labels),))
    pool = load_images(manifest, ()).pool(np.arange(len(manifest)))
    rows = rows_of_each_class(pool, 0, 0, 40)
    assert np.bincount(labels[rows]).tolist() == [25, 15]
    assert rows.tolist() == rows_of_each_class(pool, 0, 0, 40).tolist() != rows_of_each_class(pool, 0, 1, 40).tolist()
