"""Laws of the catalogue: fixed by its seed, rising counts, a red cluster, a lens that bends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.simulate.scene import draw_scene
from data_prep.simulate.sources import Lens, Profile, half_light_radius
from data_prep.simulate.spectra import ab_magnitude

BANDS = ("F606W", "F814W", "F150W", "F444W")


def magnitudes(scene, kind: str, band: str) -> np.ndarray:
    column = scene.bands.index(band)
    return ab_magnitude(np.array([s.flux[column] for s in scene.sources if s.kind == kind]))


@given(seed=st.integers(0, 2**31), side=st.floats(4, 40))
def test_same_seed_same_sky(seed, side):
    first, second = (draw_scene(BANDS, side, seed, density=100) for _ in range(2))
    assert len(first.sources) == len(second.sources)
    for a, b in zip(first.sources, second.sources, strict=True):
        assert (a.kind, a.xi, a.eta) == (b.kind, b.xi, b.eta)
        np.testing.assert_array_equal(a.flux, b.flux)


def test_another_seed_is_another_sky():
    first, second = (draw_scene(BANDS, 20, seed) for seed in (0, 1))
    assert first.sources[0].xi != second.sources[0].xi


@given(seed=st.integers(0, 1000))
def test_bands_do_not_change_the_draw(seed):
    """The same sky through other filters: positions and common fluxes agree."""
    many, few = draw_scene(BANDS, 12, seed), draw_scene(("F444W", "F606W"), 12, seed)
    assert [(s.xi, s.eta) for s in many.sources] == [(s.xi, s.eta) for s in few.sources]
    for a, b in zip(many.sources, few.sources, strict=True):
        np.testing.assert_allclose(a.flux[[3, 0]], b.flux)


@given(seed=st.integers(0, 1000), side=st.floats(5, 60))
def test_fluxes_are_the_sum_of_profiles_and_all_lies_in_the_square(seed, side):
    for source in draw_scene(BANDS, side, seed, density=150).sources:
        assert max(abs(source.xi), abs(source.eta)) < 1.2 * side / 2
        assert np.isfinite(source.flux).all()
        assert source.flux.min() >= 0
        if source.profiles:
            np.testing.assert_allclose(source.flux, sum(p.flux for p in source.profiles))
        for profile in source.profiles:
            assert profile.radius > 0
            assert 0.1 < profile.axis_ratio <= 1
            assert profile.clumps[:, 3].sum() < 0.5


def test_counts_rise_with_magnitude():
    counted = magnitudes(draw_scene(BANDS, 120, 3, cluster=False), "galaxy", "F150W")
    number, _ = np.histogram(counted, np.arange(22, 31, 2))
    assert (np.diff(number) > 0).all()


def test_the_cluster_is_red_tight_and_concentrated():
    scene = draw_scene(BANDS, 60, 0)
    members = [s for s in scene.sources if s.kind == "cluster"]
    colour = magnitudes(scene, "cluster", "F606W") - magnitudes(scene, "cluster", "F814W")
    field = magnitudes(scene, "galaxy", "F606W") - magnitudes(scene, "galaxy", "F814W")
    assert colour.std() < 0.1
    assert np.median(colour) > np.nanmedian(field[np.isfinite(field)]) + 0.2
    assert {s.redshift for s in members} == {scene.cluster_redshift}
    brightest = next(s for s in scene.sources if s.kind == "bcg")
    distance = np.hypot(
        [s.xi - brightest.xi for s in members], [s.eta - brightest.eta for s in members]
    )
    inside, ring = (distance < 9).sum() / 81, ((distance > 9) & (distance < 18)).sum() / 243
    assert inside > 1.5 * ring
    assert brightest.flux[2] > max(s.flux[2] for s in members)


def test_without_a_cluster_there_is_none():
    scene = draw_scene(BANDS, 30, 0, cluster=False)
    assert {s.kind for s in scene.sources} == {"galaxy", "star"}
    assert np.isnan(scene.cluster_redshift)


@given(index=st.floats(0.6, 5), radius=st.floats(0.05, 3))
def test_half_light_radius_of_one_profile_is_its_own(index, radius):
    profile = Profile(radius, index, 0.7, 0.0, np.array([3.0]))
    assert half_light_radius([profile], 0) == pytest.approx(radius, rel=1e-3)
    assert half_light_radius([profile, profile], 0) == pytest.approx(radius, rel=1e-3)
    assert half_light_radius([], 0) == 0


@given(small=st.floats(0.1, 0.5), share=st.floats(0.05, 0.95))
def test_half_light_radius_lies_between_those_of_the_parts(small, share):
    parts = [
        Profile(small, 3.0, 0.8, 0.0, np.array([share])),
        Profile(1.0, 1.0, 0.8, 0.0, np.array([1 - share])),
    ]
    assert small * 0.999 <= half_light_radius(parts, 0) <= 1.001


@given(radius=st.floats(1, 10), angle=st.floats(0, 6.28), offset=st.floats(0.05, 0.9))
def test_an_isothermal_sphere_makes_two_images(radius, angle, offset):
    """Without shear, β is seen at β + θ_E and on the other side at β − θ_E."""
    lens = Lens(0.0, 0.0, radius, 0.0, 0.0)
    beta = offset * radius * np.array([np.sin(angle), np.cos(angle)])
    direction = beta / np.hypot(*beta)
    for image in (beta + radius * direction, beta - radius * direction):
        np.testing.assert_allclose(lens.source_plane(*image), beta, atol=1e-9)


@given(angle=st.floats(0, 180), shear=st.floats(0.01, 0.2))
def test_shear_stretches_along_its_position_angle(angle, shear):
    """Γ has eigenvalue +γ along the angle: a point there maps nearer the centre."""
    lens = Lens(0.0, 0.0, 0.0, shear, angle)
    along = np.array([np.sin(np.radians(angle)), np.cos(np.radians(angle))])
    across = np.array([along[1], -along[0]])
    np.testing.assert_allclose(lens.source_plane(*along), (1 - shear) * along, atol=1e-9)
    np.testing.assert_allclose(lens.source_plane(*across), (1 + shear) * across, atol=1e-9)
