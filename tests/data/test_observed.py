"""Observations of tiles: a function of (seed, step, rank, world), each tile's noise its own."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiles_anywhere import anywhere

from imgturbo.config import Config, DataConfig, ObservationConfig
from imgturbo.data import ObservationSource, Tiles, TileSpec, TileStore, open_source
from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

TENSORS = ("z", "x", "z_valid", "x_valid", "paired", "z_index", "x_index", "noise")
TILE, ROWS = 9, 7


def build(path, source=False, target=True, tile=TILE):
    """Tiles of one value, the row's own, with a hole in the corner of each."""
    kind = "image" if tile else "table"
    side = Side(("F150W", "F277W"), "MJy/sr", Stretch.linear(2), kind=kind)
    pixels = (tile, tile) if tile else ()
    spec = TileSpec(tile, side if source else None, side if target else None, ("sky",), {})
    with TileStore.create(path, spec) as writer:
        for split, first in (("train", 1), ("validation", 101)):
            rows = first + np.arange(ROWS, dtype=np.float32)
            values = np.broadcast_to(rows.reshape(-1, *[1] * (1 + len(pixels))), (ROWS, 2, *pixels))
            valid = np.ones((ROWS, *pixels), bool)
            if tile:
                valid[:, 0, 0] = False
            writer.append(
                split,
                Tiles(
                    values.copy() if source else None, values.copy() if target else None,
                    valid if source else None, valid if target else None,
                    **anywhere(ROWS),
                ),
            )  # fmt: skip
    return TileStore.open(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return build(tmp_path_factory.mktemp("stores") / "targets.zarr")


def source_of(store, seed=0, wish=None, **options):
    return ObservationSource(wish or ObservationConfig(), store, DataConfig(**options), seed)


@given(
    seed=st.integers(0, 2**63),
    step=st.integers(0, 10**6),
    size=st.integers(1, 4),
    world=st.integers(1, 3),
    fraction=st.sampled_from([None, 0.0, 0.3]),
)
def test_ranks_share_the_joint_batch(store, seed, step, size, world, fraction):
    options = {"crop": 8, "paired_fraction": fraction}
    whole = source_of(store, seed, batch_size=size * world, **options).batch(step)
    own = source_of(store, seed, batch_size=size, **options)
    parts = [own.share(rank, world).batch(step) for rank in range(world)]
    for name in TENSORS:
        assert torch.equal(getattr(whole, name), torch.cat([getattr(p, name) for p in parts]))


def test_a_pair_is_one_tile_moved_as_one(store):
    batch = source_of(store, batch_size=30, crop=8).batch(2)
    assert batch.paired.all()
    assert torch.equal(batch.z_index, batch.x_index)
    assert torch.equal(batch.z_valid, batch.x_valid)
    assert not batch.z_valid.all()
    assert torch.equal(batch.z, batch.x.where(batch.x_valid, 0.0))  # what is unknown is no light
    assert torch.equal(batch.x[:, 0, 4, 4], batch.x_index + 1.0)


def test_unpaired_samples_are_of_independent_tiles(store):
    batch = source_of(store, batch_size=70, pairing="unpaired").batch(0)
    assert not batch.paired.any()
    assert torch.equal(batch.z[:, 0, 4, 4], batch.z_index + 1.0)
    assert 0 < (batch.z_index == batch.x_index).sum() < 35
    for index in (batch.z_index, batch.x_index):
        assert Counter(index.tolist()) == dict.fromkeys(range(ROWS), 10)


def test_noise_is_white_fresh_and_none_of_the_validations(store):
    source = source_of(store, batch_size=50)
    noise = torch.cat([source.batch(step).noise for step in range(4)])
    assert noise.shape == (200, 2, TILE, TILE)
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert len(noise[:, 0, 0, 0].unique()) == 200
    held_out = torch.cat([batch.noise for batch in source.validation(3)])
    again = torch.cat([batch.noise for batch in source_of(store, seed=5).validation(4)])
    assert torch.equal(held_out, again)
    assert not set(held_out[:, 0, 0, 0].tolist()) & set(noise[:, 0, 0, 0].tolist())


def test_validation_is_of_tiles_that_training_never_reads(store):
    source = source_of(store)
    batches = list(source.validation(3, 5))
    assert [len(batch) for batch in batches] == [3, 2]
    assert all(batch.paired.all() and (batch.x[:, :, 4, 4] > 100).all() for batch in batches)
    assert source.source == source.target == store.target
    assert source.digest != store.digest
    assert source.pairs == ROWS
    assert source.measured().tolist() == [1 - 1 / TILE**2] * ROWS


def test_the_batch_moves_with_its_noise(store):
    batch = source_of(store).batch(0)
    assert torch.equal(batch.to("cpu").noise, batch.noise)


@pytest.mark.parametrize(
    ("made", "wish", "options", "words"),
    [
        ({"source": True}, {}, {}, r"tiles hold a source \(F150W, F277W\).*replace: true"),
        ({"tile": None}, {}, {}, "observes images, but the tiles are rows of a table"),
        ({}, {"side": "source"}, {}, "the tiles have no source side"),
        ({}, {}, {"hide_pairs": 0.5}, "'data.source' makes every z of its x"),
        ({}, {}, {"crop": 10}, "'data.crop' is 10 but the tiles are 9 pixels"),
    ],
)
def test_impossible_wishes_are_named(tmp_path, made, wish, options, words):
    store = build(tmp_path / "t.zarr", **made)
    with pytest.raises(ImgturboError, match=words):
        source_of(store, wish=ObservationConfig(**wish), **options)


def test_a_side_may_be_left_unread(tmp_path):
    store = build(tmp_path / "t.zarr", source=True)
    source = source_of(store, wish=ObservationConfig(replace=True))
    assert (source.batch(0).x >= 1).all()


def test_who_observes_is_asked_for(store):
    data = [f"data.tiles={store.path}", "data.source={kind: observation}", "data.crop=8"]
    with pytest.raises(ImgturboError, match="physical encoder, which the config has not"):
        open_source(Config.from_overrides(data))
    operator = "model.encoder={kind: operator, operator: {kind: identity}}"
    assert open_source(Config.from_overrides([*data, operator])).extent == 8
