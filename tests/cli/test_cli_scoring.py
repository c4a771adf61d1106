"""Scores by the command line: their form in JSON, and the table."""

from __future__ import annotations

import json

import numpy as np
import pytest


def test_scores_have_the_promised_form(job):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    scores = json.loads(job.scores.read_text(), parse_constant=refuse)
    rows = [scores["prediction"], scores["baselines"]["identity"], scores["baselines"]["affine"]]
    for row in rows:
        assert isinstance(row["psnr"], float)
        assert isinstance(row["ssim"], float)
        assert isinstance(row["spectrum_error"], float)
        assert row["psnr"] == pytest.approx(-10 * np.log10(row["mse"]), abs=1e-3)
    assert set(scores["baselines"]) == {"identity", "affine"}
    assert scores["stretch"]["from"] == "prediction header"
    assert 0.5 < scores["valid_fraction"] <= 1


def test_the_table_names_its_rows_and_scale(run, job):
    status, out, err = run("evaluate", job.prediction, job.aligned_target)
    assert (status, err) == (0, "")
    assert "PSNR" in out
    assert "prediction header" in out
    assert "no source given" in out
    status, out, _ = run(
        "evaluate", job.prediction, job.aligned_target, "--source", job.aligned_source
    )
    assert "input as it is" in out
    assert "affine colour" in out
    assert max(map(len, out.splitlines())) <= 160
