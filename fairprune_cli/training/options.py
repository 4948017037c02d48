"""Settings of training: optimiser, batches, arithmetic, distillation, and where fairness acts."""

from __future__ import annotations

from dataclasses import dataclass

from fairprune_cli.core.settings import Need, setting
from fairprune_cli.data.options import SeedOptions
from fairprune_cli.pruning.options import MaskOptions


@dataclass(frozen=True)
class DenseOptions(SeedOptions):
    """Optimiser and batches."""

    epochs: int = setting(6, "passes over the pruning data, upper steps included", low=1, high=100_000)
    batch_size: int = setting(128, "images per step, over all processes", low=2, high=65_536)
    lr: float = setting(0.1, "peak learning rate", above=0.0, high=10.0)
    momentum: float = setting(0.9, "momentum of SGD", low=0.0, below=1.0)
    weight_decay: float = setting(5e-4, "decay of weights (not of norms)", low=0.0, high=1.0)
    augment: bool = setting(True, "flips and small shifts while training")


@dataclass(frozen=True)
class TrainOptions(DenseOptions, MaskOptions):
    """Training while pruning."""

    fairness_on: str = setting(
        "both", "level whose Lagrangian has the fairness term", choices=("both", "weights", "mask", "none"),
        by_method=True,
    )  # fmt: skip
    multiplier_data: str = setting(
        "upper", "batches whose exact rates move the multipliers", choices=("upper", "lower", "both"), by_method=True,
        needs=(Need("fairness_on", ("both", "weights", "mask")),),
    )  # fmt: skip
    precision: str = setting(
        "auto", "arithmetic of the training passes, auto the faster for this processor and kind of network; weights, "
        "audit and file stay fp32", choices=("auto", "fp32", "bf16"),
        also={"float32": "fp32", "bfloat16": "bf16", "amp": "auto"},
    )  # fmt: skip
    compile: bool = setting(False, "compile the network before training; pays on GPUs and for long runs")
    clip_norm: float = setting(5.0, "largest gradient norm", above=0.0)
    balance: str = setting(
        "adaptive", "shares of label x group in a batch: as in the data, as the Lagrangian weighs them, or even",
        choices=("none", "adaptive", "even"),
    )  # fmt: skip
    distill: float = setting(
        0.0, "share of the loss that is distillation from the dense model", low=0.0, high=1.0, share=True
    )
    temperature: float = setting(2.0, "of the distillation", above=0.0, needs=(Need("distill"),))
    hold_outputs: float = setting(
        1.0, "weight with which outputs that no task uses are held to the dense model's; 0 lets them go", low=0.0,
        high=1000.0,
    )  # fmt: skip
    operating_point: str = setting(
        "method", "how scores get the classes' shares of the data where the constraint trains on others: shifted while "
        "training, by a bias fitted to upper images at the end, both, not at all, or as the method has it",
        choices=("method", "shifted", "fitted", "both", "as-trained"),
    )  # fmt: skip
    average: float = setting(0.0, "last share of the steps whose weights are averaged", low=0.0, high=1.0, share=True)

    @property
    def bf16(self) -> bool:
        """Whether passes are in bfloat16 for certain; what "auto" becomes is known with processor and network."""
        return self.precision == "bf16"
