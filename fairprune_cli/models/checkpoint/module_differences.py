"""How a network that was pickled whole differs from the architecture that its tensors fit.

Names and shapes do not say what is computed: a stride, an activation or a pooling layer may have been replaced. What
a pickle records of each module, its class and its settings, does. Three kinds are told apart: what surely changes the
outputs; code of classes that are not known, which may; and what matters in training alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fairprune_cli.models.checkpoint.module_tree import ModuleNode
from fairprune_cli.models.checkpoint.wrappers import is_wrapper

_KNOWN = ("torch.", "torchvision.", "timm.", "fairprune_cli.")
# In evaluation each of them gives what it is given.
_NOTHING = frozenset((
    "Identity", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout",
    "StochasticDepth", "DropPath",
))  # fmt: skip
# Behind the scores, where they leave the order of these as it is.
_AFTER_SCORES = frozenset(("Softmax", "LogSoftmax", "Sigmoid"))
_CONTAINERS = frozenset(("ModuleList", "ModuleDict"))
# Classes that compute the same from the same tensors, in evaluation.
_ALIKE = {
    "SyncBatchNorm": "BatchNorm2d", "AnyRankBatchNorm": "BatchNorm2d", "FrozenBatchNorm2d": "BatchNorm2d",
    "NonDynamicallyQuantizableLinear": "Linear", "SelfAttention": "MultiheadAttention",
    "ConvBNReLU": "Conv2dNormActivation",
    "ConvBNActivation": "Conv2dNormActivation", "ConvNormActivation": "Conv2dNormActivation",
}  # fmt: skip
# What the tensors' shapes say already, and what has no effect on what is computed.
_SKIPPED = frozenset((
    "training", "inplace", "in_channels", "out_channels", "num_features", "in_features", "out_features", "embed_dim",
    "normalized_shape", "kdim", "vdim", "num_parameters", "num_classes", "aux_logits", "return_indices",
    "fused_attn", "call_super_init", "dump_patches",
))  # fmt: skip
# Arguments from which a module of several parts was built.
_BUILT_FROM = frozenset(("inplanes", "base_width", "groups", "dilation", "stride", "hidden_dim", "mlp_dim", "channels"))
# Heads that are called in training mode alone.
_AUXILIARY = frozenset(("InceptionAux",))
_USES_STRIDE = frozenset(("InvertedResidual",))


@dataclass
class ModuleDifferences:
    """In words, "there" being the architecture and "here" the pickled network.

    Attributes:
        changed: what gives other outputs.
        unknown: what may, because its code is not known.
        training: what has an effect in training alone.
    """

    changed: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    training: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changed or self.unknown)


def module_differences(given: ModuleNode, built: ModuleNode) -> ModuleDifferences:
    """Compare a network module by module.

    Args:
        given: what was pickled, from the module on that holds the architecture's own tensors.
        built: the architecture.
    """
    found = ModuleDifferences()
    waiting = [("", given, built)]
    while waiting:
        path, one, other = waiting.pop()
        one = _unwrapped(one)
        if not other.children:
            one = _alone(one)
        label = path or "the network"
        if one.forward:
            found.changed.append(f"the forward of {label} was replaced")
        hooks = [hook for hook in one.hooks if not hook.startswith("torch.nn.utils.prune.")]
        found.unknown += [f"{label} has a hook of {hook}" for hook in hooks]
        if _compare_classes(label, one, other, found):
            _compare_settings(label, one, other, found)
            inner = _pairs(label, one, other, found)
            waiting += [(f"{path}.{name}" if path else name, a, b) for name, a, b in reversed(inner)]
    return found


def inner_module(node: ModuleNode, prefix: str) -> ModuleNode | None:
    """The module behind a prefix of names, such as `model.net.`; None where there is none."""
    current = _unwrapped(node)
    for part in prefix.split(".")[:-1]:
        if part not in current.children:
            if part == "module":  # it stood for a wrapper
                continue
            return None
        current = _unwrapped(current.children[part])
    return current


def surroundings(node: ModuleNode, prefix: str) -> ModuleDifferences:
    """What a network has around the module behind a prefix of names, which is not read where that module alone is.

    A normalisation or resizing before it has no tensors, so nothing but the record of the modules shows it.
    """
    found = ModuleDifferences()
    current = _unwrapped(node)
    path = "the network"
    for part in prefix.split(".")[:-1]:
        if part not in current.children:
            continue
        if current.forward:
            found.changed.append(f"the forward of {path} was replaced")
        found.unknown += [f"{path} has a hook of {hook}" for hook in current.hooks]
        if current.kind == "Sequential" and _known(current):
            _compare_neighbours(current, part, found)
        elif not (current.kind in _CONTAINERS and _known(current)):
            found.unknown.append(f"{path} is {current.origin}, of which {part} is taken")
        path = part if path == "the network" else f"{path}.{part}"
        current = _unwrapped(current.children[part])
    return found


def _compare_neighbours(sequence: ModuleNode, part: str, found: ModuleDifferences) -> None:
    """The other layers of a sequence of which one is taken."""
    place = "before"
    for name, child in sequence.children.items():
        layer = _unwrapped(child)
        if name == part:
            place = "after"
        elif place == "after" and layer.kind in _AFTER_SCORES and _known(layer):
            found.unknown.append(f"{layer.kind} is called after it")
        elif not _known(layer):
            found.unknown.append(f"{layer.origin} is called {place} it")
        elif layer.kind not in _NOTHING and not (place == "after" and layer.kind == "Flatten"):
            found.changed.append(f"{layer.kind} is called {place} it")


def _unwrapped(node: ModuleNode) -> ModuleNode:
    while is_wrapper(node.kind, node.children):
        (node,) = node.children.values()
    return node


def _alone(node: ModuleNode) -> ModuleNode:
    """The one layer of a sequence that computes something; the node itself where there are more or none."""
    if node.kind != "Sequential" or not _known(node) or node.forward or node.hooks:
        return node
    layers = [child for child in node.children.values() if child.kind not in _NOTHING]
    return layers[0] if len(layers) == 1 else node


def _known(node: ModuleNode) -> bool:
    return node.origin.startswith(_KNOWN)


def _kind(node: ModuleNode) -> str:
    return _ALIKE.get(node.kind, node.kind)


def _compare_classes(label: str, one: ModuleNode, other: ModuleNode, found: ModuleDifferences) -> bool:
    """Whether it is worth while to compare what is in them."""
    if {one.kind, other.kind} <= _NOTHING:
        if one.kind != other.kind:
            found.training.append(f"{label} is {other.kind} there and {one.kind} here")
            return False
        return True
    if one.origin == other.origin or (_kind(one) == _kind(other) and _known(one)):
        return True
    text = f"{label} is {other.kind} there and {one.kind if _known(one) else one.origin} here"
    if one.kind == "AvgPool2d" and other.kind == "AdaptiveAvgPool2d":
        found.unknown.append(f"{text}: the same on images of one size only")
        return False
    holds_tensors = bool(_TENSOR_SIZES & other.settings.keys())
    if other.children or (holds_tensors and not _known(one)) or one.kind == other.kind:
        found.unknown.append(text)
        return True
    found.changed.append(text)
    return False


_TENSOR_SIZES = frozenset(("in_channels", "num_features", "in_features", "normalized_shape", "embed_dim", "head_width"))


def _compare_settings(label: str, one: ModuleNode, other: ModuleNode, found: ModuleDifferences) -> None:
    settings, wanted, skipped = one.settings, other.settings, set(_SKIPPED)
    if other.kind == "SelfAttention" and one.kind == "MultiheadAttention":
        settings = {**settings, "head_width": settings.get("head_dim", wanted.get("head_width"))}
        wanted = {**wanted, "add_zero_attn": False}
    elif other.children:
        skipped |= _BUILT_FROM - ({"stride"} if other.kind in _USES_STRIDE else set())
    if settings.get("in_channels") != wanted.get("in_channels"):
        skipped.add("groups")  # of a convolution that lost channels; its tensor has the right shape
    for name, there in wanted.items():
        if name in skipped or name not in settings:
            continue
        here = settings[name]
        if _plain(name, here, settings) == _plain(name, there, wanted):
            continue
        text = f"{name} of {label} is {there} there and {here} here"
        if name == "p" or name == "momentum" or "drop" in name or (name == "mode" and other.kind in _NOTHING):
            found.training.append(text)
        elif other.children and not (_known(one) and _kind(one) == _kind(other)):
            found.unknown.append(text)
        else:
            found.changed.append(text)


def _plain(name: str, value: Any, settings: Any) -> Any:
    """(1, 1) is 1, and padding that is given in words is a number where it can be."""
    if name == "padding" and value in ("same", "valid"):
        return 0 if value == "valid" else _plain("", _same_padding(settings), settings)
    if isinstance(value, tuple) and value and all(part == value[0] for part in value):
        return value[0]
    return value


def _same_padding(settings: Any) -> Any:
    sizes, steps = settings.get("kernel_size"), settings.get("dilation", (1, 1))
    if not isinstance(sizes, tuple) or not isinstance(steps, tuple):
        return "same"
    reach = [step * (size - 1) for size, step in zip(sizes, steps, strict=False)]
    return "same" if any(n % 2 for n in reach) else tuple(n // 2 for n in reach)


def _pairs(
    label: str, one: ModuleNode, other: ModuleNode, found: ModuleDifferences
) -> list[tuple[str, ModuleNode, ModuleNode]]:
    """The submodules of both, put side by side: by place where they are called in their order, else by name."""
    if other.ordered:
        return _in_order(label, one, other, found)
    pairs = []
    for name, there in other.children.items():
        here = one.children.get(name)
        if here is not None:
            pairs.append((name, here, there))
        elif there.kind not in _NOTHING:
            found.unknown.append(f"{label} has no {name} ({there.kind})")
    for name, here in one.children.items():
        # None there, a module here: code that asks `if self.downsample is not None` calls it.
        if name not in other.children and name in other.settings and here.kind not in _NOTHING | _AUXILIARY:
            found.changed.append(f"{name} of {label} is {other.settings[name]} there and {here.kind} here")
    return pairs


def _in_order(
    label: str, one: ModuleNode, other: ModuleNode, found: ModuleDifferences
) -> list[tuple[str, ModuleNode, ModuleNode]]:
    there = [(name, node) for name, node in other.children.items() if node.kind not in _NOTHING]
    here = [(name, node) for name, node in one.children.items() if _unwrapped(node).kind not in _NOTHING]
    if len(there) != len(here):
        # A layer that computes nothing may stand for one that does: then they pair by name.
        if one.children.keys() == other.children.keys() and list(one.children) == list(other.children):
            return [(name, one.children[name], node) for name, node in other.children.items()]
        found.changed.append(f"{label} has {len(there)} layers there and {len(here)} here")
        return []
    names, others = [name for name, _ in here], [name for name, _ in there]
    if names != others and sorted(names) == sorted(others):
        found.changed.append(f"{label} calls its layers in another order: {', '.join(names[:6])} here")
        return []
    return [(name, node, counterpart) for (_, node), (name, counterpart) in zip(here, there, strict=True)]
