"""What may be scored on the strip, and that all predictions are scored on the same pixels."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from smacs0723_standins import HEIGHT, ROWS, WIDTH, nominal_wcs

from benchmarks.smacs0723 import field, score
from imgturbo import evaluate
from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, write_sky


def guess(strip, rows=HEIGHT, **fields):
    data = np.random.default_rng(1).random((3, rows, WIDTH), dtype=np.float32)
    fields = {"unit": "display", "bands": ("R", "G", "B")} | fields
    return SkyImage.from_array(data, **fields)


def test_the_scores_are_evaluates_on_the_pixels_that_both_measured(strip):
    assert strip.size == (HEIGHT, WIDTH)
    assert strip.valid.sum() == HEIGHT * WIDTH - 5
    image = guess(strip)
    found = score.score(image, strip)["prediction"]
    holes = np.where(strip.valid, image.data, np.nan)
    truth = np.where(strip.valid, strip.target.data, np.nan)
    expected = evaluate(*(replace(image, data=u, valid=strip.valid) for u in (holes, truth)))
    assert found == expected["prediction"]
    assert found["psnr"] == pytest.approx(
        -10 * np.log10(np.mean((image.data - strip.target.data)[:, strip.valid] ** 2)), abs=1e-4
    )


def test_a_picture_fits_and_the_whole_field_have_one_score(strip, tmp_path):
    field_image = guess(strip, ROWS)
    rounded = np.rint(field_image.data * 255) / 255
    whole = replace(field_image, data=rounded.astype(np.float32))
    part = whole.window(slice(ROWS - HEIGHT, ROWS), slice(None))
    rows = []
    for name, image in (("a.png", part), ("b.png", whole), ("c.fits", part), ("d.fits", whole)):
        wcs = nominal_wcs(0 if image is whole else ROWS - HEIGHT) if "fits" in name else None
        write_sky(tmp_path / name, replace(image, wcs=wcs))
        scores = score.score(tmp_path / name, strip)["prediction"]
        rows.append({key: value for key, value in scores.items() if value is not None})
    assert rows[0]["mse"] > 0
    for row in rows[1:]:
        assert row == pytest.approx(rows[0], rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": HEIGHT - 1}, "60 × 83 pixels; give the strip"),
        ({"wcs": nominal_wcs(2)}, "coordinates are not those of the strip"),
    ],
)
def test_another_size_or_grid_is_refused(strip, tmp_path, change, message):
    write_sky(tmp_path / "p.fits", guess(strip, **change))
    with pytest.raises(ImgturboError, match=message):
        score.score(tmp_path / "p.fits", strip)


def test_another_number_of_bands_is_refused(strip, tmp_path):
    grey = SkyImage.from_array(np.zeros((1, HEIGHT, WIDTH)), unit="display", bands=("L",))
    write_sky(tmp_path / "p.png", grey)
    with pytest.raises(ImgturboError, match="has 1 bands; the strip has three"):
        score.score(tmp_path / "p.png", strip)


def test_pixels_left_out_are_refused_unless_a_telescope_missed_them_too(strip):
    image = guess(strip)
    image.data[:, ~strip.valid] = np.nan
    score.score(SkyImage.from_array(image.data, unit="display"), strip)
    image.data[1, 3, 4:7] = np.nan
    with pytest.raises(ImgturboError, match="3 pixels that both telescopes measured"):
        score.score(SkyImage.from_array(image.data, unit="display"), strip)


def test_from_the_command_line(strip, work, tmp_path, monkeypatch, capsys):
    write_sky(tmp_path / "p.png", guess(strip))
    out = tmp_path / "scores.json"
    words = ["score", str(tmp_path / "p.png"), "--work", str(work), "--json", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    field.guarded(score.main)
    scores = json.loads(out.read_text())
    assert f"{scores['prediction']['psnr']:.2f}" in capsys.readouterr().out
    assert not any("no source" in note for note in scores["notes"])
    monkeypatch.setattr(sys, "argv", [*words, "--baselines"])
    field.guarded(score.main)
    assert json.loads(out.read_text())["baselines"]["affine"]["psnr"] > 10


def test_a_missing_preparation_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["score", "p.png", "--work", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        field.guarded(score.main)
    assert ended.value.code == 2
    assert "first python -m benchmarks.smacs0723.field --pictures" in capsys.readouterr().err


def test_missing_pictures_are_named(tmp_path):
    with pytest.raises(ImgturboError, match=r"hubble\.png: no such picture; .*README\.md"):
        field.prepare_field(tmp_path, tmp_path / "work")
