"""What channels that go together are: spaces of channels, and the places of each in the tensors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

OUTPUTS = "the network's outputs"
"""Why the classifier's outputs stay."""
FROZEN = "is frozen"
"""Why a layer's do whose parameters do not train, after its name."""


@dataclass(frozen=True)
class Slot:
    """The place of a space's channels in one tensor.

    Attributes:
        tensor: name of the parameter or buffer.
        dim: dimension that shrinks.
        channel: int64 [size of that dimension]; the channel of the space that each index belongs to, -1 where it
            belongs to none of this space (a concatenation gives one dimension to several). Every channel has the
            same number of indices.
    """

    tensor: str
    dim: int
    channel: Tensor


@dataclass(frozen=True)
class ChannelSpace:
    """Channels that are alike: each sits in the same tensors, and any of them can be removed by itself.

    A channel of a grouped convolution is a whole group, one of attention a head.

    Attributes:
        name: the first layer that produces them.
        size: number of channels C.
        slots: every tensor dimension that shrinks with them.
        gates: the parameters whose zeros silence a channel before it is read (scale and shift of the last norm in
            front of each reader; weight and bias of the producer where there is none; the values of a head);
            first dimension.
        filters: the parameters that produce the channels; first dimension.
        exact: closing the gates gives the same outputs as removal. False where a layer norm, or something else that
            does not keep zeros, reads the channels.
        least: channels that have to stay for the network's code to run.
    """

    name: str
    size: int
    slots: tuple[Slot, ...]
    gates: tuple[Slot, ...]
    filters: tuple[Slot, ...]
    exact: bool = True
    least: int = 1


@dataclass(frozen=True)
class Coupling:
    """All that can be removed from a network, and what cannot.

    Attributes:
        spaces: in the order of the layers that produce them.
        fixed: layers whose outputs all stay, with the reason.
    """

    spaces: list[ChannelSpace]
    fixed: dict[str, str]
