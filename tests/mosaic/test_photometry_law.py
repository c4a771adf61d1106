"""Law 3 over every path: a star and a background that go in come out the same, to 0.01 mag.

The sky is a brightness B (Jy/sr): a background and a Gaussian star. It is written in the units and
conventions of archives on pixels of several sizes, by arithmetic of this file alone. The networks
are identities between stretches that show the same sky on both sides, so whatever path is taken,
values·10^(−0.4 (ZP − 8.90))/Ω must be B again.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.io import fits
from small_skies import rotated_wcs

from data_prep.prepare import prepare
from imgturbo.config import FieldConfig, PrepareConfig
from imgturbo.data.store import TileStore
from imgturbo.mosaic import translate_file, translate_sky
from imgturbo.scoring.evaluate import evaluate
from imgturbo.sky import SkyImage, Stretch, read_sky

ARCSEC2 = np.radians(1 / 3600) ** 2
WIDE = 2.6  # arcsec
BACKGROUND, STAR, SIGMA = 2e6, 2e-7, 0.15  # Jy/sr; Jy; arcsec
TRAINED = 0.05  # arcsec
TOLERANCE = 0.01  # mag

# BUNIT, further cards, and the janskys of the value 1 in a pixel of Ω steradians.
UNITS = {
    "MJy sr^{-1}": ({}, lambda area: 1e6 * area),
    "10.0*nanoJansky": ({}, lambda area: 1e-8),
    "ELECTRONS/S": ({"PHOTFNU": 3e-8}, lambda area: 3e-8),
    "DN/s": ({}, lambda area: 1e-8),  # PHOTMJSR is of the file's own pixels
    "Jy/beam": (
        {"BMAJ": 0.3 / 3600, "BMIN": 0.2 / 3600},
        lambda area: area / (np.pi / (4 * np.log(2)) * 0.3 * 0.2 * ARCSEC2),
    ),
}
SCALES = (0.0503, 0.04, 0.07)  # nearly the trained one, finer, coarser
EVERY = [(unit, scale) for unit in UNITS for scale in SCALES]


def sky_file(folder, unit, scale, band="F606W", angle=20.0, ra=150.1):
    """The sky in a file; two bands would tell no more than one."""
    size = round(WIDE / scale)
    wcs = rotated_wcs(size, size, scale, angle)
    star = wcs.wcs.crval.copy()
    wcs.wcs.crval = [ra, wcs.wcs.crval[1]]
    star[0] = ra
    x, y = wcs.wcs_world2pix([star], 0)[0]
    rows, cols = np.indices((size, size))
    profile = np.exp(-((rows - y) ** 2 + (cols - x) ** 2) / 2 / (SIGMA / scale) ** 2)
    area = scale**2 * ARCSEC2
    jansky = BACKGROUND * area + STAR * profile * scale**2 / (2 * np.pi * SIGMA**2)
    cards, one = UNITS[unit]
    header = wcs.to_header()
    header["BUNIT"], header["FILTER"] = unit, band
    header.update(cards)
    if unit == "DN/s":
        header["PHOTMJSR"] = 1e-14 / area
    path = folder / f"{band}_{scale}_{list(UNITS).index(unit)}_{ra}.fits"
    fits.writeto(path, (jansky / one(area)).astype(np.float32), header)
    return path


def off(values, area, zeropoint):
    """By how many magnitudes the background and the star are wrong."""
    jansky = np.asarray(values, float) * 10 ** (-0.4 * (zeropoint - 8.90))
    edge = np.nanmedian(jansky)
    star = np.nansum(jansky - edge)
    return 2.5 * np.log10(edge / area / BACKGROUND), 2.5 * np.log10(star / STAR)


def check(image: SkyImage) -> None:
    scale = image.pixel_scale
    found = off(image.data[0], scale**2 * ARCSEC2, image.zeropoints[0])
    np.testing.assert_allclose(found, 0, atol=TOLERANCE)
    if image.unit == "MJy/sr":
        assert np.nanmedian(image.data) == pytest.approx(BACKGROUND / 1e6, rel=0.005)


@pytest.fixture(scope="module")
def translators(make_bundle):
    """From fluxes per pixel to brightness, and the other way: identities in stretched values."""
    per_electron, area = 10 ** (-0.4 * (26.0 - 8.9)), TRAINED**2 * ARCSEC2
    electrons, sky = BACKGROUND * area / per_electron, BACKGROUND / 1e6
    counted = Stretch(np.array([electrons]), np.array([electrons]), np.array([3.0]))
    bright = Stretch(np.array([sky]), np.array([sky]), np.array([3.0]))
    zero = 8.90 - 2.5 * np.log10(1e6 * area)
    return {
        "electron/s": make_bundle(
            ("F606W",), ("F150W",), True, target_unit="MJy/sr", source_stretch=counted,
            target_stretch=bright, target_zeropoint=zero,
        ),
        "MJy/sr": make_bundle(
            ("F606W",), ("F150W",), True, source_unit="MJy/sr", target_unit="electron/s",
            source_stretch=bright, target_stretch=counted, source_zeropoint=zero,
            target_zeropoint=26.0,
        ),
    }  # fmt: skip


@pytest.mark.parametrize(("unit", "scale"), EVERY)
def test_translation_by_file_by_python_and_by_grid(translators, tmp_path, unit, scale):
    source = sky_file(tmp_path, unit, scale)
    grid = sky_file(tmp_path, "Jy/beam", 0.06, band="GRID", angle=-30.0)
    for name, bundle in translators.items():
        made = translate_file(bundle, source, tmp_path / f"{name[:2]}.fits")
        check(read_sky(made))
        check(translate_sky(bundle, read_sky(source)).mean)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*expect wrong sharpness")
            other = tmp_path / f"{name[:2]}_grid.fits"
            gridded = read_sky(translate_file(bundle, source, other, grid=grid))
        assert gridded.pixel_scale == pytest.approx(0.06)
        check(gridded)
        # The stretch in the header is that of these pixels: the background is its offset.
        carried = Stretch.from_header(gridded.header, gridded.bands)
        assert carried.offset[0] == pytest.approx(np.nanmedian(gridded.data), rel=0.01)


def test_a_zero_point_without_a_unit_is_no_guess(translators, tmp_path):
    """The values are converted by it, nobody is told that their unit was a guess."""
    source = sky_file(tmp_path, "10.0*nanoJansky", 0.04)
    with fits.open(source, mode="update") as hdus:
        del hdus[0].header["BUNIT"]
        hdus[0].header["MAGZERO"] = 28.9
    check(read_sky(translate_file(translators["electron/s"], source, tmp_path / "o.fits")))
    with fits.open(source, mode="update") as hdus:
        del hdus[0].header["MAGZERO"]
    with pytest.warns(UserWarning, match="taken to be electron/s"):
        translate_file(translators["electron/s"], source, tmp_path / "guessed.fits")


def test_electrons_of_unknown_worth_are_said(translators, tmp_path):
    """Without a zero point they are taken for those of the camera that the bundle knows."""
    source = sky_file(tmp_path, "ELECTRONS/S", 0.0503)
    with fits.open(source, mode="update") as hdus:
        del hdus[0].header["PHOTFNU"]
    for made in (
        lambda: translate_file(translators["electron/s"], source, tmp_path / "o.fits"),
        lambda: translate_sky(translators["electron/s"], read_sky(source)),
    ):
        with pytest.warns(UserWarning, match="states no AB zero point, so 1 electron/s is taken"):
            made()


@pytest.mark.parametrize(("unit", "scale"), EVERY)
@pytest.mark.parametrize("predicted", ["10.0*nanoJansky", "MJy sr^{-1}"])
def test_evaluation(tmp_path, monkeypatch, unit, scale, predicted):
    """What is compared with the truth, prediction and baseline, has its background and its star."""
    prediction = sky_file(tmp_path, predicted, 0.045, "P", angle=-10.0)
    truth = sky_file(tmp_path, unit, scale)
    seen = []

    def record(image, target, valid, *rest, **known):
        seen.append((image[0].astype(float), target[0].astype(float), valid))
        return {"mse": 1.0}

    monkeypatch.setattr("imgturbo.scoring.evaluate.scores", record)
    unity = Stretch(np.zeros(1), np.full(1, np.inf), np.ones(1))
    evaluate(prediction, truth, truth, stretch=unity, perceptual=False, bands=["F606W"])
    assert len(seen) == 3
    for image, target, valid in seen[:2]:
        pixels = [image[valid], target[valid]]
        sky = [np.median(each) for each in pixels]
        star = [(each - np.median(each)).sum() for each in pixels]
        np.testing.assert_allclose(2.5 * np.log10(sky[0] / sky[1]), 0, atol=TOLERANCE)
        np.testing.assert_allclose(2.5 * np.log10(star[0] / star[1]), 0, atol=TOLERANCE)


@pytest.mark.parametrize("pixel_scale", [None, 0.062])
@pytest.mark.parametrize("target", ["10.0*nanoJansky", "MJy sr^{-1}"])
@pytest.mark.parametrize("unit", UNITS)
def test_preparation(tmp_path, unit, target, pixel_scale):
    """Aligned files and tiles of all fields show one sky: three scales, each in another unit."""
    fields = []
    units = list(UNITS)[list(UNITS).index(unit) :] + list(UNITS)
    for ra, scale, pixels, own in zip(
        (150.1, 151.1, 152.1), SCALES, (0.05, 0.0503, 0.0497), units[:3], strict=True
    ):
        sides = {
            "source": [sky_file(tmp_path, own, scale, ra=ra, angle=5.0)],
            "target": [sky_file(tmp_path, target, pixels, band="F200W", ra=ra)],
        }
        split = "train" if pixels == 0.05 else "validation"
        fields.append(FieldConfig(name=f"f{ra}", split=split, **sides))
    content = {
        "fields": fields, "out": tmp_path / "t.zarr", "pixel_scale": pixel_scale,
        "tile": {"size": 32, "min_valid": 0.0}, "register": {"method": "none"},
        "workers": 1,
    }  # fmt: skip
    prepare(PrepareConfig.model_validate(content), keep_aligned=tmp_path / "aligned")
    for field in fields:
        for side in ("source", "target"):
            check(read_sky(tmp_path / "aligned" / f"{field.name}_{side}.fits"))
    store = TileStore.open(tmp_path / "t.zarr")
    seen = 0
    for split in (store.split("train"), store.split("validation")):
        for side in ("source", "target"):
            described, tiles = getattr(store, side), getattr(split, side)[:]
            valid = getattr(split, f"{side}_valid")[:]
            values = described.stretch.inverse(np.moveaxis(tiles, 1, 0).astype(float))[0]
            area = (pixel_scale or described.pixel_scale) ** 2 * ARCSEC2
            for tile, here in zip(values, valid, strict=True):
                jansky = tile[here] * 10 ** (-0.4 * (described.zeropoints[0] - 8.90)) / area
                bright = STAR / (2 * np.pi * SIGMA**2) / ARCSEC2
                assert 2.5 * np.log10(jansky.min() / BACKGROUND) == pytest.approx(0, abs=TOLERANCE)
                if jansky.max() > BACKGROUND + bright / 2:
                    seen += 1
                    peak = jansky.max() - BACKGROUND
                    assert peak == pytest.approx(bright, rel=0.05)  # of pixels beside the centre
    assert seen == 6
