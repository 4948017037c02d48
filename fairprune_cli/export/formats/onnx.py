"""A graph for ONNX Runtime and other engines; any batch size, float32; needs the extra `onnx`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fairprune_cli.core.errors import FairpruneError, said_by
from fairprune_cli.export.quiet import silence

if TYPE_CHECKING:
    from torch import Tensor

    from fairprune_cli.export.job import ExportJob

SUFFIX = ".onnx"
TOLERANCE = 1e-4
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def write(job: ExportJob, path: Path) -> None:
    """Trace the model: input `images` [batch, C, H, W], output `logits` [batch, K], the batch free.

    Where the network gives several tensors, there are as many outputs, named by their keys or `output0`, `output1`.
    The header is in the model's metadata under `fairprune.<key>`, the input transform included.

    Raises:
        FairpruneError: the extra is not installed, or the exporter cannot trace the model.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise FairpruneError(f"export to onnx needs {', '.join(missing)}", hint=f"pip install {' '.join(missing)}")
    import torch

    from fairprune_cli.export.job import refuse_fixed_batch

    try:
        with silence(), torch.no_grad():
            program = torch.onnx.export(
                job.traced,
                (job.images(2),),
                dynamo=True,
                input_names=["images"],
                output_names=job.outputs,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                verbose=False,
            )
    except Exception as error:  # the exporter has many exceptions
        raise FairpruneError(f"onnx cannot express {job.header.architecture}: {said_by(error)}") from error
    if program is None:
        raise FairpruneError("the onnx exporter gave no graph")
    shape = program.model.graph.inputs[0].shape
    refuse_fixed_batch(job.header.architecture, None if shape is None else shape[0])
    for key, value in job.header.to_metadata().items():
        program.model.metadata_props[f"fairprune.{key}"] = value
    program.save(str(path), external_data=False)


def reload(job: ExportJob, path: Path) -> Callable[[Tensor], Tensor | list[Tensor]]:
    """The file run by ONNX Runtime on the CPU, as a function of images [B, C, H, W]; several outputs in a list."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    names = job.outputs

    def run(images: Tensor) -> Tensor | list[Tensor]:
        given = [torch.from_numpy(found) for found in session.run(names, {"images": images.numpy()})]
        return given[0] if len(given) == 1 else given

    return run
