"""Laws of painting: flux and place are kept, blocks agree, rotation is the camera's."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.simulate.camera import Camera, hubble, webb
from data_prep.simulate.render import render
from data_prep.simulate.scene import draw_scene
from data_prep.simulate.sources import Arms, Lens, Profile, Scene, Source

SKY = (110.83, -73.45)
# Wide enough that a PSF of 7″ half side fits whole: 15″ of field.
HUBBLE, WEBB = hubble(["F814W"], 15.0), webb(["F200W"], 401)


def scene_of(camera: Camera, *sources: Source) -> Scene:
    return Scene(camera.bands, SKY, sources, float("nan"))


def centroid(image: np.ndarray) -> tuple[float, float]:
    y, x = np.indices(image.shape)
    return float((image * x).sum() / image.sum()), float((image * y).sum() / image.sum())


def galaxy(flux: float, **changes) -> Profile:
    profile = Profile(0.4, 1.0, 0.6, 30.0, np.array([flux]))
    return replace(profile, **changes)


@pytest.mark.parametrize("camera", [HUBBLE, WEBB], ids=["hst", "jwst"])
@settings(max_examples=4)
@given(xi=st.floats(-0.6, 0.6), eta=st.floats(-0.6, 0.6), flux=st.floats(1, 1e5))
def test_a_star_keeps_its_flux_and_place(camera, xi, eta, flux):
    star = Source("star", xi, eta, float("nan"), np.array([flux]))
    image = render(scene_of(camera, star), camera)[0].astype(float)
    x, y = camera.to_pixel(xi, eta)
    assert image.sum() == pytest.approx(flux, rel=0.01)
    # The core: the far wings of an aberrated PSF are not centred on it.
    row, column = round(y), round(x)
    core = image[row - 3 : row + 4, column - 3 : column + 4]
    cx, cy = centroid(core - core.min())
    assert cx + column - 3 == pytest.approx(x, abs=0.1)
    assert cy + row - 3 == pytest.approx(y, abs=0.1)


@settings(max_examples=6)
@given(
    index=st.sampled_from([0.8, 1.0, 2.5, 4.0]),
    ratio=st.floats(0.2, 1.0),
    angle=st.floats(0, 180),
    xi=st.floats(-0.3, 0.3),
    spiral=st.booleans(),
)
def test_a_galaxy_keeps_its_flux_and_place(index, ratio, angle, xi, spiral):
    arms = Arms(2, 20.0, 40.0, 1.0) if spiral else None
    shape = {"index": index, "axis_ratio": ratio, "position_angle": angle, "arms": arms}
    source = Source("galaxy", xi, 0.2, 1.0, np.array([80.0]), (galaxy(80.0, **shape),))
    image = render(scene_of(WEBB, source), WEBB)[0].astype(float)
    assert image.sum() == pytest.approx(80, rel=0.01)
    x, y = centroid(image)
    assert (x, y) == pytest.approx(WEBB.to_pixel(xi, 0.2), abs=0.15)


def test_clumps_share_the_flux():
    clumps = np.array([[0.8, 0.0, 0.05, 0.2], [-0.5, 0.9, 0.1, 0.1]])
    plain, knotted = (
        render(
            scene_of(
                WEBB,
                Source("galaxy", 0, 0, 1.0, np.array([50.0]), (galaxy(50.0, clumps=c),)),
            ),
            WEBB,
        )[0]
        for c in (np.zeros((0, 4)), clumps)
    )
    assert knotted.sum() == pytest.approx(plain.sum(), rel=1e-4)
    assert (knotted - plain).max() > 0.05 * plain.max()


@pytest.mark.parametrize("camera", [HUBBLE, WEBB], ids=["hst", "jwst"])
@pytest.mark.parametrize("angle", [0.0, 45.0, 100.0])
def test_position_angle_is_east_of_north(camera, angle):
    """Second moments of an elongated galaxy, carried to the sky by the CD matrix."""
    profile = galaxy(100.0, radius=0.7, axis_ratio=0.25, position_angle=angle)
    source = Source("galaxy", 0.0, 0.0, 1.0, np.array([100.0]), (profile,))
    image = render(scene_of(camera, source), camera)[0].astype(float)
    y, x = np.indices(image.shape)
    offset = np.stack([x - camera.centre[0], y - camera.centre[1]]).reshape(2, -1)
    xi, eta = camera.cd @ offset
    weight = image.ravel() * (np.hypot(xi, eta) < 2)
    found = 0.5 * np.degrees(
        np.arctan2(2 * (weight * xi * eta).sum(), (weight * (eta**2 - xi**2)).sum())
    )
    assert (found - angle + 90) % 180 - 90 == pytest.approx(0, abs=2)


@pytest.mark.parametrize(("block", "seed"), [(67, 0), (101, 1)])
def test_blocks_give_the_same_pixels_as_the_whole(block, seed):
    camera = replace(webb(["F150W", "F444W"], 131), shape=(131, 97))
    scene = draw_scene(camera.bands, 8.0, seed)
    whole, parts = render(scene, camera, block=1024), render(scene, camera, block=block)
    assert whole.shape == (2, 131, 97)
    np.testing.assert_allclose(parts, whole, atol=2e-5 * np.abs(whole).max())


def test_a_lensed_galaxy_is_an_arc_on_the_einstein_circle():
    lens = Lens(0.0, 0.0, 2.0, 0.0, 0.0)
    profile = galaxy(100.0, radius=0.12, axis_ratio=1.0, lens=lens)
    source = Source("arc", 2.3, 0.0, 2.0, np.array([100.0]), (profile,))
    image = render(scene_of(WEBB, source), WEBB)[0].astype(float)
    assert image.sum() == pytest.approx(100, rel=0.01)
    y, x = np.indices(image.shape)
    offset = np.stack([x - WEBB.centre[0], y - WEBB.centre[1]]).reshape(2, -1)
    xi, eta = WEBB.cd @ offset
    light = image.ravel()
    east = light * (xi > 0) * (np.hypot(xi - 2.3, eta) < 1.5)
    # Stretched by θ/β = 2.3/0.3 along the circle, hardly across it.
    assert (east * eta**2).sum() > 3 * (east * (xi - 2.3) ** 2).sum()
    # The other image, at β − θ_E = −1.7, is fainter by (θ_E/β − 1)/(θ_E/β + 1) = 0.74.
    west = light[(xi < 0) & (np.hypot(xi, eta) < 3)].sum()
    assert west / light[(xi > 0) & (np.hypot(xi, eta) < 3.5)].sum() == pytest.approx(0.74, abs=0.08)


def test_progress_ends_at_one_and_never_falls():
    seen: list[float] = []
    camera = webb(["F150W"], 64)
    render(draw_scene(camera.bands, 5.0, 0), camera, block=40, progress=seen.append)
    assert seen[-1] == pytest.approx(1)
    assert all(b >= a for a, b in pairwise(seen))
