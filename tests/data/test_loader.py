"""Batches are a pure function of (seed, step, rank, world), whatever the mixture of pairs."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiles_anywhere import anywhere

from imgturbo.config import DataConfig
from imgturbo.data import StoreSource, Tiles, TileSpec, TileStore, validation_batches
from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

TILE = 12


def describe(channels):
    names = tuple(f"B{i}" for i in range(channels))
    return Side(names, "MJy/sr", Stretch.linear(channels), pixel_scale=0.1)


def coded(rows, channels, tile=TILE):
    """Images whose value tells row, channel and pixel: any mistaken move shows."""
    pixel = np.arange(tile * tile, dtype=np.float32).reshape(tile, tile) / (tile * tile)
    rows = np.asarray(rows, np.float32)[:, None, None, None]
    return rows + 1000 * np.arange(channels, dtype=np.float32)[:, None, None] + pixel


def build(path, pairs=0, sources=0, targets=0, z_channels=5, x_channels=1, tile=TILE):
    spec = TileSpec(tile, describe(z_channels), describe(x_channels), ("sky",), {})
    with TileStore.create(path, spec) as writer:
        start = 0
        for split in ("train", "validation"):
            start = 0
            for n, z, x in [(pairs, True, True), (sources, True, False), (targets, False, True)]:
                rows = np.arange(start, start + n)
                start += n
                # A mask that a symmetry moves, different in every row.
                mask = coded(rows, 1, tile)[:, 0] % 0.37 > 0.1
                writer.append(
                    split,
                    Tiles(
                        source=coded(rows, z_channels, tile) if z else None,
                        target=coded(rows, x_channels, tile) if x else None,
                        source_valid=mask if z else None,
                        target_valid=mask if x else None,
                        **anywhere(n),
                    ),
                )
    return TileStore.open(path)


def same(a, b):
    names = ("z", "x", "z_valid", "x_valid", "paired", "z_index", "x_index")
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in names) and a.labels == b.labels


def join(*batches):
    names = ("z", "x", "z_valid", "x_valid", "paired", "z_index", "x_index")
    return [torch.cat([getattr(b, n) for b in batches]) for n in names]


MIXES = [(7, 0, 0), (0, 5, 3), (4, 3, 6), (3, 5, 0), (1, 1, 1)]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {mix: build(folder / f"{'-'.join(map(str, mix))}.zarr", *mix) for mix in MIXES}


@given(
    mix=st.sampled_from(MIXES),
    seed=st.integers(-5, 2**63),
    step=st.integers(0, 10**7),
    size=st.integers(1, 5),
    world=st.integers(1, 3),
    crop=st.sampled_from([None, 8, 11]),
    augment=st.sampled_from(["none", "mirror", "flips", "d4"]),
)
def test_ranks_share_the_joint_batch(stores, mix, seed, step, size, world, crop, augment):
    """world processes with B each see what one process with world × B would, at any step."""
    store = stores[mix]
    config = DataConfig(batch_size=size, crop=crop, augment=augment)
    joint = StoreSource(store, config.model_copy(update={"batch_size": size * world}), seed)
    parts = [StoreSource(store, config, seed, rank, world).batch(step) for rank in range(world)]
    for whole, shared in zip(join(joint.batch(step)), join(*parts), strict=True):
        assert torch.equal(whole, shared)


@given(mix=st.sampled_from(MIXES), first=st.integers(0, 50), workers=st.integers(1, 3))
def test_resumed_and_prefetched_batches_are_the_same(stores, mix, first, workers):
    config = DataConfig(batch_size=3, crop=9)
    loader = StoreSource(stores[mix], config, 1)
    expected = list(islice(loader.iterate(0), first + 4))[first:]
    threaded = StoreSource(stores[mix], config.model_copy(update={"workers": workers}), 1)
    got = list(islice(threaded.iterate(first), 4))
    assert all(same(a, b) for a, b in zip(expected, got, strict=True))


def test_another_seed_is_another_order(stores):
    config = DataConfig(batch_size=7)
    batches = [StoreSource(stores[7, 0, 0], config, seed).batch(0) for seed in (0, 1)]
    assert not torch.equal(batches[0].z_index, batches[1].z_index)


@given(step=st.integers(0, 1000), augment=st.sampled_from(["none", "mirror", "flips", "d4"]))
def test_a_pair_moves_as_one(stores, step, augment):
    """z, x and both masks of a pair undergo the same crop and symmetry."""
    config = DataConfig(batch_size=4, crop=9, augment=augment)
    batch = StoreSource(stores[7, 0, 0], config, 0).batch(step)
    assert batch.paired.all()
    assert torch.equal(batch.z_index, batch.x_index)
    assert torch.equal(batch.z[:, :1], batch.x)
    for channel in range(batch.z.shape[1]):
        assert torch.allclose(batch.z[:, channel] - 1000 * channel, batch.x[:, 0], atol=1e-3)
    assert torch.equal(batch.z_valid, batch.x_valid)
    assert torch.equal(batch.z_valid, batch.x % 0.37 > 0.1)


def test_sides_that_are_no_pair_move_apart(stores):
    """Else a critic could tell by the symmetry and the place which two belong together."""
    config = DataConfig(batch_size=64, crop=8, augment="d4")
    batch = StoreSource(stores[0, 5, 3], config, seed=3).batch(0)
    assert not batch.paired.any()
    z, x = (
        batch.z[:, 0] - batch.z_index[:, None, None],
        batch.x[:, 0] - batch.x_index[:, None, None],
    )
    alike = torch.isclose(z, x, atol=1e-4).flatten(1).all(1)
    assert alike.float().mean() < 0.1  # by chance 1 of 8 · 25


@pytest.mark.parametrize(
    ("augment", "order"), [("none", 1), ("mirror", 2), ("flips", 4), ("d4", 8)]
)
def test_each_symmetry_is_drawn_evenly(tmp_path, augment, order):
    store = build(tmp_path / "one.zarr", pairs=1)
    loader = StoreSource(store, DataConfig(batch_size=400, augment=augment), 0)
    images = loader.batch(0).x[:, 0]
    seen = Counter(image.numpy().tobytes() for image in images)
    assert len(seen) == order
    assert min(seen.values()) > 0.6 * 400 / order
    tile = images.new_tensor(coded([0], 1)[0, 0])
    views = {t.rot90(k).numpy().tobytes() for t in (tile, tile.T) for k in range(4)}
    assert set(seen) <= views
    if augment == "mirror":
        assert set(seen) == {v.numpy().tobytes() for v in (tile, tile.flip(1))}
    if augment == "flips":
        flips = [tile, tile.flip(0), tile.flip(1), tile.flip(0, 1)]
        assert set(seen) == {v.numpy().tobytes() for v in flips}


def test_crops_cover_the_tile(tmp_path):
    store = build(tmp_path / "one.zarr", pairs=1)
    config = DataConfig(batch_size=500, crop=8, augment="none")
    corners = StoreSource(store, config, 0).batch(3).x[:, 0, 0, 0] * TILE * TILE
    expected = {y * TILE + x for y in range(5) for x in range(5)}
    assert {round(c) for c in corners.tolist()} == expected


@given(
    mix=st.sampled_from([(7, 0, 0), (4, 3, 6)]),
    fraction=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]),
    size=st.integers(1, 6),
)
def test_paired_fraction_is_kept(stores, mix, fraction, size):
    config = DataConfig(batch_size=size, paired_fraction=fraction)
    loader = StoreSource(stores[mix], config, 0)
    counts = [int(loader.batch(step).paired.sum()) for step in range(40)]
    assert sum(counts) == int(40 * size * fraction + 1e-9)
    assert all(abs(count - size * fraction) < 1 + 1e-9 for count in counts)


@pytest.mark.parametrize("mix", MIXES)
def test_every_row_is_seen_evenly(stores, mix):
    """Over whole epochs each pair is drawn equally often, and so is every row of a marginal."""
    store = stores[mix]
    pairs, sources, targets = mix
    loader = StoreSource(store, DataConfig(batch_size=1), 0)
    fraction = pairs / (pairs + max(sources, targets))
    steps = 2 * 3 * 5 * 7 * 6
    batches = [loader.batch(step) for step in range(steps)]
    paired = Counter(int(b.z_index) for b in batches if b.paired)
    z = Counter(int(b.z_index) for b in batches if not b.paired)
    x = Counter(int(b.x_index) for b in batches if not b.paired)
    assert sum(paired.values()) == int(steps * fraction)
    if pairs:
        assert set(paired) == set(range(pairs))
        assert max(paired.values()) - min(paired.values()) <= 1
    if sources or targets:
        assert set(z) == set(range(pairs + sources))
        assert set(x) == {*range(pairs), *range(pairs + sources, pairs + sources + targets)}
        for side in (z, x):
            assert max(side.values()) - min(side.values()) <= 1


def faces(tmp_path, brightness):
    """Pairs of flat noise, with one step between two halves of a given height in each."""
    n = len(brightness)
    rng = np.random.default_rng(0)
    images = 0.01 * rng.normal(size=(n, 1, TILE, TILE)).astype(np.float32)
    images[:, :, :, TILE // 2 :] += np.asarray(brightness, np.float32)[:, None, None, None]
    spec = TileSpec(TILE, describe(1), describe(1), ("sky",), {})
    with TileStore.create(tmp_path / "faces.zarr", spec) as writer:
        mask = np.ones((n, TILE, TILE), bool)
        mask[-1, :, TILE // 2] = False  # hides the last one's step
        for split in ("train", "validation"):
            writer.append(
                split,
                Tiles(
                    source=images, target=images, source_valid=mask, target_valid=mask,
                    **anywhere(n),
                ),
            )  # fmt: skip
    return TileStore.open(tmp_path / "faces.zarr")


@pytest.mark.parametrize("focus", [0.0, 1.0, 3.0])
def test_focus_goes_by_detail_and_leaves_nothing_out(tmp_path, focus):
    store = faces(tmp_path, [0, 0, 1, 2, 0, 2])
    loader = StoreSource(store, DataConfig(batch_size=1, focus=focus), seed=0)
    seen = Counter(int(loader.batch(step).x_index[0]) for step in range(loader.steps_per_epoch))
    # Squares of the steps, 1 and 4, against their mean over six rows, 5/6.
    expected = [1, 1, 1 + round(focus * 6 / 5), 1 + round(focus * 24 / 5), 1, 1]
    assert [seen[row] for row in range(6)] == expected


def test_focus_has_nothing_to_go_by_in_a_single_tile(tmp_path):
    loader = StoreSource(faces(tmp_path, [1]), DataConfig(batch_size=1, focus=2), seed=0)
    assert loader.steps_per_epoch == 1


def test_unpaired_scrambles_pairs(stores):
    config = DataConfig(batch_size=7, pairing="unpaired")
    loader = StoreSource(stores[7, 0, 0], config, 0)
    batches = [loader.batch(step) for step in range(10)]
    assert not any(b.paired.any() for b in batches)
    same_row = sum(int((b.z_index == b.x_index).sum()) for b in batches)
    assert same_row < 35
    # Each side has its own crop and symmetry: pixels of z do not line up with x's.
    moved = [b.z[:, :1] - b.z_index[:, None, None, None] for b in batches]
    other = [b.x - b.x_index[:, None, None, None] for b in batches]
    assert sum(torch.allclose(a, b) for a, b in zip(moved, other, strict=True)) < 5


def test_paired_leaves_the_unpaired_out(stores):
    loader = StoreSource(stores[4, 3, 6], DataConfig(batch_size=3, pairing="paired"), 0)
    for step in range(10):
        batch = loader.batch(step)
        assert batch.paired.all()
        assert (batch.z_index < 4).all()


def test_steps_per_epoch(stores):
    loader = StoreSource(stores[7, 0, 0], DataConfig(batch_size=2), 0)
    assert loader.steps_per_epoch == 4
    assert StoreSource(stores[0, 5, 3], DataConfig(batch_size=2), 0).steps_per_epoch == 3
    assert StoreSource(stores[4, 3, 6], DataConfig(batch_size=1), 0).steps_per_epoch == 10


@pytest.mark.parametrize(
    ("mix", "options", "words"),
    [
        ((7, 0, 0), {"crop": 13}, "'data.crop' is 13 but the tiles are 12 pixels"),
        ((0, 5, 3), {"pairing": "paired"}, "no training tile is a pair"),
        ((0, 5, 3), {"paired_fraction": 0.5}, "no training tile is a pair"),
        ((7, 0, 0), {"pairing": "paired", "paired_fraction": 0.5}, "has no meaning"),
    ],
)
def test_impossible_wishes_are_named(stores, mix, options, words):
    with pytest.raises(ImgturboError, match=words):
        StoreSource(stores[mix], DataConfig(**options), 0)


def test_a_missing_side_is_named(tmp_path):
    store = build(tmp_path / "t.zarr", sources=4)
    with pytest.raises(ImgturboError, match="no training tile has a target"):
        StoreSource(store, DataConfig(), 0)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("limit", [None, 1, 3, 100])
def test_validation_batches(stores, mix, limit):
    pairs, sources, targets = mix
    batches = list(validation_batches(stores[mix], 2, limit))
    rows = torch.cat([b.z_index for b in batches])
    total = pairs or max(sources, targets)
    assert len(rows) == min(total, limit or total)
    for batch in batches:
        assert batch.paired.all() == bool(pairs)
        expected = coded(batch.x_index.numpy(), 1)
        np.testing.assert_array_equal(batch.x.numpy(), expected)
        assert len(batch.names()) == len(batch)
    assert len(set(rows.tolist())) == min(len(rows), pairs + sources)


def test_tables_of_numbers(tmp_path):
    """Rows (N, C) without a spatial extent: no crop, no symmetry, masks (B, 1)."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 24)).astype(np.float32)
    with TileStore.create(
        tmp_path / "t.zarr", TileSpec(None, describe(24), describe(24), ("events",), {})
    ) as writer:
        writer.append(
            "train",
            Tiles(
                values,
                -values,
                np.ones(20, bool),
                np.ones(20, bool),
                **anywhere(20),
            ),
        )
    loader = StoreSource(TileStore.open(tmp_path / "t.zarr"), DataConfig(batch_size=6), 0)
    batch = loader.batch(2)
    assert batch.z.shape == batch.x.shape == (6, 24)
    assert batch.z_valid.shape == (6, 1)
    np.testing.assert_array_equal(batch.z.numpy(), values[batch.z_index])
    assert torch.equal(batch.z, -batch.x)


def test_to_keeps_everything(stores):
    batch = StoreSource(stores[4, 3, 6], DataConfig(batch_size=3), 0).batch(0)
    assert same(batch, batch.to("cpu"))


def test_loading_needs_no_astropy():
    code = (
        "import sys, imgturbo.data.loader as l\n"
        "from imgturbo.data.augment import apply_symmetry\n"
        "import numpy as np\n"
        "apply_symmetry([np.zeros((3, 4, 4))], (True, 1))\n"
        "assert 'albumentations' in sys.modules and 'astropy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
