"""The weights before the first step: a bundle's, or the best affine colour map."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_standins import contents, make_tiles, tiny

from imgturbo.bundle import load_bundle
from imgturbo.config import NAFNetConfig
from imgturbo.data import StoreSource, TileStore
from imgturbo.errors import ImgturboError
from imgturbo.nets import build_generator
from imgturbo.training import best, train
from imgturbo.training.checkpoint import Checkpoints
from imgturbo.training.initial import start_at_bundle, start_at_colours
from imgturbo.training.selection import Selection
from imgturbo.training.tensors import named_tensors

GATED = {"kind": "nafnet", "width": 4, "depth": 1, "blocks": 1, "middle": 1}


@pytest.fixture
def tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(best, "write_samples", lambda *_, **__: None)
    return make_tiles(tmp_path / "tiles.zarr")


def test_colours_start_at_the_least_squares_map_of_the_pairs(tmp_path, tiles):
    # In the stand-in's tiles x = 0.5 z₀ + 0.1 wherever both are valid.
    data = tiny(tmp_path, tiles).data
    networks = {
        "decoder": build_generator(NAFNetConfig(width=4, depth=1), 2, 1),
        "encoder": build_generator(NAFNetConfig(width=4, depth=1), 1, 2),
    }
    start_at_colours(networks, StoreSource(TileStore.open(tiles), data, seed=0))
    forward, backward = (networks[name].colours for name in ("decoder", "encoder"))
    torch.testing.assert_close(
        forward.weight.flatten(), torch.tensor([0.5, 0.0]), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(forward.bias, torch.tensor([0.1]), atol=1e-5, rtol=0)
    torch.testing.assert_close(backward.weight[0].flatten(), torch.tensor([2.0]))
    assert backward.weight[1].abs() < 0.1  # the other band is independent noise


def test_without_pairs_colours_stay_where_they_were(tmp_path):
    store = TileStore.open(make_tiles(tmp_path / "unpaired.zarr", paired=False))
    network = build_generator(NAFNetConfig(width=4, depth=1), 2, 1)
    start_at_colours({"decoder": network}, StoreSource(store, tiny(tmp_path).data, seed=0))
    torch.testing.assert_close(network.colours.weight.flatten(), torch.tensor([0.5, 0.5]))


def test_a_run_starts_at_the_best_affine_map(tmp_path, tiles):
    config = tiny(tmp_path, tiles, steps=1, lr=1e-12)
    config = type(config).model_validate(
        config.model_dump(mode="json", by_alias=True)
        | {"model": {"decoder": GATED}, "objective": {"preset": "custom", "paired": {"x_tilde": 1}}}
    )
    # What is left is the features' small start; a random map of colours has a PSNR near 5 dB.
    assert train(config).scores["forward/psnr"] > 25


def test_a_run_goes_on_from_a_bundles_weights_and_says_so(tmp_path, tiles):
    first = train(tiny(tmp_path, tiles, steps=4))
    trained = load_bundle(first.bundle)
    second = tiny(tmp_path / "second", tiles, steps=1, lr=1e-12, init=str(first.bundle))
    result = train(second)
    again = load_bundle(result.bundle)
    for name in ("decoder", "encoder"):
        saved = named_tensors(getattr(trained, name))
        for key, tensor in named_tensors(getattr(again, name)).items():
            torch.testing.assert_close(tensor, saved[key], atol=1e-9, rtol=1e-6)
    assert again.record["initial"] == trained.hash
    assert trained.record["initial"] is None


def test_a_resumed_run_needs_its_first_bundle_no_more(tmp_path, tiles):
    first = train(tiny(tmp_path, tiles, steps=2))
    halfway = tiny(tmp_path / "second", tiles, steps=2, init=str(first.bundle))
    train(halfway)
    halfway.train.steps = 4
    hash_before = load_bundle(first.bundle).hash
    first.bundle.rename(tmp_path / "gone")
    resumed = train(halfway)
    assert load_bundle(resumed.bundle).record["initial"] == hash_before
    newest = Checkpoints(halfway.train.out / "checkpoints").latest(print)
    assert contents(newest.path)["state"]["initial"] == hash_before


def test_the_last_weights_may_be_the_best(tmp_path, tiles):
    assert Selection(None).prefers({"forward/psnr": 1.0}, {"forward/psnr": 2.0})
    assert not Selection("forward/psnr", True).prefers({"forward/psnr": 1.0}, {"forward/psnr": 2.0})
    result = train(tiny(tmp_path, tiles, select="last"))
    assert result.best_step == result.step == 9


def test_another_network_is_refused(tmp_path, tiles):
    bundle = train(tiny(tmp_path, tiles, steps=1)).bundle
    network = build_generator(NAFNetConfig(width=4, depth=1), 2, 1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ImgturboError, match=r"train\.init: the decoder of .* another network"):
        start_at_bundle({"decoder": network}, bundle)
    assert all(np.array_equal(before[key], value) for key, value in network.state_dict().items())


def test_a_missing_bundle_is_named_before_the_first_step(tmp_path, tiles):
    with pytest.raises(ImgturboError, match="nowhere"):
        train(tiny(tmp_path, tiles, init=str(tmp_path / "nowhere")))
