"""The configs of events: each is prepared, trained, stopped, resumed exactly, and scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stopped import stop_at
from training_standins import same_ends

from data_prep.prepare import prepare
from imgturbo.bundle import load_bundle
from imgturbo.config import Config
from imgturbo.config.shipped import config_path
from imgturbo.engines import load_settled
from imgturbo.errors import ImgturboError
from imgturbo.events import MASSES, TABLE, Events, write_events
from imgturbo.events.layout import OBJECTS, PARTONS, columns
from imgturbo.events.simple import smeared
from imgturbo.nets.generator import TableGenerator
from imgturbo.scoring.events import evaluate_events, score_events
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.training import train

pytest.importorskip("h5py", reason="files of events need h5py (the extra 'hep')")

NAMES = ("turbosim", "turbosim_momenta", "turbosim_released", "otus", "flow_events")
SMALL = {
    "mlp": {"hidden": [8]},
    "momenta": {"width": 8, "blocks": 1},
    "momenta_flow": {"width": 8, "couplings": 2},
}
STEPS = 6


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """Partons without physics, and what is seen of them: to train on, and to score by."""
    folder, generator = tmp_path_factory.mktemp("events"), np.random.default_rng(1)
    files = []
    for name, n in (("train", 60), ("test", 80)):
        p = generator.normal(0, 60, (n, 6, 3))
        energy = np.sqrt((p**2).sum(2, keepdims=True) + 4.8**2)
        z = np.concatenate([p, energy], 2).reshape(n, 24)
        files.append(folder / f"{name}.h5")
        write_events(files[-1], Events(z, smeared(z, generator)))
    return files


def config_of(name: str, events, folder, **settings) -> Config:
    """The config of this name, with small networks and a few steps."""
    config = load_settled(config_path(f"vectors/{name}.yaml"))
    config.prepare.tables.files = [events[0]]
    config.prepare.tables.fraction = 0.2
    config.prepare.out = folder / "events.zarr"
    tree = config.model_dump(mode="json", by_alias=True)
    for section in ("decoder", "encoder"):
        tree["model"][section] |= SMALL[tree["model"][section]["kind"]]
    tree["model"]["critic"]["hidden"] = [8] if tree["model"]["critic"]["kind"] != "patchgan" else (
        tree["model"]["critic"]["hidden"])  # fmt: skip
    tree["data"]["batch_size"] = 8
    tree["train"] |= {
        "steps": STEPS, "warmup": 2, "validate_every": 3, "checkpoint_every": 2, "log_every": 1,
        "trackers": ["jsonl"], "out": str(folder / "run"),
    } | settings  # fmt: skip
    return Config.model_validate(tree)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_is_prepared_trained_stopped_resumed_and_scored(tmp_path, monkeypatch, events, name):
    config = config_of(name, events, tmp_path)
    prepare(config.prepare)
    whole = train(config)
    parts = config_of(name, events, tmp_path, out=str(tmp_path / "parts"), checkpoint_every=100)
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert not train(parts).finished
    parts.train.checkpoint_every = 2
    ended = train(parts)
    same_ends(whole, ended, STEPS)
    bundle = load_bundle(whole.bundle)
    content = evaluate_events(bundle, events[1], out=tmp_path / "scores", classifier=5)
    assert set(content["observables"]) == set(TABLE)
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == [
        "events.json", "events.png", "migration.png",
    ]  # fmt: skip
    again = evaluate_events(bundle, events[1], out=tmp_path / "scores", classifier=5)
    assert again == content


@pytest.fixture(scope="module")
def bundle(events, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    config = config_of("turbosim_momenta", events, folder, steps=1, validate_every=1)
    prepare(config.prepare)
    return load_bundle(train(config).bundle)


def test_scores_are_those_of_their_definition(bundle, events):
    """KS against scipy's on the same draws; floor and baselines within their bounds."""
    from scipy.stats import ks_2samp

    scores = score_events(bundle, events[1], seed=3, classifier=0)
    content = scores.content
    assert content["events"] == 40
    assert content["auc"] == {}
    for name in TABLE:
        expected = ks_2samp(scores.made[name], scores.truth[name]).statistic
        assert content["observables"][name] == pytest.approx(expected)
    kept = scores.passing
    assert content["passing_share"] == pytest.approx(kept.mean())
    for name in MASSES:
        if kept.any():
            expected = ks_2samp(scores.made[name][kept], scores.truth[name]).statistic
            assert content["passing"][name] == pytest.approx(expected)
    # The toy's detector is the baseline itself: as near as the floor.
    assert content["baseline"]["jet1_E"] < 0.4
    assert set(content["rank_correlation"]) == set(TABLE)


def permuted(side: Side, order: np.ndarray, particles: tuple[str, ...], factor: float) -> Side:
    """A side whose columns are in another order and unit, and mean the same."""
    old = side.stretch
    stretch = Stretch(old.offset[order], old.softening[order], old.scale[order]).scaled(factor)
    names = tuple(np.array(columns(particles))[order])
    return Side(names, "MeV" if factor == 1000 else "GeV", stretch, kind="table")


class Shuffled(TableGenerator):
    """A network whose columns come and go in another order."""

    def __init__(self, network, before, after):
        super().__init__(24, 24, stochastic=True)
        self.network, self.before, self.after = network, np.argsort(before), after

    def forward(self, u, noise=None):
        return self.network(u[:, self.before], noise)[:, self.after]


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_columns_go_by_their_names_and_units(bundle, events, factor):
    from dataclasses import replace

    one, two = (np.random.default_rng(k).permutation(24) for k in (1, 2))
    other = replace(
        bundle,
        source=permuted(bundle.source, one, PARTONS, factor),
        target=permuted(bundle.target, two, OBJECTS, 1.0),
        decoder=Shuffled(bundle.decoder, one, two),
        encoder=Shuffled(bundle.encoder, two, one),
    )
    found, wanted = (score_events(b, events[1], classifier=0) for b in (other, bundle))
    for name in TABLE:
        np.testing.assert_allclose(found.made[name], wanted.made[name], rtol=2e-3, atol=2e-3)


def test_events_that_are_no_numbers_are_said(bundle, events):
    from dataclasses import replace

    class Broken(Shuffled):
        def forward(self, u, noise=None):
            made = super().forward(u, noise)
            made[:3] = torch.nan
            return made

    order = np.arange(24)
    broken = replace(bundle, decoder=Broken(bundle.decoder, order, order))
    with pytest.raises(ImgturboError, match=r"3 of 40 events that it makes \(forward\)"):
        score_events(broken, events[1], classifier=0)


def test_columns_of_unknown_names_or_units(bundle, events):
    from dataclasses import replace

    names = tuple(f"a{k}" for k in range(24))
    named = replace(bundle, source=replace(bundle.source, names=names), encoder=None)
    with pytest.warns(UserWarning, match=r"columns a0, .* are taken for the 24 numbers"):
        score_events(named, events[1], classifier=0)
    metres = replace(bundle, source=replace(bundle.source, units=("m",) * 24), encoder=None)
    with pytest.raises(ImgturboError, match=r"FDL_1 is in m, and the numbers of events are in GeV"):
        score_events(metres, events[1], classifier=0)


def test_one_direction_is_scored_alone(bundle, events, tmp_path):
    from dataclasses import replace

    forward = score_events(replace(bundle, encoder=None), events[1], classifier=5).content
    assert set(forward["observables"]) == {name for name, side in TABLE.items() if side == "x"}
    assert set(forward["auc"]) == {"x"}
    backward = replace(bundle, decoder=None)
    content = evaluate_events(backward, events[1], out=tmp_path, classifier=5)
    assert set(content["observables"]) == {"b_py", "b_pz", "b_E"}
    assert content["passing_share"] is None
    assert content["passing"] == {}


def test_too_few_events_and_other_bundles_are_refused(bundle, events, tmp_path):
    from dataclasses import replace

    from imgturbo.events import read_events

    all_of = read_events(events[1])
    few = tmp_path / "few.h5"
    write_events(few, Events(all_of.z[:30], all_of.x[:30]))
    with pytest.raises(ImgturboError, match=r"30 events are too few.*40 or more"):
        score_events(bundle, few)
    image = replace(bundle.source, kind="image")
    with pytest.raises(ImgturboError, match="kind image, not events"):
        score_events(replace(bundle, source=image), events[1])


def test_a_file_in_the_way_stays(bundle, events, tmp_path):
    (tmp_path / "events.json").write_text("mine")
    with pytest.raises(ImgturboError, match=r"events\.json.*did not make it"):
        evaluate_events(bundle, events[1], out=tmp_path)
    assert (tmp_path / "events.json").read_text() == "mine"
