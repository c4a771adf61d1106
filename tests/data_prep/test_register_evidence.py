"""A match is evidence or it is refused, and what a registration says of itself is true."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from benchmarks.registration import related, true_error, unrelated
from data_prep.register import register
from data_prep.register.chance import independent, local_density, log_false_alarms
from data_prep.register.coordinates import pixels_to_pixels
from data_prep.register.neighbours import agreeing, believable, nearby_offset, tempered
from data_prep.register.polynomial import excess, fit_weighted, formal_error
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError


@pytest.mark.parametrize("coordinates", [True, False])
@pytest.mark.parametrize(("size", "pairs"), [(256, 6), (512, 4), (1024, 2)])
def test_unrelated_skies_are_refused(size, pairs, coordinates):
    for index in range(pairs):
        source, target = unrelated(size, 9000 + index, coordinates)
        with pytest.raises(ImgturboError, match=r"no better than chance|too few sources"):
            register(source, target, RegisterConfig(min_sources=3))


def test_a_refusal_names_the_numbers_and_the_remedy():
    source, target = unrelated(1024, 9001, True)
    with pytest.raises(ImgturboError) as caught:
        register(source, target, RegisterConfig(model="shift", min_sources=4))
    message = str(caught.value)
    for part in ("no better than chance", "sources agree to", "by accident", "max_shift (3.0"):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_offset_beyond_max_shift_is_refused_or_said(seed):
    """The true offset is more than 0.25 arcsec, of which 0.05 may be searched."""
    source, target, truth = related(512, seed, True, "none", 0.0)
    middle = np.array([[256.0, 256.0]])
    assert np.hypot(*(truth(middle) - middle).T)[0] > 5
    with pytest.raises(ImgturboError, match=r"max_shift|too few sources"):
        register(source, target, RegisterConfig(max_shift=0.05))


@pytest.mark.parametrize(
    ("kind", "amplitude", "model", "local"),
    [
        ("cubic", 2.0, "affine", False),
        ("cubic", 4.0, "affine", False),
        ("quadratic", 1.0, "affine", False),
        ("waves", 1.0, "shift", False),
        ("waves", 1.0, "affine", True),
    ],
)
def test_the_held_out_residual_is_the_true_error(kind, amplitude, model, local):
    """In the mean over pairs, within 30 %, where no map of the model can follow the truth."""
    ratios = []
    for seed in range(6):
        source, target, truth = related(512, 40 + seed, bool(seed % 2), kind, amplitude)
        found = register(source, target, RegisterConfig(model=model, local=local))
        ratios.append(found.residual_held_out / true_error(found, truth, 512))
        assert found.rejected < 0.15 * found.matched
    assert 0.7 < np.median(ratios) < 1.3


def test_the_residual_of_a_straight_pair_is_small_and_not_too_small():
    for seed in range(4):
        source, target, truth = related(512, 70 + seed, True, "none", 0.0)
        found = register(source, target, RegisterConfig())
        assert true_error(found, truth, 512) < 0.15
        assert 0.5 * true_error(found, truth, 512) < found.residual_held_out < 0.3


def test_the_local_residual_is_large_where_the_map_is_bad():
    source, target, truth = related(1024, 3, True, "cubic", 4.0)
    found = register(source, target, RegisterConfig())
    y, x = np.mgrid[30:1000:24, 30:1000:24].astype(float)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    mapped = pixels_to_pixels(found.source_wcs, found.target_wcs, points)
    wrong = np.hypot(*(mapped - truth(points)).T)
    local = found.residual_at(*mapped.T)
    assert local.shape == wrong.shape
    assert np.corrcoef(local, wrong)[0, 1] > 0.4
    bad = wrong > np.percentile(wrong, 80)
    assert local[bad].mean() > 1.3 * local[~bad].mean()


# ------------------------------------------------------------------------------------- chance


@given(
    count=st.integers(6, 300),
    density=st.floats(1e-6, 1e-3),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_false_alarms_are_the_formula(count, density, share, seed):
    """Against the sum written out, and fewer with every pair that is nearer."""
    rng = np.random.default_rng(seed)
    lengths = np.sort(rng.uniform(0.1, 3, max(1, int(share * count))))
    partners = [7.0, 3.0, 3.0]
    expected = np.inf
    for k in range(4, len(lengths) + 1):
        p = 1 - np.exp(-density * np.pi * lengths[k - 1] ** 2)
        tail = np.log10(np.maximum(binom.sf(k - 4, count - 3, p), 1e-300))
        expected = min(expected, tail + np.log10(count**4 * 63))
    found = log_false_alarms(lengths, count, density, partners)
    if expected > -250:
        assert found == pytest.approx(expected, abs=1e-3)
    else:
        assert found < -240
    assert log_false_alarms(lengths / 2, count, density, partners) <= found + 1e-9


def test_random_skies_give_as_many_false_alarms_as_it_says():
    """Under one given map (p = 0): alarms below one in a hundred come less often than that."""
    rng = np.random.default_rng(5)
    alarms = []
    for _ in range(400):
        distances = np.sqrt(rng.exponential(1 / (np.pi * 2e-3), 50))  # to the nearest of a Poisson
        alarms.append(log_false_alarms(distances[distances < 8], 50, 2e-3, []))
    assert np.mean(np.array(alarms) < -2) < 0.01
    assert np.mean(np.array(alarms) < 0) < 0.5


def test_a_crowd_counts_once_and_density_is_local():
    rng = np.random.default_rng(2)
    crowd = rng.normal(500, 3, (40, 2))
    spread = rng.uniform(0, 1000, (30, 2))
    chosen = independent(np.concatenate([spread, crowd]))
    assert 25 <= (chosen < 30).sum() <= 30
    assert (chosen >= 30).sum() <= 4
    field = rng.uniform(0, 1000, (900, 2))
    assert local_density(field, field, 1e6, 3.0) == pytest.approx(9e-4, rel=0.2)
    assert local_density(crowd, crowd, 1e6, 3.0) > 100 * 40 / 1e6


# ---------------------------------------------------------------------------------- neighbours


def wavy(rng, count=200):
    points = rng.uniform(0, 500, (count, 2))
    offsets = np.stack([2 * np.sin(points[:, 0] / 120), (points[:, 1] / 300) ** 3], axis=1)
    return points, offsets, np.full(count, 0.05)


def test_distortion_is_not_rejected_and_mistakes_are():
    rng = np.random.default_rng(0)
    points, offsets, noise = wavy(rng)
    offsets = offsets + rng.normal(0, 0.05, offsets.shape)
    assert agreeing(points, offsets, noise, 0.75).mean() > 0.97
    wrong = rng.choice(200, 40, replace=False)
    offsets[wrong] += rng.uniform(-3, 3, (40, 2))
    keep = agreeing(points, offsets, noise, 0.75)
    far = np.hypot(*(offsets - wavy(np.random.default_rng(0))[1])[wrong].T) > 1.0
    assert not keep[wrong][far].any()
    assert np.delete(keep, wrong).mean() > 0.95


def test_neighbours_tell_a_plane_exactly():
    rng = np.random.default_rng(1)
    points = rng.uniform(0, 100, (60, 2))
    offsets = points @ np.array([[0.01, 0.002], [-0.003, 0.02]]) + [1.0, 2.0]
    told = nearby_offset(points, points, offsets, np.full(60, 0.01), 1.0, True)
    assert np.allclose(told, offsets, atol=0.02)


def test_a_blend_is_cut_and_the_smooth_part_stays():
    points, offsets, noise = wavy(np.random.default_rng(3))
    moved = offsets.copy()
    moved[7] += [5.0, 0.0]
    cut = tempered(points, moved, noise)
    assert np.hypot(*(cut - offsets)[7]) < 0.5
    assert np.abs(cut - offsets).max() < 0.5


@given(factor=st.floats(0.3, 4.0), seed=st.integers(0, 99))
def test_noise_is_believed_as_far_as_neighbours_show_it(factor, seed):
    """Stated too large it is scaled to the truth, stated too small it is left alone."""
    rng = np.random.default_rng(seed)
    points, offsets, _ = wavy(rng, 300)
    offsets = 0.2 * offsets + rng.normal(0, 0.2, offsets.shape)
    believed = believable(points, offsets, 0.2 * factor * np.ones(300))
    assert believed == pytest.approx(0.2 * min(factor, 1), rel=0.25)


def test_tempering_keeps_the_rms_of_gaussian_offsets():
    rng = np.random.default_rng(6)
    points = rng.uniform(0, 500, (2000, 2))
    offsets = rng.normal(0, 0.3, (2000, 2))
    cut = tempered(points, offsets, np.full(2000, 0.3))
    assert np.sqrt(np.mean(cut**2)) == pytest.approx(0.3, rel=0.04)


# -------------------------------------------------------------------------------------- excess


@given(tau=st.floats(0, 3), seed=st.integers(0, 1000))
def test_excess_is_what_noise_does_not_explain(tau, seed):
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.05, 1.0, 4000)
    vectors = rng.standard_normal((4000, 2)) * np.hypot(noise, tau)[:, None]
    assert excess(vectors, noise) == pytest.approx(tau, rel=0.07, abs=0.08)


def test_noisy_pairs_weigh_less_and_the_formal_error_is_right():
    """Over many draws the rms error of the map is what ``formal_error`` says."""
    rng = np.random.default_rng(4)
    points = rng.uniform(0, 300, (60, 2))
    noise = np.where(np.arange(60) < 20, 0.03, 0.6)
    at = rng.uniform(0, 300, (80, 2))
    errors = []
    for _ in range(200):
        observed = points + 2.0 + rng.standard_normal((60, 2)) * noise[:, None]
        polynomial, total = fit_weighted(points, observed, 1, noise)
        errors.append(np.mean(np.sum((polynomial(at) - at - 2.0) ** 2, axis=1)))
    assert np.sqrt(np.mean(errors)) == pytest.approx(formal_error(points, 1, noise, at), rel=0.15)
    assert np.allclose(total[:20], 0.03, atol=0.03)
