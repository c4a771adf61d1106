"""Law 3: what astropy makes of a header is where pixels are, read, cut, rescaled and written."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from header_kinds import HEIGHT, PIXEL, WIDTH, cube, header, kinds, spectrum_first
from hypothesis import given, settings
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, open_sky, read_sky, resample, write_sky
from imgturbo.sky.frames import icrs, same_grid, to_pixels
from imgturbo.sky.grids import scaled_grid
from imgturbo.sky.headers import quiet
from imgturbo.sky.wcs import celestial_wcs, pixel_area, solid_angles

KINDS = kinds()
Y, X = (c.ravel() for c in np.meshgrid(np.linspace(0, 49, 5), np.linspace(0, 59, 5), indexing="ij"))


def by_astropy(h: fits.Header) -> WCS:
    with quiet():
        return WCS(h)


def away(wcs: WCS, x, y, reference: WCS, at_x, at_y) -> float:
    """Pixels between two places, the largest; both by astropy's own coordinates."""
    with quiet():
        here, there = wcs.pixel_to_world(x, y), reference.pixel_to_world(at_x, at_y)
    return float(here.separation(there.transform_to(here.frame)).arcsec.max() / PIXEL)


def save(path, h: fits.Header):
    shape = tuple(h[f"NAXIS{i}"] for i in range(h["NAXIS"], 0, -1))
    data = np.random.default_rng(1).normal(1, 0.1, shape).astype(np.float32)
    with quiet():
        hdu = fits.PrimaryHDU(data)
        for card in h.cards:
            if not card.keyword.startswith("NAXIS"):
                hdu.header.append(card, end=True)
        hdu.header["BUNIT"] = "MJy/sr"
        hdu.writeto(path, output_verify="ignore")
    return data


@pytest.mark.parametrize("kind", KINDS)
def test_positions_are_astropys(kind, tmp_path):
    given_header, equal = KINDS[kind]
    reference = by_astropy(equal)
    save(tmp_path / "a.fits", given_header)
    with open_sky(tmp_path / "a.fits") as reader:
        assert reader.shape[1:] == (HEIGHT, WIDTH)
        assert reader.wcs.array_shape == (HEIGHT, WIDTH)
        assert away(reader.wcs, X, Y, reference, X, Y) < 1e-3
        part = reader.read(slice(7, 29), slice(11, 48))
        whole = reader.read()
    for window in (part, whole.window(slice(7, 29), slice(11, 48))):
        assert window.wcs.array_shape == (22, 37)
        assert away(window.wcs, X - 11, Y - 7, reference, X, Y) < 1e-3
    grid, size, f = scaled_grid(whole.wcs, (HEIGHT, WIDTH), 0.7 * whole.pixel_scale)
    assert f == pytest.approx(1 / 0.7)
    assert size == (-(-HEIGHT * 10 // 7), -(-WIDTH * 10 // 7))
    assert away(grid, (X + 0.5) * f - 0.5, (Y + 0.5) * f - 0.5, reference, X, Y) < 1e-3
    moved = resample(whole, grid, size, "nearest").window(slice(3, 60), slice(5, 70))
    again = read_sky(write_sky(tmp_path / "b.fits", moved))
    there = away(again.wcs, (X + 0.5) * f - 5.5, (Y + 0.5) * f - 3.5, reference, X, Y)
    assert there < 0.05
    assert same_grid(again.wcs, moved.wcs, moved.valid.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_the_area_of_a_pixel_is_that_between_its_neighbours(kind):
    given_header, equal = KINDS[kind]
    reference = by_astropy(equal)
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    sides = middle + np.array([[0, 0], [0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5]])
    with quiet():
        here, *around = reference.pixel_to_world(*sides.T).icrs
    east, north = np.array([[a.rad for a in here.spherical_offsets_to(c)] for c in around]).T
    matrix = np.array([[o[0] - o[1], o[2] - o[3]] for o in (east, north)])
    wcs = celestial_wcs(given_header)
    assert pixel_area(wcs) == pytest.approx(abs(np.linalg.det(matrix)), rel=1e-5)


def test_planes_of_a_cube_are_its_images(tmp_path):
    last, first = cube(header(), ctype="WAVE"), spectrum_first(header())
    ahead, behind = save(tmp_path / "last.fits", last), save(tmp_path / "first.fits", first)
    for path, planes in ((tmp_path / "last.fits", ahead), (tmp_path / "first.fits", behind.T)):
        image = read_sky(path)
        expected = planes if path.stem == "last" else np.moveaxis(behind, -1, 0)
        np.testing.assert_array_equal(image.data, expected)
        with open_sky(path) as reader:
            part = reader.read(slice(7, 29), slice(11, 48))
        np.testing.assert_array_equal(part.data, expected[:, 7:29, 11:48])
        np.testing.assert_allclose(part.wcs.wcs.crpix, [30.5 - 11, 25.5 - 7])


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from(["TPV", "SIP", "ZPN", "CAR far from its equator", "galactic", "cube"]),
    top=st.integers(0, 40),
    left=st.integers(0, 50),
    scale=st.floats(0.3, 3.0),
)
def test_windows_of_rescaled_grids_keep_their_place(kind, top, left, scale):
    given_header, equal = KINDS[kind]
    wcs = celestial_wcs(given_header)
    image = SkyImage.from_array(np.ones((HEIGHT, WIDTH)), wcs=wcs)
    part = image.window(slice(top, top + 10), slice(left, left + 10))
    grid, _, f = scaled_grid(part.wcs, part.valid.shape, scale * PIXEL)
    x, y = np.array([0.0, 4.0, 9.0]), np.array([8.0, 0.0, 5.0])
    there = away(
        grid, (x + 0.5) * f - 0.5, (y + 0.5) * f - 0.5, by_astropy(equal), x + left, y + top
    )
    assert there < 1e-3
    assert pixel_area(grid) * f**2 == pytest.approx(pixel_area(part.wcs), rel=1e-2)


# ----------------------------------------------------------------------------- flux


FLUX_KINDS = ["TPV", "CEA", "ZPN", "SIP", "CAR far from its equator", "galactic", "DEC first"]


@pytest.mark.parametrize("kind", FLUX_KINDS)
@pytest.mark.parametrize("where", ["scaled", "tangent"])
def test_stars_keep_place_and_flux_between_projections(kind, where, tmp_path):
    """A star in fluxes per pixel, on the kind's own grid at another scale and on a plain one."""
    wcs = celestial_wcs(KINDS[kind][0])
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    ra, dec = icrs(wcs, x, y)
    star = SkyCoord(*(a[0] for a in icrs(wcs, np.array([31.3]), np.array([24.8]))), unit="deg")
    apart = SkyCoord(ra, dec, unit="deg").separation(star).rad
    sigma = np.radians(0.5 / 3600)
    bright = np.exp(-(apart**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    image = SkyImage.from_array(321 * bright * solid_angles(wcs, x, y), wcs=wcs, unit="nJy")
    if where == "scaled":
        grid, size, _ = scaled_grid(wcs, (HEIGHT, WIDTH), 0.13)
    else:
        plain = header(sky=(star.ra.deg, star.dec.deg), pixel=0.13)
        grid, size = celestial_wcs(plain), (HEIGHT, WIDTH)
    moved = resample(image, grid, size, "bicubic")
    flux = np.nan_to_num(moved.data[0]).astype(float)
    v, u = np.mgrid[: size[0], : size[1]]
    assert flux.sum() == pytest.approx(321, rel=0.003)
    centre = [np.array([(flux * c).sum() / flux.sum()]) for c in (u, v)]
    place = SkyCoord(*(a[0] for a in icrs(grid, *centre)), unit="deg")
    assert place.separation(star).arcsec / 0.13 < 0.05


@pytest.mark.parametrize("projection", ["AIT", "MOL", "CAR", "HPX"])
def test_maps_of_the_whole_sky_keep_their_sky(projection):
    h = header(projection, ("GLON", "GLAT"), (0.0, 0.0), 4 * 3600)
    width, height = {"AIT": (82, 42), "MOL": (82, 42), "CAR": (90, 45), "HPX": (90, 90)}[projection]
    h.update({"NAXIS1": width, "NAXIS2": height, "CRPIX1": width / 2 + 0.5})
    h.update({"CRPIX2": height / 2 + 0.5, "CD1_1": -4.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 4.0})
    wcs = celestial_wcs(h)
    y, x = np.mgrid[:height, :width].astype(float)
    omega = solid_angles(wcs, x, y)
    assert np.nansum(omega) == pytest.approx(4 * np.pi, rel=0.01)
    assert same_grid(wcs, wcs.deepcopy(), (height, width))
    image = SkyImage.from_array(omega, wcs=wcs, unit="nJy")
    grid, size, _ = scaled_grid(wcs, (height, width), 3 * 3600 * image.pixel_scale / (4 * 3600))
    v, u = np.mgrid[: size[0], : size[1]].astype(float)
    sky = np.isfinite(icrs(grid, u, v)[0])
    moved = resample(image, grid, size)
    assert np.isfinite(moved.data[0][sky]).mean() > 0.97  # the rim of a map is half sky
    assert np.nansum(moved.data) == pytest.approx(4 * np.pi, rel=0.01)
    # On the same pixels nothing changes, and the equatorial sky is seen whole too.
    still = resample(image, wcs, (height, width), "nearest")
    np.testing.assert_allclose(still.data, image.data, rtol=1e-5)
    equatorial = h.copy()
    equatorial["CTYPE1"], equatorial["CTYPE2"] = f"RA---{projection}", f"DEC--{projection}"
    turned = resample(image, celestial_wcs(equatorial), (height, width))
    assert np.nansum(turned.data) == pytest.approx(4 * np.pi, rel=0.03)


# ----------------------------------------------------------------------------- frames


def test_ecliptic_and_supergalactic_places_are_brought_to_icrs():
    x, y = np.array([10.0]), np.array([20.0])
    for names, frame in (
        (("ELON", "ELAT"), "barycentricmeanecliptic"),
        (("SLON", "SLAT"), "supergalactic"),
    ):
        wcs = celestial_wcs(header("TAN", names))
        lon, lat = wcs.pixel_to_world_values(x, y)
        expected = SkyCoord(lon, lat, unit="deg", frame=frame).icrs
        np.testing.assert_allclose(icrs(wcs, x, y), [expected.ra.deg, expected.dec.deg], atol=1e-8)
        sun = celestial_wcs(header("TAN", ("HPLN", "HPLT"), (0.1, 0.1)))
        assert np.isnan(to_pixels(wcs, sun, x, y)).all()
        np.testing.assert_allclose(to_pixels(sun, sun, x, y), (x, y), atol=1e-6)


def test_only_places_that_come_back_count():
    """A polynomial folds the far sky back into the image; a hemisphere away there is nothing."""
    bent = celestial_wcs(KINDS["SIP"][0])
    for sky in ((150.1, 2.5), (330.1, -2.2), (150.1, 62.0)):
        other = celestial_wcs(header(sky=sky))
        u, v = to_pixels(other, bent, X, Y)
        inside = (u > -1) & (u < WIDTH) & (v > -1) & (v < HEIGHT)
        assert not inside.any()


# ----------------------------------------------------------------------------- nothing in silence


SINE = {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN"}


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"}, "CTYPE1 = 'RA---XYZ'"),
        ({"CUNIT1": "furlong"}, "CUNIT1"),
        ({"CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0}, "singular"),
        ({"RADESYS": "GAPPT"}, "RADESYS = 'GAPPT'"),
        (SINE | {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": "x"},
         "RA---TAN-SIP"),
        (SINE | {"CD1_1": 5.0, "CD2_2": 5.0, "CRPIX1": 5e3}, "no pixel on the sky"),
    ],
)  # fmt: skip
def test_a_header_that_promises_the_sky_and_cannot_keep_it_is_an_error(tmp_path, cards, words):
    save(tmp_path / "a.fits", header(**cards))
    with pytest.raises(ImgturboError, match=r"a\.fits: ") as caught:
        read_sky(tmp_path / "a.fits")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "names", [("LINEAR", "LINEAR"), ("RA---TAN", "VELO"), ("RA---TAN", "GLAT-TAN")]
)
def test_other_coordinates_are_named(tmp_path, names):
    save(tmp_path / "a.fits", header(CTYPE1=names[0], CTYPE2=names[1]))
    with pytest.warns(
        UserWarning, match=f"CTYPE1 = '{names[0]}', CTYPE2 = '{names[1]}' are no pair"
    ):
        assert read_sky(tmp_path / "a.fits").wcs is None


def test_an_image_without_coordinates_has_the_primary_headers(tmp_path):
    """INHERIT: of a primary HDU without pixels, where the image says nothing of places."""
    sky = header(BUNIT="nJy")
    data = np.ones((HEIGHT, WIDTH), np.float32)
    for name, own, found in (
        ("given", {}, True),
        ("declined", {"INHERIT": False}, False),
        ("own", {"CRPIX1": 3.0, "CRPIX2": 4.0}, False),
    ):
        path = tmp_path / f"{name}.fits"
        primary = fits.PrimaryHDU(header=fits.Header([c for c in sky.cards if "NAXIS" not in c[0]]))
        fits.HDUList([primary, fits.ImageHDU(data, fits.Header(own), name="SCI")]).writeto(path)
        image = read_sky(path)
        assert (image.wcs is not None) == found
        if found:
            assert image.wcs.array_shape == (HEIGHT, WIDTH)
            assert away(image.wcs, X, Y, by_astropy(sky), X, Y) < 1e-3


def test_angles_without_ctype_are_no_coordinates_and_that_is_said(tmp_path):
    h = header()
    del h["CTYPE1"], h["CTYPE2"]
    save(tmp_path / "a.fits", h)
    with pytest.warns(UserWarning, match="CRVAL and CUNIT without CTYPE are no pair"):
        assert read_sky(tmp_path / "a.fits").wcs is None


@pytest.mark.parametrize("lost", [0, 1])
def test_a_band_without_coordinates_goes_where_its_twin_goes(tmp_path, lost):
    """Whichever it is, it is moved to another scale with the band whose pixels it shares."""
    files = []
    for index, band in enumerate(("F606W", "F814W")):
        files.append(tmp_path / f"{band}.fits")
        save(files[-1], header(FILTER=band))
        if index == lost:
            with fits.open(files[-1], mode="update") as hdus:
                for word in ("CTYPE", "CRVAL", "CUNIT"):
                    del hdus[0].header[f"{word}*"]
    with pytest.warns(UserWarning, match=f"{files[lost].name}: states no coordinates"):
        image = read_sky(files, pixel_scale=0.7 * PIXEL)
    assert image.wcs is not None
    assert image.data.shape[1:] == (-(-HEIGHT * 10 // 7), -(-WIDTH * 10 // 7))
    np.testing.assert_array_equal(image.data[0], image.data[1])
