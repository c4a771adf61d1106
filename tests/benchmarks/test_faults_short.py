"""Short forms of the campaigns of faults: fixed seeds, a few inputs each, in this process."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/ is not installed

from benchmarks.faults.campaign import Limits, one, report

COUNTS = {"config": 60, "journal": 10, "manifest": 12, "places": 6}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.filterwarnings("ignore")
def test_a_few_of_a_campaign(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    campaign = importlib.import_module(f"benchmarks.faults.{name}")
    state, limits = campaign.build(tmp_path), Limits(seconds=120, space=0, growth=2000)
    results = [one(campaign, state, 7, n, tmp_path, limits) for n in range(COUNTS[name])]
    assert not any(result.defect for result in results), report(results)
