"""What is asked of torch's kernels."""

from __future__ import annotations

from collections import Counter
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from fairprune_cli.models.strided_convolutions import SAFE_CHANNELS

# They give another view of the same memory, and start no kernel.
VIEWS = {
    "view", "detach", "t", "expand", "permute", "transpose", "slice", "select", "unsqueeze", "squeeze", "_unsafe_view",
    "alias", "as_strided", "split", "split_with_sizes", "_reshape_alias", "unbind",
}  # fmt: skip
# The host waits until a device has done all that was asked of it before.
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "equal", "is_nonzero"}


class Operations(TorchDispatchMode):
    """A block whose operations are counted by name, without those that only look at memory in another way."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).split(".")[1]
        indexed_by_truth = name.startswith("index") and any(
            one is not None and getattr(one, "dtype", None) is not None and str(one.dtype) == "torch.bool"
            for one in (args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ())
        )
        if name not in VIEWS:
            self.counts["nonzero" if indexed_by_truth else name] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def waits(self) -> int:
        """How often a device would have been waited for."""
        return sum(self.counts[name] for name in WAITING)


class NarrowStrides(TorchDispatchMode):
    """A block in which gradients of narrow strided 1x1 convolutions are listed as they reach a kernel.

    Attributes:
        narrow: channels and strides of each.
        seen: how many gradients of convolutions there were, of any kind.
    """

    def __init__(self) -> None:
        super().__init__()
        self.narrow: list[tuple[int, list[int]]] = []
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "convolution_backward" in str(func):
            weight, stride = args[2], args[4]
            self.seen += 1
            if tuple(weight.shape[2:]) == (1, 1) and max(stride) > 1 and weight.shape[1] < SAFE_CHANNELS:
                self.narrow.append((weight.shape[1], list(stride)))
        return func(*args, **(kwargs or {}))
