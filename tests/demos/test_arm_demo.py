"""The demo of the arm: joints that are the simulator's, and the whole job in its quick form."""

from __future__ import annotations

import json

import numpy as np
import pytest

from imgturbo.cli.main import main
from imgturbo.config import load_config
from imgturbo.config.shipped import config_path
from imgturbo.demos.arm import PLACES, joints
from imgturbo.simulators import SIMULATORS, make_simulator

pytestmark = pytest.mark.skipif("arm" not in SIMULATORS, reason="there is no simulator of an arm")


def test_its_config_is_shipped():
    assert load_config(config_path("vectors/arm.yaml")).name == "arm"


def test_the_hand_is_where_the_simulator_has_it():
    generator = np.random.default_rng(0)
    stances = make_simulator("arm").prior(generator, 50)
    found = joints(stances)
    assert found.shape == (50, 4, 2)
    np.testing.assert_allclose(found[:, -1], make_simulator("arm").observe(generator, stances))
    np.testing.assert_allclose(found[:, 0], np.stack([np.zeros(50), stances[:, 0]], 1))
    lengths = np.linalg.norm(np.diff(found, axis=1), axis=2)
    np.testing.assert_allclose(lengths, np.broadcast_to([0.5, 0.5, 1.0], (50, 3)))


def test_the_quick_demo_does_the_whole_job(tmp_path, capsys):
    out = tmp_path / "demo"
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["demo-arm", "--quick", "--out", str(out)])
        assert ended.value.code == 0
        told = capsys.readouterr().out
        assert "trained 20 steps" in told
    assert sorted(path.name for path in out.iterdir()) == ["arms.png", "quick", "scores.json"]
    scores = json.loads((out / "scores.json").read_text())
    assert [row["place"] for row in scores["places"]] == [list(place) for place in PLACES]
    assert all(row["distance"] > 0 for row in scores["places"])
    assert (out / "arms.png").stat().st_size > 10_000
