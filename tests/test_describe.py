"""`describe` warns of what would go wrong, and of nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from tiles_anywhere import anywhere

import imgturbo.bundle
from imgturbo import describe as module
from imgturbo.data import Tiles, TileSpec, TileStore
from imgturbo.describe import describe
from imgturbo.errors import ImgturboError
from imgturbo.side import Side
from imgturbo.sky import SkyImage, open_sky, write_sky
from imgturbo.sky.stretch import Stretch

SHAPE = (37, 41)


def sky_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.0
    wcs.wcs.crpix = 20, 18
    wcs.wcs.cdelt = -0.04 / 3600, 0.04 / 3600
    return wcs


@pytest.fixture
def image(tmp_path):
    """``image(data=…, unit=…, …)`` → path of a FITS file; by default nothing is wrong with it."""

    def make(data=None, **fields):
        if data is None:
            data = np.random.default_rng(0).normal(size=(2, *SHAPE))
        usual = {"unit": "MJy/sr", "zeropoints": (27.462,) * len(data), "wcs": sky_wcs()}
        usual |= {"bands": ("F150W", "F277W")[: len(data)]}
        path = tmp_path / "image.fits"
        return write_sky(path, SkyImage.from_array(data, **usual | fields), overwrite=True)

    return make


# ---------------------------------------------------------------------------------- images


def test_nothing_is_wrong_with_a_good_image(image):
    facts = describe(image())
    assert facts["warnings"] == []
    assert facts["what"] == "sky image"
    assert facts["bands"] == "F150W, F277W"
    assert facts["size"] == "41 × 37 pixels"
    assert facts["unit"] == "MJy/sr"
    assert facts["AB zero point"] == "27.462, 27.462"
    assert facts["valid"] == "100.0% of the pixels"
    assert facts["pixel scale"] == "0.0400 arcsec"
    json.dumps(facts, allow_nan=False)


def test_the_footprint_goes_round_the_corners(image):
    corners = sky_wcs().pixel_to_world([0, 40, 40, 0], [0, 0, 36, 36])
    told = [float(word) for word in describe(image())["footprint"].split()]
    np.testing.assert_allclose(told[::2], corners.ra.deg, atol=1e-5)
    np.testing.assert_allclose(told[1::2], corners.dec.deg, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "warning"),
    [
        ({"unit": "", "zeropoints": (None, None)}, "BUNIT is missing"),
        ({"unit": "DN", "zeropoints": (None, None)}, "no AB zero point"),
        ({"unit": "furlong"}, "'furlong' is no known unit"),
        ({"wcs": None}, "no celestial WCS"),
    ],
)
def test_what_a_header_lacks(image, fields, warning):
    (told,) = describe(image(**fields))["warnings"]
    assert told.startswith(warning)


def test_a_constant_band(image):
    data = np.random.default_rng(0).normal(size=(2, *SHAPE))
    data[1] = 3.0
    (told,) = describe(image(data))["warnings"]
    assert told.startswith("band F277W is constant")


def test_few_valid_pixels(image):
    data = np.random.default_rng(0).normal(size=(2, *SHAPE))
    data[1, :20] = np.nan
    facts = describe(image(data))
    assert facts["valid"] == "45.9% of the pixels"
    assert ["less than half" in told for told in facts["warnings"]] == [True]


def test_pictures_have_no_units_to_miss(tmp_path):
    picture = SkyImage.from_array(
        np.random.default_rng(0).random((3, 20, 30)), unit="display", bands=("R", "G", "B")
    )
    facts = describe(write_sky(tmp_path / "p.png", picture))
    assert facts["what"] == "picture"
    assert facts["warnings"] == []
    assert not {"AB zero point", "stretch (fitted here)"} & set(facts)


def test_a_large_mosaic_is_sampled(tmp_path, monkeypatch):
    """Strips at equal distances say about the same, in bounded memory."""
    data = np.random.default_rng(0).normal(size=(1, 2000, 300)).astype(np.float32)
    data[:, :500] = np.nan
    path = tmp_path / "m.fits"
    fits.PrimaryHDU(data[0]).writeto(path)
    whole = describe(path)
    monkeypatch.setattr(module, "_SAMPLE", 32 * 5 * 300)
    sampled = describe(path)
    with open_sky(path) as mosaic:
        sample, whole_mosaic = module._sample(mosaic)
    assert sample.shape == (1, 32 * 5, 300)
    assert not whole_mosaic
    assert whole["valid"] == "75.0% of the pixels"
    share, _, of = sampled["valid"].partition(" ")
    assert of == "of a sample of the rows"
    assert float(share.rstrip("%")) == pytest.approx(75, abs=2)
    assert sampled["size"] == whole["size"]
    assert sampled["warnings"] == whole["warnings"]


# ----------------------------------------------------------------------------------- tiles


def make_tiles(path, residual=0.2, validation=3):
    stretch = Stretch(np.zeros(1), np.ones(1), np.full(1, 2.0))
    side = Side(("F606W",), "electron/s", stretch, pixel_scale=0.05, zeropoints=(26.5,))
    with TileStore.create(path, TileSpec(8, side, side, ("patch",), {})) as writer:
        for split, n in (("train", 4), ("validation", validation)):
            if not n:
                continue
            u, valid = np.zeros((n, 1, 8, 8), np.float32), np.ones((n, 8, 8), bool)
            places = anywhere(n) | {"residual": np.full(n, residual, np.float32)}
            writer.append(split, Tiles(u, u, valid, valid, **places))
    return path


@pytest.mark.parametrize("residual", [0.2, np.nan])
def test_nothing_is_wrong_with_good_tiles(tmp_path, residual):
    facts = describe(make_tiles(tmp_path / "t.zarr", residual))
    assert facts["warnings"] == []
    assert facts["train"].startswith("4 tiles, 4 paired")
    assert ("residual 0.20 px" in facts["train"]) == (residual == 0.2)


def test_tiles_that_do_not_lie_on_each_other(tmp_path):
    warnings = describe(make_tiles(tmp_path / "t.zarr", residual=0.7))["warnings"]
    assert [told.partition(":")[0] for told in warnings] == ["train", "validation"]
    assert all("above half a pixel" in told for told in warnings)


def test_tiles_that_hold_nothing_out(tmp_path):
    (told,) = describe(make_tiles(tmp_path / "t.zarr", validation=0))["warnings"]
    assert told.startswith("no validation tiles")
    assert "split.fraction" in told


# ------------------------------------------------------------- bundles, runs and checkpoints


def test_a_bundle_says_what_it_computes(job):
    facts = describe(job.bundle)
    assert facts["warnings"] == []
    assert "2 → 3 bands" in facts["decoder"]
    assert "3 → 2 bands" in facts["encoder"]
    assert "receptive field ±" in facts["decoder"]
    assert facts["steps"] == 3
    json.dumps(facts, allow_nan=False)


def test_a_bundle_without_a_unit(job, monkeypatch):
    known = imgturbo.bundle.load_bundle(job.bundle)
    nameless = replace(known, source=replace(known.source, unit=""), encoder=None)
    monkeypatch.setattr(imgturbo.bundle, "load_bundle", lambda path: nameless)
    facts = describe(job.bundle)
    assert facts["encoder"].startswith("none")
    (told,) = facts["warnings"]
    assert told.startswith("the source's unit is not known")


def test_a_run_is_its_newest_checkpoint(job):
    facts = describe(job.run)
    assert facts["what"] == "checkpoint"
    assert facts["step"] == 3
    assert facts["run"] == str(job.run)
    assert describe(job.run / "checkpoints" / "step-00000003")["step"] == 3


def test_a_corrupt_checkpoint(job, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(job.run, run)
    weights = run / "checkpoints" / "step-00000003" / "objective.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 255
    weights.write_bytes(damaged)
    (told,) = describe(run)["warnings"]
    assert "cannot be resumed" in told
    assert "objective.safetensors is corrupt" in told
    weights.unlink()
    (told,) = describe(run)["warnings"]
    assert "objective.safetensors is missing" in told


def test_a_run_without_a_checkpoint_yet(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ImgturboError, match="without a complete checkpoint yet"):
        describe(tmp_path / "run")


def test_one_value_that_fills_an_image_is_told(tmp_path):
    sky = np.random.default_rng(0).normal(0, 1, (60, 50)).astype(np.float32)
    sky[:20] = 0
    fits.writeto(tmp_path / "zeros.fits", sky)
    told = [line for line in describe(tmp_path / "zeros.fits")["warnings"] if "exactly 0" in line]
    assert len(told) == 1
    assert told[0].startswith("33% of band ZEROS")
    counts = np.random.default_rng(0).poisson(3, (60, 50)).astype(np.float32)
    fits.writeto(tmp_path / "counts.fits", counts)
    assert not [n for n in describe(tmp_path / "counts.fits")["warnings"] if "exactly" in n]


def test_companions_are_told(tmp_path):
    sky = np.ones((20, 30), np.float32)
    names = {"SCI": sky, "WHT": sky, "ERR": sky, "DQ": sky[:4].astype(np.int16)}
    images = [fits.ImageHDU(data, name=name) for name, data in names.items()]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "x.fits")
    facts = describe(tmp_path / "x.fits")
    assert facts["masked by"] == "WHT"
    assert facts["not used"] == "ERR, DQ"
    assert any(line.startswith("DQ is not used as a mask") for line in facts["warnings"])


def test_a_shipped_bundle_goes_by_its_name():
    assert describe(Path("kodak-colours"))["what"].startswith("bundle")
