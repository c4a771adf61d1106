"""Tables become stores: which rows, in which split, scaled how; each exactly undone."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from data_prep.prepare import prepare
from data_prep.table_rows import End
from data_prep.table_scaling import Scaling
from imgturbo.cli.main import main
from imgturbo.config import Config, TableSideConfig
from imgturbo.data import TileStore
from imgturbo.errors import ImgturboError

Z, X = ["z1", "z2"], ["x1", "x2", "x3"]


@pytest.fixture
def table():
    """``table(n)`` → both sides, a run and an identifier."""

    def make(n: int = 60, seed: int = 0) -> Table:
        random = np.random.default_rng(seed)
        columns = {name: random.normal(5, 2, n) for name in (*Z, *X)}
        columns["x2"] = random.lognormal(0, 1, n)
        columns["x3"] = random.standard_cauchy(n) + 40
        made = Table(columns | {"run": np.arange(n) // 6, "id": np.arange(n)[::-1] * 3})
        made["z1"].unit = "MeV"
        return made

    return make


def prepared(tmp_path, progress=None, **tables):
    tables = {"fraction": 0.25} | tables
    config = Config.model_validate({"prepare": {"out": tmp_path / "rows.zarr", "tables": tables}})
    return prepare(config.prepare, progress=progress)


def in_units(store, split: str, side: str) -> np.ndarray:
    """The rows as they were before the stretch."""
    values = np.asarray(getattr(store.split(split), side))
    return getattr(store, side).stretch.inverse(values.T.astype(np.float64)).T


def both(store, side: str) -> np.ndarray:
    return np.concatenate([in_units(store, split, side) for split in ("train", "validation")])


SIDES = {"source": {"columns": Z}, "target": {"columns": ["x*"]}}


@pytest.mark.parametrize("suffix", ["csv", "ecsv", "fits", "h5"])
def test_rows_of_one_file(tmp_path, table, suffix):
    if suffix == "h5":
        pytest.importorskip("h5py")
    path, rows = tmp_path / f"t.{suffix}", table()
    rows.write(path, **({"path": "t", "serialize_meta": True} if suffix == "h5" else {}))
    report = prepared(tmp_path, files=[path], **SIDES)
    (line,) = report.fields
    assert (line.rows, line.train, line.validation, line.refused) == (60, 45, 15, 0)
    store = TileStore.open(tmp_path / "rows.zarr")
    assert (store.tile, store.source.kind, store.fields) == (None, "table", [path.name])
    assert (store.source.names, store.target.names) == (tuple(Z), tuple(X))
    assert store.source.units == (("", "") if suffix == "csv" else ("MeV", ""))
    number = np.concatenate([store.split(s).position[:, 0] for s in ("train", "validation")])
    assert sorted(number) == list(range(60))
    for side, names in (("source", Z), ("target", X)):
        wanted = np.stack([rows[name] for name in names], 1)[number]
        np.testing.assert_allclose(both(store, side), wanted, rtol=1e-5, atol=1e-5)
    train = store.split("train")
    assert train.paired.all()
    np.testing.assert_allclose(np.asarray(train.source).mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(np.asarray(train.source).std(0), 1, atol=1e-6)
    assert "row 0 of" not in train.label(0) or number[0] == 0


def test_done_once_it_is_done(tmp_path, table):
    table().write(tmp_path / "t.csv")
    assert not prepared(tmp_path, files=[tmp_path / "t.csv"], **SIDES).reused
    assert prepared(tmp_path, files=[tmp_path / "t.csv"], **SIDES).reused
    assert not prepared(tmp_path, files=[tmp_path / "t.csv"], seed=1, **SIDES).reused


def test_units_are_converted_when_read(tmp_path, table):
    table().write(tmp_path / "t.ecsv")
    source = {"columns": Z, "units": {"z1": "GeV", "z*": "GeV"}}
    with pytest.warns(UserWarning, match="no unit is stated for z2; taken to be in GeV"):
        prepared(tmp_path, files=[tmp_path / "t.ecsv"], source=source)
    store = TileStore.open(tmp_path / "rows.zarr")
    assert (store.source.unit, store.source.units) == ("GeV", ("GeV", "GeV"))
    assert store.target is None
    wanted = sorted(table()["z1"] / 1000)
    np.testing.assert_allclose(sorted(both(store, "source")[:, 0]), wanted, rtol=1e-5)


def test_scalings_and_groups(tmp_path, table):
    path = tmp_path / "t.csv"
    rows = table(400)
    rows.write(path)
    target = {"columns": X, "scaling": "asinh", "scalings": {"x1": "linear", "x2": "log"}}
    prepared(tmp_path, files=[path], source={"columns": Z, "groups": [["z*"]]}, target=target)
    store = TileStore.open(tmp_path / "rows.zarr")
    train = store.split("train")
    number = train.position[:, 0]
    z, stretch = np.stack([rows[n] for n in Z], 1)[number], store.source.stretch
    assert stretch.offset == pytest.approx([z.mean()] * 2)
    assert stretch.scale == pytest.approx([z.std()] * 2)
    assert [bijection.kind for bijection in store.target.stretch.before] == ["none", "log", "none"]
    assert np.isinf(store.target.stretch.softening).tolist() == [True, True, False]
    y = np.asarray(train.target)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(y[:, :2].mean(0), 0, atol=1e-5)
    assert np.median(y[:, 2]) == pytest.approx(0, abs=1e-6)
    logs = np.log(rows["x2"][number])
    np.testing.assert_allclose(y[:, 1], (logs - logs.mean()) / logs.std(), atol=1e-5)


@given(
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    missing=st.floats(0, 0.5),
    seed=st.integers(0, 99),
)
def test_moments_are_those_of_all_rows(cuts, missing, seed):
    """Whatever the blocks are, and whatever is missing."""
    random = np.random.default_rng(seed)
    values = random.normal(1e6, 3, (sum(cuts), 3))
    values[random.random(values.shape) < missing] = np.nan
    side = TableSideConfig(groups=[["a", "b"]])
    scaling = Scaling(End("source", side, ("a", "b", "c"), ("", "", "")), len(values))
    for part in np.split(values, np.cumsum(cuts)[:-1]):
        scaling.see(part, np.arange(len(part)), "t.csv")
    found = scaling.stretch()
    for places in ([0, 1], [2]):
        known = values[:, places][np.isfinite(values[:, places])]
        if len(known) > 1:
            assert found.offset[places] == pytest.approx([known.mean()] * len(places))
            assert found.scale[places] == pytest.approx([known.std()] * len(places), rel=1e-6)


def test_groups_are_never_divided(tmp_path, table):
    path = tmp_path / "t.fits"
    table(300).write(path)
    prepared(tmp_path, files=[path], group="run", test=0.1, **SIDES)
    store = TileStore.open(tmp_path / "rows.zarr")
    runs = [set(store.split(s).position[:, 0] // 6) for s in ("train", "validation")]
    kept_out = Table.read(tmp_path / "rows_test.ecsv")
    runs.append(set(kept_out["run"].tolist()))
    assert not runs[0] & runs[1] and not runs[0] & runs[2] and not runs[1] & runs[2]  # noqa: PT018
    assert [len(found) for found in runs] == [33, 12, 5]


def test_test_rows_are_kept_as_they_came(tmp_path, table):
    rows = table(40)
    rows["who"] = [f"no {k}" for k in range(40)]
    path = tmp_path / "t.ecsv"
    rows.write(path)
    report = prepared(tmp_path, files=[path], test=0.2, **SIDES)
    assert (report.fields[0].test, report.train, report.validation) == (8, 22, 10)
    kept_out = Table.read(tmp_path / "rows_test.ecsv")
    assert kept_out.colnames == rows.colnames
    assert str(kept_out["z1"].unit) == "MeV"
    store = TileStore.open(tmp_path / "rows.zarr")
    stored = {n for s in ("train", "validation") for n in store.split(s).position[:, 0].tolist()}
    left = [number for number in range(40) if number not in stored]
    assert kept_out["who"].tolist() == [f"no {k}" for k in left]
    assert (kept_out["x3"] == rows["x3"][left]).all()
    assert prepared(tmp_path, files=[path], test=0.2, **SIDES).reused
    (tmp_path / "rows_test.ecsv").write_text("precious")
    with pytest.raises(ImgturboError, match="this command did not make it"):
        prepared(tmp_path, files=[path], test=0.3, **SIDES)


def test_two_files_in_order(tmp_path, table):
    rows = table(50)
    rows[Z].write(tmp_path / "z.fits")
    rows[X][:20].write(tmp_path / "x1.csv")
    rows[X][20:].write(tmp_path / "x2.csv")
    files = {"source": {"files": [tmp_path / "z.fits"]},
             "target": {"files": [tmp_path / "x1.csv", tmp_path / "x2.csv"]}}  # fmt: skip
    prepared(tmp_path, **files)
    store = TileStore.open(tmp_path / "rows.zarr")
    assert store.split("train").paired.all()
    pairs = np.concatenate([both(store, "source"), both(store, "target")], axis=1)
    wanted = np.stack([rows[name] for name in (*Z, *X)], 1)
    order = np.lexsort(pairs.T), np.lexsort(wanted.T)
    np.testing.assert_allclose(pairs[order[0]], wanted[order[1]], rtol=1e-4, atol=1e-4)
    (tmp_path / "x2.csv").unlink()
    rows[X][21:].write(tmp_path / "x2.csv")
    with pytest.raises(ImgturboError, match=r"has 50 rows, and .* has 49: they cannot be paired"):
        prepared(tmp_path, **files)


def test_two_files_by_a_key(tmp_path, table):
    rows = table(50)
    rows[[*Z, "id"]][:40].write(tmp_path / "z.csv")
    shuffled = np.random.default_rng(1).permutation(np.arange(10, 50))
    rows[[*X, "id"]][shuffled].write(tmp_path / "x.fits")
    files = {"source": {"files": [tmp_path / "z.csv"]}, "target": {"files": [tmp_path / "x.fits"]}}
    report = prepared(tmp_path, key="id", test=0.1, **files)
    store = TileStore.open(tmp_path / "rows.zarr")
    assert store.target.names == tuple(X)
    parts = [store.split(name) for name in ("train", "validation")]
    paired = np.concatenate([part.paired for part in parts])
    has = [np.concatenate([getattr(p, f"has_{s}") for p in parts]) for s in ("source", "target")]
    z, x = both(store, "source"), both(store, "target")
    for row in np.flatnonzero(has[0]):
        place = int(np.argmin(np.abs(rows["z1"] - z[row, 0])))
        assert paired[row] == (10 <= place < 40)
        if paired[row]:
            assert x[row, 0] == pytest.approx(rows["x1"][place], rel=1e-4)
    tests = [Table.read(tmp_path / f"rows_test_{name}.ecsv") for name in ("source", "target")]
    assert sum(line.rows for line in report.fields) == 50
    assert len(set(tests[0]["id"]) | set(tests[1]["id"])) == 5
    assert int(has[0].sum()) + len(tests[0]) == 40
    assert int(has[1].sum()) + len(tests[1]) == 40


def test_rows_that_are_no_pairs(tmp_path, table):
    table(30)[Z].write(tmp_path / "z.csv")
    table(21)[X].write(tmp_path / "x.csv")
    files = {"source": {"files": [tmp_path / "z.csv"]}, "target": {"files": [tmp_path / "x.csv"]}}
    report = prepared(tmp_path, paired=False, **files)
    assert [(line.kind, line.rows) for line in report.fields] == [("source", 30), ("target", 21)]
    store = TileStore.open(tmp_path / "rows.zarr")
    assert not store.split("train").paired.any()
    assert store.split("train").has_source.sum() == 22


def test_what_is_missing_is_not_valid(tmp_path, table):
    rows = table(40)
    rows["z1"][3] = np.nan
    rows["x2"][3:6] = np.nan
    rows["x1"][7] = np.inf
    rows.write(tmp_path / "t.csv")
    report = prepared(tmp_path, files=[tmp_path / "t.csv"], **SIDES)
    (line,) = report.fields
    assert (line.rows, line.refused, line.train + line.validation) == (40, 1, 39)
    assert line.valid_fraction == 36 / 40
    store = TileStore.open(tmp_path / "rows.zarr")
    parts = [store.split(name) for name in ("train", "validation")]
    valid = np.concatenate([np.asarray(part.target_valid) for part in parts])
    number = np.concatenate([part.position[:, 0] for part in parts])
    assert sorted(number[~valid]) == [4, 5, 7]
    y = np.concatenate([np.asarray(part.target) for part in parts])
    assert (y[~valid] == 0).all()
    assert np.concatenate([np.asarray(part.source_valid) for part in parts]).all()


def test_one_row(tmp_path, table):
    table(1).write(tmp_path / "t.csv")
    report = prepared(tmp_path, files=[tmp_path / "t.csv"], **SIDES)
    assert (report.train, report.validation) == (1, 0)
    assert (TileStore.open(tmp_path / "rows.zarr").source.stretch.scale == 1).all()


@pytest.mark.parametrize(
    ("text", "tables", "said"),
    [
        ("a,b\n", {}, "has no rows to train on"),
        ("a,b\nnan,nan\n", {}, "no training row has all of the numbers of a side"),
        ("a,c\n1,2\n", {}, "has no column b"),
        ("a,b\n1,2\n3,x\n", {}, "row 2, column b: 'x' is no number"),
        ("a,b\n1,2\n3,-4\n1,1\n", {"target": {"columns": ["b"], "scaling": "log"}},
         "row 2, column b: -4 has no logarithm"),
        ("a,b\n1,2\n", {"target": {"columns": ["b"], "scalings": {"c": "log"}}}, "no column c"),
        ("a,b\n1,2\n", {"source": {"columns": ["a"], "units": {"b": "m"}}}, "has no column b"),
        ("a,b\n1,2\n1,2\n", {"group": "b"}, "all rows have one value of b"),
        ("a,b\n1,2\n1,2\n", {"group": "c"}, "has no column c"),
        ("a,b\n1,2\n", {"source": {"columns": ["a"], "groups": [["a"], ["a"]]}}, "in two groups"),
        ("a,b\n1,2\n", {"source": {"columns": ["*"], "groups": [["*"]], "scalings": {"b": "log"}}},
         "differ in their scaling"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, text, tables, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    sides = {"source": {"columns": ["a"]}, "target": {"columns": ["b"]}}
    with pytest.raises(ImgturboError, match=said):
        prepared(tmp_path, **({"files": [path], "fraction": 0.1 if "group" in tables else 0}
                              | sides | tables))  # fmt: skip
    assert not (tmp_path / "rows.zarr").exists()


def test_rows_without_a_key_are_nobodys_partner(tmp_path):
    """Neither are two of them twice the same, nor does one belong to one without of the other."""
    (tmp_path / "z.csv").write_text("a,id\n1,5\n2,\n3,\n4,7\n")
    keys = MaskedColumn([7, 0, 5, 9], mask=[False, True, False, False])
    Table({"b": [1.0, 2.0, 3.0, 4.0], "id": keys}).write(tmp_path / "x.fits")
    files = {"source": {"files": [tmp_path / "z.csv"]}, "target": {"files": [tmp_path / "x.fits"]}}
    prepared(tmp_path, key="id", fraction=0.0, **files)
    store = TileStore.open(tmp_path / "rows.zarr")
    rows = store.split("train")
    assert (len(rows.paired), rows.paired.sum()) == (6, 2)
    z, x = (in_units(store, "train", side)[rows.paired, 0] for side in ("source", "target"))
    assert sorted(zip(z.round(4).tolist(), x.round(4).tolist(), strict=True)) == [(1, 3), (4, 1)]


def test_keys_that_come_twice(tmp_path):
    (tmp_path / "z.csv").write_text("a,id\n1,5\n2,5\n")
    (tmp_path / "x.csv").write_text("b,id\n1,5\n2,6\n")
    files = {"source": {"files": [tmp_path / "z.csv"]}, "target": {"files": [tmp_path / "x.csv"]}}
    with pytest.raises(ImgturboError, match=r"z\.csv: 2 rows have id 5"):
        prepared(tmp_path, key="id", **files)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({}, "name the columns of 'source'"),
        ({"source": {}}, "neither 'files' nor 'source.files' names a table"),
        ({"files": ["t.csv"], "source": {"files": ["t.csv"]}}, "both name tables"),
        ({"files": ["t.csv"], "source": {}, "target": {}}, "which are whose"),
        ({"files": ["t.csv"], "source": {}, "key": "id"}, "'key' pairs the rows"),
        ({"files": ["t.csv"], "source": {}, "fraction": 0.5, "test": 0.5}, "leave no row to train"),
    ],
)
def test_configs_that_contradict_themselves(tables, said):
    with pytest.raises(ValueError, match=said):
        Config.model_validate({"prepare": {"tables": tables}})


def test_the_command(tmp_path, table, capsys):
    table().write(tmp_path / "t.csv")
    config = tmp_path / "c.yaml"
    config.write_text(
        f"prepare: {{out: {tmp_path}/rows.zarr, tables: {{files: [{tmp_path}/t.csv], fraction: 0.2,"
        " source: {columns: [z1]}, target: {columns: ['x*']}}}"
    )
    with pytest.raises(SystemExit) as ended:
        main(["prepare", str(config)])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "48 training and 12 validation rows" in said
    with pytest.raises(SystemExit) as ended:
        main(["prepare", str(config), "--aligned", str(tmp_path / "a")])
    assert ended.value.code == 2
    assert "no sky to be aligned on" in capsys.readouterr().err
