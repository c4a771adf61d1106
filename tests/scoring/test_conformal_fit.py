"""Intervals fitted on one sky hold on another, whatever the model says of its own spread."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from imgturbo.bundle.intervals import EDGES, Correction, Intervals
from imgturbo.bundle.settings import Settings
from imgturbo.errors import ImgturboError
from imgturbo.scoring.conformal import BLOCK, CAP, _of_strip, ends_of, fitted
from imgturbo.side import Side
from imgturbo.sky import Stretch

LEVELS = ends_of((0.5, 0.9))
STRETCH = Stretch(np.zeros(1), np.full(1, 0.5), np.full(1, 2.0))
SIDE = Side(("F150W",), "MJy/sr", STRETCH, pixel_scale=0.04)
WAY = SimpleNamespace(name="forward", output=SIDE)
# Of N(0, 1), the quantiles that a model of the right spread would give.
NORMAL = np.array([-1.6449, -0.6745, 0.0, 0.6745, 1.6449])


def sky(seed, size=448):
    """Mean, claimed spread and truth: the true spread is 2.5 times that claimed, 4 times where it
    is bright, one-sided, and shared by neighbours."""
    random = np.random.default_rng(seed)
    mean = random.gamma(0.4, 0.8, (1, size, size))
    claimed = 0.2 + 0.1 * mean
    wide = np.where(mean > 1.0, 4.0, 2.5)
    shared = np.repeat(np.repeat(random.exponential(size=(1, size // 8, size // 8)), 8, 1), 8, 2)
    error = 0.7 * (shared - 1) + 0.7 * random.normal(size=mean.shape)
    return mean, claimed, mean + claimed * wide * error


def fit(mean, claimed, truth):
    random = np.random.default_rng(0)
    quantiles = mean + NORMAL[:, None, None, None] * claimed
    r = (truth - quantiles) / (claimed + 1e-3 * 0.5)
    bins = np.searchsorted(EDGES, STRETCH(mean), side="right")
    strips = [
        _of_strip(r[:, 0, top : top + BLOCK], bins[0, top : top + BLOCK], k, random)
        for k, top in enumerate(range(0, mean.shape[1], BLOCK))
    ]
    joined = type(strips[0])(*(np.concatenate(c) for c in zip(*strips, strict=True)))
    return fitted({"F150W": joined}, WAY, 32, 1.0, LEVELS, ["a"], ["b"])


@pytest.fixture(scope="module")
def intervals():
    return fit(*sky(0))


def corrected(intervals, mean, claimed):
    settings = Settings(samples=32, quantiles=LEVELS)
    correction = intervals.correction(settings, SIDE)
    assert isinstance(correction, Correction)
    return correction(mean, claimed, mean + NORMAL[:, None, None, None] * claimed)


def test_another_sky_is_covered_at_every_brightness_and_level(intervals):
    inside = {level: [] for level in (0.5, 0.9)}
    bright = []
    for seed in range(1, 5):
        mean, claimed, truth = sky(seed)
        q05, q25, q50, q75, q95 = corrected(intervals, mean, claimed)
        assert ((q05 <= q25) & (q25 <= q50) & (q50 <= q75) & (q75 <= q95)).all()
        inside[0.5].append(np.mean((q25 <= truth) & (truth <= q75)))
        held = (q05 <= truth) & (truth <= q95)
        inside[0.9].append(held.mean())
        bright += [held[(STRETCH(mean) >= low)].mean() for low in (0.25, 0.5)]
    assert 0.89 < np.mean(inside[0.9]) < 0.93
    assert 0.49 < np.mean(inside[0.5]) < 0.54
    assert min(bright) > 0.87
    assert max(bright) < 0.95
    mean, claimed, truth = sky(9)
    raw = [mean + z * claimed for z in (NORMAL[0], NORMAL[-1])]
    assert np.mean((raw[0] <= truth) & (truth <= raw[1])) < 0.75  # what it was before


def test_what_is_measured_on_folds_is_what_another_sky_shows(intervals):
    measured = intervals.fitted["measured"]
    assert set(measured) == {"0.5", "0.9"}
    found = measured["0.9"]["all"]
    mean, claimed, truth = sky(5)
    ends = corrected(intervals, mean, claimed)
    there = np.mean((ends[0] <= truth) & (truth <= ends[-1]))
    assert found["value"] == pytest.approx(there, abs=0.02)
    assert found["error"] < 0.01
    assert found["value"] >= 0.9 - 3 * found["error"]
    assert 0.85 < measured["0.9"]["bright"]["value"] < 0.95


def test_a_field_too_small_is_refused():
    mean, claimed, truth = (plane[:, :64, :64] for plane in sky(0))
    with pytest.raises(ImgturboError, match=r"F150W: 4 blocks of sky .* give a larger field"):
        fit(mean, claimed, truth)


def test_bins_without_enough_sky_share_the_correction_of_fainter_ones():
    mean, claimed, truth = sky(0)
    mean = np.minimum(mean, 0.6)  # nothing in the brightest bins
    rows = fit(mean, claimed, truth).shifts["F150W"]
    assert len(rows) == len(EDGES) + 1
    assert rows[-1] == rows[-2]
    assert rows[0] != rows[-1]


def test_a_block_counts_no_more_than_its_share():
    random = np.random.default_rng(0)
    bins = np.zeros((BLOCK, 3 * BLOCK), int)
    bins[:, :5] = 2
    r = random.normal(size=(5, BLOCK, 3 * BLOCK))
    stood_for = []
    for seed in range(60):
        found = _of_strip(r, bins, 7, np.random.default_rng(seed))
        groups, count = np.unique(
            np.column_stack([found.block, found.bin]), axis=0, return_counts=True
        )
        assert len(groups) == 4
        assert count.max() == CAP
        stood_for.append(found.weight.sum())
    assert np.mean(stood_for) == pytest.approx(BLOCK * 3 * BLOCK, rel=0.002)


def test_json_and_back(intervals):
    again = Intervals.from_dict(intervals.to_dict())
    assert again == intervals
    assert again.name == intervals.name


@pytest.mark.parametrize(
    "asked",
    [{"samples": 16}, {"temperature": 0.9}, {"quantiles": (0.1, 0.9)}],
)
def test_other_draws_or_levels_are_refused(intervals, asked):
    settings = Settings(**{"samples": 32, "quantiles": (0.05, 0.95), **asked})
    with pytest.raises(
        ImgturboError, match=r"--samples 32 --temperature 1 and --quantiles of 0\.05"
    ):
        intervals.correction(settings, SIDE)
    raw = Settings(**{**vars(settings), "raw_quantiles": True})
    assert intervals.correction(raw, SIDE) is None


def test_ends_of_a_level_outside_are_refused():
    with pytest.raises(ImgturboError, match="lies between 0 and 1"):
        ends_of((1.2,))
