"""Tiles on two grids: a pair is one piece of sky, and keeps its flux, its places and its mask."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pydantic import ValidationError

from data_prep.prepare import prepare
from imgturbo.config import DataConfig, PrepareConfig
from imgturbo.data import StoreSource, TileStore
from imgturbo.data.source import Extents
from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky

FINE = 0.03  # arcsec


def gnomonic(pixels, scale):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.2
    wcs.wcs.crpix = pixels / 2 + 0.5, pixels / 2 + 0.5
    wcs.wcs.cdelt = -scale / 3600, scale / 3600
    return wcs


def write(path, scale, arcsec, unit="MJy/sr", hole=None):
    """A smooth sky, the same function of the place whatever the pixels; ``hole``: rows, NaN."""
    pixels = round(arcsec / scale)
    wcs = gnomonic(pixels, scale)
    y, x = (np.mgrid[:pixels, :pixels] - (pixels - 1) / 2) * scale
    area = (scale / FINE) ** 2 if unit == "nJy" else 1.0  # per pixel, or per steradian
    data = area * (3 + np.sin(x / 0.5) * np.cos(y / 0.4)).astype(np.float32)
    if hole is not None:
        data[hole] = np.nan
    header = wcs.to_header()
    header["BUNIT"], header["FILTER"] = unit, "F150W"
    fits.PrimaryHDU(data, header).writeto(path)
    return path


def config(tmp_path, factor=2, unit="MJy/sr", native=None, **keys):
    source = write(tmp_path / "s.fits", native or FINE * factor, 8.4, unit)
    target = write(tmp_path / "t.fits", FINE, 6.3, unit, hole=slice(20, 23))
    return PrepareConfig.model_validate(
        {
            "fields": [{"name": "f", "source": [source], "target": [target]}],
            "out": tmp_path / "tiles.zarr",
            "factor": factor,
            "register": {"method": "none"},
            "tile": {"size": 24, "min_valid": 0.5},
            "split": {"fraction": 0.2, "block": 1, "guard": 0},
            "stretch": {"kind": "linear"},
            **keys,
        }
    )


def mean_of_cells(values, factor):
    n, c, size, _ = values.shape
    return values.reshape(n, c, size // factor, factor, size // factor, factor).mean((3, 5))


@pytest.mark.parametrize("unit", ["MJy/sr", "nJy"])
@pytest.mark.parametrize(("factor", "native"), [(2, 0.06), (4, 0.12), (2, 0.05), (3, 0.05)])
def test_a_pair_is_one_piece_of_sky_on_two_grids(tmp_path, factor, native, unit):
    """The mean over the target's pixels in one of the source is the source there."""
    asked = config(tmp_path, factor, unit, native)
    prepare(asked)
    store = TileStore.open(asked.out)
    assert (store.tile, store.factor) == (24, factor)
    assert store.source.pixel_scale == pytest.approx(FINE * factor, rel=1e-4)
    assert store.target.pixel_scale == pytest.approx(FINE, rel=1e-4)
    split = store.split("train")
    z, x = (
        np.moveaxis(side.stretch.inverse(np.moveaxis(values[:].astype(float), 1, 0)), 0, 1)
        for side, values in ((store.source, split.source), (store.target, split.target))
    )
    assert z.shape[2] == 24 // factor
    assert not (split.position % factor).any()
    both = split.target_valid[:].reshape(len(z), 24 // factor, factor, -1, factor).all((2, 4))
    both &= split.source_valid[:]
    assert both.mean() > 0.8
    cells = mean_of_cells(x, factor) * (factor**2 if unit == "nJy" else 1)
    worst = np.abs(z / cells - 1)[both[:, None]]
    assert worst.max() < 0.01


def test_crops_and_symmetries_move_both_sides_as_one(tmp_path):
    asked = config(tmp_path, 2)
    prepare(asked)
    store = TileStore.open(asked.out)
    source = StoreSource(store, DataConfig(batch_size=8, crop=14), seed=3)
    assert source.extents() == Extents(7, 14)
    assert source.extents(whole=True) == Extents(12, 24)
    seen = 0
    for step in range(4):
        batch = source.batch(step)
        assert batch.z.shape[2:] == (7, 7)
        assert batch.x.shape[2:] == (14, 14)
        z = store.source.stretch.inverse(np.moveaxis(batch.z.numpy().astype(float), 1, 0))[0]
        x = store.target.stretch.inverse(np.moveaxis(batch.x.numpy().astype(float), 1, 0))
        cells = mean_of_cells(np.moveaxis(x, 0, 1), 2)[:, 0]
        both = batch.x_valid.numpy()[:, 0].reshape(8, 7, 2, 7, 2).all((2, 4))
        both &= batch.z_valid.numpy()[:, 0]
        assert np.abs(z / cells - 1)[both].max() < 0.01
        seen += both.sum()
    assert seen > 1000
    with pytest.raises(ImgturboError, match=r"'data.crop' is 13.*multiple of 2"):
        StoreSource(store, DataConfig(crop=13), seed=3)


def test_aligned_images_lie_on_nested_grids(tmp_path):
    asked = config(tmp_path, 2, split={"method": "rows", "rows": (101, 180), "guard": 0})
    prepare(asked, keep_aligned=tmp_path / "aligned")
    for part in ("", "validation_"):
        z, x = (
            read_sky(tmp_path / "aligned" / f"f_{part}{side}.fits") for side in ("source", "target")
        )
        assert [2 * side for side in z.shape[1:]] == list(x.shape[1:])
        k = np.array([0.0, 7.0])
        there = z.wcs.pixel_to_world_values(k, k)
        here = x.wcs.pixel_to_world_values(2 * k + 0.5, 2 * k + 0.5)
        assert np.allclose(there, here, atol=1e-9)


def test_unpaired_fields_of_the_source_have_the_coarse_pixels(tmp_path):
    asked = config(tmp_path, 2)
    alone = write(tmp_path / "alone.fits", 0.05, 5.0)
    content = asked.model_dump(by_alias=True)
    content["fields"].append({"name": "alone", "source": [alone]})
    asked = PrepareConfig.model_validate(content)
    prepare(asked)
    store = TileStore.open(asked.out)
    split = store.split("train")
    mine = split.field == 1
    assert mine.sum() > 3
    assert (split.has_source & ~split.has_target)[mine].all()
    assert split.source.shape[2:] == (12, 12)


def test_factors_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(ValidationError, match="multiple of 4"):
        config(tmp_path, 4, tile={"size": 26})
    with pytest.raises(ValidationError, match="valid integer"):
        PrepareConfig.model_validate({"factor": 1.5})
    only = PrepareConfig.model_validate(
        {"fields": [{"name": "f", "source": [tmp_path / "s.fits"]}], "factor": 2, "out": "x"}
    )
    with pytest.raises(ImgturboError, match="no field has a target"):
        prepare(only)
