"""A damaged or edited bundle is refused by its part, before anything large is allocated."""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.bundle.description import checksum, function_hash
from imgturbo.bundle.weights import load_network
from imgturbo.config import Config
from imgturbo.engines import build_network, settle
from imgturbo.errors import ImgturboError
from imgturbo.listing import Entry
from imgturbo.nets import build_generator
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

UNET = {"kind": "unet", "width": 3, "depth": 1, "blocks": 1}


def side(*names: str) -> Side:
    n = len(names)
    return Side(names, "MJy/sr", Stretch.linear(n), pixel_scale=0.04, zeropoints=(25.9,) * n)


@pytest.fixture
def bundle(tmp_path) -> Path:
    torch.manual_seed(0)
    config = settle(Config.model_validate({"name": "test", "model": {"decoder": UNET}}))
    save_bundle(
        tmp_path / "b",
        decoder=build_generator(config.model.decoder, 2, 1),
        encoder=None,
        config=config,
        sides={"source": side("A", "B"), "target": side("C")},
        record={"step": 7, "validation": {"forward/psnr": 31.25}},
    )
    return tmp_path / "b"


def edited(path: Path, *keys: str | int, value: object, agree: bool = False) -> None:
    """Change a key of bundle.json; ``agree`` brings hash and checksum after it."""
    content = json.loads((path / "bundle.json").read_text())
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    if agree:
        content["hash"] = function_hash(content)
        content["checksum"] = checksum(content)
    (path / "bundle.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("sides", "source", "bands"), ["B", "A"]),
        (("sides", "target", "unit"), "Jy"),
        (("sides", "target", "zeropoints"), [26.0]),
        (("sides", "source", "pixel_scale"), 0.03),
        (("sides", "source", "stretch", "offset", 0), 0.5),
        (("config", "model", "decoder", "residual"), False),
        (("config", "train", "lr"), 1.0),
        (("config", "name"), "other"),
        (("record", "step"), 8),
        (("record", "validation", "forward/psnr"), 40.0),
    ],
)
def test_whatever_is_edited_is_noticed(bundle, keys, value):
    load_bundle(bundle)
    edited(bundle, *keys, value=value)
    with pytest.raises(ImgturboError, match=r"bundle\.json was edited.*get the bundle again"):
        load_bundle(bundle)


def test_layout_counts_nothing(bundle):
    text = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(json.dumps(json.loads(text), sort_keys=True))
    load_bundle(bundle)


@pytest.mark.parametrize(
    ("keys", "value", "where"),
    [
        (("format",), "1", "format"),
        (("format",), float("nan"), "format"),
        (("format",), 1.5, "format"),
        (("files",), [], "files"),
        (("files", "decoder.safetensors"), 3, "files"),
        (("files", "../../evil"), {"bytes": 1, "sha256": "0" * 64}, "files"),
        (("files", "decoder.safetensors", "sha256"), "g" * 64, "sha256"),
        (("files", "decoder.safetensors", "bytes"), -1, "bytes"),
        (("sides", "source"), None, "sides.source"),
        (("sides", "source", "stretch", "scale", 0), -1.0, "scale"),
        (("record", "validation"), [1], "validation"),
        (("config", "model"), [], "config.model"),
    ],
)
def test_another_type_is_named_by_its_key(bundle, keys, value, where):
    edited(bundle, *keys, value=value)
    with pytest.raises(ImgturboError, match=rf"bundle\.json: is damaged.*{where}"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 16},
        {"width": 1 << 16, "depth": 8},
        {"blocks": 1024},
        {"noise_channels": 1 << 16},
        {"kind": "nafnet", "width": 1 << 16, "spread": 4095},
        {"kind": "diffusion", "width": 1 << 16, "depth": 16},
        {"kind": "mlp", "hidden": [1 << 16] * 1000},
        {"kind": "cinn", "stages": [{"blocks": 1024, "width": 1 << 16}] * 16},
    ],
    ids=lambda change: " ".join(change),
)
def test_a_network_larger_than_its_weights_is_never_made(bundle, change, monkeypatch):
    """On the machine of whoever loads it: neither its memory nor its time."""
    decoder = change if "kind" in change else UNET | change
    edited(bundle, "config", "model", "decoder", value=decoder, agree=True)

    def build(*arguments: object) -> nn.Module:
        assert torch.empty(0).is_meta
        return build_network(*arguments)

    monkeypatch.setattr("imgturbo.bundle.folder.build_network", build)
    with pytest.raises(ImgturboError, match="does not fit the networks of its config"):
        load_bundle(bundle)


@pytest.mark.parametrize("change", [{"depth": 17}, {"width": 10**9}, {"blocks": 10**30}])
def test_absurd_numbers_do_not_fit_the_schema(bundle, change):
    edited(bundle, "config", "model", "decoder", value=UNET | change, agree=True)
    with pytest.raises(ImgturboError, match=r"its config does not fit.*less than or equal"):
        load_bundle(bundle)


@pytest.mark.parametrize("harm", ["cut", "flip", "folder", "device", "loop", "empty"])
def test_harm_to_the_weights_is_named(bundle, harm):
    file = bundle / "decoder.safetensors"
    whole = file.read_bytes()
    file.unlink()
    if harm == "cut":
        file.write_bytes(whole[:-1])
    elif harm == "flip":
        file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    elif harm == "folder":
        file.mkdir()
    elif harm == "empty":
        file.write_bytes(b"")
    else:
        os.symlink("/dev/zero" if harm == "device" else file.name, file)
    with pytest.raises(ImgturboError, match=r"decoder\.safetensors (is|cannot).*get the bundle"):
        load_bundle(bundle)


@pytest.mark.parametrize("harm", ["header", "dtype", "shape", "name", "nan"])
def test_weights_that_agree_with_their_hash_are_looked_at_all_the_same(bundle, harm):
    file = bundle / "decoder.safetensors"
    tensors = load_file(file)
    key = next(iter(tensors))
    if harm == "header":
        file.write_bytes((1 << 62).to_bytes(8, "little") + file.read_bytes()[8:])
    else:
        value = tensors.pop(key)
        changed = {
            "dtype": value.to(torch.int8),
            "shape": value[None],
            "nan": value * torch.nan,
        }
        save_file(tensors | {f"{key}x" if harm == "name" else key: changed.get(harm, value)}, file)
    edited(bundle, "files", file.name, value=Entry.of(file).model_dump(), agree=True)
    with pytest.raises(ImgturboError, match=r"header|does not fit|not finite"):
        load_bundle(bundle)


def test_weights_that_are_not_finite_are_not_saved(bundle):
    loaded = load_bundle(bundle)
    with torch.no_grad():
        next(loaded.decoder.parameters()).fill_(torch.inf)
    sides = {"source": loaded.source, "target": loaded.target}
    with pytest.raises(ImgturboError, match="not finite"):
        save_bundle(
            bundle, decoder=loaded.decoder, encoder=None, config=loaded.config, sides=sides,
            record={},
        )  # fmt: skip
    load_bundle(bundle)


@pytest.mark.parametrize(
    "section",
    [
        {"kind": "nafnet", "width": 4, "spread": 3},
        {"kind": "unet", "width": 4, "noise_channels": 1, "stem": 2},
        {"kind": "resnet", "width": 4},
        {"kind": "pix2pix_unet", "width": 4, "depth": 3},
        {"kind": "cyclegan_resnet", "width": 4},
        {"kind": "mlp", "hidden": [4]},
        {"kind": "cinn", "condition": {"kind": "vgg", "width": 4, "max_width": 4}},
        {"kind": "cinn", "mixing": "lu", "actnorm": True, "prior": True, "law": "spline"},
        {
            "kind": "cinn",
            "dense": {"size": 8, "width": 8, "blocks": 1},
            "stages": [{"width": 4}, {}],
        },
    ],
    ids=lambda section: section["kind"],
)
def test_every_kind_can_be_made_of_shapes_alone(tmp_path, section):
    decoder = settle(Config.model_validate({"model": {"decoder": section}})).model.decoder
    build = partial(build_network, decoder, 2, 1)
    torch.manual_seed(3)
    saved = {key: value.clone() for key, value in build().state_dict().items()}
    save_file(saved, tmp_path / "weights")
    loaded = load_network(build, tmp_path, "weights", Entry.of(tmp_path / "weights"))
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, saved[key]), key


def test_the_hash_of_a_file_is_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    entry = Entry.of(tmp_path / "a")
    assert (entry.bytes, entry.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    assert entry == Entry.of(b"abc")
