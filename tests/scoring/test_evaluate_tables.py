"""`evaluate` of tables: scores against their formulas, the floor beside, mistakes in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import ks_2samp, wasserstein_distance

from imgturbo.cli.main import main
from imgturbo.errors import ImgturboError
from imgturbo.report.distributions import rows_markdown
from imgturbo.scoring.tables import evaluate_tables


@pytest.fixture
def tables(tmp_path):
    """A prediction in MeV, with quantiles, of the truth in GeV."""
    random = np.random.default_rng(0)
    n = 500
    e, m = random.normal(10, 2, n), random.lognormal(0, 1, n)
    upper = e + np.where(np.arange(n) < 400, 1, -1)
    made = Table({"E": (e + random.normal(0.5, 0.3, n)) * 1000, "m": random.permutation(m),
                  "E_q05": (e - 0.1) * 1000, "E_q95": upper * 1000, "who": ["x"] * n})  # fmt: skip
    true = Table({"m": m, "E": e, "more": np.arange(n), "who": ["x"] * n})
    for name in ("E", "E_q05", "E_q95"):
        made[name].unit = "MeV"
    true["E"].unit = "GeV"
    made.write(tmp_path / "made.fits")
    true.write(tmp_path / "true.ecsv")
    return tmp_path / "made.fits", tmp_path / "true.ecsv", np.asarray(made["E"]) / 1000, e, m


def test_each_column_by_its_formula(tables):
    pred, true, made, e, _ = tables
    result = evaluate_tables(pred, true, bootstrap=20, classifier=False)
    assert list(result["columns"]) == ["E", "m"]
    row = result["columns"]["E"]
    assert (row["unit"], result["paired"], result["classifier"]) == ("GeV", True, None)
    assert row["ks"] == pytest.approx(ks_2samp(made, e).statistic)
    assert row["w1"] == pytest.approx(wasserstein_distance(made, e))
    assert row["rmse"] == pytest.approx(np.sqrt(np.mean((made - e) ** 2)))
    assert row["bias"] == pytest.approx(np.mean(made - e))
    assert row["bias_error"] == pytest.approx(np.std(made - e) / np.sqrt(500))
    assert row["correlation"] == pytest.approx(np.corrcoef(made, e)[0, 1])
    assert row["ks"] > row["ks_floor"] > 0
    shuffled = result["columns"]["m"]
    assert shuffled["ks"] == pytest.approx(0, abs=1e-12)
    assert abs(shuffled["correlation"]) < 0.2
    assert result["intervals"] == {"Q05-Q95": {"nominal": 0.9, "coverage": 0.8}}
    json.dumps(result, allow_nan=False)


def test_what_is_missing_is_left_out(tmp_path):
    made, true = np.arange(20.0)[:, None] * [1, 2], np.arange(20.0)[:, None] * [1, 2] + 1
    made[3, 0], true[5, 1] = np.nan, np.inf
    for name, rows in (("made", made), ("true", true)):
        Table(rows, names=["a", "b"]).write(tmp_path / f"{name}.csv")
    result = evaluate_tables(tmp_path / "made.csv", tmp_path / "true.csv", bootstrap=0)
    assert result["rows"] == {"prediction": 20, "truth": 20, "complete": [18, 18]}
    assert result["columns"]["a"]["rmse"] == pytest.approx(1)
    assert result["columns"]["b"]["ks_error"] is None


def test_independent_rows_and_other_numbers_of_them(tables, tmp_path):
    pred, true, *_ = tables
    result = evaluate_tables(pred, true, paired=False, bootstrap=5, classifier=False)
    assert "rmse" not in result["columns"]["E"]
    assert result["intervals"] is None
    Table.read(true)[:300].write(tmp_path / "fewer.csv")
    result = evaluate_tables(pred, tmp_path / "fewer.csv", columns=["m"], bootstrap=5)
    assert not result["paired"]
    with pytest.raises(ImgturboError, match=r"has 500 rows, and .* has 300: they are no pairs"):
        evaluate_tables(pred, tmp_path / "fewer.csv", columns=["m"], paired=True)


@pytest.mark.parametrize(
    ("made", "true", "said"),
    [
        ("a,b\n1,2\n3,4\n", "c,d\n1,2\n3,4\n", "has no column of numbers that"),
        ("a\n1\n", "a\n1\n", "has 1 rows, too few to compare"),
        ("a\n", "a\n1\n2\n", "has 0 rows, too few to compare"),
        ("a\nnan\nnan\n", "a\n1\n2\n", "none of its 2 rows has a finite"),
        ("a\n1\n2\n", "a\nx\n2\n", "has no column of numbers that"),
    ],
)
def test_tables_that_cannot_be_compared(tmp_path, made, true, said):
    (tmp_path / "made.csv").write_text(made)
    (tmp_path / "true.csv").write_text(true)
    with pytest.raises(ImgturboError, match=said):
        evaluate_tables(tmp_path / "made.csv", tmp_path / "true.csv")


def test_columns_that_are_asked_for(tables):
    pred, true, *_ = tables
    with pytest.raises(ImgturboError, match="has no column x; there are"):
        evaluate_tables(pred, true, columns=["x"])
    with pytest.raises(ImgturboError, match=r"true\.ecsv: has no column E_q05"):
        evaluate_tables(pred, true, columns=["E_q05"])
    with pytest.raises(ImgturboError, match="column who holds text"):
        evaluate_tables(pred, true, columns=["who"])


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code or 0


def test_the_command_writes_scores_and_figures(tables, tmp_path, capsys):
    pred, true, *_ = tables
    words = ["evaluate", pred, true, "--json", tmp_path / "s.json", "--out", tmp_path / "out"]
    assert run(*words) == 0
    said = capsys.readouterr().out
    assert "KS ↓" in said and "a classifier on all columns" in said  # noqa: PT018
    result = json.loads((tmp_path / "s.json").read_text())
    assert 0.5 < result["classifier"]["auc"] < 0.7
    assert abs(result["classifier"]["floor"] - 0.5) < 4 * result["classifier"]["floor_error"]
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["distributions.png", "migration.png", "scores.md"]
    assert (tmp_path / "out" / "scores.md").read_text() == rows_markdown(result)
    assert run(*words) == 0  # its own outputs it may replace
    assert run("evaluate", pred, true, "--bands", "a") == 2
    assert "of tables one is scored against one" in capsys.readouterr().err
    assert run("evaluate", pred, true, "--json", pred) == 2


def test_options_of_tables_are_not_for_images(tmp_path, capsys):
    assert run("evaluate", tmp_path / "a.png", tmp_path / "b.png", "--unpaired") == 2
    assert "--unpaired and --out are for tables" in capsys.readouterr().err
