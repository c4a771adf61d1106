"""Tables say what the numbers are, and no line of a log is folded."""

from __future__ import annotations

from pathlib import Path

from imgturbo.report.tables import _SCORES, description_table, known_sky_table, score_table

ROW = {"psnr": 31.234, "ssim": 0.91234, "ms_ssim": None, "mse": 7.5e-4, "spectrum_error": 0.1}


def result(**changes):
    base = {
        "prediction": dict(ROW),
        "baselines": {"identity": ROW | {"psnr": 20.0}, "affine": ROW | {"psnr": 25.0}},
        "ceilings": {"given": None, "again": ROW | {"psnr": 29.87}},
        "stretch": {"from": "prediction header"},
        "valid_fraction": 0.98,
        "bands": ["F150W", "F277W"],
        "notes": ["LPIPS skipped: [no weights]"],
    }
    return base | changes


def test_scores_stand_beside_what_they_must_beat(capsys):
    score_table(result())
    out = capsys.readouterr().out
    for text in (
        "31.23",
        "20.00",
        "25.00",
        "29.87",
        "the input as it is",
        "affine colour",
        "98.0%",
    ):
        assert text in out
    assert "F150W, F277W" in out
    assert "LPIPS skipped: [no weights]" in out  # brackets are text, not markup
    assert "MS-SSIM" not in out  # nobody has it


def test_an_infinite_score_is_a_dash_and_keeps_its_line(capsys):
    score_table(result(prediction=ROW | {"psnr": None}))
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line for line in lines if "PSNR" in line]
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["–", "20.00", "25.00"]


def test_all_scores_fit_into_80_columns(capsys):
    score_table(result(prediction=dict.fromkeys(_SCORES, 0.123456)))
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line.strip()) for line in lines if "│" in line) <= 80
    assert sum("│" in line for line in lines) == len(_SCORES)


def test_each_band_has_its_line(capsys):
    bands = {"F150W": dict(ROW), "F277W": ROW | {"psnr": 28.5}}
    cold = {"identity": {band: ROW | {"psnr": 11.5} for band in bands}}
    score_table(result(by_band=bands, beside_by_band=cold))
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith(("│ F150W", "│ F277W"))]
    assert ["28.50" in row for row in rows] == [False, True]
    assert all("11.50" in row and len(row.strip()) <= 80 for row in rows)


def test_what_a_perfect_prediction_would_score_stands_beside(capsys):
    score_table(result(resampling={"what": ["prediction"], "perfect": ROW | {"psnr": 40.25}}))
    out = capsys.readouterr().out
    assert "a perfect prediction, resampled" in out
    assert max(len(line.strip()) for line in out.splitlines() if "│" in line) <= 80
    assert "40.25" in out


def test_intervals_stand_beside_their_nominal_level(capsys):
    score_table(result(calibration={"Q05-Q95": {"nominal": 0.9, "coverage": 0.8714}}))
    assert "Q05-Q95 holds 87.1% of the target's values, nominal 90.0%" in capsys.readouterr().out
    score_table(result(calibration=None))
    assert "nominal" not in capsys.readouterr().out


def test_without_a_source_there_is_one_row(capsys):
    score_table(result(baselines={"identity": None, "affine": None}))
    assert "input as it is" not in capsys.readouterr().out


def test_facts_then_warnings_and_no_markup(capsys):
    facts = {"what": "tile [store]", "train": "3 tiles " * 12, "warnings": ["no [x] tiles"]}
    description_table(Path("runs/[a].zarr"), facts)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "runs/[a].zarr: tile [store]"
    assert lines[1].strip() == "train    " + ("3 tiles " * 12).strip()
    assert lines[-1] == "! no [x] tiles"


def test_a_known_sky_shows_what_is_made_up_before_any_flux(capsys):
    row = {
        "from": 21.0,
        "to": 22.0,
        "sources": 7,
        "ratio": {"F150W": 0.987},
        "error": {"F150W": 0.0213},
    }
    colour = {"from": 0.1, "to": 0.5, "sources": 9, "error": {"F150W-F277W": -0.0321}}
    known = {"made_up": {"F150W": 3.21}, "galaxies": [row], "stars": [], "colour": [colour]}
    known_sky_table(known)
    lines = [line for line in capsys.readouterr().out.splitlines() if any(map(str.isdigit, line))]
    assert "made up" in lines[1]
    assert "3.2" in lines[1]
    assert "galaxies of 21–22 mag" in lines[2]
    assert "0.99 ± 0.02" in lines[2]
    assert "F150W-F277W -0.032" in lines[3]
    known_sky_table(known | {"stars": [row | {"error": {"F150W": None}}]})
    assert "±" not in next(x for x in capsys.readouterr().out.splitlines() if "stars" in x)
