"""The laws of every source: batches are a function of (seed, step, rank, world) and nothing else.

Nothing that is trained on is validated on.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tiles_anywhere import anywhere

from imgturbo.config import Config, DataConfig, PriorConfig, SimulatorConfig
from imgturbo.data import (
    PriorSource,
    SimulatorSource,
    Source,
    StoreSource,
    Tiles,
    TileSpec,
    TileStore,
    open_source,
)
from imgturbo.data.passes import any_measured
from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.simulators import Linear
from imgturbo.sky.stretch import Stretch

TENSORS = ("z", "x", "z_valid", "x_valid", "paired", "z_index", "x_index")
KINDS = ("images", "prior", "map", "prior of targets", "simulator", "half paired")


def side(channels: int, kind: str) -> Side:
    names = tuple(f"B{i}" for i in range(channels))
    return Side(names, "MJy/sr", Stretch.linear(channels), kind=kind)


def build(path, *, source=None, target=None, tile=None, n=7) -> TileStore:
    """A store whose sides have so many channels, or are absent; values tell rows apart."""
    kind = "table" if tile is None else "image"
    pixels = () if tile is None else (tile, tile)
    sides = [None if c is None else side(c, kind) for c in (source, target)]
    with TileStore.create(path, TileSpec(tile, *sides, ("field",), {})) as writer:
        for split, first in (("train", 0), ("validation", 100)):
            rows = first + np.arange(n, dtype=np.float32)
            values = [
                None if c is None else np.broadcast_to(
                    rows.reshape(-1, *[1] * (1 + len(pixels))), (n, c, *pixels)
                ).copy()
                for c in (source, target)
            ]  # fmt: skip
            valid = [None if v is None else np.ones((n, *pixels), bool) for v in values]
            writer.append(split, Tiles(*values, *valid, **anywhere(n)))
    return TileStore.open(path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    return {
        "images": build(folder / "images", source=2, target=1, tile=12),
        "targets": build(folder / "targets", target=1, tile=12),
        "sources": build(folder / "sources", source=3),
        "table": build(folder / "table", target=3),
    }


def make(kind: str, stores, size: int, seed: int, **data) -> Source:
    config = DataConfig(batch_size=size, **data)
    if kind == "images":
        return StoreSource(stores["images"], config.model_copy(update={"crop": 9}), seed)
    if kind == "prior":
        return PriorSource(PriorConfig(numbers=5), stores["table"], config, seed)
    if kind == "map":
        wish = PriorConfig(numbers=2, shape="map")
        return PriorSource(wish, stores["targets"], config, seed)
    if kind == "prior of targets":
        return PriorSource(PriorConfig(side="target", numbers=2), stores["sources"], config, seed)
    if kind == "half paired":
        config = config.model_copy(update={"paired_fraction": 0.5})
    return SimulatorSource(SimulatorConfig(name="linear"), config, seed)


def same(a, b) -> bool:
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in TENSORS) and a.labels == b.labels


@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(-5, 2**63),
    step=st.integers(0, 10**7),
    size=st.integers(1, 70),
    world=st.integers(1, 3),
)
def test_ranks_share_the_joint_batch(stores, kind, seed, step, size, world):
    """world processes with B each see what one process with world × B would, at any step."""
    joint = make(kind, stores, size * world, seed).batch(step)
    own = make(kind, stores, size, seed)
    parts = [own.share(rank, world).batch(step) for rank in range(world)]
    for name in TENSORS:
        together = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(getattr(joint, name), together), name
    assert joint.labels == tuple(label for part in parts for label in part.labels)
    assert same(own.share(world - 1, world).alone().batch(step), own.batch(step))


@given(kind=st.sampled_from(KINDS), first=st.integers(0, 50), workers=st.integers(1, 3))
def test_resumed_and_prefetched_batches_are_the_same(stores, kind, first, workers):
    expected = list(islice(make(kind, stores, 3, 1).iterate(0), first + 4))[first:]
    got = list(islice(make(kind, stores, 3, 1, workers=workers).iterate(first), 4))
    assert all(same(a, b) for a, b in zip(expected, got, strict=True))


@given(
    kind=st.sampled_from([k for k in KINDS if k != "images"]),
    seed=st.integers(0, 9),
    steps=st.lists(st.integers(0, 10**6), min_size=2, max_size=4, unique=True),
)
def test_no_draw_comes_back_and_none_is_validated_on(stores, kind, seed, steps):
    source = make(kind, stores, 16, seed)
    drawn = "x" if kind == "prior of targets" else "z"
    seen = [source.batch(step) for step in steps] + list(source.validation(5, 50))
    rows = torch.cat([getattr(batch, drawn).flatten(1) for batch in seen])
    assert len(rows.unique(dim=0)) == len(rows)
    other = {"z": "x", "x": "z"}[drawn]
    if "prior" in kind or kind == "map":  # read from the validation split of the store
        values = torch.cat([getattr(b, other).flatten(1)[:, 0] for b in source.validation(5)])
        assert values.tolist() == [100.0 + row for row in range(7)]


@pytest.mark.parametrize("kind", KINDS)
def test_validation_is_the_same_however_it_is_asked_for(stores, kind):
    """Whatever the seed of the run, the process, and the size of the batches."""
    one = make(kind, stores, 3, seed=1)
    whole = next(iter(one.validation(1000, 6)))
    parts = list(make(kind, stores, 8, seed=2).share(1, 2).validation(4, 6))
    assert [len(part) for part in parts] == [4, 2]
    for name in TENSORS:
        together = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(getattr(whole, name), together), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_says_what_its_batches_hold(stores, kind):
    source = make(kind, stores, 4, 0)
    for batch, extent in (
        (source.batch(3), source.extent),
        (next(source.validation(4)), source.whole),
    ):
        for name, described in (("z", source.source), ("x", source.target)):
            values, valid = getattr(batch, name), getattr(batch, f"{name}_valid")
            assert values.shape[1] == len(described)
            assert values.shape[2:] in ((), (extent, extent))
            assert valid.shape == (4, 1, *values.shape[2:])
            assert (values.dtype, valid.dtype) == (torch.float32, torch.bool)
        assert len(batch.names()) == 4
    assert len(source.digest) == 16
    assert source.sides == {"source": source.source, "target": source.target}


def test_digests_tell_data_apart(stores):
    def prior(**wish):
        return PriorSource(PriorConfig(**wish), stores["table"], DataConfig(), 0).digest

    def linear(simulator=None, **wish):
        wish = SimulatorConfig(name="linear", **wish)
        return SimulatorSource(wish, DataConfig(), 0, simulator=simulator).digest

    newer = Linear()
    newer.version = 2
    digests = [
        stores["table"].digest,
        stores["images"].digest,
        prior(numbers=4),
        prior(numbers=5),
        linear(),
        linear(given="observations"),
        linear(newer),
        linear(Linear(noise=0.1)),
        linear(options={"noise": 0.2}),
    ]
    assert len(set(digests)) == len(digests)
    assert prior(numbers=4) == digests[2]


def test_options_of_a_simulator_come_from_the_config():
    wish = SimulatorConfig(name="linear", options={"matrix": [[1.0]], "mean": [0.0]})
    with pytest.raises(ImgturboError, match=r"'data\.source\.options'.*linear.*'covariance'"):
        SimulatorSource(wish, DataConfig(), 0)
    wish.options["covariance"] = [[2.0]]
    source = SimulatorSource(wish, DataConfig(batch_size=5), 0)
    assert (source.batch(0).z.shape, source.batch(0).x.shape) == ((5, 1), (5, 1))


@pytest.mark.parametrize("given", ["parameters", "observations"])
def test_rows_without_an_observation_are_no_pairs(given):
    class Dark(Linear):
        def observe(self, generator, parameters):
            observed = super().observe(generator, parameters)
            return np.where(parameters[:, :1] > 1, np.nan, observed)

    wish = SimulatorConfig(name="linear", given=given)
    batch = SimulatorSource(wish, DataConfig(batch_size=64), 0, simulator=Dark()).batch(0)
    z, x = (batch.z, batch.x) if given == "parameters" else (batch.x, batch.z)
    valid = batch.x_valid if given == "parameters" else batch.z_valid
    dark = z[:, 0] > 0  # stretched: above its mean
    assert 0 < dark.sum() < 64
    assert torch.equal(valid[:, 0], ~dark)
    assert torch.equal(batch.paired, ~dark)
    assert (x[dark] == 0).all()


@pytest.mark.parametrize("kind", ["prior", "map"])
def test_a_prior_is_standard_normal(stores, kind):
    batch = make(kind, stores, 2000, 0).batch(1)
    assert not batch.paired.any()
    values = batch.z.flatten(1)
    assert abs(values.mean()) < 0.05
    covariance = torch.cov(values[:, :4].T)
    torch.testing.assert_close(covariance, torch.eye(4), atol=0.15, rtol=0)


def test_a_prior_sees_the_tiles_as_an_unpaired_store_would(stores):
    """The same passes, crops and symmetries of x, whether z is read or drawn."""
    config = DataConfig(batch_size=5, crop=8, pairing="unpaired")
    both = StoreSource(stores["images"], config, 3)
    drawn = PriorSource(PriorConfig(replace=True), stores["images"], config, 3)
    for step in (0, 9):
        a, b = both.batch(step), drawn.batch(step)
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.x_index, b.x_index)
        assert b.labels[0] == f"x {stores['images'].split('train').label(int(b.x_index[0]))}"


def test_what_is_given_turns_a_simulator_round(stores):
    there, back = (
        SimulatorSource(SimulatorConfig(name="linear", given=given), DataConfig(), 0)
        for given in ("parameters", "observations")
    )
    assert (there.source, there.target) == (back.target, back.source)
    a, b = there.batch(5), back.batch(5)
    assert torch.equal(a.z, b.x)
    assert torch.equal(a.x, b.z)


def test_unpaired_draws_of_a_simulator_are_independent():
    def correlation(pairing):
        config = DataConfig(batch_size=4000, pairing=pairing)
        batch = SimulatorSource(SimulatorConfig(name="linear"), config, 0).batch(0)
        assert batch.paired.all() == (pairing == "paired")
        return torch.corrcoef(torch.stack([batch.z[:, 0], batch.x[:, 0]]))[0, 1].abs()

    assert correlation("paired") > 0.5
    assert correlation("unpaired") < 0.05


# ------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("store", "wish", "data", "words"),
    [
        ("images", {}, {}, r"hold a source \(B0, B1\).*'data.source.replace: true'"),
        ("images", {"side": "target"}, {}, r"hold a target \(B0\)"),
        ("sources", {}, {}, r"the tiles hold a source"),
        ("targets", {"side": "target"}, {}, r"the tiles hold a target"),
        ("targets", {"replace": True, "side": "target"}, {}, r"the tiles have no source side"),
        ("targets", {}, {"pairing": "paired"}, r"no pairs; leave 'data.pairing'"),
        ("targets", {}, {"paired_fraction": 0.5}, r"no pairs; leave 'data.pairing'"),
        ("table", {"shape": "map"}, {}, r"map but the tiles are rows of a table; set it to vector"),
        ("table", {}, {"crop": 8}, r"'data.crop' is 8 but the tiles are rows of a table"),
        ("targets", {}, {"crop": 13}, r"'data.crop' is 13 but the tiles are 12 pixels"),
    ],
)
def test_contradictory_priors_are_refused_in_one_line(stores, store, wish, data, words):
    with pytest.raises(ImgturboError, match=words) as caught:
        PriorSource(PriorConfig(**wish), stores[store], DataConfig(**data), 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.source={kind: simulator, name: linaer}"], "did you mean 'linear'"),
        (["data.source={kind: simulator, name: x}"], "choose arm.*linear"),
        (["data.source={kind: simulator, name: linear}", "data.crop=8"], "rows of a table"),
        (["data.source={kind: simulator, name: linear}", "data.tiles=t"], "would not be read"),
        (["data.source={kind: prior}", "data.tiles=nowhere"], "nowhere: no such tile store"),
        (["data.tiles=nowhere"], "nowhere: no such tile store"),
    ],
)
def test_what_cannot_be_opened_is_named(overrides, words):
    with pytest.raises(ImgturboError, match=words) as caught:
        open_source(Config.from_overrides(overrides))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.source={kind: prior, sides: source}", "unknown key 'data.source.sides'.*'side'"),
        ("data.source={kind: simulator}", "data.source.name: Field required"),
        ("data.source={kind: simulater}", "data.source: .*'prior', 'simulator'"),
        ("data.source={kind: prior, numbers: 0}", "data.source.numbers: "),
        ("model.decoder={kind: cinn, prior: 7}", r"model\.decoder\.prior: "),
    ],
)
def test_mistakes_in_a_config_are_named_as_they_are_written(override, words):
    with pytest.raises(ImgturboError, match=words):
        Config.from_overrides([override])


def test_each_kind_is_opened_by_its_name(stores):
    tiles = f"data.tiles={stores['table'].path}"
    prior = open_source(Config.from_overrides(["data.source={kind: prior, numbers: 5}", tiles]))
    assert isinstance(prior, PriorSource)
    assert (prior.source.kind, len(prior.source), prior.path) == ("latent", 5, stores["table"].path)
    drawn = open_source(Config.from_overrides(["data.source={kind: simulator, name: linear}"]))
    assert isinstance(drawn, SimulatorSource)
    assert drawn.path is None
    tiles = f"data.tiles={stores['images'].path}"
    assert isinstance(open_source(Config.from_overrides([tiles, "seed=3"]), 1, 2), StoreSource)
    with pytest.raises(ValueError, match="rank 2 of 2"):
        drawn.share(2, 2)


def test_a_source_says_how_many_pairs_there_are_and_how_much_was_measured(tmp_path):
    random = np.random.default_rng(0)
    valid = random.random((5, 12, 12)) > np.linspace(0, 0.8, 5)[:, None, None]
    spec = TileSpec(12, side(1, "image"), side(1, "image"), ("sky",), {})
    image = np.zeros((5, 1, 12, 12), np.float32)
    with TileStore.create(tmp_path / "tiles", spec) as writer:
        writer.append("train", Tiles(image, image, np.ones_like(valid), valid, **anywhere(5)))
    store = TileStore.open(tmp_path / "tiles")
    for crop in (None, 9):
        source = StoreSource(store, DataConfig(crop=crop), seed=0)
        size = crop or 12
        places = [slice(i, i + size) for i in range(13 - size)]
        best = [max(mask[y, x].mean() for y in places for x in places) for mask in valid]
        np.testing.assert_allclose(source.measured(), best)
        assert source.pairs == 5
        cells = [
            max(
                mask[y, x].reshape(size // 3, 3, size // 3, 3).all((1, 3)).mean()
                for y in places
                for x in places
            )
            for mask in valid
        ]
        np.testing.assert_allclose(source.measured(3), cells)
        for sides in (("source",), ("target",), ("source", "target")):
            assert source.counts(sides, True)
            assert source.counts(sides, False)
    apart = StoreSource(store, DataConfig(pairing="unpaired"), seed=0)
    assert (apart.pairs, len(apart.measured())) == (0, 0)
    assert not apart.counts(("target",), True)
    assert apart.counts(("source", "target"), False)
    prior = PriorConfig(replace=True)
    assert PriorSource(prior, store, DataConfig(), seed=0).pairs == 0
    wish = SimulatorConfig(name="linear")
    drawn = SimulatorSource(wish, DataConfig(), seed=0)
    assert drawn.pairs is None
    assert drawn.counts(("source", "target"), True)
    assert drawn.counts(("source",), False)
    drawn = SimulatorSource(wish, DataConfig(pairing="unpaired"), seed=0)
    assert drawn.pairs == 0
    assert not drawn.counts(("source", "target"), True)
    assert drawn.counts(("source", "target"), False)


@given(data=st.data(), count=st.integers(0, 7))
def test_masks_meet_pixel_by_pixel_or_where_their_shapes_differ_row_by_row(data, count):
    """A code of three numbers and an image are measured at once if anything of both is."""

    class Masks:
        def __init__(self, *shape):
            self.all = data.draw(arrays(bool, (count, *shape), elements=st.booleans()))

        def take(self, rows):
            return self.all[rows]

    a, b, code = Masks(2, 3), Masks(2, 3), Masks()
    rows = np.arange(count)
    assert any_measured([a], rows) == a.all.any()
    assert any_measured([a, b], rows) == (a.all & b.all).any()
    assert any_measured([a, code], rows) == (a.all.any((1, 2)) & code.all).any()


def test_a_batch_is_not_changed():
    batch = SimulatorSource(SimulatorConfig(name="linear"), DataConfig(), seed=0).batch(0)
    with pytest.raises(FrozenInstanceError):
        batch.z = batch.x
