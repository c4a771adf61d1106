"""The machinery of the campaigns tells every kind of end from every other, and goes on after it."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/ is not installed

from benchmarks.faults.campaign import Limits, last_line, report, run

CAMPAIGN = """
import os, random, time
from benchmarks.faults.campaign import Defect, Trial
from imgturbo.errors import ImgturboError

def say(error):
    raise error

def deaf():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

CALLS = [
    lambda: 1,
    lambda: say(ImgturboError("a.fits: is damaged; get it again")),
    lambda: say(KeyError("a")),
    lambda: time.sleep(60),
    os.abort,
    lambda: len(b"x" * 150_000_000),
    lambda: say(ImgturboError("x" * 3000)),
    lambda: 2,
    lambda: say(Defect("orphans", "two: of them")),
    lambda: bytes(10**12),
    deaf,
    lambda: 1,
]

ORDER = {random.Random(f"0/{n}").random(): n for n in range(len(CALLS))}

def build(folder):
    return folder

def attempt(state, rng, folder):
    number = ORDER[rng.random()]
    return Trial([f"call {number}"], CALLS[number], lambda v: "twice: 2" if v == 2 else None)
"""


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    (tmp_path / "made_up_campaign.py").write_text(CAMPAIGN)
    monkeypatch.syspath_prepend(tmp_path)
    return "made_up_campaign"


def test_every_end_is_told_and_costs_its_number_alone(campaign):
    limits = Limits(seconds=3.0, growth=60.0, patience=2.0, shared=1.0)
    results = run(campaign, 12, workers=2, batch=6, limits=limits)
    assert [result.number for result in results] == list(range(12))
    assert [result.outcome for result in results] == [
        "ok",
        "clean",
        "defect:exception",
        "defect:hang",
        "defect:crash (-6)",
        "defect:growth",
        "defect:message",
        "defect:silent",
        "defect:orphans",
        "defect:exception",
        "defect:stuck",
        "ok",
    ]
    assert "MemoryError" in results[9].group
    line = last_line(campaign, 0, results)
    assert line == (
        "made_up_campaign: 12 inputs at seed 0, 2 ok, 1 refused in one line, 9 defects in 9 groups"
    )
    assert "1 × defect:silent: twice\n    number 7\n    call 7\n" in report(results)
    assert Counter(r.defect for r in results) == {True: 9, False: 3}


def test_a_broken_campaign_is_no_result(campaign, tmp_path):
    (tmp_path / "made_up_campaign.py").write_text("def build(folder): raise OSError('no seeds')")
    with pytest.raises(RuntimeError, match="no seeds"):
        run(campaign, 3)
