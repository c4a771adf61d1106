"""Laws of calibration: what a perfect model scores, and that imperfect ones are found out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from imgturbo.errors import ImgturboError
from imgturbo.metrics.calibration import (
    calibration_error,
    coverage_of_ranks,
    crps,
    energy_score,
    interval_coverage,
    rank_histogram,
    uniformity,
)

LEVELS = (0.5, 0.68, 0.9, 0.95)


def gaussian(samples=31, spread=1.0, shift=0.0, shape=(2, 3, 61, 67), seed=0):
    """Truths around known means, and samples around the same ones; (samples, target)."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(shape, generator=generator)
    scale = 0.1 + torch.rand(shape, generator=generator)
    target = mean + scale * torch.randn(shape, generator=generator)
    noise = torch.randn(shape[0], samples, *shape[1:], generator=generator)
    return (mean + shift)[:, None] + spread * scale[:, None] * noise, target


@pytest.mark.parametrize("count", [2, 7, 31, 64])
def test_a_perfect_model_is_nominal_at_any_number_of_samples(count):
    samples, target = gaussian(count)
    counts = rank_histogram(samples, target).sum(0)
    found = coverage_of_ranks(counts, LEVELS)
    for level, value in zip(LEVELS, found.tolist(), strict=True):
        assert value == pytest.approx(level, abs=5 * math.sqrt(level * (1 - level) / 24522))
    assert calibration_error(counts) < 0.01
    flat = uniformity(counts)
    assert flat.degrees == count
    assert flat.p_value > 1e-4
    assert flat.misplaced < 0.05


@pytest.mark.parametrize(("spread", "more"), [(0.5, False), (2.0, True)])
def test_wrong_spread_is_found_out(spread, more):
    samples, target = gaussian(127, spread=spread, shape=(1, 3, 61, 67))
    counts = rank_histogram(samples, target).sum(0)
    found = coverage_of_ranks(counts, LEVELS)
    for level, value in zip(LEVELS, found.tolist(), strict=True):
        exact = math.erf(spread * torch.special.ndtri(torch.tensor(0.5 + level / 2)) / math.sqrt(2))
        assert (value > level) == more
        assert value == pytest.approx(exact, abs=0.04)
    assert (counts[0] + counts[-1] < 2 * counts[63]) == more  # a dome, not a bowl
    assert calibration_error(counts) > 0.1
    assert uniformity(counts).p_value < 1e-6


def test_bias_leans_the_histogram():
    counts = rank_histogram(*gaussian(shift=0.5)).sum(0)
    assert counts[:16].sum() > 1.5 * counts[16:].sum()


def test_coverage_holds_every_level_at_once():
    counts = torch.randint(1, 100, (3, 18), generator=torch.Generator().manual_seed(0))
    ends = coverage_of_ranks(counts, [0.0, 1.0])
    torch.testing.assert_close(ends, torch.tensor([[0.0, 1.0]]).double().expand(3, 2))
    rising = coverage_of_ranks(counts, torch.linspace(0, 1, 101).tolist())
    assert (rising.diff(dim=-1) >= -1e-12).all()
    # (16 of 18 equal bins lie wholly within the central interval of level 16/18)
    inner = coverage_of_ranks(counts, [16 / 18])[:, 0]
    torch.testing.assert_close(inner, counts[:, 1:-1].sum(1).double() / counts.sum(1))
    with pytest.raises(ImgturboError, match="between 0 and 1"):
        coverage_of_ranks(counts, [90])
    assert coverage_of_ranks(torch.zeros(18, dtype=torch.long), [0.5]).isnan().all()


def test_ties_are_broken_evenly():
    """A model that says 0 of a truth that is 0 is perfect; so is its histogram."""
    samples, target = torch.zeros(1, 9, 2, 100, 101), torch.zeros(1, 2, 100, 101)
    counts = rank_histogram(samples, target, seed=3)
    assert counts.shape == (2, 10)
    assert uniformity(counts[0]).p_value > 1e-4
    assert torch.equal(counts, rank_histogram(samples, target, seed=3))
    assert not torch.equal(counts, rank_histogram(samples, target, seed=4))


def test_the_callers_randomness_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    rank_histogram(*gaussian(5, shape=(1, 1, 3, 3)))
    assert torch.equal(before, torch.get_rng_state())


def test_ranks_are_per_band():
    samples, target = gaussian(7, shape=(2, 3, 20, 20))
    target[:, 1] = 100
    target[:, 2] = -100
    counts = rank_histogram(samples, target)
    assert counts[1].tolist() == [0] * 7 + [800]
    assert counts[2].tolist() == [800] + [0] * 7
    assert counts[0].sum() == 800


def test_given_quantile_planes():
    _, target = gaussian(2, shape=(2, 1, 50, 50))
    low, high = torch.full_like(target, -math.inf), torch.full_like(target, math.inf)
    assert interval_coverage(low, high, target).tolist() == [1, 1]
    valid = torch.zeros(2, 1, 50, 50, dtype=torch.bool)
    valid[0, :, :10] = True
    middle = torch.where(valid, target, math.nan)  # the interval is closed: it holds its ends
    score = interval_coverage(middle, middle, target, valid)
    assert score[0] == 1
    assert score[1].isnan()


def test_ranks_and_intervals_by_hand():
    samples = torch.tensor([3.0, 1.0, 2.0]).view(1, 3, 1, 1, 1).expand(1, 3, 1, 1, 5)
    target = torch.tensor([0.5, 1.5, 2.5, 3.5, 9.0]).view(1, 1, 1, 5)
    assert rank_histogram(samples, target).tolist() == [[1, 1, 1, 2]]
    low, high = torch.full_like(target, 1.5), torch.full_like(target, 3.5)
    assert interval_coverage(low, high, target).item() == pytest.approx(3 / 5)
    assert interval_coverage(low, high, target).dtype == torch.float64


def test_ties_fill_the_ranks_between_alike():
    """Two samples below the truth, three equal to it, one above: ranks 2 to 5 of 6, a quarter each.

    Without a seed it is seed 0.
    """
    values = torch.tensor([1.0, 1, 2, 2, 2, 3]).view(1, 6, 1, 1, 1)
    truth = torch.full((1, 1, 100, 400), 2.0)
    counts = rank_histogram(values.expand(1, 6, 1, 100, 400), truth)[0]
    assert counts[[0, 1, 6]].tolist() == [0, 0, 0]
    assert chisquare(counts[2:6].numpy()).pvalue > 1e-4
    again = rank_histogram(values.expand(1, 6, 1, 100, 400), truth, None, 0)[0]
    assert torch.equal(counts, again)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40).filter(any))
def test_uniformity_is_scipys_test_and_counts_what_must_move(counts):
    flat = uniformity(torch.tensor(counts))
    exact = chisquare(counts)
    assert flat.chi_square == pytest.approx(exact.statistic, rel=1e-9, abs=1e-12)
    assert flat.p_value == pytest.approx(exact.pvalue, rel=1e-9, abs=1e-12)
    assert flat.degrees == len(counts) - 1
    # What stands above the mean must go, and fills what lies below.
    mean = sum(counts) / len(counts)
    over = sum(max(c - mean, 0) for c in counts)
    assert flat.misplaced == pytest.approx(over / sum(counts), abs=1e-12)
    assert uniformity(torch.tensor([0, 0, 0, 9])).misplaced == pytest.approx(3 / 4)


def test_calibration_error_by_hand():
    """All ranks in the middle of three bins: u fills the central third, the coverage is 3α or 1."""
    levels = np.linspace(0.005, 0.995, 20)
    expected = np.median(np.minimum(3 * levels, 1) - levels)
    assert calibration_error(torch.tensor([0, 7, 0])) == pytest.approx(expected, abs=1e-12)
    assert calibration_error(torch.tensor([5, 5])) == pytest.approx(0, abs=1e-12)
    # All in the outer two: nothing within the central third, then (3α − 1)/2.
    expected = np.median(levels - np.maximum(3 * levels - 1, 0) / 2)
    assert calibration_error(torch.tensor([4, 0, 4])) == pytest.approx(expected, abs=1e-12)


def test_levels_end_at_0_and_1():
    counts = torch.tensor([1, 2, 1])
    for level in (-0.01, 1.01):
        with pytest.raises(ImgturboError, match="between 0 and 1"):
            coverage_of_ranks(counts, [0.5, level])
    # The central half of three bins: the middle third whole, and an eighth of either neighbour
    # (a twelfth of [0, 1] of their third, a quarter of it).
    half = coverage_of_ranks(counts, [0.5])
    assert half.item() == pytest.approx((2 + 0.25 * 1 + 0.25 * 1) / 4)


# ------------------------------------------------------------------------------- CRPS, energy


@pytest.mark.parametrize("score", [crps, energy_score])
def test_scores_by_hand(score):
    """Samples 0, 1, 5 of a truth 2: errors 2, 1, 3; distances 1, 4, 5; 2 − ½ · 10/3 = 1/3."""
    samples = torch.tensor([5.0, 0.0, 1.0]).view(1, 3, 1, 1, 1)
    assert score(samples, torch.full((1, 1, 1, 1), 2.0)).item() == pytest.approx(1 / 3, rel=1e-6)


@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 99))
def test_energy_score_equals_the_double_sum(count, bands, seed):
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(2, count, bands, 3, 5, generator=generator).double()
    target = torch.randn(2, bands, 3, 5, generator=generator).double()
    error = (samples - target[:, None]).square().mean((2, 3, 4)).sqrt().mean(1)
    pairs = (samples[:, :, None] - samples[:, None]).square().mean((3, 4, 5)).sqrt().sum((1, 2))
    expected = error - pairs / (2 * count * (count - 1))
    torch.testing.assert_close(energy_score(samples, target), expected)


def test_crps_of_a_gaussian_equals_its_closed_form():
    """CRPS(N(μ, σ), x) = σ [z (2Φ(z) − 1) + 2φ(z) − 1/√π], z = (x − μ)/σ."""
    generator = torch.Generator().manual_seed(0)
    target = torch.linspace(-2, 3, 9).view(9, 1, 1, 1).double()
    mean, scale = 0.3, 0.7
    shape = (9, 12, 1, 60, 60)
    samples = mean + scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    z = (target.flatten() - mean) / scale
    phi = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    exact = scale * (z * (2 * torch.special.ndtr(z) - 1) + 2 * phi - 1 / math.sqrt(math.pi))
    found = crps(samples, target.expand(9, 1, 60, 60))
    torch.testing.assert_close(found, exact, rtol=0, atol=0.02)  # though N is only 12: it is fair


shapes = st.tuples(
    st.integers(1, 3), st.integers(2, 6), st.integers(1, 3), st.integers(1, 7), st.integers(1, 5)
)


@given(shapes, st.integers(0, 99))
def test_crps_equals_the_double_sum(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(*shape, generator=generator).double()
    target = torch.randn(shape[0], *shape[2:], generator=generator).double()
    count = shape[1]
    error = (samples - target[:, None]).abs().mean((1, 2, 3, 4))
    pairs = (samples[:, :, None] - samples[:, None]).abs().mean((3, 4, 5)).sum((1, 2))
    torch.testing.assert_close(
        crps(samples, target), error - pairs / (2 * count * (count - 1)), rtol=1e-9, atol=1e-12
    )


@given(st.integers(2, 9), st.integers(0, 99))
def test_the_energy_score_of_one_number_is_its_crps(count, seed):
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(4, count, 1, 1, 1, generator=generator).double()
    target = torch.randn(4, 1, 1, 1, generator=generator).double()
    torch.testing.assert_close(energy_score(samples, target), crps(samples, target))


@pytest.mark.parametrize("score", [crps, energy_score])
def test_scores_are_proper(score):
    """The true spread scores better than too little, too much, or a shift."""
    true = score(*gaussian(16, seed=1)).mean()
    for wrong in ({"spread": 0.4}, {"spread": 2.0}, {"shift": 0.5}):
        assert score(*gaussian(16, seed=1, **wrong)).mean() > true


@given(shapes, st.sampled_from([0.0, 1e6, math.nan, math.inf]))
def test_masked_pixels_do_not_matter(shape, garbage):
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(*shape, generator=generator)
    target = torch.randn(shape[0], *shape[2:], generator=generator)
    valid = torch.rand(shape[0], 1, *shape[3:], generator=generator) > 0.4
    valid[0] = False
    spoiled = samples.masked_fill(~valid[:, None], garbage), target.masked_fill(~valid, -garbage)
    for score in (crps, energy_score):
        found = score(*spoiled, valid)
        assert torch.equal(found.nan_to_num(), score(samples, target, valid).nan_to_num())
        assert torch.equal(found.isnan(), ~valid.flatten(1).any(1))
    counts = rank_histogram(*spoiled, valid)
    assert torch.equal(counts, rank_histogram(samples, target, valid))
    assert counts.sum(1).tolist() == [int(valid.sum())] * shape[2]


@pytest.mark.parametrize("score", [crps, energy_score])
def test_one_sample_is_no_distribution(score):
    samples, target = gaussian(1, shape=(1, 1, 4, 4))
    with pytest.raises(ImgturboError, match="2 samples or more"):
        score(samples, target)
