"""Rows through a bundle: the plain network on the stretched array, by names, units and draws."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from imgturbo.bundle import load_bundle
from imgturbo.cli.main import main
from imgturbo.errors import ImgturboError
from imgturbo.nets import PositionalNoise
from imgturbo.tables.files import open_table
from imgturbo.tables.translate import translate_table
from imgturbo.tables.translate_file import translate_table_file

NAMES, OUTPUTS = ("E", "pt", "m"), ("a", "b")


def plain(
    bundle, values: np.ndarray, direction: str = "forward", seed: int | None = None, draw: int = 0
):
    """The formula of the module's page, in a few lines."""
    way = bundle.direction(direction)
    y = torch.from_numpy(np.ascontiguousarray(way.input.stretch(values.T).T, np.float32))
    noise = None if seed is None else PositionalNoise(seed, [(k, 0) for k in range(len(y))], draw)
    with torch.no_grad():
        out = way.generator(y, noise).numpy()
    return way.output.stretch.inverse(out.T.astype(np.float64)).T


def as_table(values: np.ndarray) -> Table:
    table = Table(dict(zip(NAMES, values.T, strict=True)))
    table["E"].unit = table["pt"].unit = "GeV"
    return table


# ------------------------------------------------------------------------------- in memory


@settings(max_examples=15)
@given(n=st.integers(0, 40), batch=st.integers(1, 50))
def test_an_array_is_what_the_network_makes_of_it(make_table_bundle, n, batch):
    bundle = make_table_bundle()
    values = np.random.default_rng(n).lognormal(1, 0.5, (n, 3))
    found = bundle.translate(values, batch=batch).mean
    assert found.shape == (n, 2)
    np.testing.assert_allclose(found, plain(bundle, values), rtol=1e-6, atol=1e-6)


def test_both_directions(make_table_bundle):
    bundle = make_table_bundle()
    values = np.random.default_rng(0).normal(size=(7, 2))
    found = bundle.translate(values, "backward").mean
    np.testing.assert_allclose(found, plain(bundle, values, "backward"), rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_draws_depend_on_the_row_alone(make_table_bundle, rows, batch):
    bundle = make_table_bundle(noise=2)
    values = rows(9)
    found = bundle.translate(
        values, samples=4, seed=5, quantiles=(0.2, 0.8), keep_draws=True, batch=batch
    )
    draws = np.stack([plain(bundle, values, seed=5, draw=k) for k in range(4)])
    np.testing.assert_allclose(np.stack(found.draws), draws, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.mean, draws.mean(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.std, draws.std(0, ddof=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.quantiles[0.2], draws.min(0), rtol=1e-5, atol=1e-5)


def test_what_is_no_number_stays_none(make_table_bundle, rows):
    bundle, values = make_table_bundle(), rows(6)
    whole = bundle.translate(values).mean
    values[1, 0], values[2, 1], values[3, 2], values[4, 2] = np.nan, np.inf, -1, 0  # m is log
    found = bundle.translate(values).mean
    assert np.isnan(found).all(1).tolist() == [False, True, True, True, True, False]
    np.testing.assert_array_equal(found[[0, 5]], whole[[0, 5]])


def test_a_table_goes_by_names_and_units(make_table_bundle, rows):
    bundle, values = make_table_bundle(), rows(5)
    table = as_table(values)
    table["other"] = "text"
    table = table["m", "other", "pt", "E"]
    table["E"] = (table["E"] * 1000).data
    table["E"].unit = "MeV"
    found = bundle.translate(table).mean
    assert found.colnames == list(OUTPUTS)
    assert [str(found[name].unit) for name in OUTPUTS] == ["MeV", "rad"]
    assert found.meta["MODEL"] == bundle.hash
    np.testing.assert_allclose(np.stack([found["a"], found["b"]], 1), plain(bundle, values), 1e-5)
    again = bundle.translate(QTable(table)).mean
    np.testing.assert_array_equal(again["a"], found["a"])


def test_masked_cells_are_missing(make_table_bundle, rows):
    table = as_table(rows(3))
    table["m"] = MaskedColumn(table["m"], mask=[False, True, False])
    assert np.isnan(make_table_bundle().translate(table).mean["a"]).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.remove_column("pt"), "has no column pt; it has E, m"),
        (lambda t: setattr(t["E"], "unit", "m"), "column E is in m, and GeV is wanted"),
        (lambda t: t.replace_column("m", ["x"] * len(t)), "column m holds no numbers"),
    ],
)
def test_tables_that_do_not_fit(make_table_bundle, rows, change, said):
    table = as_table(rows(4))
    change(table)
    with pytest.raises(ImgturboError, match=said):
        translate_table(make_table_bundle(), table)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 2)), r"reads rows \(N, 3\) of E, pt, m, not an array of shape \(4, 2\)"),
        (np.zeros(3), r"not an array of shape \(3,\)"),
        (np.array([["a", "b", "c"]]), "no numbers"),
    ],
)
def test_arrays_that_do_not_fit(make_table_bundle, array, said):
    with pytest.raises(ImgturboError, match=said):
        translate_table(make_table_bundle(), array)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"window": 64}, "--window has a meaning for images only"),
        ({"match_sky": True}, "--match-sky has a meaning for images only"),
        ({"ensemble": "d4"}, "--ensemble has a meaning for images only"),
        ({"batch": 0}, "batches of 0 rows"),
        ({"samples": 4}, "deterministic network"),
        ({"quantiles": (0.5,)}, "of several samples"),
    ],
)
def test_settings_that_do_not_fit(make_table_bundle, setting, said):
    with pytest.raises(ImgturboError, match=said):
        translate_table(make_table_bundle(), np.zeros((2, 3)), **setting)


# --------------------------------------------------------------------------------- files


@pytest.fixture
def table_file(tmp_path, rows):
    """``table_file(suffix, n)`` → a file with the bundle's columns and two more."""

    def make(suffix: str, n: int = 7):
        if suffix == "h5":
            pytest.importorskip("h5py")
        table = as_table(rows(n))
        table["id"] = np.arange(n) + 100
        table["who"] = [f"no {k}" for k in range(n)]
        path = tmp_path / f"in.{suffix}"
        table.write(path, **({"path": "t", "serialize_meta": True} if suffix == "h5" else {}))
        return path

    return make


def numbers_of(path, names) -> np.ndarray:
    with open_table(path) as table:
        return np.concatenate([block.numbers for block in table.blocks(names)])


@pytest.mark.filterwarnings("ignore:.*no unit is stated")  # in CSV
@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "h5"])
@pytest.mark.parametrize("made", ["csv", "ecsv", "fits", "h5"])
def test_any_format_becomes_any_other(tmp_path, table_file, make_table_bundle, rows, suffix, made):
    if made == "h5":
        pytest.importorskip("h5py")
    bundle, path, out = make_table_bundle(), table_file(suffix), tmp_path / f"out.{made}"
    assert translate_table_file(bundle, path, out, keep=["who", "i*", "E"]) == out
    with open_table(out) as table:
        assert list(table.columns) == ["who", "id", "E", *OUTPUTS]
        units = [table.columns[name].unit for name in OUTPUTS]
        (block,) = table.blocks(OUTPUTS, ["who", "id"])
    assert units == (["", ""] if made == "csv" else ["MeV", "rad"])
    np.testing.assert_array_equal(block.numbers, bundle.translate(rows(7)).mean)
    assert block.kept["who"].tolist() == [f"no {k}" for k in range(7)]
    assert block.kept["id"].tolist() == list(range(100, 107))
    np.testing.assert_array_equal(numbers_of(out, ["E"])[:, 0], rows(7)[:, 0])


def test_blocks_of_rows_change_nothing(tmp_path, table_file, make_table_bundle, monkeypatch):
    bundle, path = make_table_bundle(noise=2), table_file("fits", 23)
    settings = {"samples": 3, "quantiles": (0.25, 0.75), "seed": 2}
    translate_table_file(bundle, path, tmp_path / "a.fits", keep="*", **settings)
    monkeypatch.setattr("imgturbo.tables.reader.BLOCK_ROWS", 5)
    translate_table_file(bundle, path, tmp_path / "b.fits", keep="*", **settings)
    names = ["a", "a_std", "a_q25", "a_q75", "b", "b_std", "b_q25", "b_q75"]
    one, other = (numbers_of(tmp_path / name, names) for name in ("a.fits", "b.fits"))
    np.testing.assert_allclose(one, other, rtol=1e-4)
    with open_table(tmp_path / "a.fits") as table:
        assert list(table.columns) == ["E", "pt", "m", "id", "who", *names]
        assert [table.columns[n].unit for n in names] == ["MeV"] * 4 + ["rad"] * 4


def test_what_the_output_says_of_its_making(tmp_path, table_file, make_table_bundle):
    bundle = make_table_bundle(noise=2)
    out = tmp_path / "out.ecsv"
    translate_table_file(bundle, table_file("ecsv"), out, samples=2, seed=4)
    meta = Table.read(out).meta
    assert (meta["PREDICTD"], meta["MODEL"], meta["DIRECTN"]) == (True, bundle.hash, "forward")
    assert (meta["NSAMPLES"], meta["SEED"]) == (2, 4)
    assert any(line.startswith("sha256 ") for line in meta["HISTORY"])
    assert "--samples 2 --seed 4" in meta["HISTORY"][0]


def test_rows_that_lack_a_number_are_said(tmp_path, make_table_bundle):
    path = tmp_path / "t.ecsv"
    table = as_table(np.array([[1.0, 2, 3], [np.nan, 2, 3], [1, 2, -3]]))
    table.write(path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        translate_table_file(make_table_bundle(), path, tmp_path / "o.csv")
    said = [str(one.message) for one in told]
    assert any("1 of 3 rows lack a number" in line for line in said)
    assert any("1 of 3 rows hold numbers that the model's scaling cannot take" in x for x in said)
    assert np.isnan(numbers_of(tmp_path / "o.csv", OUTPUTS)).all(1).tolist() == [False, True, True]


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "h5"])
def test_a_table_without_rows(tmp_path, make_table_bundle, suffix):
    if suffix == "h5":
        pytest.importorskip("h5py")
    path = tmp_path / "t.ecsv"
    as_table(np.empty((0, 3))).write(path)
    with pytest.warns(UserWarning, match="has no rows"):
        translate_table_file(make_table_bundle(), path, tmp_path / f"o.{suffix}")
    with open_table(tmp_path / f"o.{suffix}") as table:
        assert table.length == 0


@pytest.mark.filterwarnings("ignore:.*no unit is stated")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("E,m\n1,2\n", "has no column pt"),
        ("E,pt,m\n1,2,3\n1,x,3\n", "row 2, column pt: 'x' is no number"),
        ("E,pt,m\n1,2,3\n1,3\n", "row 2 has 2 cells"),
        ("E,pt,m,a\n1,2,3,4\n", "column a cannot be kept beside the output of the same name"),
    ],
)
def test_bad_tables_leave_nothing(tmp_path, make_table_bundle, text, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    out = tmp_path / "o.csv"
    with pytest.raises(ImgturboError, match=said):
        translate_table_file(make_table_bundle(), path, out, keep=["a"] if ",a\n" in text else ())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.csv"]


def test_other_units_are_refused(tmp_path, table_file, make_table_bundle):
    path = tmp_path / "t.ecsv"
    table = as_table(np.ones((2, 3)))
    table["pt"].unit = "m"
    table.write(path)
    with pytest.raises(ImgturboError, match=r"t\.ecsv: column pt is in m, and GeV is wanted"):
        translate_table_file(make_table_bundle(), path, tmp_path / "o.fits")


def test_places_and_suffixes(tmp_path, table_file, make_table_bundle):
    path, bundle = table_file("fits"), make_table_bundle()
    with pytest.raises(ImgturboError, match="tables are written as"):
        translate_table_file(bundle, path, tmp_path / "o.txt")
    with pytest.raises(ImgturboError, match="is one of the inputs"):
        translate_table_file(bundle, path, path)
    (tmp_path / "o.fits").write_text("precious")
    with pytest.raises(ImgturboError, match="exists already"):
        translate_table_file(bundle, path, tmp_path / "o.fits")
    assert (tmp_path / "o.fits").read_text() == "precious"
    translate_table_file(bundle, path, tmp_path / "o.fits", overwrite=True)
    with pytest.raises(ImgturboError, match="no such folder"):
        translate_table_file(bundle, path, tmp_path / "none" / "o.fits")


# ---------------------------------------------------------------------------------- commands


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended, warnings.catch_warnings():
        main([str(word) for word in words])
    return ended.value.code or 0


def test_the_command(tmp_path, table_file, make_table_bundle, capsys):
    bundle, out = make_table_bundle(noise=2), tmp_path / "o.ecsv"
    words = ["translate", "--bundle", bundle.path, table_file("fits"), "--out", out]
    assert run(*words, "--samples", 3, "--quantiles", "0.25,0.75", "--keep", "id,who") == 0
    assert capsys.readouterr().out.strip() == str(out)
    names = ["id", "who", "a", "a_std", "a_q25", "a_q75", "b", "b_std", "b_q25", "b_q75"]
    assert Table.read(out).colnames == names
    back = tmp_path / "back.fits"
    assert (
        run("translate", "--bundle", bundle.path, out, "--out", back, "--direction", "backward")
        == 0
    )
    assert Table.read(back).colnames == list(NAMES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--grid", "g.fits"], "--grid has a meaning for images only"),
        (["--bands", "a,b"], "--bands has a meaning for images only"),
        (["--overlap", "4"], "--overlap has a meaning for images only"),
        (["--keep", "nothing"], "has no column nothing"),
    ],
)
def test_options_of_images(tmp_path, table_file, make_table_bundle, capsys, words, said):
    out = tmp_path / "o.csv"
    given = ["translate", "--bundle", make_table_bundle().path, table_file("fits"), "--out", out]
    assert run(*given, *words) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_bundle_of_images_reads_no_table():
    with pytest.raises(ImgturboError, match="reads images"):
        translate_table(load_bundle("smacs0723-fidelity"), np.zeros((3, 3)))
