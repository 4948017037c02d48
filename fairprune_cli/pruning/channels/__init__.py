"""Which channels of which tensors go together: a walk over the network's operations that passes channels on."""

from __future__ import annotations

from fairprune_cli.pruning.channels.spaces import FROZEN, OUTPUTS, ChannelSpace, Coupling, Slot
from fairprune_cli.pruning.channels.walk import WalkFailed, coupling

__all__ = ["FROZEN", "OUTPUTS", "ChannelSpace", "Coupling", "Slot", "WalkFailed", "coupling"]
