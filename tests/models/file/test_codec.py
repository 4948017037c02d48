from __future__ import annotations

import dataclasses
import json
import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor, nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architectures
from fairprune_cli.models.file import codec, encodings
from fairprune_cli.models.file.codec import ModelHeader, load_with_header, read_masks, read_model, save_model

HEADER = ModelHeader(
    architecture="resnet10-w16",
    classes=("neutral", "smiling"),
    transform={"size": 64, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    granularity="weight",
    removed={"a": {"shape": [3, 4], "kept": 5}},
)
WIDTHS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}


def pruned(shape: tuple[int, ...], density: float, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple:
    """A tensor with zeros where its mask is False."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(shape, generator=generator) < density
    return (torch.randn(shape, generator=generator) * mask).to(dtype), mask


def bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(WIDTHS[tensor.dtype])


def without_negative_zeros(tensor: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, tensor, torch.zeros((), dtype=tensor.dtype))


def encodings_of(path: Path) -> dict[str, Any]:
    with safe_open(str(path), framework="np") as file:
        return json.loads(file.metadata()["encodings"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("codec")


@given(st.lists(st.booleans(), max_size=40) | st.integers(0, 2000).map(lambda n: [False] * n + [True]))
def test_positions_survive_both_encodings(entries: list[bool]) -> None:
    mask = np.array(entries, dtype=bool)
    kept = np.flatnonzero(mask)
    assert np.array_equal(encodings.unpack_bitmask(encodings.pack_bitmask(mask), mask.size), kept)
    gaps = encodings.pack_gaps(mask)
    assert gaps.size == encodings.gaps_bytes(mask)
    assert np.array_equal(encodings.unpack_gaps(gaps, mask.size), kept)
    assert mask.size <= 255 * gaps.size + 254


@given(st.lists(st.integers(0, 1200), max_size=6), st.integers(0, 1200))
def test_gaps_are_the_run_lengths_written_one_by_one(runs: list[int], rest: int) -> None:
    expected: list[int] = []
    for run in runs:
        while run >= 255:
            expected.append(255)
            run -= 255
        expected.append(run)
    expected += [255] * (rest // 255)
    mask = np.array([entry for run in runs for entry in [False] * run + [True]] + [False] * rest, dtype=bool)
    assert encodings.pack_gaps(mask).tolist() == expected


@given(st.lists(st.integers(0, 255), max_size=12), st.integers(0, 900))
def test_gaps_are_canonical(packed: list[int], total: int) -> None:
    data = np.array(packed, dtype=np.uint8)
    try:
        kept = encodings.unpack_gaps(data, total)
    except encodings.EncodingError:
        return
    mask = np.zeros(total, dtype=bool)
    mask[kept] = True
    assert encodings.pack_gaps(mask).tolist() == packed


@settings(max_examples=120, deadline=None)
@given(
    shape=st.lists(st.integers(0, 7), max_size=4).map(tuple),
    density=st.sampled_from([0.0, 0.01, 0.5, 0.97, 1.0]) | st.floats(0, 1),
    dtype=st.sampled_from(list(WIDTHS)),
    seed=st.integers(0, 999),
    transposed=st.booleans(),
)
def test_round_trip_is_exact_to_the_bit(
    folder: Path, shape: tuple[int, ...], density: float, dtype: torch.dtype, seed: int, transposed: bool
) -> None:
    tensor, mask = pruned(shape, density, seed, dtype)
    if transposed:
        tensor, mask = tensor.mT if tensor.ndim > 1 else tensor, mask.mT if mask.ndim > 1 else mask
    path = folder / "round.safetensors"
    save_model(path, {"a": tensor, "b": tensor.flatten().clone()}, header=HEADER, masks={"a": mask})
    state, header = read_model(path)
    assert header == HEADER
    assert state["a"].dtype == dtype
    assert torch.equal(bits(state["a"]), bits(without_negative_zeros(tensor, mask)))
    assert torch.equal(bits(state["b"]), bits(tensor.flatten()))
    assert torch.equal(read_masks(path)["a"], mask)


@pytest.mark.parametrize(
    ("density", "encoding"),
    [(1.0, "dense"), (0.98, "dense"), (0.5, "bitmask"), (0.1, "gaps"), (0.001, "gaps")],
)
def test_large_tensors_take_the_smallest_encoding(path: Path, density: float, encoding: str) -> None:
    tensor, mask = pruned((256, 128, 3, 3), density)
    save_model(path, {"a": tensor}, header=HEADER, masks={"a": mask})
    kept, total = int(mask.sum()), mask.numel()
    assert encodings_of(path)["a"] == {
        "encoding": encoding, "shape": [256, 128, 3, 3], "dtype": "F32", "kept": kept,
    }  # fmt: skip
    size = min(4 * total, 4 * kept + total / 8, 4 * kept + encodings.gaps_bytes(mask.flatten().numpy()))
    assert size <= path.stat().st_size <= size + 2000
    assert path.stat().st_size <= 1.03 * (4 * kept + total / 8) or density > 0.97


def test_the_mask_decides_and_not_the_zeros(path: Path) -> None:
    mask = torch.ones(40, dtype=torch.bool)
    mask[:3] = False
    tensor = torch.ones(40) * mask
    tensor[20] = 0.0  # kept, and zero
    tensor[21] = -0.0
    save_model(path, {"a": tensor}, header=HEADER, masks={"a": mask})
    assert torch.equal(read_masks(path)["a"], mask)
    assert torch.equal(bits(read_model(path)[0]["a"]), bits(tensor))
    everything = torch.ones(40, dtype=torch.bool)
    save_model(path, {"a": tensor}, header=HEADER, masks={"a": everything})
    assert torch.equal(read_masks(path)["a"], everything)


@pytest.mark.parametrize("density", [0.01, 0.5, 0.99])
def test_minus_zero_of_a_pruned_entry_reads_back_as_zero(path: Path, density: float) -> None:
    tensor, mask = pruned((64, 64), density)
    assert torch.signbit(tensor[~mask]).any()
    save_model(path, {"a": tensor}, header=HEADER, masks={"a": mask})
    assert not torch.signbit(read_model(path)[0]["a"][~mask]).any()


def test_channels_last_and_every_dtype(path: Path) -> None:
    tensor, mask = pruned((8, 4, 3, 3), 0.3)
    state = {
        "weight": tensor.to(memory_format=torch.channels_last),
        "flag": torch.tensor([True, False]),
        "counter": torch.tensor(7),
        "double": torch.randn(3, dtype=torch.float64),
        "byte": torch.arange(5, dtype=torch.uint8),
    }
    save_model(path, state, header=HEADER, masks={"weight": mask.to(memory_format=torch.channels_last)})
    read = read_model(path)[0]
    assert list(read) == sorted(state)
    for name, expected in state.items():
        assert read[name].dtype == expected.dtype
        assert torch.equal(read[name], expected)


def test_same_model_same_bytes(path: Path, tmp_path: Path) -> None:
    tensor, mask = pruned((20, 30), 0.4)
    other = tmp_path / "other.safetensors"
    save_model(path, {"a": tensor, "c": tensor[0], "b": tensor[:, 0]}, header=HEADER, masks={"a": mask})
    save_model(other, {"b": tensor[:, 0], "c": tensor[0], "a": tensor}, header=HEADER, masks={"a": mask})
    assert path.read_bytes() == other.read_bytes()
    size = struct.unpack("<Q", path.read_bytes()[:8])[0]
    table = json.loads(path.read_bytes()[8 : 8 + size])
    assert list(table) == ["__metadata__", "a.values", "b", "c", "a.bitmask"]
    assert list(table["__metadata__"]) == sorted(table["__metadata__"])
    assert size % 8 == 0


def test_opens_with_the_safetensors_library_alone(path: Path) -> None:
    tensor, mask = pruned((20, 30), 0.4)
    save_model(path, {"a": tensor, "half": tensor.half()}, header=HEADER, masks={"a": mask})
    with safe_open(str(path), framework="np") as file:
        assert set(file.keys()) == {"a.bitmask", "a.values", "half"}
        metadata = file.metadata()
        assert np.array_equal(file.get_tensor("a.values"), tensor[mask].numpy())
    assert metadata["format"] == "fairprune"
    assert metadata["format_version"] == "1"
    assert json.loads(metadata["classes"]) == ["neutral", "smiling"]
    assert json.loads(metadata["transform"])["size"] == 64
    assert json.loads(metadata["removed"]) == HEADER.removed
    assert set(metadata) == {
        "format", "format_version", "architecture", "classes", "transform", "granularity", "removed",
        "encodings", "tool_version",
    }  # fmt: skip


def test_a_dense_file_takes_its_masks_from_zeros(path: Path) -> None:
    tensor, mask = pruned((20, 30), 0.4)
    kept_zero = mask.clone()
    kept_zero[~mask] = torch.arange(int((~mask).sum())) == 0
    save_model(path, {"a": tensor}, header=HEADER, masks={"a": kept_zero}, dense=True)
    with safe_open(str(path), framework="np") as file:
        assert list(file.keys()) == ["a"]
    assert torch.equal(read_masks(path)["a"], mask)
    assert torch.equal(read_model(path)[0]["a"], tensor)


def test_all_faults_of_a_model_are_reported_at_once(path: Path) -> None:
    tensor, mask = pruned((4, 5), 0.5)
    state = {
        "stray": tensor + 1,
        "nan": torch.tensor([float("nan")]),
        "inf": torch.tensor([float("inf")], dtype=torch.float16),
        "complex": torch.zeros(2, dtype=torch.complex64),
        "shape": tensor,
        "number": tensor,
        "twice": tensor,
        "twice.values": torch.zeros(1),
    }
    masks = {"stray": mask, "shape": mask.T, "number": mask.float(), "twice": mask, "nowhere": mask}
    header = dataclasses.replace(HEADER, granularity="block")
    with pytest.raises(FairpruneError) as caught:
        save_model(path, state, header=header, masks=masks)
    text = str(caught.value)
    for name in ("stray", "nan", "inf", "complex", "shape", "number", "twice.values", "nowhere", "block"):
        assert name in text
    assert not path.exists()


def test_a_model_that_cannot_be_written_leaves_the_old_file(path: Path) -> None:
    save_model(path, {"a": torch.ones(3)}, header=HEADER)
    before = path.read_bytes()
    for bad in ({"a": torch.tensor(float("nan"))}, {"\ud800": torch.ones(1)}):
        with pytest.raises(FairpruneError):
            save_model(path, bad, header=HEADER)
    with pytest.raises(FairpruneError, match="dense"):
        save_model(
            path,
            {"a": torch.ones(3)},
            header=dataclasses.replace(HEADER, granularity="dense"),
            masks={"a": torch.ones(3, dtype=torch.bool)},
        )
    with pytest.raises(FairpruneError, match="JSON"):
        save_model(path, {}, header=dataclasses.replace(HEADER, transform={"size": float("nan")}))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_large_finite_values_are_no_overflow(path: Path) -> None:
    tensor = torch.full((100,), torch.finfo(torch.float32).max)
    save_model(path, {"a": tensor, "b": tensor.half().fill_(60000)}, header=HEADER)
    assert torch.equal(read_model(path)[0]["a"], tensor)


# Damage. `rewrite` changes the parsed header and the stored tensors, and writes a sound container again.


def rewrite(path: Path, change: Any) -> None:
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    table = json.loads(raw[8 : 8 + size])
    metadata = table.pop("__metadata__")
    stored = {}
    for name, entry in table.items():
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        stored[name] = [entry["dtype"], entry["shape"], raw[begin:end]]
    described = json.loads(metadata["encodings"])
    change(metadata, described, stored)
    if "encodings" in metadata:
        metadata["encodings"] = metadata["encodings"] if described is None else json.dumps(described)
    offset, new = 0, {"__metadata__": metadata}
    for name, (dtype, shape, data) in stored.items():
        new[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    header = json.dumps(new).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(part[2] for part in stored.values()))


def set_byte(stored: dict[str, list], name: str, index: int, value: int) -> None:
    data = bytearray(stored[name][2])
    data[index] = value
    stored[name][2] = bytes(data)


DAMAGES = {
    "other format": (lambda m, d, s: m.update(format="other"), "not a model file"),
    "newer version": (lambda m, d, s: m.update(format_version="2"), "version"),
    "no architecture": (lambda m, d, s: m.pop("architecture"), "architecture"),
    "no classes": (lambda m, d, s: m.pop("classes"), "classes"),
    "empty classes": (lambda m, d, s: m.update(classes="[]"), "classes"),
    "numbers for classes": (lambda m, d, s: m.update(classes="[1]"), "classes"),
    "broken JSON": (lambda m, d, s: m.update(removed="{"), "removed"),
    "deep JSON": (lambda m, d, s: m.update(transform="[" * 100_000), "transform"),
    "list for object": (lambda m, d, s: m.update(transform="[]"), "transform"),
    "granularity": (lambda m, d, s: m.update(granularity="row"), "granularity"),
    "no encodings": (lambda m, d, s: m.pop("encodings"), "encodings"),
    "entry is a list": (lambda m, d, s: d.update(bit=[]), "bit"),
    "negative size": (lambda m, d, s: d["bit"].update(shape=[-30, -20]), "bit"),
    "boolean size": (lambda m, d, s: d["bit"].update(shape=[True]), "bit"),
    "many dimensions": (lambda m, d, s: d["bit"].update(shape=[1] * 9), "bit"),
    "unknown encoding": (lambda m, d, s: d["bit"].update(encoding="csr"), "bit"),
    "unknown dtype": (lambda m, d, s: d["bit"].update(dtype="F8"), "bit"),
    "dtype no string": (lambda m, d, s: d["bit"].update(dtype=[]), "bit"),
    "no kept": (lambda m, d, s: d["bit"].pop("kept"), "bit"),
    "other kept": (lambda m, d, s: d["bit"].update(kept=1), "bit"),
    "other shape": (lambda m, d, s: d["bit"].update(shape=[30, 30]), "bit"),
    "huge shape": (lambda m, d, s: d["bit"].update(shape=[1 << 40, 1 << 40]), "limit"),
    "huge gaps": (lambda m, d, s: d["gap"].update(shape=[1 << 27]), "gap"),
    "size of 5000 digits": (lambda m, d, s: d["gap"].update(shape=[10**4000]), "gap"),
    "other dtype": (lambda m, d, s: d["bit"].update(dtype="F16"), "bit"),
    "other encoding": (lambda m, d, s: d["bit"].update(encoding="gaps"), "bit"),
    "renamed": (lambda m, d, s: d.update(other=d.pop("bit")), "other"),
    "no values": (lambda m, d, s: s.pop("bit.values"), "bit"),
    "no bitmask": (lambda m, d, s: s.pop("bit.bitmask"), "bit"),
    "dense beside": (lambda m, d, s: s.update(bit=["F32", [], bytes(4)]), "bit"),
    "bit flipped": (lambda m, d, s: set_byte(s, "bit.bitmask", 0, s["bit.bitmask"][2][0] ^ 1), "bit"),
    "bit beyond": (lambda m, d, s: set_byte(s, "bit.bitmask", -1, s["bit.bitmask"][2][-1] | 128), "beyond"),
    "flat values": (lambda m, d, s: s["bit.values"].__setitem__(1, [1, *s["bit.values"][1]]), "bit"),
    "gap longer": (lambda m, d, s: set_byte(s, "gap.gaps", 0, 255), "gap"),
    "gaps signed": (lambda m, d, s: s["gap.gaps"].__setitem__(0, "I8"), "gap"),
    "gap missing": (
        lambda m, d, s: s.update({"gap.gaps": ["U8", [s["gap.gaps"][1][0] - 1], s["gap.gaps"][2][1:]]}),
        "gap",
    ),
    "NaN": (lambda m, d, s: s["bit.values"].__setitem__(2, b"\xff" * len(s["bit.values"][2])), "NaN"),
    "dense NaN": (lambda m, d, s: s["plain"].__setitem__(2, b"\xff" * len(s["plain"][2])), "NaN"),
    "zero in dense": (lambda m, d, s: s["full"].__setitem__(2, bytes(len(s["full"][2]))), "full"),
    "dense of other shape": (lambda m, d, s: d["full"].update(shape=[5, 2]), "full"),
    "dense of other dtype": (lambda m, d, s: d["full"].update(dtype="I32"), "full"),
    "dense missing": (lambda m, d, s: s.pop("full"), "full"),
    "mask unpacked from a mask": (
        lambda m, d, s: (
            d.update({"bit.bitmask": {**d["gap"], "dtype": "U8"}}),
            s.update({"bit.bitmask.gaps": s["gap.gaps"], "bit.bitmask.values": s["bit.bitmask"]}),
        ),
        "bit.bitmask",
    ),
}  # fmt: skip


@pytest.fixture
def sound(path: Path) -> Path:
    bit, bit_mask = pruned((31, 21), 0.5, 1)
    gap, gap_mask = pruned((50, 40), 0.02, 2)
    full = torch.ones(2, 5)
    state = {"bit": bit, "gap": gap, "full": full, "plain": torch.ones(3)}
    masks = {"bit": bit_mask, "gap": gap_mask, "full": full > 0}
    save_model(path, state, header=HEADER, masks=masks)
    assert {name: entry["encoding"] for name, entry in encodings_of(path).items()} == {
        "bit": "bitmask", "gap": "gaps", "full": "dense",
    }  # fmt: skip
    return path


def test_a_model_in_memory_does_not_change_with_its_file(sound: Path) -> None:
    state = read_model(sound)[0]
    copies = {name: tensor.clone() for name, tensor in state.items()}
    sound.write_bytes(bytes(sound.stat().st_size))
    assert all(torch.equal(state[name], tensor) for name, tensor in copies.items())


def test_rewriting_alone_damages_nothing(sound: Path) -> None:
    before = read_model(sound)
    rewrite(sound, lambda metadata, described, stored: None)
    after = read_model(sound)
    assert after[1] == before[1]
    assert all(torch.equal(after[0][name], tensor) for name, tensor in before[0].items())


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_refused_with_the_place(sound: Path, damage: str) -> None:
    change, word = DAMAGES[damage]
    rewrite(sound, change)
    with pytest.raises(FairpruneError, match=word) as caught:
        read_model(sound)
    assert str(sound) in str(caught.value)


def test_damages_are_reported_together(sound: Path) -> None:
    def change(metadata: dict, described: dict, stored: dict) -> None:
        described["bit"]["kept"] += 1
        described["gap"]["kept"] += 1

    rewrite(sound, change)
    with pytest.raises(FairpruneError, match=r"(?s)'bit'.*'gap'"):
        read_model(sound)


def test_a_claim_of_many_gigabytes_is_refused_before_it_is_allocated(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(metadata: dict, described: dict, stored: dict) -> None:
        described["gap"]["shape"] = [1 << 31]  # 8 GiB

    rewrite(sound, change)
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FairpruneError, match="at most 1,073,741,824 are read") as caught:
        read_model(sound)
    option, _, raised = caught.value.hint.partition("FAIRPRUNE_LIMITS=")[2].partition(" ")[0].partition("=")
    monkeypatch.setenv("FAIRPRUNE_LIMITS", f"{option}={raised}")
    with pytest.raises(FairpruneError, match="cover"):
        read_model(sound)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_two_hundred_mutations_raise_nothing_else(sound: Path) -> None:
    raw = sound.read_bytes()
    header_end = 8 + struct.unpack("<Q", raw[:8])[0]
    draw = random.Random(5)
    refused = 0
    for number in range(200):
        data = bytearray(raw)
        region = (8, header_end) if number % 2 else (0, len(raw))
        for _ in range(draw.choice([1, 1, 2, 8])):
            data[draw.randrange(*region)] = draw.randrange(256)
        if number % 5 == 0:
            del data[draw.randrange(len(data)) :]
        if number % 7 == 0:
            data[draw.randrange(*region) : 0] = bytes(draw.randrange(1, 9))
        sound.write_bytes(data)
        for read in (read_model, read_masks, codec.load_network):
            try:
                read(sound)
            except FairpruneError:
                refused += 1
    assert refused > 300  # most of them are noticed, and nothing but FairpruneError came


@pytest.mark.parametrize("content", [b"", b"\x00", b"not a model", b"\xff" * 64, struct.pack("<Q", 2) + b"{}"])
def test_other_files_are_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert not codec.is_model_file(path)
    with pytest.raises(FairpruneError):
        read_model(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FairpruneError, match="no such file"):
        read_model(tmp_path / "none.safetensors")
    with pytest.raises(FairpruneError):
        read_model(tmp_path)
    with pytest.raises(FairpruneError, match="no such file"):
        codec.load_network(tmp_path)


def test_hostile_names_are_only_keys(path: Path) -> None:
    name = "../../../tmp/\x1b[2Jevil\n"
    tensor, mask = pruned((30, 30), 0.5)
    save_model(path, {name: tensor}, header=HEADER, masks={name: mask})
    assert torch.equal(read_model(path)[0][name], tensor)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    rewrite(path, lambda metadata, described, stored: described[name].update(kept=0))
    with pytest.raises(FairpruneError) as caught:
        read_model(path)
    assert "\x1b" not in str(caught.value)


# Loading a network.


@pytest.fixture
def saved(path: Path) -> tuple[Path, nn.Module]:
    model = architectures.build("resnet10-w16", 2, seed=0).eval()
    masks = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4:
            masks[name] = torch.rand(parameter.shape, generator=torch.Generator().manual_seed(1)) < 0.2
            parameter.data *= masks[name]
    save_model(path, model, header=HEADER, masks=masks)
    return path, model


def test_load_gives_the_model_that_was_saved(saved: tuple[Path, nn.Module]) -> None:
    path, model = saved
    loaded = codec.load_network(path)
    assert not any(module.training for module in loaded.modules())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert codec.load_network(path.parent).state_dict().keys() == model.state_dict().keys()
    assert codec.is_model_file(path)
    assert codec.read_header(path) == HEADER


def test_two_of_four_round_trip(path: Path) -> None:
    model = architectures.build("resnet10-w16", 2, seed=0).eval()
    masks = {}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 4 and parameter.shape[1] % 4 == 0:
            best = parameter.detach().abs().movedim(1, -1).unflatten(-1, (-1, 4)).topk(2).indices
            mask = torch.zeros((*best.shape[:-1], 4), dtype=torch.bool).scatter_(-1, best, True)
            masks[name] = mask.flatten(-2).movedim(-1, 1)
            parameter.data *= masks[name]
    save_model(path, model, header=dataclasses.replace(HEADER, granularity="2:4"), masks=masks)
    assert {entry["encoding"] for entry in encodings_of(path).values()} == {"bitmask"}
    loaded = codec.load_network(path)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))
    assert all(torch.equal(mask, masks[name]) for name, mask in read_masks(path).items())


def test_load_refuses_what_does_not_fit(saved: tuple[Path, nn.Module]) -> None:
    path, model = saved
    state = model.state_dict()
    for header, tensors, word in [
        (dataclasses.replace(HEADER, architecture="resnet9000"), state, "resnet9000"),
        (dataclasses.replace(HEADER, classes=("a", "b", "c", "d", "e")), state, "5 classes"),
        (HEADER, {**state, "extra.weight": torch.ones(2)}, "extra.weight"),
        (HEADER, {name: state[name] for name in list(state)[1:]}, next(iter(state))),
        (HEADER, {**state, "fc.weight": torch.ones(2, 3)}, "fit together"),
    ]:
        save_model(path, tensors, header=header)
        with pytest.raises(FairpruneError, match=word) as caught:
            codec.load_network(path)
        assert str(path) in str(caught.value)


def test_a_file_does_not_choose_which_code_runs(path: Path) -> None:
    header = dataclasses.replace(HEADER, architecture=f"{__name__}:factory")
    model = factory(2)
    before = CALLS[0]
    save_model(path, model, header=header)
    with pytest.raises(FairpruneError, match="factory"):
        codec.load_network(path)
    assert CALLS[0] == before
    loaded = codec.load_network(path, arch=f"{__name__}:factory")
    assert CALLS[0] > before
    assert torch.equal(loaded(torch.ones(1, 4)), model.eval()(torch.ones(1, 4)))


CALLS = [0]


def factory(num_classes: int) -> nn.Module:
    CALLS[0] += 1
    return nn.Sequential(nn.Linear(4, num_classes))


# --- heads --------------------------------------------------------------------------------------------------

SIGMOID = {"name": "", "classes": ["a", "b"], "outputs": [3], "threshold": 0.2}


def test_a_header_tells_where_the_scores_stand_and_what_the_network_is_built_for(tmp_path: Path) -> None:
    model = architectures.build("resnet10-w16", 5)
    header = replace(HEADER, architecture="resnet10-w16", classes=("a", "b"), outputs=5, tasks=(SIGMOID,))
    save_model(tmp_path / "a.safetensors", model, header=replace(header, granularity="dense", removed={}))
    found, told = load_with_header(tmp_path / "a.safetensors")
    assert (told.outputs, told.tasks, told.built_for) == (5, (SIGMOID,), 5)
    assert found(torch.zeros(1, 3, 32, 32)).shape == (1, 5)


def test_a_head_with_a_score_per_class_leaves_the_header_as_it_was() -> None:
    assert not {"outputs", "tasks"} & HEADER.to_metadata().keys()
    assert replace(HEADER, outputs=0, tasks=()).to_metadata() == HEADER.to_metadata()


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["a"]}, {"classes": "ab"}, {"name": 3}, {"outputs": [-1]}, {"outputs": []}, {"outputs": [True]},
        {"threshold": 0}, {"threshold": True}, {"threshold": "x"}, {"output": -1}, {"output": ["a"]},
    ],
)  # fmt: skip
def test_a_damaged_task_in_a_header_is_refused(change: dict[str, Any]) -> None:
    metadata = replace(HEADER, tasks=({**SIGMOID, **change},)).to_metadata()
    with pytest.raises(FairpruneError, match="one of tasks is not what"):
        ModelHeader.from_metadata(metadata)
    with pytest.raises(FairpruneError, match="outputs is no count"):
        ModelHeader.from_metadata({**HEADER.to_metadata(), "outputs": "many"})


@pytest.mark.parametrize("dtype", ["F4", "F8_E4M3", "C64", "U16"])
def test_numbers_of_a_type_that_no_model_file_has_are_refused(dtype: str, sound: Path) -> None:
    def change(metadata: dict, described: dict, stored: dict) -> None:
        size = {"F4": 3, "F8_E4M3": 6, "C64": 48, "U16": 12}[dtype]
        stored["plain"] = [dtype, [6], bytes(size)]

    rewrite(sound, change)
    with pytest.raises(FairpruneError, match=r"type torch\.|cannot be read as safetensors"):
        read_model(sound)


def test_what_was_removed_is_told_of_shapes_alone(sound: Path) -> None:
    rewrite(sound, lambda m, d, s: m.update(removed=json.dumps({"plain": {"shape": 5, "kept": 1, "dims": [0]}})))
    with pytest.raises(FairpruneError, match="dims are not dimensions"):
        read_model(sound)


def test_nothing_is_unfolded_that_is_no_part_of_the_network_that_is_named(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(sound, lambda m, d, s: m.update(architecture="regnet_y_128gf"))
    monkeypatch.setattr(codec, "unpacked_tensor", lambda *_: pytest.fail("it was unfolded"))
    with pytest.raises(FairpruneError, match=r"bit has shape \(31, 21\), the network none such"):
        load_with_header(sound)


@pytest.mark.parametrize("transform", [
    "5", '{"size": 20000, "mean": [0.5], "std": [0.5]}', '{"size": ' + "[" * 900 + "]" * 900 + "}",
    '{"size": 1' + "0" * 60 + "}", '{"size": {"a": 1}, "mean": null, "std": true}', '{"mean": [' + "1," * 999 + "1]}",
])  # fmt: skip
def test_a_transform_of_another_form_is_a_fault_of_the_file(transform: str, sound: Path) -> None:
    rewrite(sound, lambda m, d, s: m.update(transform=transform))
    with pytest.raises(FairpruneError, match="transform"):
        read_model(sound)


def test_a_header_names_no_code(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named_by_header.py").write_text("import pathlib\npathlib.Path('trace').touch()\ndef make(n): pass\n")
    monkeypatch.chdir(tmp_path)
    rewrite(sound, lambda m, d, s: m.update(architecture="named_by_header:make"))
    with pytest.raises(FairpruneError, match="no reason to import code"):
        load_with_header(sound)
    assert not (tmp_path / "trace").exists()
