"""What a format is handed: the model, what is known about it, and the images it is compared on."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.data.manifest.image_shape import ImageShape, Size
from fairprune_cli.data.manifest.transform import Transform
from fairprune_cli.models.checkpoint.recognise import USUAL_CLASSES
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.header import ModelHeader
from fairprune_cli.models.file.rounding import SOURCE, rounded
from fairprune_cli.models.inference import taking_images
from fairprune_cli.models.layers import prunable_weights
from fairprune_cli.models.measure import images_of
from fairprune_cli.models.read_out import Key, tensors_of
from fairprune_cli.models.score_search import outputs_of

LOGITS = "logits"  # the output of a network that has one


class Exportable(Protocol):
    """The part of `checkpoint.LoadedModel` that an export needs."""

    model: nn.Module
    architecture: str
    structure: str | nn.Module
    classes: int
    source: Path
    class_names: tuple[str, ...] | None
    transform: dict[str, Any] | None

    @property
    def dtypes(self) -> Mapping[str, torch.dtype]: ...


@dataclass(frozen=True)
class ExportJob:
    """One export.

    Attributes:
        model: on the CPU, in eval mode, in the dtype it was stored in: what model files hold.
        reference: the same in float32: what graphs are traced from and every file is compared with.
        structure: what builds its network again, as in `LoadedModel`.
        header: what the file should say about it.
        masks: True where an entry is kept, by tensor name.
        shape: of the input images.
        samples: real images as the model's input, float32 [n, C, H, W], that files are compared on too; or None.
    """

    model: nn.Module
    reference: nn.Module
    structure: str | nn.Module
    header: ModelHeader
    masks: Mapping[str, Tensor]
    shape: ImageShape
    samples: Tensor | None = None

    @cached_property
    def _given(self) -> Any:
        with torch.inference_mode():
            return self.reference(self.images(1))

    @property
    def outputs(self) -> list[str]:
        """What the tensors that the network gives are called, in its order: `logits` where there is one alone."""
        keys = self.keys
        if len(keys) == 1:
            return [LOGITS]
        return [key if isinstance(key, str) else f"output{key}" for key in keys]

    @property
    def keys(self) -> list[Key]:
        """The same as `read_out.tensors_of` names them."""
        return list(tensors_of(self._given))

    @property
    def traced(self) -> nn.Module:
        """The network as exporters can trace it: what it gives in a dataclass is in a dict."""
        return _InDict(self.reference) if dataclasses.is_dataclass(self._given) else self.reference

    def images(self, batch: int) -> Tensor:
        """Standard normal images float32 [batch, C, H, W], the same every time."""
        shape = (batch, *self.shape.dimensions)
        return torch.randn(shape, generator=torch.Generator().manual_seed(batch))


class _InDict(nn.Module):
    """A network whose outputs are in a dict of tensors, by name."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[Any, Tensor]:
        return tensors_of(self.network(images))


def job_of(loaded: Exportable, otherwise: Transform | Size | None = None) -> ExportJob:
    """Gather what is known of a loaded model.

    Masks come from the source when it is a model file of ours. From any other source they come from
    zeros: every convolution or linear weight that has zeros is taken as pruned there.

    Args:
        otherwise: the images of a model that does not say itself which it takes: an input transform, or a size alone,
            in pixels. 224 where there is neither.

    Raises:
        FairpruneError: the model does not take such images.
    """
    model = reference = loaded.model.cpu().eval()
    source = Path(loaded.source)
    if codec.is_model_file(source):
        header = dataclasses.replace(codec.read_header(source), architecture=loaded.architecture)
        masks = codec.read_masks(source)
        model = codec.load_network(source, loaded.structure)  # in the dtypes of the file
    else:
        masks = _zeros(model)
        shape = images_of(reference, loaded.transform, otherwise)
        given = [] if loaded.classes else outputs_of(model, shape)
        header = _inferred(loaded, masks, given[0].width if given else 1)
        model = _as_stored(model, loaded.dtypes)
    if any(tensor.dtype != torch.float32 for tensor in reference.parameters()):
        reference = copy.deepcopy(reference).float()
    shape = images_of(reference, header.transform or loaded.transform, otherwise)
    job = ExportJob(model, reference, loaded.structure, header, masks, shape)
    with taking_images(reference, 1, shape), torch.inference_mode():
        reference(job.images(1))
    return job


def _as_stored(model: nn.Module, dtypes: Mapping[str, torch.dtype]) -> nn.Module:
    """The model in the number formats of its file, as files of ours have it; itself where these are its own."""
    state = rounded(model.state_dict(), SOURCE, dtypes)
    if all(state[name].dtype == tensor.dtype for name, tensor in model.state_dict().items()):
        return model
    stored = copy.deepcopy(model)
    stored.load_state_dict(state, assign=True)
    return stored


def rounded_job(job: ExportJob, store: str) -> ExportJob:
    """The same with the weights rounded to fp16 or bf16, or widened to fp32; `storage.rounded` says which tensors."""
    whole = {name: t.float() if t.is_floating_point() else t for name, t in job.model.state_dict().items()}
    model, reference = copy.deepcopy(job.model), copy.deepcopy(job.reference)
    model.load_state_dict(rounded(whole, store), assign=True)
    reference.load_state_dict(model.state_dict())
    return dataclasses.replace(job, model=model.eval(), reference=reference.eval())


def refuse_fixed_batch(architecture: str, size: object) -> None:
    """Refuse a graph for batches of one size alone, which tracers make of code that counts its images.

    Args:
        size: of the batch in the graph: a whole number, or anything else where it is free.

    Raises:
        FairpruneError: it is fixed.
    """
    if isinstance(size, int):
        raise FairpruneError(
            f"the graph of {architecture} would take {size} images at a time and no other number: its code makes the "
            "size of the batch a number of its own",
            hint="have it say x.shape[0], or -1 in a shape, in place of len(x) and int(x.shape[0])",
        )


def largest_difference(job: ExportJob, reloaded: Callable[[Tensor], Any]) -> tuple[float, float]:
    """Largest absolute difference of a logit, and largest absolute logit.

    Compared are batches of 1 and 3 random images, and where the job has real ones, all of these at once and the first
    by itself.

    Args:
        reloaded: images float32 [B, C, H, W] to what the network gives: a tensor, or several in a tuple or a dict.
    """
    difference = scale = 0.0
    with torch.inference_mode():
        batches = [job.images(1), job.images(3)]
        if job.samples is not None:
            batches += [job.samples, job.samples[:1]]
        for images in batches:
            pairs = zip(_listed(job.reference(images)), _listed(reloaded(images)), strict=True)
            for expected, found in pairs:
                if expected.squeeze().shape != found.squeeze().shape:
                    raise FairpruneError(f"logits of shape {list(found.shape)}, not {list(expected.shape)}")
                # A squeeze in the network's code takes the axis of one image away, in a graph it does not.
                apart = (expected.squeeze() - found.squeeze()).abs().max().item()
                difference = max(difference, math.inf if math.isnan(apart) else apart)  # max() would pass over it
                scale = max(scale, expected.abs().max().item())
    return difference, scale


def _listed(given: Any) -> list[Tensor]:
    """The tensors that a network gave, in its order, as float64."""
    return [tensor.double() for tensor in tensors_of(given).values()]


def _zeros(model: nn.Module) -> dict[str, Tensor]:
    nonzero = {name: weight.detach() != 0 for name, weight in prunable_weights(model).items()}
    return {name: mask for name, mask in nonzero.items() if not bool(mask.all())}


def _inferred(loaded: Exportable, masks: Mapping[str, Tensor], outputs: int) -> ModelHeader:
    """A header for a model of unknown history: smaller than its architecture, with zeros, or dense.

    Args:
        outputs: that it gives, where its architecture does not say how many.
    """
    from fairprune_cli.models import architectures

    given = loaded.structure
    built_for = loaded.classes or USUAL_CLASSES
    built = copy.deepcopy(given) if isinstance(given, nn.Module) else architectures.build(given, built_for)
    architectures.materialise(built, architectures.shapes_of(loaded.model))
    architectures.make_plain(built)
    removed = architectures.account_of(loaded.model, architectures.shapes_of(built))
    granularity = "channel" if removed else "weight" if masks else "dense"
    for name, mask in masks.items():
        entry = removed.setdefault(name, {"shape": list(mask.shape)})
        entry["kept"] = int(mask.sum())
    return ModelHeader(
        architecture=loaded.architecture,
        classes=loaded.class_names or tuple(str(index) for index in range(loaded.classes or outputs)),
        transform=loaded.transform or {},
        granularity=granularity,
        removed=removed,
    )
