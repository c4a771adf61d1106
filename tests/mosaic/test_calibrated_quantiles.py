"""Calibrated intervals of a bundle: fitted by files, kept, and the same on every path."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from small_skies import rotated_wcs
from typer.testing import CliRunner

from imgturbo.bundle import annotate, export, load_bundle
from imgturbo.cli.main import app
from imgturbo.errors import ImgturboError
from imgturbo.mosaic import (
    translate_file,
    translate_manifest,
    translate_positions,
    translate_sky,
)
from imgturbo.scoring.conformal import fit_intervals
from imgturbo.sky import SkyImage, read_sky, write_sky

DRAWS = {"samples": 8, "quantiles": (0.05, 0.25, 0.75, 0.95), "window": 128}


def field(bundle, folder, seed, size=256):
    """Files of a source, and of a truth that is farther from the mean than the model says."""
    random = np.random.default_rng(seed)
    data = random.normal(0.0, 0.03, (2, size, size)) + random.gamma(0.02, 2.0, (2, size, size))
    data += np.array([0.01, 0.02])[:, None, None]  # the sky of the training
    wcs = rotated_wcs(size, size)
    image = SkyImage.from_array(
        data, wcs=wcs, unit="electron/s", bands=("F606W", "F814W"), zeropoints=(26.0, 26.0)
    )
    made = translate_sky(bundle, image, samples=8, window=128, seed=100 + seed)
    apart = 2.0 * made.std.data * random.standard_t(5, data.shape)
    truth = SkyImage.from_array(
        made.mean.data + apart, wcs=wcs, unit=made.mean.unit, bands=made.mean.bands,
        zeropoints=made.mean.zeropoints,
    )  # fmt: skip
    paths = folder / f"source{seed}.fits", folder / f"truth{seed}.fits"
    for path, one in zip(paths, (image, truth), strict=True):
        write_sky(path, one)
    return paths


@pytest.fixture(scope="module")
def skies(make_bundle, tmp_path_factory):
    bundle = make_bundle(noise=2)
    folder = tmp_path_factory.mktemp("skies")
    return bundle, field(bundle, folder, 1), field(bundle, folder, 2)


@pytest.fixture(scope="module")
def calibrated(skies):
    bundle, (source, truth), _ = skies
    found = fit_intervals(bundle, [source], [truth], samples=8, levels=(0.5, 0.9))
    before = (bundle.path / "bundle.json").read_text()
    annotate(bundle, intervals=found.to_dict())
    yield load_bundle(bundle.path)
    (bundle.path / "bundle.json").write_text(before)


def covered(path, truth):
    with fits.open(path) as file:
        ends = [np.stack([file[name, k].data for k in (1, 2)]) for name in ("Q05", "Q95")]
        assert file["SCI"].header["MODEL"]
        header = file[0].header
    return np.mean((ends[0] <= truth) & (truth <= ends[1])), header


def test_a_sky_that_fitted_nothing_is_covered(skies, calibrated, tmp_path):
    _, _, (source, truth) = skies
    true = read_sky(truth).data
    translate_file(calibrated, source, tmp_path / "right.fits", **DRAWS)
    with pytest.warns(UserWarning, match="8 draws have quantiles from"):
        translate_file(calibrated, source, tmp_path / "raw.fits", **DRAWS, raw_quantiles=True)
    found, header = covered(tmp_path / "right.fits", true)
    assert 0.89 < found < 0.955  # 64 blocks: each end gives 1.6 % to be sure
    assert header["QCALIB"] == calibrated.intervals.name
    raw, header = covered(tmp_path / "raw.fits", true)
    assert raw < 0.75
    assert "QCALIB" not in header


def test_every_path_gives_the_same(skies, calibrated, tmp_path):
    source = skies[1][0]
    image = read_sky(source)
    whole = translate_sky(calibrated, image, samples=8, quantiles=(0.05, 0.95))
    assert whole.mean.header["QCALIB"] == calibrated.intervals.name
    array = translate_sky(calibrated, image.data, **{**DRAWS, "quantiles": (0.05, 0.95)})
    translate_file(calibrated, source, tmp_path / "out.fits", **DRAWS)
    translate_file(calibrated, source, tmp_path / "grid.fits", grid=source, **DRAWS)
    for level, name in ((0.05, "Q05"), (0.95, "Q95")):
        wanted = whole.quantiles[level].data
        scale = np.nanstd(wanted)
        np.testing.assert_allclose(array.quantiles[level], wanted, atol=1e-3 * scale)
        for made in ("out.fits", "grid.fits"):
            with fits.open(tmp_path / made) as file:
                planes = np.stack([file[name, k].data for k in (1, 2)])
            np.testing.assert_allclose(planes, wanted, atol=1e-3 * scale)


def test_cutouts_are_parts_of_the_calibrated_whole(skies, calibrated, tmp_path):
    source = skies[1][0]
    translate_file(calibrated, source, tmp_path / "whole.fits", **DRAWS)
    with fits.open(tmp_path / "whole.fits") as file:
        whole = np.stack([file["Q05", k].data for k in (1, 2)])
        sky = WCS(file["SCI", 1].header).pixel_to_world(100, 120)
    (tmp_path / "one.csv").write_text(f"id,ra,dec\na,{sky.ra.deg},{sky.dec.deg}\n")
    translate_positions(
        calibrated, source, tmp_path / "one.csv", "24pix", tmp_path / "cuts", folder=True, **DRAWS
    )
    (cut,) = (tmp_path / "cuts").glob("*.fits")
    with fits.open(cut) as file:
        part = np.stack([file["Q05", k].data for k in (1, 2)])
        assert file[0].header["QCALIB"] == calibrated.intervals.name
    wanted = whole[:, 108:132, 88:112]
    np.testing.assert_allclose(part, wanted, atol=1e-3 * np.nanstd(whole))


def test_an_archive_knows_what_was_made_before_the_calibration(skies, calibrated, tmp_path):
    bundle, (source, _), _ = skies
    (tmp_path / "fields.csv").write_text(f"name,file\na,{source}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        translate_manifest(bundle, tmp_path / "fields.csv", tmp_path / "out", **DRAWS)
    again = translate_manifest(calibrated, tmp_path / "fields.csv", tmp_path / "out", **DRAWS)
    assert "there is an output of other options" in again.failed["a"]
    same = {**DRAWS, "overwrite": True}
    assert translate_manifest(calibrated, tmp_path / "fields.csv", tmp_path / "out", **same).done
    last = translate_manifest(calibrated, tmp_path / "fields.csv", tmp_path / "out", **DRAWS)
    assert last.skipped == ["a"]


def test_mean_and_hash_stay_and_the_card_tells(skies, calibrated):
    bundle = skies[0]
    assert calibrated.hash == bundle.hash
    image = read_sky(skies[1][0])
    one, two = (translate_sky(b, image, samples=2).mean.data for b in (bundle, calibrated))
    np.testing.assert_array_equal(one, two)
    card = (bundle.path / "README.md").read_text()
    assert "| 90% | ≥ 90% | 0.9" in card
    assert "truth1.fits" in card
    assert "exchangeable" in card
    assert "not measured" in card  # the headline, which nobody did


def test_other_draws_are_refused_before_any_work(calibrated, skies, tmp_path):
    with pytest.raises(ImgturboError, match="--samples 8 --temperature 1"):
        translate_file(calibrated, skies[1][0], tmp_path / "out.fits", samples=4, quantiles=(0.05,))
    assert not list(tmp_path.iterdir())


def test_an_export_keeps_them_only_where_weights_are_the_same(calibrated, tmp_path):
    export(calibrated, tmp_path / "same")
    export(calibrated, tmp_path / "half", half=True)
    assert load_bundle(tmp_path / "same").intervals == calibrated.intervals
    assert load_bundle(tmp_path / "half").intervals is None


def test_edited_intervals_are_noticed(calibrated, tmp_path):
    export(calibrated, tmp_path / "copy")
    path = tmp_path / "copy" / "bundle.json"
    content = json.loads(path.read_text())
    content["intervals"]["shifts"]["F150W"][0][0] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(ImgturboError, match="edited"):
        load_bundle(tmp_path / "copy")


def test_the_files_of_the_training_are_refused(skies, calibrated):
    from imgturbo.config import FieldConfig

    _, (source, truth), _ = skies
    own = FieldConfig(name="mine", source=[source], target=[truth])
    prepare = calibrated.config.prepare.model_copy(update={"fields": [own]})
    config = calibrated.config.model_copy(update={"prepare": prepare})
    trained = type(calibrated)(**{**vars(calibrated), "config": config})
    with pytest.raises(ImgturboError, match=r"trained this bundle .* \(field mine\)"):
        fit_intervals(trained, [source], [truth], samples=8)


def test_the_command(skies, calibrated, tmp_path):
    _, (source, truth), _ = skies
    copy = tmp_path / "copy"
    export(calibrated, copy)
    words = ["calibrate", "--fit", "--bundle", str(copy), "--source", str(source)]
    words += ["--truth", str(truth), "--samples", "6", "--levels", "0.5"]
    run = CliRunner().invoke(app, words)
    assert run.exit_code != 0
    assert "has calibrated intervals already" in str(run.exception)
    run = CliRunner().invoke(app, [*words, "--overwrite"])
    assert run.exit_code == 0, run.output
    assert "≥ 50%" in run.output
    found = load_bundle(copy).intervals
    assert (found.samples, found.levels) == (6, (0.25, 0.5, 0.75))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["calibrate", "--bundle", "b"], "give a tile store"),
        (["calibrate", "--bundle", "b", "--fit"], "give --source FILE and --truth FILE"),
        (["calibrate", "tiles", "--bundle", "b", "--fit"], "leave TILES"),
    ],
)
def test_words_that_do_not_go_together(words, message):
    run = CliRunner().invoke(app, words)
    assert run.exit_code != 0
    assert message in str(run.exception)
