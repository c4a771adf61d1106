"""Whatever is given: a report, or one line that says what is wrong."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from trust_standins import BANDS, NOISE, fluxes_of, painted, places, sky, wcs

from imgturbo.errors import ImgturboError
from imgturbo.report.preview import colour
from imgturbo.scoring.trust.folder import _images, free_report, write_report
from imgturbo.scoring.trust.report import look_at
from imgturbo.sky import SkyImage
from imgturbo.sky.hdus import hdus_of

WHERE = places()
FLUXES = fluxes_of(len(WHERE))
CUT = (slice(None), slice(20, 84), slice(20, 91))
TRUTH = sky(painted(WHERE, FLUXES)).data[CUT]
MADE = sky(painted(WHERE, FLUXES), 0.3 * NOISE, 5).data[CUT]
SEEN = sky(painted(WHERE, FLUXES[:, :1] * [[0.6, 0.9]], 1.6), 2 * NOISE, 3).data[CUT]
NOTHING = np.random.default_rng(0).normal(size=(2, 60, 70))


def on_sky(data, scale=1.0, **more):
    where = copy.deepcopy(wcs())
    where.wcs.cdelt = where.wcs.cdelt * scale
    known = {"unit": "nJy", "bands": BANDS[: len(data)], "zeropoints": (28.0,) * len(data)}
    return SkyImage.from_array(data, wcs=where, **{**known, **more})


def holed(data):
    return np.where(np.random.default_rng(1).random(data.shape) < 0.03, np.nan, data)


GIVEN = {
    "no coordinates": (MADE, TRUTH, SEEN),
    "no unit": (on_sky(MADE, unit="", zeropoints=()), on_sky(TRUTH, unit="", zeropoints=()), None),
    "another grid": (on_sky(MADE), on_sky(TRUTH[:, :50, :50], 1.2), None),
    "no source of light": (on_sky(NOTHING), on_sky(NOTHING[:, ::-1]), on_sky(NOTHING + 1)),
    "one value": (np.ones((2, 40, 40)), np.ones((2, 40, 40)), np.ones((2, 40, 40))),
    "no truth": (on_sky(MADE), None, on_sky(SEEN)),
    "nothing else": (MADE, None, None),
    "one band": (MADE[:1], TRUTH[:1], SEEN[:1]),
    "a plane": (MADE[0], TRUTH[0], None),
    "a few pixels": (MADE[:, :8, :8], TRUTH[:, :8, :8], SEEN[:, :8, :8]),
    "one pixel": (MADE[:, :1, :1], TRUTH[:, :1, :1], SEEN[:, :1, :1]),
    "a strip": (MADE[:, :2, :5], TRUTH[:, :2, :5], None),
    "holes": (holed(MADE), TRUTH, SEEN),
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_report_of_it(name, tmp_path):
    prediction, truth, source = GIVEN[name]
    findings = look_at(prediction, truth, source)
    page = write_report(findings, tmp_path, name)
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert (numbers["sources"] is None) == (truth is None)
    assert (numbers["consistency"] is None) == (source is None)
    assert numbers["headline"]["bands"].keys() == set(numbers["bands"])
    assert page.stat().st_size > 10_000
    if source is not None:
        with hdus_of(tmp_path / "maps.fits") as hdus:
            planes = {(hdu.name, hdu.ver) for hdu in hdus if hdu.shape}
        bands = range(1, len(findings.apart) + 1)
        assert planes == {(word, k) for word in ("CHI", "CHI2") for k in bands}


def test_a_report_of_no_truth_makes_its_folder(tmp_path):
    """There are no figures then, which come first."""
    findings = look_at(MADE[:1], None, SEEN[:1])
    page = write_report(findings, tmp_path / "a" / "new one", "no truth")
    assert (page.parent / "maps.fits").exists()


def test_of_a_dark_prediction_no_star_has_a_width():
    found = look_at(np.zeros_like(TRUTH), TRUTH).numbers["points"]["stars"]
    assert all(row["n"] == 0 and row["fwhm_ratio"]["value"] is None for row in found.values())


def test_pictures_have_no_magnitudes_and_keep_their_colours(tmp_path):
    random = np.random.default_rng(0)
    grey = np.clip(MADE[0] / MADE[0].max(), 0, 1)
    red = np.stack([grey, 0.1 * grey, 0 * grey])
    truth, made = (
        on_sky(red + 0.01 * random.random(red.shape), 25.0, unit="display", bands=("R", "G", "B"),
               zeropoints=())
        for _ in range(2)
    )  # fmt: skip
    findings = look_at(made, truth, made)
    assert findings.scene.radius == 4.0  # pixels: coordinates of pictures are nominal
    assert findings.numbers["magnitudes"] == "of grey values"
    for row in findings.numbers["headline"]["bands"].values():
        assert row["depth"] is row["flux_ratio"] is row["colour_bias"] is None
    assert any("grey values" in note for note in findings.numbers["notes"])
    shown = colour(_images(findings)["prediction"])
    assert shown[..., 0].max() > 0.5 > 2 * shown[..., 2].max()


def test_a_circle_is_never_smaller_than_pixels():
    coarse = look_at(on_sky(NOTHING, 20.0), None)  # 0.8 arcsec a pixel
    assert coarse.scene.radius == 2.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((np.full((2, 30, 30), np.nan), TRUTH[:, :30, :30]), "no valid pixel"),
        ((NOTHING[None], None), r"must be \(C, H, W\) or \(H, W\), not \(1, 2, 60, 70\)"),
        ((MADE, TRUTH[:, :50]), "without a WCS on both sides"),
        ((MADE, TRUTH[:1]), "give the same bands on both sides"),
    ],
)
def test_one_line(given, message):
    with pytest.raises(ImgturboError, match=message):
        look_at(*given)


@pytest.mark.parametrize("psf", [0.0, -0.1, np.nan, np.inf])
def test_a_star_has_a_width(psf):
    with pytest.raises(ImgturboError, match=r"--psf \S+ is no width"):
        look_at(MADE, TRUTH, SEEN, bundle=object(), psf=psf)  # before the bundle is asked anything


def test_a_second_report_takes_the_place_of_the_first_and_of_nothing_else(tmp_path):
    findings = look_at(MADE[:1], None, SEEN[:1])
    for _ in range(2):
        free_report(tmp_path, [], overwrite=False)
        write_report(findings, tmp_path, "twice")
    (tmp_path / "maps.fits").write_bytes(b"mine")
    with pytest.raises(ImgturboError, match=r"maps\.fits"):
        free_report(tmp_path, [], overwrite=False)
