"""Super-resolution of mosaics: finer grids keep coordinates, fluxes, masks; windows agree."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.wcs import WCS

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.config import Config
from imgturbo.engines import build_network
from imgturbo.mosaic import (
    translate_array,
    translate_file,
    translate_positions,
    translate_sky,
)
from imgturbo.mosaic.zoom import flags_on, mask_on
from imgturbo.side import Side
from imgturbo.sky import read_sky
from imgturbo.sky.catalogue import Positions
from imgturbo.sky.stretch import Stretch
from imgturbo.sky.wcs import pixel_scale

COARSE, H, W = 0.06, 83, 71
SMALL = {"width": 6, "blocks": 1, "factor": 2}


def sides(unit, factor=2):
    """Of a linear stretch, or fluxes would not add up where networks interpolate."""
    stretch = Stretch(np.array([0.0]), np.array([np.inf]), np.array([2.0]))
    zero = (28.9,) if unit == "10 nJy" else ()
    target = stretch if unit == "MJy/sr" else stretch.scaled(1 / factor**2)
    return {
        "source": Side(("F814W",), unit, stretch, pixel_scale=COARSE, zeropoints=zero),
        "target": Side(("F814W",), unit, target, pixel_scale=COARSE / factor, zeropoints=zero),
    }


def make(folder, unit="MJy/sr", lively=False, factor=2):
    """A bundle whose maps are cubic convolution and the mean, or with ``lively`` weights on top."""
    keys = {**SMALL, "factor": factor}
    config = Config.model_validate(
        {"model": {"decoder": {"kind": "srresnet", **keys}, "encoder": {"kind": "coarsen", **keys}}}
    )
    torch.manual_seed(3)
    networks = {}
    for name in ("decoder", "encoder"):
        network = build_network(getattr(config.model, name), 1, 1)
        with torch.no_grad():
            if lively:
                network.last.weight.normal_(0, 0.05)
            else:
                network.last.weight.zero_()
        networks[name] = network
    save_bundle(folder, **networks, config=config, sides=sides(unit, factor), record={})
    return load_bundle(folder)


@pytest.fixture(scope="module")
def lively(tmp_path_factory):
    return make(tmp_path_factory.mktemp("lively") / "b", lively=True)


def gnomonic(height, width, scale):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 30.0, -12.0
    wcs.wcs.crpix = width / 2, height / 2
    angle = np.deg2rad(17)
    rotation = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = rotation * scale / 3600
    return wcs


def write(path, data, scale=COARSE, unit="MJy/sr"):
    header = gnomonic(*data.shape, scale).to_header()
    header["BUNIT"], header["FILTER"] = unit, "F814W"
    fits.PrimaryHDU(data.astype(np.float32), header).writeto(path)
    return path


def noise(height=H, width=W):
    return np.random.default_rng(1).normal(0, 0.3, (height, width))


@pytest.mark.parametrize(("window", "overlap"), [(40, None), (33, None), (24, 6), (None, None)])
def test_windows_of_a_file_are_the_whole_in_memory(lively, tmp_path, window, overlap):
    data = noise()
    data[40:43, 20:22] = np.nan
    path = write(tmp_path / "in.fits", data)
    out = translate_file(lively, path, tmp_path / "out.fits", window=window, overlap=overlap)
    memory = translate_sky(lively, read_sky(path), window=window, overlap=overlap)
    made = read_sky(out)
    assert made.shape == (1, 2 * H, 2 * W)
    np.testing.assert_allclose(made.data, memory.mean.data, rtol=1e-5, atol=1e-6)
    with fits.open(out) as hdus:
        assert np.array_equal(hdus["FLAGS"].data, memory.flags)
    if overlap is None:
        whole = translate_sky(lively, read_sky(path), window=4 * H).mean
        np.testing.assert_allclose(made.data, whole.data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit", ["MJy/sr", "10 nJy"])
@pytest.mark.parametrize("factor", [2, 4])
def test_a_star_keeps_its_flux_and_its_place(tmp_path, unit, factor):
    """Flux to 1 %, position to 0.1 pixel: of surface brightness and of fluxes per pixel."""
    bundle = make(tmp_path / "b", unit, factor=factor)
    x0, y0, sigma = 33.4, 41.7, 1.3
    y, x = np.mgrid[:H, :W]
    star = 100 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2))
    path = write(tmp_path / "in.fits", star, unit=unit)
    given = read_sky(path)
    made = read_sky(translate_file(bundle, path, tmp_path / "out.fits"))
    assert made.unit == given.unit
    assert pixel_scale(made.wcs, made.shape[1:]) == pytest.approx(COARSE / factor, rel=1e-6)

    def flux(image):
        area = 1.0 if unit == "10 nJy" else image.pixel_scale**2
        return float(image.data.astype(float).sum()) * area

    assert flux(made) == pytest.approx(flux(given), rel=0.01)
    weights = made.data[0].astype(float)
    rows, cols = np.mgrid[: weights.shape[0], : weights.shape[1]]
    centre = [(weights * at).sum() / weights.sum() for at in (cols, rows)]
    there = made.wcs.pixel_to_world(*centre)
    truth = given.wcs.pixel_to_world(x0, y0)
    assert there.separation(truth).arcsec < 0.1 * COARSE / factor
    # A zero point is of a pixel: of surface brightness a smaller one has a larger.
    fainter = 0.0 if unit == "10 nJy" else 2.5 * np.log10(factor**2)
    moved = made.scales[0].zeropoint - given.scales[0].zeropoint
    assert moved == pytest.approx(fainter, abs=1e-4)


def test_holes_and_flags_cover_the_pixels_in_them(lively, tmp_path):
    data = noise()
    data[30:45, 10:25] = np.nan
    image = read_sky(write(tmp_path / "in.fits", data))
    found = translate_sky(lively, image)
    missing = np.isnan(found.mean.data[0])
    assert np.array_equal(missing, np.isnan(data).repeat(2, 0).repeat(2, 1))
    assert (found.flags[missing] & 1).all()
    coarse = found.flags.reshape(H, 2, W, 2)
    assert (coarse == coarse[:, :1, :, :1]).all()
    back = translate_sky(lively, found.mean, "backward")
    assert np.array_equal(np.isnan(back.mean.data[0]), np.isnan(data))


def test_the_way_back_is_on_the_coarse_grid(lively, tmp_path):
    image = read_sky(write(tmp_path / "in.fits", noise(), scale=COARSE / 2))
    made = read_sky(translate_file(lively, image.path, tmp_path / "o.fits", "backward", window=26))
    assert made.shape == (1, -(-H // 2), -(-W // 2))
    assert made.pixel_scale == pytest.approx(COARSE, rel=1e-6)
    k = np.array([0.0, 12.0])
    there = made.wcs.pixel_to_world_values(k, k)
    assert np.allclose(there, image.wcs.pixel_to_world_values(2 * k + 0.5, 2 * k + 0.5), atol=1e-9)
    whole = translate_sky(lively, image, "backward").mean
    np.testing.assert_allclose(made.data, whole.data, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(60, 52), (61, 53)])
def test_the_grid_that_is_asked_for_is_the_output_s(lively, tmp_path, size):
    path = write(tmp_path / "in.fits", noise(140, 140), scale=0.05)
    other = write(tmp_path / "grid.fits", noise(*size), scale=COARSE / 2)
    made = read_sky(translate_file(lively, path, tmp_path / "o.fits", grid=other, window=24))
    wanted = read_sky(other)
    assert made.shape == wanted.shape
    corners = np.array([0.0, size[0] - 1.0])
    assert np.allclose(
        made.wcs.pixel_to_world_values(corners, corners),
        wanted.wcs.pixel_to_world_values(corners, corners),
        atol=1e-9,
    )


def test_arrays_without_a_sky_are_refined_too(lively):
    array = noise(9, 13)[None].astype(np.float32)
    found = translate_array(lively.decoder, array)
    assert found.mean.shape == (1, 18, 26)
    assert found.flags.shape == (18, 26)
    assert translate_array(lively.encoder, array).mean.shape == (1, 5, 7)


@pytest.mark.parametrize("zoom", [Fraction(1), Fraction(3), Fraction(1, 2)])
def test_masks_grow_and_flags_are_kept(zoom):
    random = np.random.default_rng(0)
    valid, flags = random.random((5, 7)) < 0.7, random.integers(0, 8, (5, 7)).astype(np.uint8)
    size = [int(np.ceil(side * zoom)) for side in (5, 7)]
    for y, x in np.ndindex(*size):
        rows = slice(int(y / zoom), max(int((y + 1) / zoom), int(y / zoom) + 1))
        cols = slice(int(x / zoom), max(int((x + 1) / zoom), int(x / zoom) + 1))
        assert mask_on(valid, zoom)[y, x] == valid[rows, cols].all()
        assert flags_on(flags, zoom)[y, x] == np.bitwise_or.reduce(flags[rows, cols], axis=None)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_cutouts_on_a_finer_or_coarser_grid_are_parts_of_the_whole(lively, tmp_path, direction):
    data = np.random.default_rng(4).normal(1, 0.1, (H, W))
    data[30, 40] = np.nan
    scale = COARSE if direction == "forward" else COARSE / 2
    path = write(tmp_path / "in.fits", data, scale)
    settings = {"direction": direction, "window": 64}
    translate_file(lively, path, tmp_path / "whole.fits", **settings)
    with fits.open(tmp_path / "whole.fits") as whole:
        places = WCS(whole[1].header).pixel_to_world([5.2, 20.7], [6.1, 25.3])
        there = Positions(["a", "b"], places)
        out = tmp_path / "cut"
        translate_positions(lively, path, there, "13pix", out, folder=True, **settings)
        for name, (y, x) in (("a", (0, 0)), ("b", (19, 15))):
            rows, cols = slice(y, y + 13), slice(x, x + 13)
            if name == "a":
                rows, cols = slice(0, 13), slice(0, 12)
            with fits.open(out / f"{name}.fits") as part:
                mine = part[1].data if name == "b" else part[1].data[:, 1:]
                flags = part["FLAGS"].data if name == "b" else part["FLAGS"].data[:, 1:]
                np.testing.assert_allclose(mine, whole[1].data[rows, cols], rtol=2e-5)
                np.testing.assert_array_equal(flags, whole["FLAGS"].data[rows, cols])
