from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from imgturbo.bundle import blend, load_bundle, save_bundle
from imgturbo.bundle.description import function_hash
from imgturbo.cli.main import main
from imgturbo.config import Config
from imgturbo.engines import settle
from imgturbo.errors import ImgturboError
from imgturbo.nets import build_generator
from imgturbo.shipped import PRETRAINED
from imgturbo.side import Side
from imgturbo.sky import SkyImage
from imgturbo.sky.stretch import Stretch


def side(bands: list[str], softening: float | str = 0.25) -> Side:
    n = len(bands)
    stretch = Stretch(np.full(n, 0.1), np.full(n, float(softening)), np.full(n, 4.0))
    return Side(tuple(bands), "MJy/sr", stretch, pixel_scale=0.04, zeropoints=(25.9,) * n)


def config(kind: str = "unet") -> Config:
    generator = {"unet": {"kind": "unet", "width": 3, "depth": 1, "blocks": 1},
                 "resnet": {"kind": "resnet", "width": 3, "downs": 1, "blocks": 1},
                 "mlp": {"kind": "mlp", "hidden": [4]}}[kind]  # fmt: skip
    return settle(Config.model_validate({"name": "test", "model": {"decoder": generator}}))


def save(path: Path, source: int = 2, target: int = 1, kind: str = "unet", both: bool = True,
         softening: float | str = 0.25) -> dict:  # fmt: skip
    settings = config(kind)
    decoder = build_generator(settings.model.decoder, source, target)
    encoder = build_generator(settings.model.decoder, target, source) if both else None
    sides = {
        "source": side([f"F{i}W" for i in range(source)], softening),
        "target": side([f"G{i}W" for i in range(target)]),
    }
    record = {"step": 7, "steps": 9, "validation": {"forward/psnr": 31.25}}
    save_bundle(path, decoder=decoder, encoder=encoder, config=settings, sides=sides, record=record)
    return {"decoder": decoder, "encoder": encoder, "sides": sides, "record": record}


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from(["unet", "resnet", "mlp"]),
       st.booleans())  # fmt: skip
def test_what_is_saved_is_loaded(tmp_path, source, target, kind, both):
    shutil.rmtree(tmp_path / "b", ignore_errors=True)
    saved = save(tmp_path / "b", source, target, kind, both)
    bundle = load_bundle(tmp_path / "b")
    assert (bundle.source, bundle.target) == (saved["sides"]["source"], saved["sides"]["target"])
    assert bundle.record == saved["record"]
    assert bundle.config == config(kind)
    for name in ("decoder", "encoder"):
        original, network = saved[name], getattr(bundle, name)
        assert (original is None) == (network is None)
        if original is not None:
            shape = (2, network.in_channels, *(() if kind == "mlp" else (7, 13)))
            u = torch.linspace(-1, 1, int(np.prod(shape))).view(shape)
            assert torch.equal(network(u), original.eval()(u))


def test_the_hash_names_the_function(tmp_path):
    torch.manual_seed(0)
    save(tmp_path / "a")
    torch.manual_seed(0)
    save(tmp_path / "same")
    torch.manual_seed(0)
    save(tmp_path / "other stretch", softening=0.5)
    torch.manual_seed(1)
    save(tmp_path / "other weights")
    a, same, stretch, weights = (
        load_bundle(tmp_path / n).hash for n in ("a", "same", "other stretch", "other weights")
    )
    assert len(a) == 12
    assert a == same
    assert len({a, stretch, weights}) == 3


def test_other_settings_bands_and_units_are_another_function(tmp_path):
    saved = save(tmp_path / "a")
    content = json.loads((tmp_path / "a" / "bundle.json").read_text())
    assert content["hash"] == function_hash(content)

    def changed(*keys, value):
        other = json.loads(json.dumps(content))
        part = other
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        return function_hash(other)

    names = {
        changed("config", "model", "decoder", "residual", value=False),
        changed("config", "model", "encoder", value=content["config"]["model"]["decoder"] | {
            "residual": False}),
        changed("sides", "source", "bands", value=["F1W", "F0W"]),
        changed("sides", "source", "unit", value="Jy"),
        changed("sides", "target", "zeropoints", value=[1.0]),
        content["hash"],
    }  # fmt: skip
    assert len(names) == 6
    # What computes nothing is no part of the name.
    assert changed("config", "train", "steps", value=1) == content["hash"]
    assert changed("config", "model", "critic", "width", value=1) == content["hash"]
    assert saved["sides"]["source"].unit != "Jy"
    edit(tmp_path / "a", {"sides": content["sides"] | {
        "source": content["sides"]["source"] | {"unit": "Jy"}}})  # fmt: skip
    with pytest.raises(ImgturboError, match=r"bundle\.json was edited"):
        load_bundle(tmp_path / "a")


def test_a_bundle_of_version_0_1_0_keeps_its_name(tmp_path):
    save(tmp_path / "a")
    content = json.loads((tmp_path / "a" / "bundle.json").read_text())
    named = {
        "weights": {name: entry["sha256"] for name, entry in content["files"].items()},
        "stretches": {name: side["stretch"] for name, side in content["sides"].items()},
    }
    former = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:12]
    edit(tmp_path / "a", {"hash": former})
    assert load_bundle(tmp_path / "a").hash == former != content["hash"]


def test_loading_leaves_the_callers_random_numbers_alone(tmp_path):
    save(tmp_path / "b")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_bundle(tmp_path / "b")
    assert torch.equal(torch.rand(3), expected)


def test_the_card_is_filled_in(tmp_path):
    save(tmp_path / "b", softening="inf")
    card = (tmp_path / "b" / "README.md").read_text()
    for text in ("F0W, F1W", "G0W", "MJy/sr", "0.04 arcsec", "25.900", "inf, inf", "31.25",
                 "weights of step: 7", "Networks can invent or delete sources", "BSD-3-Clause",
                 load_bundle(tmp_path / "b").hash):  # fmt: skip
        assert text in card
    assert "None" not in card


def test_directions(tmp_path):
    save(tmp_path / "both", 2, 1)
    save(tmp_path / "one", 2, 1, both=False)
    both, one = load_bundle(tmp_path / "both"), load_bundle(tmp_path / "one")
    forward, backward = both.direction("forward"), both.direction("backward")
    assert (forward.generator, forward.input, forward.output) == (
        both.decoder, both.source, both.target,
    )  # fmt: skip
    assert (backward.generator, backward.input, backward.output) == (
        both.encoder, both.target, both.source,
    )  # fmt: skip
    with pytest.raises(ImgturboError, match="no encoder"):
        one.direction("backward")
    with pytest.raises(ImgturboError, match="choose forward or backward"):
        both.direction("sideways")


def test_a_bundle_of_nothing_is_refused(tmp_path):
    save(tmp_path / "b")
    bundle = load_bundle(tmp_path / "b")
    sides = {"source": bundle.source, "target": bundle.target}
    with pytest.raises(ImgturboError, match="neither a decoder nor an encoder"):
        save_bundle(
            tmp_path / "c", decoder=None, encoder=None, config=config(), sides=sides, record={}
        )
    assert not (tmp_path / "c").exists()
    content = json.loads((tmp_path / "b" / "bundle.json").read_text())
    hash_of_nothing = function_hash(content | {"files": {}})
    edit(tmp_path / "b", {"files": {}, "hash": hash_of_nothing})
    with pytest.raises(ImgturboError, match="neither decoder nor encoder; get the bundle again"):
        load_bundle(tmp_path / "b")


def test_translating_an_array(tmp_path):
    save(tmp_path / "b", 2, 1)
    bundle = load_bundle(tmp_path / "b")
    flux = np.random.default_rng(0).normal(size=(2, 23, 31)).astype(np.float32)
    flux[:, 3:5, 7] = np.nan
    with pytest.warns(UserWarning, match="its sky is not the training's"):
        found = bundle.translate(flux).mean
    assert found.shape == (1, 23, 31)
    assert np.isnan(found[0, 3:5, 7]).all()
    assert np.isfinite(found).mean() > 0.9
    with pytest.raises(ImgturboError):
        bundle.translate(flux[:1])


def test_a_missing_bundle_is_named_with_what_is_there(tmp_path):
    save(tmp_path / "run" / "bundle")
    with pytest.raises(ImgturboError, match=r"no such bundle; did you mean .*run/bundle\?"):
        load_bundle(tmp_path / "rnu")
    with pytest.raises(ImgturboError, match=r"not a bundle.*did you mean .*run/bundle\?"):
        load_bundle(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImgturboError, match="the folder holds nothing"):
        load_bundle(tmp_path / "empty")
    (tmp_path / "empty" / "file").write_text("")
    with pytest.raises(ImgturboError, match="a file, not a bundle"):
        load_bundle(tmp_path / "empty" / "file")


def edit(path: Path, change: dict) -> None:
    """By a person who does not know of the checksum, or in a bundle that is older than it."""
    content = json.loads((path / "bundle.json").read_text())
    content.pop("checksum", None)
    (path / "bundle.json").write_text(json.dumps(content | change))


def test_damage_is_named(tmp_path):
    path = tmp_path / "b"
    save(path)
    weights = path / "encoder.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ImgturboError, match=r"encoder\.safetensors is corrupt"):
        load_bundle(path)
    weights.unlink()
    with pytest.raises(ImgturboError, match=r"encoder\.safetensors is missing"):
        load_bundle(path)
    weights.write_bytes(good)
    load_bundle(path)
    description = (path / "bundle.json").read_text()
    (path / "bundle.json").write_text(description[:50])
    with pytest.raises(ImgturboError, match=r"bundle\.json: is damaged"):
        load_bundle(path)
    (path / "bundle.json").write_text(description)
    content = json.loads(description)
    content["sides"]["source"]["stretch"]["scale"][0] = 5.0
    edit(path, {"sides": content["sides"]})
    with pytest.raises(ImgturboError, match=r"bundle\.json was edited"):
        load_bundle(path)


def test_bundles_of_the_future_are_refused(tmp_path):
    save(tmp_path / "b")
    edit(tmp_path / "b", {"format": 2})
    with pytest.raises(ImgturboError, match=r"format 2.*update imgturbo"):
        load_bundle(tmp_path / "b")
    config = json.loads((tmp_path / "b" / "bundle.json").read_text())["config"]
    edit(tmp_path / "b", {"format": 1, "config": config | {"flows": {}}})
    with pytest.raises(ImgturboError, match=r"config does not fit this imgturbo \(flows"):
        load_bundle(tmp_path / "b")


def test_an_older_bundle_is_replaced_whole(tmp_path):
    save(tmp_path / "b", both=True)
    save(tmp_path / "b", both=False)
    assert load_bundle(tmp_path / "b").encoder is None
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_full_disk_leaves_the_older_bundle(tmp_path, monkeypatch):
    save(tmp_path / "b")
    before = load_bundle(tmp_path / "b").hash

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ImgturboError, match="No space left on device"):
            save(tmp_path / "b")
    assert load_bundle(tmp_path / "b").hash == before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_other_folders_are_not_overwritten(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_text("")
    with pytest.raises(ImgturboError, match="is no bundle"):
        save(tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.png").exists()


@given(seed=st.integers(0, 99), kind=st.sampled_from(["unet", "resnet", "mlp"]))
def test_half_precision_halves_the_file_and_hardly_changes_the_picture(tmp_path, seed, kind):
    for name in ("full", "small"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    torch.manual_seed(seed)
    saved = save(tmp_path / "full", kind=kind)
    save_bundle(
        tmp_path / "small",
        decoder=saved["decoder"],
        encoder=saved["encoder"],
        config=config(kind),
        sides=saved["sides"],
        record=saved["record"],
        half=True,
    )
    full, small = load_bundle(tmp_path / "full"), load_bundle(tmp_path / "small")
    u = torch.rand(2, 2, *(() if kind == "mlp" else (16, 16)))
    with torch.no_grad():
        assert (full.decoder(u) - small.decoder(u)).abs().max() < 1e-2
    assert full.hash != small.hash  # another function, however slightly
    assert all(p.dtype == torch.float32 for p in small.decoder.parameters())
    weights = load_file(tmp_path / "small" / "decoder.safetensors")
    assert all(value.dtype == torch.float16 for value in weights.values())


def test_what_half_precision_cannot_hold_is_refused(tmp_path):
    saved = save(tmp_path / "full")
    with torch.no_grad():
        next(saved["decoder"].parameters()).fill_(1e5)
    with pytest.raises(ImgturboError, match="too large for half precision; save it in full"):
        save_bundle(
            tmp_path / "small", decoder=saved["decoder"], encoder=None, config=config(),
            sides=saved["sides"], record={}, half=True,
        )  # fmt: skip
    assert not (tmp_path / "small").exists()


def test_shipped_bundles_are_loaded_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("imgturbo.shipped.PRETRAINED", tmp_path / "pretrained")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImgturboError, match="tiny: no such bundle") as error:
        load_bundle("tiny")
    assert "by name" not in str(error.value)  # there are none

    (tmp_path / "pretrained").mkdir()
    save(tmp_path / "pretrained" / "tiny")
    save(tmp_path / "pretrained" / "large")
    shipped = load_bundle("tiny")
    assert shipped.path == tmp_path / "pretrained" / "tiny"
    assert load_bundle(Path("tiny")).hash == shipped.hash
    with pytest.raises(ImgturboError, match=r"huge: no such bundle.*by name: large, tiny"):
        load_bundle("huge")
    for nowhere in ("./nowhere/tiny", str(tmp_path / "tiny"), "../pretrained"):
        with pytest.raises(ImgturboError, match="bundle"):
            load_bundle(nowhere)

    torch.manual_seed(9)
    save(tmp_path / "tiny")  # what lies here goes first
    assert load_bundle("tiny").hash != shipped.hash


def test_export_writes_a_smaller_bundle(tmp_path, capsys):
    save(tmp_path / "b")
    with pytest.raises(SystemExit) as status:
        main(["export", str(tmp_path / "b"), str(tmp_path / "small"), "--half"])
    assert status.value.code == 0
    original, small = load_bundle(tmp_path / "b"), load_bundle(tmp_path / "small")
    said = capsys.readouterr().out
    assert small.hash in said
    assert "MB of weights" in said
    assert small.record["exported_from"] == original.hash
    assert small.config.model == original.config.model
    assert small.config.train.out == Path(original.config.train.out.name)  # folders are private
    with pytest.raises(SystemExit) as status:
        main(["export", str(tmp_path / "b"), str(tmp_path / "b")])
    assert status.value.code == 2
    assert load_bundle(tmp_path / "b").hash == original.hash


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_bundle_between_two(tmp_path, share):
    torch.manual_seed(1)
    save(tmp_path / "a")
    torch.manual_seed(2)
    save(tmp_path / "b")
    one, two, out = (str(tmp_path / name) for name in "abc")
    with pytest.raises(SystemExit) as status:
        main(["export", one, out, "--toward", two, "--share", str(share)])
    assert status.value.code == 0
    a, b, c = (load_bundle(tmp_path / name) for name in "abc")
    for name in ("decoder", "encoder"):
        networks = [getattr(bundle, name) for bundle in (a, b, c)]
        if networks[0] is None:
            continue
        for first, second, between in zip(*(n.parameters() for n in networks), strict=True):
            torch.testing.assert_close(between, (1 - share) * first + share * second)
    assert c.record["blended"] == {"toward": b.hash, "share": share}
    assert c.record["validation"] == {}


def test_nothing_lies_between_unlike_bundles(tmp_path):
    first = save(tmp_path / "a")
    save(tmp_path / "b")
    a, b = load_bundle(tmp_path / "a"), load_bundle(tmp_path / "b")
    names = (*b.source.names[:-1], "F999W")
    object.__setattr__(b, "source", replace(b.source, names=names))
    with pytest.raises(ImgturboError, match="other bands, units or stretches"):
        blend(a, b, 0.5)
    b = load_bundle(tmp_path / "b")
    without = replace(b, decoder=type(first["decoder"]).__new__(type(first["decoder"])))
    torch.nn.Module.__init__(without.decoder)
    with pytest.raises(ImgturboError, match="its decoder is another network"):
        blend(a, without, 0.5)


SHIPPED = sorted(path.parent for path in PRETRAINED.glob("*/bundle.json"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_bundles_load_by_name_are_small_and_translate(path, tmp_path):
    bundle = load_bundle(path.name)
    assert sum(file.stat().st_size for file in path.iterdir()) < 8e6
    assert f"--bundle {path.name} " in (path / "README.md").read_text()
    assert "/" not in json.dumps(bundle.config.model_dump(mode="json")["train"]["out"])
    assert {"steps", "seconds", "device", "validation", "versions"} <= set(bundle.record)
    source, target = bundle.source, bundle.target
    picture = SkyImage.from_array(
        np.random.default_rng(0).random((len(source), 45, 37)),
        unit=source.unit,
        bands=source.names,
    )
    translated = bundle.translate(picture).mean
    assert translated.shape == (len(target), 45, 37)
    assert np.isfinite(translated.data).all()
