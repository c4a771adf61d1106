"""Many Webb skies, by the command line: the shipped config trained for moments, FITS to FITS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from imgturbo.cli.main import main

CONFIG = Path(__file__).parents[1] / "configs" / "cinn_hst2jwst.yaml"


def run(*words, status=0):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == status, words


@pytest.fixture(scope="module")
def bundle(job, tmp_path_factory):
    out = tmp_path_factory.mktemp("flow") / "run"
    run(
        "train", CONFIG, f"data.tiles={job.tiles}", f"train.out={out}", "train.steps=4",
        "data.crop=16", "data.batch_size=2", "train.validate_every=4", "train.validate_tiles=2",
        "train.warmup=1", "train.trackers=[jsonl]",
    )  # fmt: skip
    return out / "bundle"


def planes(path, name):
    with fits.open(path) as file:
        return np.stack([file[name, k + 1].data for k in range(3)])


@pytest.mark.filterwarnings("ignore:.* draws have quantiles")
def test_draws_become_extensions_on_the_inputs_grid(job, bundle, tmp_path):
    out = tmp_path / "webb.fits"
    words = ["translate", "--bundle", bundle, job.aligned_source, "--samples", 5, "--seed", 3]
    run(*words, "--quantiles", "0.05,0.5,0.95", "--keep-draws", "--out", out)
    draws = np.stack([planes(out, f"S{k:03d}") for k in range(1, 6)]).astype(float)
    known = np.isfinite(draws).all(0)
    assert known.any()
    for name, expected in (("SCI", draws.mean(0)), ("STD", draws.std(0, ddof=1)),
                           ("Q50", np.median(draws, axis=0))):  # fmt: skip
        np.testing.assert_allclose(planes(out, name)[known], expected[known], rtol=1e-4, atol=1e-6)
    low, high = planes(out, "Q05"), planes(out, "Q95")
    assert (low[known] <= high[known]).all()
    with fits.open(out) as file, fits.open(job.aligned_source) as given:
        header = file["Q05", 2].header
        assert header["FILTER"] == "F277W"
        assert header["BUNIT"] == "MJy/sr"
        assert file[0].header["NSAMPLES"] == 5
        assert file[0].header["TEMPERAT"] == 1.0
        history = "".join(map(str, file[0].header["HISTORY"]))
        assert "--quantiles 0.05,0.5,0.95" in history
        here, there = WCS(header), WCS(given["SCI"].header)
        np.testing.assert_allclose(here.all_pix2world(9, 7, 0), there.all_pix2world(9, 7, 0))


def test_a_rerun_repeats_and_temperature_zero_has_no_spread(job, bundle, tmp_path):
    words = ["translate", "--bundle", bundle, job.aligned_source, "--samples", 2]
    for name, more in {"a": [], "b": [], "cold": ["--temperature", 0],
                       "other": ["--seed", 9]}.items():  # fmt: skip
        run(*words, *more, "--out", tmp_path / f"{name}.fits")
    found = {
        name: np.nan_to_num(planes(tmp_path / f"{name}.fits", "SCI"))
        for name in ("a", "b", "cold", "other")
    }
    np.testing.assert_array_equal(found["a"], found["b"])
    scale = np.abs(found["a"]).max()
    assert np.abs(found["other"] - found["a"]).max() > 1e-2 * scale
    assert np.nanmax(planes(tmp_path / "cold.fits", "STD")) < 1e-6 * scale


def test_evaluate_and_calibrate_report_how_well_intervals_hold(job, bundle, tmp_path):
    pred, scores = tmp_path / "pred.fits", tmp_path / "scores.json"
    words = ["translate", "--bundle", bundle, job.aligned_source, "--samples", 4]
    run(*words, "--quantiles", "0.25,0.75", "--out", pred)
    run("evaluate", pred, job.aligned_target, "--json", scores)
    interval = json.loads(scores.read_text())["calibration"]["Q25-Q75"]
    assert interval["nominal"] == 0.5
    assert 0 <= interval["coverage"] <= 1
    run("calibrate", "--bundle", bundle, job.tiles, "--samples", 4, "--out", tmp_path / "cal")
    assert (tmp_path / "cal" / "calibration.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--samples", 2, "--temperature", -1], "zero or more"),
        (["--temperature", 0.5], "--samples"),
        (["--quantiles", "0.5"], "2 samples"),
        (["--samples", 4, "--quantiles", "5,95"], "between 0 and 1"),
        (["--samples", 4, "--quantiles", "low"], "not numbers"),
        (["--samples", 2, "--bands", "F606W,F160W"], "F814W"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(job, bundle, tmp_path, capsys, words, told):
    out = tmp_path / "out.fits"
    run("translate", "--bundle", bundle, *job.source, "--out", out, *words, status=2)
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    assert told in captured.err
    assert not out.exists()


def test_inspect_describes_a_flow(bundle, capsys):
    run("inspect", bundle, "--json")
    facts = json.loads(capsys.readouterr().out)
    assert "CINNDecoder" in facts["decoder"]
    assert "stochastic" in facts["decoder"]
