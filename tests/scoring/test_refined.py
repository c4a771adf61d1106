"""Bicubic beside a super-resolved image: on nested grids alone, in the prediction's unit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from astropy.wcs import WCS

from imgturbo.nets.super_resolution import bicubic
from imgturbo.scoring.evaluate import evaluate
from imgturbo.scoring.refined import bicubic_of, pixels_across
from imgturbo.sky import SkyImage, Stretch
from imgturbo.sky.grids import zoomed_grid


def gnomonic(scale=0.06):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (10.0, 20.0), (20.0, 20.0)
    wcs.wcs.cdelt = -scale / 3600, scale / 3600
    return wcs


def pair(factor=2, unit="MJy/sr", side=40):
    """A smooth sky on two nested grids, and noise on the fine one."""
    wcs = gnomonic()
    fine, shape = zoomed_grid(wcs, (side, side), Fraction(factor))
    random = np.random.default_rng(0)
    coarse = 1 + random.normal(size=(1, side, side)) * 0.2
    up = bicubic(torch.from_numpy(coarse[None]), factor)[0].numpy()
    per_pixel = factor**2 if unit == "nJy" else 1
    source = SkyImage.from_array(coarse * per_pixel, wcs=wcs, unit=unit, bands=["F1"])
    target = up + random.normal(size=(1, *shape)) * 0.01
    return source, SkyImage.from_array(target, wcs=fine, unit=unit, bands=["F1"])


@pytest.mark.parametrize("unit", ["MJy/sr", "nJy"])
@pytest.mark.parametrize("factor", [2, 4])
def test_it_is_cubic_convolution_of_the_stretched_values(factor, unit):
    source, target = pair(factor, unit)
    stretch = Stretch(np.array([1.0]), np.array([0.1]), np.array([3.0]))
    assert pixels_across(source, target) == factor
    per_pixel = factor**2 if unit == "nJy" else 1
    y = torch.from_numpy(stretch(source.data / per_pixel)[None])
    assert np.allclose(bicubic_of(source, target, stretch), bicubic(y, factor)[0], atol=1e-5)


def test_scores_stand_beside_where_grids_are_nested_and_nowhere_else():
    source, target = pair()
    scores = evaluate(target, target, source, perceptual=False)
    assert 20 < scores["baselines"]["bicubic"]["psnr"] < 60
    assert scores["baselines"]["bicubic"]["psnr"] > scores["baselines"]["identity"]["psnr"] - 3
    assert "bicubic" in scores["beside_by_band"]
    on_one_grid = evaluate(target, target, target, perceptual=False)
    assert "bicubic" not in on_one_grid["baselines"]
    for wcs in (gnomonic(0.05), zoomed_grid(gnomonic(0.03), (80, 80), Fraction(1))[0]):
        moved = SkyImage.from_array(source.data, wcs=wcs, unit="MJy/sr", bands=["F1"])
        assert pixels_across(moved, target) is None
    shifted = gnomonic()
    shifted.wcs.crpix = 20.3, 20.0
    moved = SkyImage.from_array(source.data, wcs=shifted, unit="MJy/sr", bands=["F1"])
    assert pixels_across(moved, target) is None
