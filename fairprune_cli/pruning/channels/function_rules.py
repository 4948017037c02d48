"""What functions and methods do to channels. One that is not known keeps all channels that enter it from removal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fairprune_cli.pruning.channels import layer_rules, norm_rules, part_rules, product_rules, shape_rules
from fairprune_cli.pruning.channels.calls import (
    Call,
    Operand,
    Result,
    Weight,
    along,
    both_silent,
    operands_in,
    unsilenced,
)
from fairprune_cli.pruning.channels.marks import Ints, Marks, collapse

KEEP_ZERO = (
    "relu", "relu6", "leaky_relu", "rrelu", "hardswish", "silu", "gelu", "elu", "celu", "selu", "mish", "tanh",
    "tanhshrink", "softsign", "hardshrink", "softshrink", "sign", "sgn", "sin", "asin", "atan", "sinh", "tan", "erf",
    "expm1", "log1p", "sqrt", "square", "abs", "absolute", "neg", "negative", "positive", "floor", "ceil", "round",
    "trunc", "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout",
    "feature_alpha_dropout",
    "contiguous", "clone", "detach", "data", "to", "float", "half", "double", "bfloat16", "type", "type_as", "cpu",
    "cuda", "requires_grad", "nan_to_num", "zeros_like", "real", "alias", "lift_fresh", "identity",
)  # fmt: skip
LOSE_ZERO = (
    "sigmoid", "hardsigmoid", "logsigmoid", "softplus", "exp", "exp2", "cos", "cosh", "acos", "log", "log2", "log10",
    "rsqrt", "reciprocal", "erfc", "logit", "threshold", "ones_like", "full_like", "rand_like", "randn_like",
    "empty_like", "logical_not", "bitwise_not", "invert", "isnan", "isinf", "isfinite", "bool", "int", "long",
    "bernoulli",
)  # fmt: skip
POOLS = tuple(
    f"{kind}_pool{n}d{more}"
    for n in (1, 2, 3)
    for kind, more in (
        ("avg", ""), ("max", ""), ("lp", ""), ("adaptive_avg", ""), ("adaptive_max", ""), ("max", "_with_indices"),
        ("adaptive_max", "_with_indices"), ("fractional_max", ""), ("fractional_max", "_with_indices"),
    )
)  # fmt: skip
ALIKE = ("zeros", "ones", "full", "empty", "rand", "randn")
RESIZES = ("interpolate", "upsample", "upsample_nearest", "upsample_bilinear", "grid_sample")
ADD = ("add", "iadd", "radd", "sub", "isub", "rsub", "subtract", "maximum", "minimum", "fmax", "fmin")
MULTIPLY = ("mul", "imul", "rmul", "multiply")
DIVIDE = ("div", "idiv", "itruediv", "truediv", "divide", "floordiv", "floor_divide")
COMPARE = (
    "eq", "ne", "lt", "le", "gt", "ge", "greater", "less", "greater_equal", "less_equal", "where", "masked_fill",
    "pow", "ipow", "rpow", "rdiv", "rtruediv", "atan2", "logical_and", "logical_or", "and", "or", "xor", "logaddexp",
    "lerp", "addcmul", "addcdiv", "fmod", "remainder", "mod", "hypot", "heaviside", "isclose",
)  # fmt: skip
REDUCE = {
    "mean": True, "sum": True, "nansum": True, "amax": True, "amin": True, "max": True, "min": True, "std": True,
    "var": True, "prod": True, "norm": True, "vector_norm": True, "median": True, "logsumexp": False, "any": True,
    "all": True, "std_mean": True, "var_mean": True, "mode": True,
}  # fmt: skip
ALONG = {
    "softmax": False, "log_softmax": False, "softmin": False, "cumsum": True, "cumprod": True, "sort": True,
    "argsort": False, "logcumsumexp": False, "gumbel_softmax": False, "topk": True,
}  # fmt: skip


def marks_after(call: Call) -> Result:
    """Marks of what a call gives."""
    rule = RULES.get(call.name)
    if rule is None or call.kwargs.get("out") is not None:
        return call.unknown()
    return rule(call)


def _keep(call: Call) -> Result:
    call.numbers(call.args[1:])
    return (
        call.first.marks if all(operand is call.argument(0, "input") for operand in _others(call)) else call.unknown()
    )


def _others(call: Call) -> list[Operand | Weight]:
    """Operands that are more than a constant to look at, such as the type of another value."""
    found = operands_in((call.args, call.kwargs))
    return found[:1] if call.name in ("type_as", "to") else found


def _lose(call: Call) -> Result:
    found = _keep(call)
    return unsilenced(found) if isinstance(found, Marks) else None


def _clamped(call: Call) -> Result:
    """Zero stays where it lies between the bounds."""
    low, high = call.argument(1, "min", call.kwargs.get("min_val")), call.argument(2, "max", call.kwargs.get("max_val"))
    if call.name == "hardtanh":
        low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
    if call.name in ("clamp_min", "clamp_max"):
        low, high = (low, None) if call.name == "clamp_min" else (None, call.argument(1, "max"))
    bounds = [bound for bound in (low, high) if bound is not None]
    if not all(isinstance(bound, int | float) for bound in bounds):
        return call.unknown()
    inside = (low is None or low <= 0) and (high is None or high >= 0)
    return call.first.marks if inside else unsilenced(call.first.marks)


def _per_channel(call: Call, dims: int) -> Result:
    """Pooling and the like work on each channel by itself, in the last dimensions."""
    first = call.first
    call.numbers((call.args[1:], call.kwargs))
    others = [other for other in operands_in((call.args[1:], call.kwargs)) if call.value(other).marks is not None]
    if others:
        return call.unknown()
    if first.marks is not None and any(size > 1 for size in first.marks.ids.shape[-dims:]):
        return call.refuse("it pools over channels")
    return [first.marks, unsilenced(first.marks)] if len(call.shapes) > 1 else first.marks


def _pool(call: Call) -> Result:
    return _per_channel(call, int(call.name[call.name.index("d", call.name.index("pool")) - 1]))


def _resize(call: Call) -> Result:
    return _per_channel(call, len(call.first.shape) - 2)


def reduced_axes(call: Call) -> Any:
    """The axes that a reduction goes over, a list of them where the code names one."""
    dims = call.argument(2 if call.name in ("norm", "vector_norm") else 1, "dim", call.kwargs.get("axis"))
    return [dims] if isinstance(dims, int) and not isinstance(dims, bool) else dims


def _reduce(call: Call) -> Result:
    """Over places only. Of max and min also the form of two values, and the position beside the result."""
    first, marks, dims = call.first, call.first.marks, reduced_axes(call)
    if call.name in ("max", "min", "amax", "amin") and isinstance(dims, Operand | Weight):
        return _elementwise(call)
    if marks is None:
        return call.numbers(dims)
    if not dims or not all(isinstance(d, int) for d in dims) or any(marks.ids.shape[d] > 1 for d in dims):
        word = "averages" if call.name == "mean" else f"takes the {call.name}"
        return call.refuse(f"it {word} over channels")
    found = marks if REDUCE[call.name] else unsilenced(marks)
    if found is not None and len(call.shape) != len(first.shape):
        gone = tuple(d % len(first.shape) for d in dims)
        found = found.map(lambda part: part.squeeze(gone))
    return [found, *[unsilenced(found)] * (len(call.shapes) - 1)] if len(call.shapes) > 1 else found


def _places(call: Call) -> Result:
    """Functions along one axis, which must not be that of the channels."""
    marks = call.first.marks
    dim = call.argument(
        2 if call.name == "topk" else 1, "dim", -1 if call.name in ("sort", "argsort", "topk") else None
    )
    if marks is None:
        return call.numbers((call.args, call.kwargs))
    if not isinstance(dim, int) or marks.ids.shape[dim] > 1 or not marks.axes:
        return call.refuse(f"{call.name} mixes channels")
    found = marks if ALONG[call.name] else unsilenced(marks)
    return [found, unsilenced(found)] if len(call.shapes) > 1 else found


def _numbered(call: Call) -> Result:
    """New values of a given size are not the image's; where they are alike there can be as many as channels."""
    sizes: Any = call.args[1 if call.name.startswith("new_") else 0 :] or (call.kwargs.get("size", ()),)
    sizes = sizes[0] if isinstance(sizes[0], tuple | list) else sizes
    if call.name.removeprefix("new_") in ALIKE and len(sizes) == len(call.shape):
        return shape_rules.as_many(call, sizes)
    return call.numbers((call.args, call.kwargs))


def _elementwise(call: Call) -> Result:
    """Channels that meet go together."""
    given = (*call.args, *(value for key, value in call.kwargs.items() if key not in ("alpha", "rounding_mode")))
    if call.name == "where" and len(given) == 1:
        return call.unknown()
    call.numbers(given)
    pairs = list(zip(given, call.values(given), strict=True))
    operands = [operand for _, operand in pairs if operand is not None]
    marked = _many(call, operands)
    if not marked:
        return None
    lifted = [_lifted(operand.marks, len(call.shape)) for operand in marked]
    if len({tuple(marks.axes) for marks in lifted}) > 1:
        for marks in lifted:
            call.ledger.fix(marks.ids, f"{call.where}: it meets channels along another axis")
        return None
    ids, sources = lifted[0].ids, lifted[0].sources
    for more in lifted[1:]:
        call.ledger.tie(ids, more.ids)
        ids = np.where(ids > 0, ids, more.ids)
        sources = _merged(call, sources, more.sources)
    for operand in operands:
        # A value without channels must not have a size of its own where there are channels.
        size = (1,) * (len(call.shape) - len(operand.shape)) + operand.shape
        if operand not in marked and any(size[axis] > 1 for axis, n in enumerate(ids.shape) if n > 1):
            call.ledger.fix(ids, f"{call.where}: it meets a value that cannot shrink")
            return None
    constant = any(operand not in marked if operand is not None else not _zero(value) for value, operand in pairs)
    lost = call.name in COMPARE and not _keeps_zero(call, marked)
    lost |= call.name in (*ADD, "max", "min") and constant
    lost |= call.name in DIVIDE and pairs[0][1] not in marked
    return collapse(ids, np.zeros_like(sources) if lost else sources)


def _many(call: Call, operands: list[Operand]) -> list[Operand]:
    """Operands with channels. One channel that meets many stands for itself, not for each of them."""
    marked = [operand for operand in operands if operand.marks is not None]
    many = max((operand.marks.ids.size for operand in marked if operand.marks is not None), default=0)
    for operand in list(marked):
        if operand.marks is not None and operand.marks.ids.size == 1 < many:
            call.ledger.fix(operand.marks.ids, f"{call.where}: it meets many channels")
            marked.remove(operand)
    return marked


def _zero(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and value == 0)


def _keeps_zero(call: Call, marked: list[Operand]) -> bool:
    """Powers above zero, and filling with zero what a constant mask says."""
    if call.name in ("pow", "ipow"):
        power = call.argument(1, "exponent")
        return isinstance(power, int | float) and power > 0
    return call.name == "masked_fill" and len(marked) == 1 and _zero(call.argument(2, "value"))


def _merged(call: Call, one: Ints, other: Ints) -> Ints:
    """A sum is silent when both parts are, a product when either is."""
    if call.name in MULTIPLY or call.name in DIVIDE:
        return np.where(one > 0, one, other) if call.name in MULTIPLY else one
    return both_silent(call.ledger, one, other)


def _lifted(marks: Marks | None, rank: int) -> Marks:
    """Marks with axes of size 1 in front, as broadcasting does."""
    assert marks is not None
    shape = (1,) * (rank - marks.ids.ndim) + marks.ids.shape
    return Marks(marks.ids.reshape(shape), marks.sources.reshape(shape))


def _normalized(call: Call) -> Result:
    """F.normalize: over channels, where zeros add nothing to the length, or over places."""
    first, dim = call.first, call.argument(2, "dim", 1)
    marks = first.marks
    if marks is None:
        return None
    if not isinstance(dim, int):
        return call.unknown()
    if marks.ids.shape[dim] > 1:
        found = along(call, first, dim, "does not see it as channels")
        if found is not None:
            call.ledger.read(*found)
    elif not marks.axes:
        return call.unknown()
    return marks


def _rules() -> Mapping[str, Callable[[Call], Result]]:
    return {
        **dict.fromkeys(KEEP_ZERO, _keep), **dict.fromkeys(LOSE_ZERO, _lose), **dict.fromkeys(POOLS, _pool),
        **dict.fromkeys(RESIZES, _resize), **dict.fromkeys((*ADD, *MULTIPLY, *DIVIDE, *COMPARE), _elementwise),
        **dict.fromkeys(REDUCE, _reduce), **dict.fromkeys(ALONG, _places),
        **dict.fromkeys(("clamp", "clip", "clamp_min", "clamp_max", "hardtanh"), _clamped),
        **dict.fromkeys(("zeros", "ones", "full", "empty", "rand", "randn", "arange", "linspace", "eye", "new_zeros",
                         "new_ones", "new_full", "new_empty", "tensor", "as_tensor", "new_tensor", "scalar_tensor"),
                        _numbered),
        "normalize": _normalized, **shape_rules.RULES, **part_rules.RULES, **layer_rules.RULES, **norm_rules.RULES,
        **product_rules.RULES,
    }  # fmt: skip


RULES = _rules()
