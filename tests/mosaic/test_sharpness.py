"""What each path costs in sharpness: the FWHM of a star that goes in and comes out.

Resampled once, from the star's own pixels, a spline costs nothing and an average over a coarser
pixel what that pixel's area does; a second interpolation would show in every case here.
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from scipy.optimize import curve_fit
from small_skies import rotated_wcs

from data_prep.reproject import align
from imgturbo.config import RegisterConfig
from imgturbo.mosaic import translate_file, translate_sky
from imgturbo.scoring.together import Matched, on_grid
from imgturbo.sky import Stretch, open_sky, read_sky
from imgturbo.sky.grids import Route, scaled_grid

STAR = 0.070  # arcsec
PLACE = (214.91, 52.87)
NONE = RegisterConfig(method="none")


def write_star(path, scale, band, angle=0.0, size=61, shift=(0.37, -0.21), fwhm=STAR):
    """A Gaussian star of flux 100, off the pixels' centres."""
    wcs = rotated_wcs(size, size, scale, angle)
    wcs.wcs.crpix = np.array([size / 2, size / 2]) + shift
    y, x = np.indices((size, size))
    sigma = fwhm / 2.3548 / scale
    r2 = (x + 1 - wcs.wcs.crpix[0]) ** 2 + (y + 1 - wcs.wcs.crpix[1]) ** 2
    header = wcs.to_header()
    header.update({"BUNIT": "electron/s", "FILTER": band, "ABZP": 26.0})
    star = 100 * np.exp(-r2 / 2 / sigma**2) / (2 * np.pi * sigma**2)
    fits.writeto(path, star.astype(np.float32), header, overwrite=True)
    return path


def width(image, band=0) -> float:
    """FWHM in arcsec of a Gaussian fitted to the star's pixels."""
    data = np.nan_to_num(image.data[band]).astype(float)
    y, x = np.indices(data.shape)
    scale = image.pixel_scale
    peak = np.unravel_index(data.argmax(), data.shape)
    near = np.hypot(y - peak[0], x - peak[1]) < 0.2 / scale

    def gauss(at, height, x0, y0, sigma):
        return height * np.exp(-((at[0] - x0) ** 2 + (at[1] - y0) ** 2) / 2 / sigma**2)

    start = (data.max(), peak[1], peak[0], STAR / scale / 2.35)
    found, _ = curve_fit(gauss, (x[near], y[near]), data[near], p0=start)
    assert data.sum() == pytest.approx(100, rel=0.005)
    return float(abs(found[3])) * 2.3548 * scale


def expected(old: float, new: float) -> float:
    """The star, averaged over a new pixel as far as that is coarser."""
    n = 1 if new / old <= 1.1 else np.ceil(new / old - 0.01)
    return np.sqrt(STAR**2 + 8 * np.log(2) * (1 - 1 / n**2) * new**2 / 12)


# Half a pixel's shift, turned, enlarged, shrunk; the tolerance is what sampling itself costs.
PATHS = [
    (0.03, 0.03, 0.0, 0.01), (0.03, 0.03, 33.0, 0.01), (0.03, 0.02, 10.0, 0.01),
    (0.04, 0.03, 0.0, 0.03), (0.04, 0.02, 0.0, 0.03), (0.03, 0.04, 0.0, 0.02),
    (0.03, 0.05, 20.0, 0.03), (0.02, 0.04, 0.0, 0.02), (0.02, 0.06, 45.0, 0.04),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "angle", "tolerance"), PATHS)
def test_one_resampling_costs_a_pixels_area_and_no_more(tmp_path, old, new, angle, tolerance):
    star = write_star(tmp_path / "a.fits", old, "F606W")
    grid = write_star(tmp_path / "g.fits", new, "G", angle, round(55 * old / new), (0.0, 0.4))
    wcs = read_sky(grid).wcs
    with open_sky(star) as reader:
        assert width(reader.read()) == pytest.approx(STAR, rel=0.002)
        moved = reader.on(wcs, read_sky(grid).valid.shape).read()
    assert width(moved) == pytest.approx(expected(old, new), rel=tolerance)


@pytest.fixture(scope="module")
def identity(make_bundle):
    """Two bands at 0.03 arcsec, as they are."""
    linear = Stretch(np.zeros(2), np.full(2, np.inf), np.ones(2))
    return make_bundle(
        ("F606W", "F814W"), ("A", "B"), True, target_unit="electron/s", pixel_scale=0.03,
        source_stretch=linear, target_stretch=linear, source_zeropoint=26.0, target_zeropoint=26.0,
    )  # fmt: skip


@pytest.mark.parametrize("own", [0.02, 0.04])
def test_bands_on_several_grids_are_moved_once(identity, tmp_path, own):
    """Three grids, none of them the last: the first band's, the second's, and the result's."""
    files = [
        write_star(tmp_path / "a.fits", own, "F606W", 5.0),
        write_star(tmp_path / "b.fits", 0.03, "F814W", -20.0, shift=(0.1, 0.45)),
    ]
    grid = write_star(tmp_path / "g.fits", 0.03, "G", 40.0, shift=(0.5, 0.0))
    made = {
        "file": read_sky(translate_file(identity, files, tmp_path / "1.fits")),
        "grid": read_sky(translate_file(identity, files, tmp_path / "2.fits", grid=grid)),
        "python": translate_sky(identity, read_sky(files, pixel_scale=0.03)).mean,
    }
    with open_sky(files) as reader:
        source = align(reader, None, NONE, 0.03).source
        target = align(reader, read_sky(grid), NONE).source
    made |= {"prepare": source, "prepare a pair": target}
    for path, image in made.items():
        assert image.pixel_scale == pytest.approx(0.03), path
        assert width(image, 0) == pytest.approx(expected(own, 0.03), rel=0.03), path
        assert width(image, 1) == pytest.approx(STAR, rel=0.01), path


def test_what_is_evaluated_is_moved_once(tmp_path, monkeypatch):
    files = [
        write_star(tmp_path / "a.fits", 0.02, "F606W", 5.0),
        write_star(tmp_path / "b.fits", 0.03, "F814W", -20.0),
    ]
    truth = read_sky(write_star(tmp_path / "g.fits", 0.03, "G", 40.0))
    moved = on_grid(read_sky(files), truth, "prediction", Matched(), files)
    assert width(moved, 0) == pytest.approx(expected(0.02, 0.03), rel=0.02)
    assert width(moved, 1) == pytest.approx(STAR, rel=0.01)


def test_registration_and_change_of_grid_are_one_step(tmp_path):
    """A source that lies 0.4 pixels from where its header says, its bands on two grids."""
    files = [
        write_star(tmp_path / "a.fits", 0.03, "F606W", 5.0),
        write_star(tmp_path / "b.fits", 0.03, "F814W", -20.0, shift=(0.1, 0.45)),
    ]
    target = read_sky(write_star(tmp_path / "t.fits", 0.03, "T", 15.0))
    with open_sky(files) as reader:
        registered = reader.wcs.deepcopy()
        registered.wcs.crpix += np.array([0.4, -0.3])
        registered.wcs.set()
        moved = reader.on(target.wcs, target.valid.shape, registered).read()
        places = []
        for band in (0, 1):
            assert width(moved, band) == pytest.approx(STAR, rel=0.01)
            data = np.nan_to_num(moved.data[band]).astype(float)
            y, x = np.indices(data.shape)
            places.append([(data * x).sum() / data.sum(), (data * y).sum() / data.sum()])
        # Both bands follow the registration of the image that they are bands of.
        u, v = reader.wcs.world_to_pixel_values(*PLACE)
        sky = registered.pixel_to_world_values(u, v)
        there = target.wcs.world_to_pixel_values(*sky)
    np.testing.assert_allclose(places, [there, there], atol=0.01)


def test_a_lattice_gives_the_places_that_astropy_does():
    wcs = rotated_wcs(300, 280, 0.05)
    grid, shape, _ = scaled_grid(rotated_wcs(300, 280, 0.05, -12.0), (300, 280), 0.07)
    route = Route(shape, (grid, wcs))
    assert route.samples == (2, 2)
    assert route.ratio == pytest.approx((0.07 / 0.05) ** 2, rel=1e-6)
    window = (slice(30, 90), slice(17, 140))
    u, v, _ = route.over(window, (2, 2))
    y, x = np.meshgrid(*(np.arange(2 * (c.stop - c.start)) / 2 + c.start - 0.25 for c in window),
                       indexing="ij")  # fmt: skip
    there = wcs.all_world2pix(np.stack(grid.all_pix2world(x.ravel(), y.ravel(), 0), 1), 0)
    np.testing.assert_allclose(np.stack([u.ravel(), v.ravel()], 1), there, atol=1e-6)
