"""A model that is shipped as a graph, loaded like any other: with class names and input transform, if it has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from fairprune_cli.core.files import sha256_file
from fairprune_cli.models.checkpoint.load import LoadedModel
from fairprune_cli.models.checkpoint.torch_file import reading
from fairprune_cli.models.file.header import FORMAT, ModelHeader
from fairprune_cli.models.graphs import onnx_file, pt2_file
from fairprune_cli.models.graphs.network import GraphNetwork


def is_graph(path: Path) -> bool:
    """Whether a file is a graph: in ONNX, by its suffix, or a program of torch.export, by what it holds."""
    return path.is_file() and (path.suffix.lower() == onnx_file.SUFFIX or pt2_file.is_program(path))


def load_graph(path: Path, device: torch.device) -> LoadedModel:
    """The model of a graph.

    Args:
        device: that it is going to be run on, for ONNX Runtime.

    Raises:
        FairpruneError: damaged, or it needs what there is not.
    """
    network: GraphNetwork
    if path.suffix.lower() == onnx_file.SUFFIX:
        onnx = onnx_file.OnnxNetwork(path, device)
        prefix = f"{FORMAT}."
        told = {k.removeprefix(prefix): text for k, text in onnx.metadata.items() if k.startswith(prefix)}
        network, digest, kind = onnx, onnx_file.sha256_of(path, onnx.external), "ONNX graph"
    else:
        with reading(path):
            network, told = pt2_file.read_program(path)
            digest, kind = sha256_file(path), "torch.export program"
    return _described(network, path, digest, kind, told)


def _described(network: GraphNetwork, path: Path, digest: str, kind: str, told: Mapping[str, str]) -> LoadedModel:
    loaded = LoadedModel(network.eval(), kind, 0, path, digest)
    if told.get("format") != FORMAT:
        return loaded
    header = ModelHeader.from_metadata(told, str(path))
    loaded.architecture, loaded.classes = header.architecture, header.built_for
    loaded.metadata = asdict(header)
    loaded.class_names = header.classes
    loaded.transform = dict(header.transform) or None
    return loaded


def file_bytes(loaded: LoadedModel) -> int:
    """Bytes of the file, with those of the weights that lie beside it."""
    beside = loaded.model.external if isinstance(loaded.model, onnx_file.OnnxNetwork) else ()
    return sum(path.stat().st_size for path in (loaded.source, *beside))
