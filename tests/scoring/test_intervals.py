"""Laws of the coverage of quantile extensions: their names, bands, pixels and grid."""

import numpy as np
import pytest
from astropy.io import fits

from imgturbo import evaluate
from imgturbo.errors import ImgturboError
from imgturbo.scoring.intervals import file_intervals, interval_names
from imgturbo.sky import SkyImage, write_sky

SHAPE = (2, 23, 31)


def sky(data, bands=("F150W", "F277W"), **fields):
    return SkyImage.from_array(data.astype(np.float32), bands=bands, unit="MJy/sr", **fields)


@pytest.fixture
def translated(tmp_path):
    """A prediction 0 with intervals ±1 (80 %) and ±2 (90 %), as `translate --quantiles` writes."""
    zero = np.zeros(SHAPE, np.float32)
    planes = {"Q05": zero - 2, "Q10": zero - 1, "Q50": zero, "Q90": zero + 1, "Q95": zero + 2}
    write_sky(tmp_path / "p.fits", sky(zero), extras=planes)
    return tmp_path / "p.fits"


def truth():
    """Of every ten columns one beyond all intervals, two within the wide one only; band 2: one."""
    data = np.zeros(SHAPE, np.float32)
    data[:, :, 0:30:10] = 3
    data[0, :, 1:30:10] = -1.5
    return data


def test_coverage_is_counted_band_by_band(translated):
    wanted = truth()
    found = evaluate(translated, sky(wanted), perceptual=False)["calibration"]
    assert list(found) == ["Q05-Q95", "Q10-Q90"]
    assert found["Q05-Q95"] == {
        "nominal": 0.9,
        "coverage": pytest.approx(np.mean(np.abs(wanted) <= 2)),
    }
    assert found["Q10-Q90"] == {
        "nominal": 0.8,
        "coverage": pytest.approx(np.mean(np.abs(wanted) <= 1)),
    }


def test_bands_are_matched_by_name_and_masks_respected(translated):
    """The target's bands the other way round, and a hole where all is missed."""
    wanted = truth()
    with fits.open(translated, mode="update") as hdus:  # only the first band's is wide enough
        hdus["Q95", 1].data[:] = 100
    wanted[:, :, 0:30:10] = np.nan
    wanted[0, 5, 5] = 50
    turned = sky(wanted[::-1], bands=("F277W", "F150W"))
    found = evaluate(translated, turned, perceptual=False)["calibration"]
    assert found["Q05-Q95"]["coverage"] == 1


def test_what_has_no_quantiles_has_no_coverage(tmp_path):
    data = np.random.default_rng(0).random((3, 15, 17)).astype(np.float32)
    write_sky(tmp_path / "plain.fits", sky(data[:2]))
    assert evaluate(tmp_path / "plain.fits", sky(data[:2]), perceptual=False)["calibration"] is None
    assert evaluate(data, data, perceptual=False)["calibration"] is None


def test_names():
    names = ["Q05", "Q2.5", "Q97.5", "Q50", "Q95", "Q16", "QUALITY", "SCI"]
    assert interval_names(names) == [("Q2.5", "Q97.5", 0.95), ("Q05", "Q95", 0.9)]
    assert interval_names([]) == []


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE")
    with pytest.raises(ImgturboError, match=r"broken\.fits: is not a FITS file"):
        file_intervals(tmp_path / "broken.fits", [0], np.zeros((1, 3, 3)), np.ones((3, 3), bool))
