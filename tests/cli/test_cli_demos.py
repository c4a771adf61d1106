"""The demo of colours by the command line; that of the sky is in tests/demos."""

from __future__ import annotations

import json

import pytest

from imgturbo.sky import read_sky


@pytest.mark.slow
def test_the_quick_demo_does_the_whole_job(run, tmp_path):
    out = tmp_path / "demo"
    for _ in range(2):  # and the same again, where all is there already
        status, told, _ = run("demo-colorize", "--quick", "--out", out)
        assert status == 0
        assert str(out / "sheet.png") in told
    assert sorted(path.name for path in out.iterdir()) == ["quick", "scores.json", "sheet.png"]
    scores = json.loads((out / "scores.json").read_text())
    nats = scores["nats_per_dimension"]["all"]
    assert nats["trained"] < nats["untrained"]
    distance = scores["rms_ab_between_samples"]
    assert distance["1"] > distance["0.5"] > distance["0"] == 0
    assert read_sky(out / "sheet.png").data.std() > 0.05
