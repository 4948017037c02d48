"""What is put around a network to spread, compile or average it: not part of the network, whichever way it is met."""

from __future__ import annotations

from collections.abc import Sized

COMPILED = "OptimizedModule"  # of torch.compile
WRAPPERS = frozenset((
    "DataParallel", "DistributedDataParallel", COMPILED, "FullyShardedDataParallel", "CheckpointWrapper",
    "AveragedModel",
))  # fmt: skip
"""Their classes, all of them torch's own."""

INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put anywhere into a tensor's name."""


def is_wrapper(kind: str, children: Sized) -> bool:
    """Whether a module of this class, with these submodules, is one around its only submodule."""
    return kind in WRAPPERS and len(children) == 1
