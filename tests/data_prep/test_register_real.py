"""The real pairs: skipped where the shared data is not at hand."""

import numpy as np
import pytest

from data_prep.register import register
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError
from imgturbo.sky import read_sky


def pictures(real_data, name):
    folder = real_data / "pictures" / name
    return [read_sky(sorted(folder.glob(f"{side}.*"))[0]) for side in ("hubble", "webb")]


@pytest.mark.slow
def test_smacs0723_is_registered_below_half_a_pixel(real_data):
    found = register(*pictures(real_data, "smacs0723"), RegisterConfig())
    assert found.matched >= 30
    assert found.residual_before > 8
    assert found.residual_after < 0.5
    assert found.residual_held_out < 0.5


@pytest.mark.parametrize("name", ["carina", "tarantula", "stephans_quintet"])
def test_other_pictures_come_below_a_third_of_a_pixel(real_data, name):
    found = register(*pictures(real_data, name), RegisterConfig())
    assert found.matched >= 30
    assert found.residual_held_out < 0.35


@pytest.mark.slow
def test_a_nebula_with_two_stars_is_refused(real_data):
    with pytest.raises(ImgturboError, match=r"hubble\.jpg .* too few sources"):
        register(*pictures(real_data, "southern_ring"), RegisterConfig())


@pytest.mark.parametrize(
    ("source", "target", "arcsec"),
    [
        ("he0435_hst_f814w", "he0435_jwst_f115w", 0.066),
        ("rxj1131_hst_f814w", "rxj1131_jwst_f560w", 0.384),
        ("wfi2033_hst_f814w", "wfi2033_jwst_f115w", 0.063),
    ],
)
def test_quasars_with_four_images_need_only_a_shift(real_data, source, target, arcsec):
    folder = real_data / "fits" / "hst_jwst_lensed_quasars"
    first, second = (read_sky(folder / f"{name}.fits") for name in (source, target))
    found = register(first, second, RegisterConfig(model="shift", min_sources=3))
    shift = np.hypot(*found.before.mean(axis=0)) * second.pixel_scale
    assert shift == pytest.approx(arcsec, abs=0.02)
    assert found.residual_held_out * second.pixel_scale < 0.02
