"""The short table: what was measured in words, and what was not is said."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from imgturbo.errors import ImgturboError
from imgturbo.report.headline import COLUMNS, headline_rows, trusted
from imgturbo.scoring.trust.report import card_of, headline

ESTIMATE = {"value": 1.0234, "error": 0.012, "n": 40}
NOTHING = dict.fromkeys(("sources", "photometry", "points", "intervals", "nulls"))
NUMBERS = {
    **NOTHING,
    "bands": ["F150W", "F277W"],
    "magnitudes": "AB",
    "arcmin2": 2.5,
    "notes": ["a note"],
    "sources": {"bands": {"F150W": {"depth": 27.125}, "F277W": {"depth": None}}},
    "photometry": {
        "bands": {key: {"total": ESTIMATE, "scatter": ESTIMATE} for key in ("F150W", "F277W")},
        "colours": {"F150W-F277W": {"bias": {"value": -0.03, "error": None, "n": 1}}},
    },
    "nulls": {
        "noise": {
            "F150W": {"value": 0.0, "error": 0.4, "n": 0},
            "F277W": {"value": 1.5, "error": 0.8, "n": 4},
        }
    },
}


def test_every_figure_is_there_or_said_to_be_missing():
    rows = headline_rows(headline(NUMBERS))
    assert [len(row) for row in rows] == [len(COLUMNS)] * 2
    assert rows[0] == [
        "F150W", "27.12", "1.023 ± 0.012", "1.023 ± 0.012", "F150W-F277W: -0.030", "not measured",
        "0 ± 0.4", "not measured", "not measured",
    ]  # fmt: skip
    assert rows[1][1] == rows[1][4] == "not measured"  # no depth, and no redder band
    assert rows[1][6] == "1.5 ± 0.8"


@pytest.mark.parametrize(
    ("change", "column"),
    [({"magnitudes": "zero point 0"}, 1), ({"arcmin2": None}, 6), ({"nulls": None}, 6)],
)
def test_what_has_no_unit_is_not_measured(change, column):
    assert headline_rows(headline({**NUMBERS, **change}))[0][column] == "not measured"


def test_an_older_card_has_a_plain_number():
    found = headline(NUMBERS)
    found["bands"]["F150W"]["invented_per_arcmin2"] = 0.25
    assert headline_rows(found)[0][6] == "0.25"


def test_grey_values_are_no_fluxes():
    row = headline_rows(headline({**NUMBERS, "magnitudes": "of grey values"}))[0]
    assert set(row[1:5]) == {"not measured"}


def test_a_card_has_the_table_or_says_that_nobody_measured():
    found = headline(NUMBERS)
    said = trusted({**found, "of": "pred.fits (2.5 square arcmin)"}, None)
    assert "| F150W | 27.12 |" in said
    assert "- a note" in said
    assert "not measured (`imgturbo report --card`)" in trusted(None, None)


def test_a_card_is_of_the_model_that_made_the_prediction(tmp_path):
    image = SimpleNamespace(header={"MODEL": "abc"})
    findings = SimpleNamespace(
        scene=SimpleNamespace(images={"prediction": image}),
        numbers={**NUMBERS, "headline": headline(NUMBERS)},
    )
    own, other = (SimpleNamespace(hash=name, path=tmp_path) for name in ("abc", "def"))
    assert card_of(findings, own, tmp_path / "pred.fits")["of"] == "pred.fits (2.5 square arcmin)"
    with pytest.raises(ImgturboError, match="was made by the model abc, not by"):
        card_of(findings, other, tmp_path / "pred.fits")
