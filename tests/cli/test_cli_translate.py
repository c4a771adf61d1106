"""The job by the command line: translating, and what Python gives for the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

import imgturbo
from imgturbo.sky import read_sky


def test_the_prediction_lies_where_the_source_lies(job):
    made, given = read_sky(job.prediction), read_sky(job.aligned_source)
    assert made.bands == ("F150W", "F277W", "F444W")
    assert made.unit == "MJy/sr"
    assert made.shape[1:] == given.shape[1:]
    np.testing.assert_array_equal(made.valid, given.valid)
    assert made.wcs.pixel_to_world(7, 9).separation(given.wcs.pixel_to_world(7, 9)).arcsec < 1e-6


def test_python_gives_what_the_command_line_gives(job):
    scores = imgturbo.evaluate(job.prediction, job.aligned_target, job.aligned_source)
    assert scores == json.loads(job.scores.read_text())

    bundle = imgturbo.load_bundle(job.bundle)
    sky = imgturbo.read_sky(job.aligned_source)
    made = imgturbo.read_sky(job.prediction)
    image = bundle.translate(sky).mean
    assert isinstance(image, imgturbo.SkyImage)
    assert image.bands == made.bands
    np.testing.assert_allclose(image.data, made.data, rtol=1e-4, atol=1e-6)
    array = bundle.translate(sky.data).mean
    assert isinstance(array, np.ndarray)
    np.testing.assert_allclose(array, made.data, rtol=1e-4, atol=1e-6)
    with pytest.warns(UserWarning, match="its sky is not the training's"):  # after three steps
        back = bundle.translate(image, direction="backward")
    assert back.mean.bands == sky.bands


def test_single_band_files_in_any_order(run, job, tmp_path):
    """As a user has them: one band a file, each on its camera's grid."""
    out = tmp_path / "made.fits"
    status, told, err = run("translate", "--bundle", job.bundle, *job.source[::-1], "--out", out)
    (line,) = err.splitlines()  # the sky has holes
    assert (status, line.partition(" pixels")[0].rpartition(" ")[0]) == (0, "made.fits: flagged:")
    assert told == f"{out}\n"
    again = tmp_path / "again.fits"
    run("translate", "--bundle", job.bundle, *job.source, "--out", again)
    np.testing.assert_allclose(read_sky(out).data, read_sky(again).data, rtol=2e-3, atol=2e-5)
    scores = tmp_path / "deep" / "scores.json"
    asked = ("evaluate", out, *job.target, "--json", scores, "--source", job.source[0])
    status, told, err = run(*asked)
    assert (status, err) == (0, "")
    found = json.loads(scores.read_text())
    # Every Webb file has a grid of its own, the first one's is kept: that is another one. What
    # that costs is part of the answer, and said once.
    said = " ".join(told.split())
    assert len(found["resampling"]["notes"]) == 3
    for line in found["resampling"]["notes"]:
        assert said.count(" ".join(line.split())) == 1
    assert "would score PSNR" in said
    assert found["prediction"]["psnr"] > 0
    assert found["resampling"]["perfect"]["psnr"] > found["prediction"]["psnr"]


@pytest.mark.filterwarnings("default::UserWarning")
def test_backward_and_to_a_given_grid(run, job, tmp_path):
    out = tmp_path / "back.fits"
    words = ("--direction", "backward", "--grid", job.source[0], "--out", out)
    status, _, err = run("translate", "--bundle", job.bundle, *job.target, *words)
    assert status == 0
    # The grid is Hubble's own, coarser than that of the tiles: allowed, and said, with what it
    # makes of the noise.
    lines = err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["note", "note", "back.fits"]
    assert "expect wrong sharpness" in lines[0]
    assert "its sky is not the training's" in lines[1]
    image = read_sky(out)
    assert image.bands == ("F606W", "F814W")
    assert image.shape[1:] == read_sky(job.source[0]).shape[1:]


def test_a_manifest_names_what_failed_and_goes_on(run, job, tmp_path):
    manifest = tmp_path / "fields.csv"
    rows = ["field,F606W,F814W", "lost,nowhere.fits,nowhere.fits"]
    manifest.write_text("\n".join([*rows, "good," + ",".join(map(str, job.source))]) + "\n")
    words = ("--manifest", manifest, "--out-dir", tmp_path / "out")
    status, out, err = run("translate", "--bundle", job.bundle, *words)
    assert status == 1
    assert [line.partition(":")[0] for line in err.splitlines()] == ["good.fits"]
    assert "lost: failed: " in out
    assert "1 translated, 0 finished before, 1 failed" in out
    manifest.write_text(rows[0] + "\ngood," + ",".join(map(str, job.source)) + "\n")
    status, out, _ = run("translate", "--bundle", job.bundle, *words)
    assert (status, out) == (0, "0 translated, 1 finished before, 0 failed\n")
