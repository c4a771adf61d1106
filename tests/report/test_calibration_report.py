"""Figure and table of a calibration: whole or not there, any number of samples, no bands lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.io import imread

from imgturbo.errors import ImgturboError
from imgturbo.report.calibration import _reliability, calibration_figure, calibration_table


def row(ranks):
    return {
        "coverage": {"0.5": 0.45, "0.9": 0.8},
        "calibration_error": 0.0712,
        "ranks": list(ranks),
    }


def result(samples=8, bright=True, bands=("F150W", "F[277]W")):
    ranks = np.random.default_rng(0).integers(1, 99, samples + 1).tolist()
    score = {"value": 0.123456, "standard_error": 0.01}
    return {
        "calibration": {
            "all": row(ranks),
            "bright": row(ranks) if bright else None,
            "bands": {band: row(ranks) for band in bands},
        },
        "levels": [0.5, 0.9],
        "scores": {"crps": score, "best_of_1": score | {"standard_error": None}},
        "likelihood": {
            "unit": "bits per stretched number",
            **dict.fromkeys(("model", "gaussian_full", "gaussian_diagonal"), score),
        },
        "frechet": {"name": "Fréchet distance (EfficientNet-Lite0)", "value": 12.0, "n": [9, 9]},
        "notes": ["a [note]"],
        "samples": samples,
        "tiles_scored": 9,
        "temperature": 1.0,
        "source_bands": ["F606W"],
        "target_bands": list(bands),
    }


@settings(max_examples=30)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=40).filter(any))
def test_the_curve_runs_from_none_to_all(ranks):
    levels, inside = _reliability(ranks)
    assert (levels[0], inside[0]) == (1, pytest.approx(1))
    assert (levels[-1], inside[-1]) == (0, 0)
    assert (np.diff(levels) < 0).all()
    assert (np.diff(inside) <= 1e-12).all()


@pytest.mark.parametrize(("samples", "bright", "bands"), [(2, False, ("L",)), (65, True, "abcde")])
def test_a_picture_is_written(tmp_path, samples, bright, bands):
    calibration_figure(tmp_path / "new" / "c.png", result(samples, bright, bands))
    assert imread(tmp_path / "new" / "c.png").std() > 10
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImgturboError, match="cannot be written"):
        calibration_figure(tmp_path / "file" / "c.png", result())


def test_the_table_says_all_of_it(capsys):
    calibration_table(result())
    out = capsys.readouterr().out
    for text in (
        "all pixels", "bright source", "F[277]W", "0.450", "0.800", "0.071",
        "crps: 0.12346 ± 0.01", "best of 1: 0.12346\n", "unconditional Gaussian",
        "Fréchet distance (EfficientNet-Lite0): 12, n = 9", "a [note]", "9 tiles, 8 samples each",
    ):  # fmt: skip
        assert text in out
    calibration_table(result(bright=False) | {"likelihood": None, "frechet": None})
    assert "bright" not in capsys.readouterr().out
