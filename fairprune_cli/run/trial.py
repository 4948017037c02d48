"""The trial before any training: what is to be written is written, read back, and held against what is in memory.

Nothing is trained that cannot be saved: layers that only the writer can shrink, a factory that builds something else
each time, or a forward with a width in it show here, in seconds.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import temporary_folder
from fairprune_cli.models.file import codec
from fairprune_cli.models.file.rounding import rounded
from fairprune_cli.models.read_out import detach
from fairprune_cli.models.sameness import same_network
from fairprune_cli.pruning.channels.removal import take
from fairprune_cli.run.prepare import Prepared
from fairprune_cli.run.save import write_model

OTHER_SIZE = 32  # pixels by which the second size of images is larger


def try_out(run: Prepared) -> None:
    """Prune a copy without training, write it, read it back, and compare both on images of two sizes.

    Of channels every second one goes, whatever the target is, so that every layer that may shrink has shrunk; of
    single weights those that the target says.

    Raises:
        FairpruneError: what was read back is not what was written; the layer in which it shows is named.
    """
    pruned, sparse = _pruned(run)
    with temporary_folder() as folder:
        path = folder / "model.safetensors"
        try:
            write_model(run, path, pruned, sparse)
            stored = codec.load_network(path, run.loaded.structure).float().to(run.device)
        except FairpruneError as error:
            raise FairpruneError(
                f"the pruned network could not be written and read back: {error.what}",
                where=str(run.loaded.source), hint=error.hint or _hint(run), code=error.code,
            ) from error  # fmt: skip
    for images in _images(run):
        if found := same_network(pruned, stored, images):
            raise FairpruneError(
                f"the pruned network that was read back is not the one that was written: {found}",
                where=str(run.loaded.source), hint=_hint(run),
            )  # fmt: skip


@torch.no_grad()
def _pruned(run: Prepared) -> tuple[nn.Module, dict[str, Tensor]]:
    """A pruned copy with its weights as the file will hold them, and what is stored sparse of it."""
    pruned = copy.deepcopy(run.dense)
    detach(pruned)  # the file holds the network as it is, whatever is read out of it
    keep = _chosen(run)
    gone = run.masks.remove(pruned, keep)
    sparse = {name: take(mask, gone.get(name, {})) for name, mask in run.masks.sparse_entries(keep).items()}
    tensors = dict(pruned.named_parameters())
    for name, mask in sparse.items():
        tensors[name].mul_(mask)
    own = pruned.state_dict()
    for name, tensor in rounded(own, run.settings.store, run.loaded.dtypes).items():
        own[name].copy_(tensor)
    return pruned, sparse


def _chosen(run: Prepared) -> Tensor:
    if run.settings.granularity == "channel":
        return torch.cat([torch.arange(size) % 2 == 0 for size in run.masks.sizes]).to(run.device)
    return run.masks.select(run.masks.magnitude(), run.settings.sparsity)


def _images(run: Prepared) -> list[Tensor]:
    """Two batches of random images: of the run's size, and of a larger one where the dense network takes such."""
    generator = torch.Generator().manual_seed(0)
    shape = run.transform.shape
    larger = replace(shape, height=shape.height + OTHER_SIZE, width=shape.width + OTHER_SIZE)
    found = [torch.randn((2, *s.dimensions), generator=generator).to(run.device) for s in (shape, larger)]
    try:
        with torch.no_grad():
            run.dense(found[1])
    except Exception:  # a network of one size may say so in any way
        return found[:1]
    return found


def _hint(run: Prepared) -> str:
    if run.settings.granularity == "channel":
        return "use --granularity weight, or have the network's code build all that it computes with from its tensors"
    return "have --arch build the same network each time, with all that it computes with among its tensors"
