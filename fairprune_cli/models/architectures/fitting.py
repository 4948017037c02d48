"""Shrink a network to the tensors of a channel-pruned one, and load tensors strictly, without copies."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError, Problems
from fairprune_cli.data.manifest.image_shape import ImageShape
from fairprune_cli.models.architectures.attention import SelfAttention
from fairprune_cli.models.architectures.signatures import COUNTER
from fairprune_cli.models.inference import evaluating

_HINT = "the file belongs to another architecture, or is damaged"


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], where: str = "") -> nn.Module:
    """Make the tensors of `state` those of `model`, without copying them; missing batch counters become 0.

    Raises:
        FairpruneError: lists the missing, unexpected and differently shaped tensors, all at once.
    """
    given, expected = OrderedDict(state), model.state_dict()
    # Some layers ask which version of themselves a state is of; one that fits this model is of this model's.
    given._metadata = expected._metadata  # type: ignore[attr-defined]
    for key in expected:
        if key.endswith(COUNTER) and key not in given:
            given[key] = torch.zeros((), dtype=torch.long)
    problems = Problems(where, limit=12)
    problems.extend(f"{key} is missing" for key in expected if key not in given)
    problems.extend(f"{key} is unexpected" for key in given if key not in expected)
    problems.extend(
        f"{key} has shape {tuple(given[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in given and given[key].shape != tensor.shape
    )
    problems.extend(
        f"{key} holds {given[key].dtype} numbers, not {tensor.dtype}"
        for key, tensor in expected.items()
        if key in given and given[key].is_floating_point() != tensor.is_floating_point()
    )
    problems.raise_if_any(hint=_HINT)
    try:
        model.load_state_dict(given, strict=True, assign=True)
    except (RuntimeError, TypeError, ValueError) as error:
        raise FairpruneError(f"the weights cannot be loaded: {error}", where=where, hint=_HINT) from error
    _refuse_meta(model, where)
    return model


def fit_to_state(model: nn.Module, state: Mapping[str, Tensor], shape: ImageShape | None = None) -> nn.Module:
    """Give the layers of `model` the widths that the tensors in `state` have, then load them strictly.

    Conv2d, BatchNorm2d, LayerNorm and Linear may become narrower, never wider; a grouped convolution has fewer groups
    of the same size, attention fewer heads of the same width, a parameter that stands by itself fewer entries. No
    tensor is copied.

    Args:
        model: the dense network; changed in place and returned. Its own numbers are dropped.
        state: tensors by name; kernel sizes and the number of layers are those of `model`.
        shape: of the images that the network is for, where it is known.

    Raises:
        FairpruneError: a tensor's shape is impossible for its layer, or the widths of neighbouring layers
            do not fit together; every such tensor is named.
    """
    problems = Problems("", limit=12)
    changed = False
    for name, layer in model.named_modules():
        prefix = f"{name}." if name else ""
        before = (layer.weight.shape,) if isinstance(getattr(layer, "weight", None), Tensor) else ()
        try:
            if isinstance(layer, nn.Conv2d):
                _fit_convolution(layer, prefix, state)
            elif isinstance(layer, nn.BatchNorm2d):
                _fit_batch_norm(layer, prefix, state)
            elif isinstance(layer, nn.Linear):
                _fit_linear(layer, prefix, state)
            elif isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1:
                _fit_layer_norm(layer, prefix, state)
            elif isinstance(layer, SelfAttention):
                before = (layer.in_proj_weight.shape,)
                _fit_attention(layer, prefix, state)
                changed |= before != (layer.in_proj_weight.shape,)
                continue
            else:
                changed |= _fit_parameters(layer, prefix, state)
                continue
        except FairpruneError as error:
            problems.add(error.what)
            continue
        changed |= before != ((layer.weight.shape,) if layer.weight is not None else ())
    problems.raise_if_any(hint=_HINT)
    load_strictly(model, state)
    if changed:
        _try_forward(model, shape)
    return model


def _shape(state: Mapping[str, Tensor], key: str, dimensions: int) -> tuple[int, ...]:
    if key not in state:
        raise FairpruneError(f"{key} is missing")
    shape = tuple(state[key].shape)
    if len(shape) != dimensions or min(shape) < 1:
        raise FairpruneError(f"{key} has shape {shape}; it needs {dimensions} sizes, none of them 0")
    return shape


def _require(condition: bool, key: str, shape: tuple[int, ...], why: str) -> None:
    if not condition:
        raise FairpruneError(f"{key} has shape {shape}: {why}")


def _fit_convolution(layer: nn.Conv2d, prefix: str, state: Mapping[str, Tensor]) -> None:
    key = f"{prefix}weight"
    shape = _shape(state, key, 4)
    outputs, per_group = shape[:2]
    _require(shape[2:] == layer.kernel_size, key, shape, f"the kernel is {layer.kernel_size}")
    groups = layer.groups
    if groups > 1:
        outputs_each, inputs_each = layer.out_channels // groups, layer.in_channels // groups
        kind = "depthwise" if inputs_each == 1 else "grouped"
        fits = per_group == inputs_each and outputs % outputs_each == 0
        _require(fits, key, shape, f"the convolution is {kind}: {inputs_each} in and {outputs_each} out per group")
        groups = outputs // outputs_each
    inputs = per_group * groups
    limits = (layer.out_channels, layer.in_channels)
    _require(outputs <= limits[0] and inputs <= limits[1], key, shape, f"the dense layer has {limits}")
    layer.out_channels, layer.in_channels, layer.groups = outputs, inputs, groups
    _reshape(layer, "weight", shape)
    if layer.bias is not None:
        _reshape(layer, "bias", (outputs,))


def _fit_batch_norm(layer: nn.BatchNorm2d, prefix: str, state: Mapping[str, Tensor]) -> None:
    own = [key for key in ("weight", "bias", "running_mean", "running_var") if getattr(layer, key) is not None]
    if not own:
        return
    shape = _shape(state, f"{prefix}{own[0]}", 1)
    _require(
        shape[0] <= layer.num_features,
        f"{prefix}{own[0]}",
        shape,
        f"the dense layer has {layer.num_features}",
    )
    layer.num_features = shape[0]
    for key in own:
        _reshape(layer, key, shape)


def _fit_linear(layer: nn.Linear, prefix: str, state: Mapping[str, Tensor]) -> None:
    key = f"{prefix}weight"
    shape = _shape(state, key, 2)
    limits = (layer.out_features, layer.in_features)
    _require(shape[0] <= limits[0] and shape[1] <= limits[1], key, shape, f"the dense layer has {limits}")
    layer.out_features, layer.in_features = shape[0], shape[1]
    _reshape(layer, "weight", shape)
    if layer.bias is not None:
        _reshape(layer, "bias", (shape[0],))


def _fit_layer_norm(layer: nn.LayerNorm, prefix: str, state: Mapping[str, Tensor]) -> None:
    own = [key for key in ("weight", "bias") if getattr(layer, key) is not None]
    if not own:
        return
    key, dense = f"{prefix}{own[0]}", layer.normalized_shape[0]
    shape = _shape(state, key, 1)
    _require(shape[0] <= dense, key, shape, f"the dense layer has {dense}")
    layer.normalized_shape = shape
    for name in own:
        _reshape(layer, name, shape)


def _fit_attention(layer: SelfAttention, prefix: str, state: Mapping[str, Tensor]) -> None:
    key, dense = f"{prefix}in_proj_weight", tuple(layer.in_proj_weight.shape)
    shape = _shape(state, key, 2)
    _require(shape[0] <= dense[0] and shape[1] <= dense[1], key, shape, f"the dense layer has {dense}")
    _require(shape[0] % (3 * layer.head_width) == 0, key, shape, f"a head is 3 times {layer.head_width} rows")
    _reshape(layer, "in_proj_weight", shape)
    if layer.in_proj_bias is not None:
        _reshape(layer, "in_proj_bias", shape[:1])


def _fit_parameters(layer: nn.Module, prefix: str, state: Mapping[str, Tensor]) -> bool:
    """Parameters of a module that is none of the layers above; whether one of them shrank."""
    shrank = False
    for name, parameter in list(layer._parameters.items()):
        key = f"{prefix}{name}"
        if parameter is None or key not in state or state[key].shape == parameter.shape:
            continue
        shape, dense = _shape(state, key, parameter.dim()), tuple(parameter.shape)
        _require(all(n <= most for n, most in zip(shape, dense, strict=True)), key, shape, f"the network has {dense}")
        _reshape(layer, name, shape)
        shrank = True
    return shrank


def _reshape(layer: nn.Module, key: str, shape: tuple[int, ...]) -> None:
    """Put a tensor without numbers in place, for the strict loading to compare with and to replace."""
    old = getattr(layer, key)
    empty = torch.empty(shape, dtype=old.dtype, device="meta")
    if isinstance(old, nn.Parameter):
        setattr(layer, key, nn.Parameter(empty, requires_grad=old.requires_grad))
    else:
        setattr(layer, key, empty)


def _refuse_meta(model: nn.Module, where: str) -> None:
    """Tensors outside the state dict stay without numbers when a skeleton is filled."""
    loose = [
        f"{name}.{key}".lstrip(".")
        for name, module in model.named_modules()
        for key, value in {**vars(module), **module._buffers, **module._parameters}.items()
        if isinstance(value, Tensor) and value.is_meta
    ]
    if loose:
        raise FairpruneError(f"the architecture has tensors that no checkpoint holds: {loose[0]}", where=where)


@torch.no_grad()
def _try_forward(model: nn.Module, shape: ImageShape | None) -> None:
    """Widths of neighbouring layers are not in the tensors' names: only a forward pass shows they agree."""
    first = next((layer for layer in model.modules() if isinstance(layer, nn.Conv2d)), None)
    channels = first.in_channels if first else 3
    squares = dict.fromkeys((getattr(model, "image_size", 64), 64, 224))
    failure = ""
    for images in ([] if shape is None else [shape]) + [ImageShape.sized(channels, side) for side in squares]:
        try:
            with evaluating(model):
                model(torch.zeros(1, *images.dimensions))
            failure = ""
            break
        except (RuntimeError, AssertionError, ValueError, IndexError) as error:
            failure = failure or str(error).splitlines()[0]
    if failure:
        raise FairpruneError(f"the widths of the layers do not fit together: {failure}", hint=_HINT)
