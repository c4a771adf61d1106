"""Hidden pairs are two single tiles each, the same in every run, and never beside each other."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiles_anywhere import anywhere

from imgturbo.config import Config, DataConfig
from imgturbo.data import StoreSource, Tiles, TileSpec, TileStore, open_source
from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

SIDE = Side(("a",), "", Stretch.linear(1), kind="table")
MIXES = [(20, 0, 0), (3, 0, 0), (20, 7, 3), (41, 0, 5)]


def build(path, pairs, sources, targets):
    """Rows of one number, which is the row's own; pairs first, then sources, then targets."""
    with TileStore.create(path, TileSpec(None, SIDE, SIDE, ("sky",), {})) as writer:
        for split in ("train", "validation"):
            start = 0
            for n, z, x in [(pairs, True, True), (sources, True, False), (targets, False, True)]:
                values = np.arange(start, start + n, dtype=np.float32)[:, None]
                start += n
                known = np.ones(n, bool)
                writer.append(
                    split,
                    Tiles(
                        source=values if z else None, target=values if x else None,
                        source_valid=known if z else None, target_valid=known if x else None,
                        **anywhere(n),
                    ),
                )  # fmt: skip
    return TileStore.open(path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {mix: build(folder / f"{'-'.join(map(str, mix))}.zarr", *mix) for mix in MIXES}


def read(store, steps, seed=0, **options):
    source = StoreSource(store, DataConfig(**options), seed)
    batches = [source.batch(step) for step in range(steps)]
    names = ("z_index", "x_index", "paired")
    return [torch.cat([getattr(batch, name) for batch in batches]).numpy() for name in names]


def known_of(store, seed=0, **options):
    z, _, paired = read(store, 1, seed, batch_size=600, **options)
    return set(z[paired].tolist())


@given(
    mix=st.sampled_from(MIXES),
    share=st.floats(0.2, 0.8),
    seed=st.integers(0, 2**63),
    step=st.integers(0, 10**6),
)
def test_the_two_of_a_hidden_pair_never_meet(stores, mix, share, seed, step):
    source = StoreSource(stores[mix], DataConfig(batch_size=200, hide_pairs=share), seed)
    batch = source.batch(step)
    together = batch.z_index == batch.x_index
    known = set(batch.z_index[batch.paired].tolist())
    assert len(known) <= source.pairs == mix[0] - int(share * mix[0] + 0.5)
    assert torch.equal(together | ~batch.paired, torch.ones_like(together))
    # Beside each other without being called a pair: by chance, and only what is known.
    assert set(batch.z_index[together & ~batch.paired].tolist()) <= known


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_both_stay_in_the_run_as_singles(stores, mix, share):
    """Over whole passes and blocks each row of either side comes up equally often."""
    pairs, sources, targets = mix
    nz, nx = pairs + sources, pairs + targets
    whole = int(np.lcm.reduce([nz, nx, 128]))
    source = StoreSource(stores[mix], DataConfig(batch_size=1, hide_pairs=share), 3)
    z, x = source._unpaired(np.arange(whole))
    with_x = [*range(pairs), *range(pairs + sources, pairs + sources + targets)]
    assert Counter(z.tolist()) == dict.fromkeys(range(nz), whole // nz)
    assert Counter(x.tolist()) == dict.fromkeys(with_x, whole // nx)


@given(
    seed=st.integers(0, 2**63),
    shares=st.lists(st.sampled_from([0.05, 0.25, 0.5, 0.75, 0.95]), min_size=2, max_size=2),
)
def test_what_is_known_is_nested_and_the_seeds(stores, seed, shares):
    less, more = sorted(shares)
    store = stores[20, 7, 3]
    more_known, fewer_known = (
        known_of(store, seed, hide_pairs=share, paired_fraction=1.0) for share in (less, more)
    )
    assert fewer_known <= more_known
    assert len(fewer_known) == 20 - int(20 * more + 0.5)
    assert more_known == known_of(store, seed, hide_pairs=less, pairing="paired")


def test_another_seed_knows_others(stores):
    known = [known_of(stores[41, 0, 5], seed, hide_pairs=0.75) for seed in range(4)]
    assert len({frozenset(one) for one in known}) == 4


@given(
    mix=st.sampled_from(MIXES),
    step=st.integers(0, 10**6),
    size=st.integers(1, 5),
    world=st.integers(1, 3),
)
def test_ranks_share_the_joint_batch(stores, mix, step, size, world):
    config = DataConfig(batch_size=size, hide_pairs=0.5)
    joint = config.model_copy(update={"batch_size": size * world})
    whole = StoreSource(stores[mix], joint, 1).batch(step)
    parts = [StoreSource(stores[mix], config, 1, rank, world).batch(step) for rank in range(world)]
    for name in ("z", "x", "paired", "z_index", "x_index"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(p, name) for p in parts]))


def test_as_many_pairs_as_let_each_tile_be_seen_once(stores):
    """By default 5 known pairs of 20 are a quarter of the samples; as many as asked, if asked."""
    store = stores[20, 0, 0]
    _, _, paired = read(store, 40, batch_size=2, hide_pairs=0.75)
    assert paired.sum() == 20
    _, _, paired = read(store, 40, batch_size=2, hide_pairs=0.75, paired_fraction=0.5)
    assert paired.sum() == 40
    z, x, paired = read(store, 40, batch_size=2, hide_pairs=0.75, pairing="paired")
    assert paired.all()
    assert np.array_equal(z, x)
    assert len(set(z)) == 5


def test_nothing_hidden_changes_nothing(stores):
    before = read(stores[20, 7, 3], 30, batch_size=4)
    for kept, now in zip(
        before, read(stores[20, 7, 3], 30, batch_size=4, hide_pairs=0), strict=True
    ):
        assert np.array_equal(kept, now)


def test_validation_keeps_its_pairs(stores):
    source = StoreSource(stores[20, 0, 0], DataConfig(hide_pairs=1), 0)
    assert source.pairs == 0
    batches = list(source.validation(8))
    assert sum(int(batch.paired.sum()) for batch in batches) == 20
    assert all(torch.equal(batch.z_index, batch.x_index) for batch in batches)


@pytest.mark.parametrize(
    ("mix", "options", "words"),
    [
        ((20, 0, 0), {"hide_pairs": 0.5, "pairing": "unpaired"}, "'data.pairing: unpaired' knows"),
        ((20, 0, 0), {"hide_pairs": 0.5, "paired_fraction": 0}, "'data.paired_fraction: 0' knows"),
        ((20, 0, 0), {"hide_pairs": 0.99}, "leaves none of 20 pairs; set it to 1 .* most 0.95"),
        ((20, 0, 0), {"hide_pairs": 0.02}, "is none of 20 pairs; leave it out, or hide 0.05"),
        ((20, 0, 0), {"hide_pairs": 1, "pairing": "paired"}, "hides all pairs, but 'data.pairing"),
        ((20, 0, 0), {"hide_pairs": 1, "paired_fraction": 0.5}, "'data.paired_fraction' asks"),
        ((0, 4, 4), {"hide_pairs": 0.5}, "no training tile is a pair, so that 'data.hide_pairs'"),
        ((2, 0, 0), {"hide_pairs": 0.5}, "too few other tiles to keep the two of a pair apart"),
    ],
)
def test_contradictions_are_one_line(tmp_path, mix, options, words):
    store = build(tmp_path / "t.zarr", *mix)
    with pytest.raises(ImgturboError, match=words) as caught:
        StoreSource(store, DataConfig(**options), 0)
    assert "\n" not in str(caught.value)


def test_nothing_else_hides_pairs():
    overrides = ["data.source={kind: simulator, name: linear}", "data.hide_pairs=0.5"]
    with pytest.raises(ImgturboError, match="but the simulator linear draws both sides"):
        open_source(Config.from_overrides(overrides))
