"""The demo: one command, everything left where it says, and the same again at once."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from imgturbo.cli.main import main
from imgturbo.config import load_config
from imgturbo.config.shipped import config_path
from imgturbo.sky import read_sky


def test_its_config_is_shipped():
    assert load_config(config_path("demo.yaml")).name == "demo"


def test_the_config_of_the_demo_of_events_is_shipped():
    assert load_config(config_path("vectors/demo_events.yaml")).name == "demo-events"


@pytest.mark.slow
def test_the_quick_demo_of_events_does_the_whole_job(tmp_path, capsys):
    for name in ("pythia8mc", "fastjet", "h5py"):
        pytest.importorskip(name, reason=f"events need {name} (the extra 'hep')")
    out = tmp_path / "demo"
    for _ in range(2):  # the second time what is there is found
        with pytest.raises(SystemExit) as ended:
            main(["demo-events", "--quick", "--out", str(out)])
        assert ended.value.code == 0
        told = capsys.readouterr().out
        assert "trained 6 steps" in told
        assert "Turbo-Sim, paper" in told
    assert sorted(path.name for path in out.iterdir()) == [
        "events.json", "events.png", "migration.png", "quick",
    ]  # fmt: skip
    scores = json.loads((out / "events.json").read_text())
    assert scores["events"] == 20
    assert set(scores["observables"]) == set(scores["floor"])


def test_without_pythia_the_demo_of_events_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pythia8mc", None)
    with pytest.raises(SystemExit) as ended:
        main(["demo-events", "--quick", "--out", str(tmp_path / "demo")])
    assert ended.value.code == 2
    assert "pip install 'imgturbo[hep]'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_quick_demo_does_the_whole_job(tmp_path, capsys):
    out = tmp_path / "demo"
    words = ["demo", "--quick", "--out", str(out)]
    for repeated in (False, True):
        with pytest.raises(SystemExit) as ended:
            main(words)
        told = capsys.readouterr().out
        assert ended.value.code == 0
        assert "trained 20 steps" in told
        for name in ("prediction.fits", "preview.png", "scores.json", "report/report.html"):
            assert str(out / name) in told, repeated
    assert sorted(path.name for path in out.iterdir()) == [
        "prediction.fits",
        "preview.png",
        "quick",
        "report",
        "scores.json",
    ]
    card = (out / "quick" / "run" / "bundle" / "README.md").read_text()
    assert "Of prediction.fits" in card  # the headline, of held-out sky
    assert "| F150W |" in card
    scores = json.loads((out / "scores.json").read_text())
    assert {"prediction", "baselines", "stretch", "valid_fraction"} <= set(scores)
    assert all(scores["baselines"][name]["psnr"] > 0 for name in ("identity", "affine"))
    made = read_sky(out / "prediction.fits")
    truth = read_sky(out / "quick" / "aligned" / "held-out_target.fits")
    assert made.bands == truth.bands
    assert made.unit == truth.unit
    # Where the source was measured the truth mostly is too, and both say so alike.
    assert np.mean(made.valid == truth.valid) > 0.9
    picture = read_sky(out / "preview.png")
    assert min(picture.shape[1:]) > 500
    assert picture.data.std() > 0.05
