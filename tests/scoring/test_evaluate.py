"""Laws of `evaluate`: what it compares, on which pixels, grid, unit and scale."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from imgturbo import evaluate
from imgturbo.errors import ImgturboError
from imgturbo.files import write_json
from imgturbo.sky import SkyImage, Stretch, read_sky, resample, write_sky

UNITY = Stretch.linear(2)


def sky_wcs(scale=0.05, shift=0.0, size=(47, 53)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.0
    wcs.wcs.crpix = size[1] / 2 + 0.5 + shift, size[0] / 2 + 0.5 + shift
    wcs.wcs.cdelt = -scale / 3600, scale / 3600
    return wcs


def scene(channels=2, height=47, width=53, seed=0):
    """A sky with noise and broad sources, about 0 to 1."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    data = 0.02 * random.normal(size=(channels, height, width))
    for _ in range(6):
        at = random.uniform(0, (height, width))
        spot = np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 18)
        data += random.uniform(0.3, 1, size=(channels, 1, 1)) * spot
    return data.astype(np.float32)


def sky(data, **fields):
    fields = {"wcs": sky_wcs(size=data.shape[1:]), "unit": "MJy/sr"} | fields
    fields.setdefault("bands", ("F150W", "F277W", "F444W", "F1000W", "F2100W")[: len(data)])
    return SkyImage.from_array(data, **fields)


def only_numbers(scores):
    """The rows, without what says how they were come by."""
    return scores["prediction"], scores["baselines"], scores["valid_fraction"]


# --------------------------------------------------------------------------------- numbers


@given(channels=st.integers(1, 5), height=st.integers(1, 40), width=st.integers(1, 40))
def test_any_shape_has_scores(channels, height, width):
    """One band or many, odd, prime, a single pixel: a number, or None where it is not defined."""
    truth, guess = scene(channels, height, width, 1), scene(channels, height, width, 2)
    scores = evaluate(guess, truth, truth * 2 + 1, perceptual=False)
    json.dumps(scores, allow_nan=False)
    row = scores["prediction"]
    assert math.isfinite(row["mse"])
    assert (row["ssim"] is None) == (min(height, width) < 11)
    assert row["ms_ssim"] is None
    assert row["spectrum_error"] is None or row["spectrum_error"] >= 0
    assert len(scores["bands"]) == len(scores["stretch"]["scale"]) == channels


def test_the_mean_square_is_that_of_the_stretched_flux():
    truth, guess = scene(seed=1), scene(seed=2)
    stretch = Stretch(np.array([0.1, 0.0]), np.array([0.3, 0.2]), np.array([2.0, 3.0]))
    row = evaluate(guess, truth, stretch=stretch, perceptual=False)["prediction"]
    mse = np.mean(
        [
            (np.arcsinh((g - o) / s) / c - np.arcsinh((t - o) / s) / c) ** 2
            for g, t, o, s, c in zip(guess, truth, (0.1, 0.0), (0.3, 0.2), (2.0, 3.0), strict=True)
        ]
    )
    assert row["mse"] == pytest.approx(mse, rel=1e-4)
    assert row["psnr"] == pytest.approx(-10 * math.log10(mse), abs=1e-3)


def test_a_perfect_prediction_is_still_json(tmp_path):
    truth = scene()
    scores = evaluate(truth, truth, truth, perceptual=False)
    row = scores["prediction"]
    assert (row["mse"], row["psnr"]) == (0.0, None)
    assert row["ssim"] == pytest.approx(1.0)
    assert scores["baselines"]["identity"]["psnr"] is None
    assert any("prediction: equal to the target" in note for note in scores["notes"])
    assert any("identity: equal to the target" in note for note in scores["notes"])
    write_json(tmp_path / "s.json", scores)
    assert json.loads((tmp_path / "s.json").read_text()) == scores


def test_the_affine_baseline_undoes_a_recolouring():
    truth = scene(3)
    mixed = np.einsum("ij,jhw->ihw", [[0.5, 0.3, 0], [0, 1, 0.2], [0.1, 0, 0.9]], truth) + 0.1
    stretch = Stretch.linear(3)
    images = (replace(sky(u), unit="display") for u in (scene(3, seed=4), truth, mixed))
    scores = evaluate(*images, stretch=stretch, perceptual=False)
    affine, identity = (scores["baselines"][name]["psnr"] for name in ("affine", "identity"))
    assert affine > 90 > 30 > identity


def test_no_source_no_baselines():
    scores = evaluate(scene(seed=1), scene(seed=2), perceptual=False)
    assert scores["baselines"] == {"identity": None, "affine": None}
    assert any("no source" in note for note in scores["notes"])


def test_metrics_that_are_missing_are_told_once(monkeypatch):
    from imgturbo.scoring import evaluate as scoring

    def missing(*_):
        raise scoring.Unavailable("LPIPS skipped: no weights")

    monkeypatch.setattr(scoring, "lpips_distance", missing)
    monkeypatch.setattr(scoring, "st_lpips_distance", missing)
    monkeypatch.setattr(scoring, "CropFrechet", missing)
    scores = evaluate(scene(seed=1), scene(seed=2), scene(seed=3))
    assert scores["notes"] == ["LPIPS skipped: no weights"]
    assert scores["prediction"]["lpips"] is None


def test_brightness_alone_is_seen_by_haarpsi_and_the_finder_and_colour_by_the_networks(monkeypatch):
    from imgturbo.metrics.detection import compare_sources
    from imgturbo.metrics.haarpsi import haarpsi
    from imgturbo.metrics.luminance import luminance
    from imgturbo.scoring import evaluate as scoring

    shown = []

    def distance(pred, target):
        shown.append((pred, target))
        return torch.zeros(1)

    monkeypatch.setattr(scoring, "lpips_distance", distance)
    monkeypatch.setattr(scoring, "st_lpips_distance", distance)
    guess, truth = scene(3, seed=1), scene(3, seed=2)
    pictures = [sky(u, bands=("R", "G", "B"), unit="display", wcs=None) for u in (guess, truth)]
    row = evaluate(*pictures)["prediction"]
    for pair in shown:
        np.testing.assert_array_equal(torch.cat(pair), np.stack([guess, truth]))
    grey = [luminance(u, ("R", "G", "B")) for u in (guess, truth)]
    expected = haarpsi(*(torch.from_numpy(u)[None, None] for u in grey))
    assert row["haarpsi"] == pytest.approx(expected.item())
    found = compare_sources(*grey)
    assert (row["sources"], row["sources_matched"], row["sources_target"]) == (
        found.predicted, found.matched, found.true,
    )  # fmt: skip
    assert row["sources_target"] > 0
    assert evaluate(truth, truth, perceptual=False)["prediction"]["source_f1"] == 1.0


# ---------------------------------------------------------------------------- valid pixels


@given(seed=st.integers(0, 2**31))
def test_invalid_pixels_never_matter(seed):
    """Whatever stands where any of the three is masked, every number is the same."""
    random = np.random.default_rng(seed)
    images = [scene(2, seed=k) for k in (1, 2, 3)]
    holes = [random.random(images[0].shape[1:]) < 0.1 for _ in images]
    anywhere = np.logical_or.reduce(holes)
    masked, wild = [], []
    for image, hole in zip(images, holes, strict=True):
        masked.append(np.where(hole, np.nan, image))
        junk = np.where(anywhere, random.normal(size=image.shape) * 1e3, image)
        wild.append(np.where(hole, np.nan, junk))
    a, b = (evaluate(*three, perceptual=False) for three in (masked, wild))
    assert a == b
    assert a["valid_fraction"] == pytest.approx(1 - anywhere.mean())


def test_a_hole_in_one_band_is_a_hole():
    guess = scene(seed=1)
    guess[1, 3:9, 4:8] = np.nan
    scores = evaluate(guess, scene(seed=2), perceptual=False)
    assert scores["valid_fraction"] == pytest.approx(1 - 24 / guess[0].size)


def test_nothing_in_common_is_named():
    left, right = scene(seed=1), scene(seed=2)
    left[:, :, :30], right[:, :, 25:] = np.nan, np.nan
    with pytest.raises(ImgturboError, match="share no valid pixel"):
        evaluate(left, right)


# ------------------------------------------------------------------------- grid, band, unit


def test_another_grid_is_resampled_and_flux_conserved():
    """A prediction per pixel of 0.1 arcsec, truth at 0.05: a quarter of the flux each."""
    truth = sky(scene(seed=1), unit="10 nJy")
    wide = resample(truth, sky_wcs(0.1, size=(24, 27)), (24, 27))
    assert np.nansum(wide.data) == pytest.approx(np.nansum(truth.data), rel=0.1)
    scores = evaluate(wide, truth, stretch=UNITY, perceptual=False)
    assert scores["prediction"]["psnr"] > 28
    assert 0.7 < scores["valid_fraction"] <= 1
    # The same numbers taken for a surface brightness would be four times too bright.
    bright = (replace(image, unit="MJy/sr") for image in (wide, truth))
    assert evaluate(*bright, stretch=UNITY, perceptual=False)["prediction"]["psnr"] < 20


def test_a_shifted_grid_is_found_by_its_wcs():
    truth = sky(scene(seed=1))
    moved = SkyImage.from_array(
        np.roll(truth.data, (5, 5), (1, 2)), wcs=sky_wcs(shift=5), unit="MJy/sr", bands=truth.bands
    )
    row = evaluate(moved, truth, stretch=UNITY, perceptual=False)["prediction"]
    assert row["mse"] < 1e-6  # but for the columns that np.roll brings in from the other side
    without = replace(moved, wcs=None)
    assert evaluate(without, truth, stretch=UNITY, perceptual=False)["prediction"]["mse"] > 1e-3


def test_without_wcs_other_sizes_are_named():
    with pytest.raises(ImgturboError, match=r"20 × 30 pixels.*40 × 31.*WCS"):
        evaluate(scene(2, 20, 30), scene(2, 40, 31))


def test_bands_are_matched_by_name():
    truth = sky(scene(3, seed=1))
    guess = sky(scene(3, seed=2))
    turned = guess.select(guess.bands[::-1])
    a, b = (evaluate(image, truth, perceptual=False) for image in (guess, turned))
    assert only_numbers(a) == only_numbers(b)
    assert a["bands"] == list(truth.bands)


def test_every_band_has_its_score():
    """The mean of the bands' squares is that of the image; a band alone scores the same."""
    truth, guess = sky(scene(3, seed=1)), sky(scene(3, seed=2))
    stretch = Stretch.linear(3)
    scores = evaluate(guess, truth, truth, stretch=stretch, perceptual=False)
    assert list(scores["by_band"]) == list(truth.bands)
    squares = [row["mse"] for row in scores["by_band"].values()]
    assert np.mean(squares) == pytest.approx(scores["prediction"]["mse"], rel=1e-5)
    one = Stretch.linear(1)
    for band in truth.bands:
        alone = evaluate(guess.select([band]), truth.select([band]), stretch=one, perceptual=False)
        row = {k: v for k, v in scores["by_band"][band].items() if v is not None}
        # The images are too small for MS-SSIM.
        assert row.keys() == {"mse", "psnr", "ssim", "spectrum_error", "coherence"}
        assert {key: alone["prediction"][key] for key in row} == pytest.approx(row, rel=1e-5)
    assert scores["beside_by_band"]["identity"]["F277W"]["mse"] == 0.0
    assert scores["beside_by_band"].keys() == {"identity", "affine"}


def test_bands_of_other_names_are_refused_but_where_the_caller_names_them(tmp_path):
    truth = sky(scene(1, seed=1), bands=("F356W",))
    guess = sky(scene(1, seed=2), bands=("F444W",))
    files = [write_sky(tmp_path / f"{k}.fits", image) for k, image in enumerate((guess, truth))]
    for pair in ((guess, truth), files, (files[0], truth)):
        with pytest.raises(ImgturboError, match=r"F444W but .* has F356W; .*--bands"):
            evaluate(*pair, perceptual=False)
        found = evaluate(*pair, perceptual=False, bands=["F356W"])
        assert found["bands"] == ["F356W"]
        assert found["prediction"]["mse"] > 0
    with pytest.raises(ImgturboError, match="2 band names for 1 bands"):
        evaluate(guess, truth, bands=["F356W", "F444W"])
    # An array has no names: its bands are the target's by count.
    assert evaluate(guess.data, truth, perceptual=False)["bands"] == ["F356W"]


def test_resampling_is_said_with_what_it_costs():
    """The sky itself on a grid half a pixel off is no perfect prediction any more."""
    truth = sky(scene(seed=1))
    assert evaluate(truth, truth, truth, perceptual=False)["resampling"] is None
    off = resample(truth, sky_wcs(shift=0.5), truth.shape[1:])
    scores = evaluate(off, truth, truth, stretch=UNITY, perceptual=False)
    said = scores["resampling"]
    assert said["what"] == ["prediction"]
    assert all(line in scores["notes"] for line in said["notes"])
    assert "47 × 53 pixels of 0.05 arcsec" in said["notes"][0]
    psnr = scores["prediction"]["psnr"]
    assert said["perfect"]["psnr"] == pytest.approx(psnr, abs=0.5)
    assert f"{said['perfect']['psnr']:.2f} dB" in said["notes"][1]
    only = evaluate(truth, truth, off, stretch=UNITY, perceptual=False)["resampling"]
    assert (only["what"], only["perfect"]) == (["source"], None)


def test_bands_without_a_common_pixel_are_named():
    guess = scene(3, seed=1)
    guess[0, :, :30], guess[2, :, 30:] = np.nan, np.nan
    with pytest.raises(ImgturboError, match=r"F150W and F444W share none"):
        evaluate(sky(guess), sky(scene(3, seed=2)))
    with pytest.raises(ImgturboError, match=r"F150W and F444W share none"):
        evaluate(sky(scene(3, seed=2)), sky(guess))


def test_other_counts_of_bands_are_named():
    with pytest.raises(ImgturboError, match=r"F150W, F277W but .* F150W, F277W, F444W"):
        evaluate(sky(scene(2)), sky(scene(3)))


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_a_source_may_have_other_bands(bands):
    scores = evaluate(sky(scene(3, seed=1)), sky(scene(3)), sky(scene(bands)), perceptual=False)
    assert all(scores["baselines"][name]["psnr"] is not None for name in ("identity", "affine"))


def test_units_are_brought_together_by_zero_points():
    truth = sky(scene(seed=1), unit="10 nJy", zeropoints=(28.9, 28.9))
    guess = sky(scene(seed=2), unit="10 nJy", zeropoints=(28.9, 28.9))
    # The same sky in another unit, a factor of ten a band.
    other = sky(truth.data * 10, unit="electron/s", zeropoints=(31.4, 31.4))
    plain, converted = (
        evaluate(guess, image, image, stretch=UNITY, perceptual=False) for image in (truth, other)
    )
    for row in ("mse", "psnr", "ssim"):
        assert converted["prediction"][row] == pytest.approx(plain["prediction"][row], rel=1e-4)
    identity = evaluate(truth, truth, other, stretch=UNITY, perceptual=False)["baselines"]
    assert identity["identity"]["mse"] < 1e-12


def test_units_without_zero_points_are_refused_and_named():
    with pytest.raises(ImgturboError, match=r"MJy/sr.*electron/s.*zero points"):
        evaluate(sky(scene()), sky(scene(), unit="electron/s"))


def test_a_source_in_an_unknown_unit_is_shown_on_its_own_stretch():
    truth, source = sky(scene(seed=1)), sky(scene(seed=1) * 1e4, unit="electron/s")
    identity = evaluate(truth, truth, source, perceptual=False)["baselines"]["identity"]
    assert identity["mse"] < 1e-8


# -------------------------------------------------------------------------- which stretch


def test_the_stretch_and_where_it_comes_from(tmp_path):
    truth, guess = sky(scene(seed=1)), sky(scene(seed=2))
    fitted = Stretch.fit(truth.data, truth.valid)
    assert evaluate(guess, truth, perceptual=False)["stretch"] == {
        "from": "fitted on the target",
        **fitted.to_dict(),
    }
    known = Stretch(np.array([0.1, 0.2]), np.array([0.3, np.inf]), np.array([2.0, 3.0]))
    path = write_sky(tmp_path / "p.fits", guess, header_cards=known.header_cards(guess.bands))
    scores = evaluate(path, truth, perceptual=False)
    assert scores["stretch"]["from"] == "prediction header"
    assert scores["stretch"]["offset"] == pytest.approx([0.1, 0.2])
    assert scores["stretch"]["softening"] == [pytest.approx(0.3), "inf"]
    chosen = evaluate(path, truth, stretch=UNITY, perceptual=False)["stretch"]
    assert chosen == {"from": "caller", **UNITY.to_dict()}
    with pytest.raises(ImgturboError, match=r"3 bands but .* has 2"):
        evaluate(guess, truth, stretch=Stretch.linear(3))


def test_pictures_stay_as_they_are_seen(tmp_path):
    images = [np.clip(scene(3, 33, 29, seed), 0, 1) for seed in (1, 2)]
    paths = [
        write_sky(
            tmp_path / f"{k}.png",
            SkyImage.from_array(image, unit="display", bands=("R", "G", "B")),
        )
        for k, image in enumerate(images)
    ]
    scores = evaluate(*paths, paths[0], perceptual=False)
    assert scores["stretch"]["from"] == "linear (pictures)"
    guess, truth = (read_sky(path).data for path in paths)
    assert scores["prediction"]["mse"] == pytest.approx(np.mean((guess - truth) ** 2), rel=1e-4)
    assert scores["baselines"]["identity"] == scores["prediction"]


@pytest.mark.parametrize("kind", [">f4", "f8", "i2", "flat"])
def test_arrays_of_any_kind(kind):
    truth, guess = (np.round(scene(1, seed=s) * 100) for s in (1, 2))
    expected = evaluate(guess, truth, perceptual=False)
    images = [u[0] if kind == "flat" else u.astype(kind) for u in (guess, truth)]
    assert evaluate(*images, perceptual=False) == expected
    with pytest.raises(ImgturboError, match=r"\(C, H, W\)"):
        evaluate(truth[None], truth)
