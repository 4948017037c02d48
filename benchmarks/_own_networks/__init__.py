"""Small networks in the manner of people's own code, by kind: what the scan stands on beside the published ones.

They are not tidied up: numbers in the forward, modules in odd order, tricks; that is what they are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, int, int]

SMALL: tuple[Shape, ...] = ((3, 32, 32), (3, 64, 64))
FIXED_32: tuple[Shape, ...] = ((3, 32, 32),)
FIXED_64: tuple[Shape, ...] = ((3, 64, 64),)


@dataclass(frozen=True)
class Network:
    """One of them.

    Attributes:
        factory: what `--arch` is given when this folder's parent can be imported from.
        shapes: of an image, one where it takes one only.
        channel: whether half of its parameters can go by channels; else it loses less, or is refused.
        refused: part of the message with which it is refused by every granularity; "" where it is not.
        manifest: keys that tell which of the outputs are meant.
    """

    factory: str
    shapes: tuple[Shape, ...] = SMALL
    channel: bool = True
    refused: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)


# Whose channels cannot be halved, because the code has widths in it or mixes channels in ways that are not followed.
WHOLE = {
    "activations.MaxFeatureMap", "forms.ReadsValues", "reshapes.FourierMixing", "shared.FrozenNorms",
    "transformers.EinsumAttention", "transformers.EncoderNet", "transformers.MLPMixer",
    "transformers.PatchesByReshape", "transformers.ScaledDotProduct", "transformers.WindowAttention",
}  # fmt: skip


# What no manifest can say, with a part of the message.
REFUSED = {"forms.FiveChannels": "one number (grey) or three numbers"}


def _of(module: str, *names: str, shapes: tuple[Shape, ...] = SMALL, **manifest: Any) -> dict[str, Network]:
    found = {}
    for name in (f"{module}.{name}" for name in names):
        factory = f"_own_networks.{module}:{name.removeprefix(f'{module}.')}"
        found[name] = Network(factory, shapes, name not in WHOLE, REFUSED.get(name, ""), manifest)
    return found


NETWORKS: dict[str, Network] = {
    **_of("norms", "BatchNormHead", "FaceEmbedding", "GroupNormNet", "group_norm_of_one", "InstanceNormNet"),
    **_of("norms", "TinyConvNeXt", "WrittenOutNorm", "sync_batch_norm", "FilterResponse", "BatchNormFirst"),
    **_of("norms", "LocalResponse"),
    **_of("activations", "PReLUNet", "MaxFeatureMap", "MaxFeatureMapPlain", "every_activation", "InlineActivations"),
    **_of("activations", "ConcatReLU", "GatedLinear", "LearnedScale"),
    **_of("pooling", "GeneralisedMean", "AverageAndMax", "StatisticsPooling", "PyramidPooling", "Padded"),
    **_of("pooling", "OtherPools", "MaxOverPlaces", "SoftAttentionPool", "Unpooled", "AllConvolutional"),
    **_of("pooling", "LeNet", "LeNetView", shapes=FIXED_64),
    **_of("skips", "CifarResNet", shapes=FIXED_32),
    **_of("skips", "ShortcutA", "DenseNet", "UNetClassifier", "FeaturePyramid", "Inception", "StochasticDepth"),
    **_of("skips", "DropPathByMask", "Checkpointed", "CheckpointedInTraining", "Reversible", "MultiScaleInput"),
    **_of("gates", "squeeze_excite", "squeeze_excite_conv", "cbam", "eca", "simam", "coordinate_attention"),
    **_of("gates", "selective_kernel", "global_context", "spatial_gate", "non_local", "sagan"),
    **_of("convolutions", "InvertedResidual", "DepthMultiplier", "ResNeXt", "ShuffleNet", "GroupedShuffle", "Res2Net"),
    **_of("convolutions", "GhostNet", "Transposed", "PixelShuffled", "Focus", "Asymmetric", "RepVGG"),
    **_of("convolutions", "FunctionalConv", "StandardisedWeights", "Conv1dOverRows", "VGG"),
    **_of("transformers", "SmallViT", "MLPMixer", shapes=FIXED_64),
    **_of("transformers", "PatchesByReshape", "EinsumAttention", "ScaledDotProduct", "MultiheadBatchFirst"),
    **_of("transformers", "MultiheadSequenceFirst", "MultiheadWeights", "MultiheadCross", "MultiheadMasked"),
    **_of("transformers", "MultiheadOtherWidths", "EncoderNet", "EncoderPreNorm", "DecoderQueries", "conv_mixer"),
    **_of("transformers", "WindowAttention", "PoolFormer"),
    **_of("reshapes", "ViewNumbers", "FlattenForms", "BilinearCNN", "RecurrentRows", "GatedRecurrence", "CapsuleLike"),
    **_of("reshapes", "SpaceToBatch", "UnfoldedPatches", "FourierMixing"),
    **_of("shared", "TiedConvolutions", "TiedAutoencoder", "Recurrent", "RecurrentUnpadded", "TwoNames"),
    **_of("shared", "FrozenTrunk", "FrozenNorms", "WeightNormed", "OldWeightNorm", "SpectralNormed"),
    **_of("shared", "OldSpectralNorm", "OwnParametrization", "SharedTrunkTwice", "TiedEmbedding"),
    **_of("buffers", "ChannelBuffer", "FrozenBatchNorm", "TorchvisionFrozenNorm", "NormalisesInside"),
    **_of("buffers", "NormalisesWithConstants", "BlurPool", "BlurExpanded", "RunningCentre", "ChannelIndex"),
    **_of("outputs", "FairFaceLike", outputs=[7, 8]),
    **_of("outputs", "FortyScores", "FortyHeads", outputs=[31]),
    **_of("outputs", "OneScore", "OneSigmoid", "LogSoftmaxInside", "SoftmaxModule", "SpatialOutput", "CosineHead"),
    **_of("outputs", "ArcMargin", "Prototypes", "TransposedHead", "HeadFirst", "OrdinalHead", "SlicedHead"),
    **_of("outputs", "Ensemble", "MixtureOfExperts", "AuxiliaryInTraining", "DistilledHeads"),
    **_of("outputs", "DictOutput", "NamedTupleOutput", "DataclassOutput", output="logits"),
    **_of("outputs", "TupleOutput", output=0),
    **_of("outputs", "ListOfTasks", output=1),
    **_of("outputs", "NamedHeads", output="gender"),
    **_of("forms", "DefaultFlag", "StarArguments", "lambdas", "OddOrder", "NamedBlocks", "ReadsShape", "ReadsValues"),
    **_of("forms", "HalfInside", "InPlace", "Masked", "CustomFunction", "Scripted", "GreyFromColour", "Spatial"),
    **_of("forms", "Coordinates", "TorchvisionInside", "TorchvisionChildren", "Extracted", "Hooked", "FeatureNoise"),
    **_of("forms", "LowRank"),
    **_of("forms", "LazyHead", "lazy_initialised", shapes=FIXED_32),
    **_of("forms", "GreyImages", shapes=((1, 32, 32), (1, 48, 48))),
    **_of("forms", "WideImages", shapes=((3, 48, 96),)),
    **_of("forms", "FiveChannels", shapes=((5, 32, 48), (5, 40, 40))),
}
