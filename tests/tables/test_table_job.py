"""The whole job on a small table: cards, inspect, calibrate and resume speak of rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.table import Table
from stopped import stop_at

from data_prep.prepare import prepare
from imgturbo.bundle import load_bundle
from imgturbo.cli.main import main
from imgturbo.config import Config
from imgturbo.data import TileStore
from imgturbo.describe import describe
from imgturbo.simulators import Linear
from imgturbo.training import train


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return ended.value.code or 0


def config_of(folder, out: str = "run", **tables) -> Config:
    sides = {"source": {"columns": ["z*"], "units": {"z1": "GeV"}},
             "target": {"columns": ["x*"], "scalings": {"x5": "asinh"}}}  # fmt: skip
    return Config.model_validate({
        "name": "linear",
        "prepare": {"out": folder / "rows.zarr",
                    "tables": {"files": [folder / "t.ecsv"], "fraction": 0.2, **sides, **tables}},
        "data": {"batch_size": 16},
        "model": {"decoder": {"kind": "mlp", "hidden": [8], "noise_channels": 2},
                  "critic": {"kind": "mlp", "hidden": [8]}},
        "train": {"out": folder / out, "steps": 6, "warmup": 1, "validate_every": 3,
                  "checkpoint_every": 2, "log_every": 1, "trackers": ["jsonl"]},
    })  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table of a simulator, its store, and a bundle that was trained on it."""
    folder = tmp_path_factory.mktemp("job")
    simulator, random = Linear(), np.random.default_rng(0)
    z = simulator.prior(random, 150)
    x = simulator.observe(random, z)
    table = Table({f"z{k + 1}": column for k, column in enumerate(z.T)})
    table["z1"].unit = "GeV"
    for k, column in enumerate(x.T):
        table[f"x{k + 1}"] = column
    table.write(folder / "t.ecsv")
    config = config_of(folder)
    prepare(config.prepare)
    train(config)
    return folder


def test_a_killed_training_ends_as_if_it_had_not_been(folder, monkeypatch):
    """Law 5, of a store of rows."""
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        train(config_of(folder, "killed"))
    train(config_of(folder, "killed"))
    files = [(folder / run / "bundle" / "decoder.safetensors").read_bytes()
             for run in ("run", "killed")]  # fmt: skip
    assert files[0] == files[1]


def test_the_card_speaks_of_columns(folder):
    card = (folder / "run" / "bundle" / "README.md").read_text()
    assert "| columns | z1, z2, z3 | x1, x2, x3, x4, x5 |" in card
    assert "| unit | GeV, none, none |  |" in card
    assert "imgturbo translate --bundle . TABLE.csv" in card
    assert "validation rows" in card
    for word in ("pixel", "telescope", "tiles", "sky", "band"):
        assert word not in card, word


def test_inspect_speaks_of_rows(folder):
    for path in (folder / "rows.zarr", folder / "run" / "bundle", folder / "t.ecsv"):
        facts = describe(path)
        said = json.dumps({k: v for k, v in facts.items() if k != "tiles"}, allow_nan=False)
        assert facts["warnings"] == []
        for word in ("pixel", "tile", "band", "stretch"):
            assert word not in said.replace(str(folder), ""), word
    assert describe(folder / "rows.zarr")["train"] == "120 rows, 120 paired"
    assert describe(folder / "run" / "bundle")["source z1"].startswith("GeV, y = (f − ")
    facts = describe(folder / "t.ecsv")
    assert (facts["rows"], facts["columns"]) == (150, "8 of numbers, 0 of other things")
    z1 = np.asarray(Table.read(folder / "t.ecsv")["z1"])
    assert facts["z1"] == (
        f"{z1.min():.4g} to {z1.max():.4g}, mean {z1.mean():.4g}, deviation {z1.std():.4g} GeV"
    )


def test_inspect_warns_of_what_a_table_lacks(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,x\n1,,y\n1,inf,z\n")
    facts = describe(tmp_path / "t.csv")
    assert facts["other columns"] == "c"
    assert facts["warnings"] == [
        "column a is constant: nothing can be learnt from it",
        "column b lacks a finite number in 2 rows",
        "no units are stated: numbers are taken as they come",
    ]


def test_labels_name_the_row_and_its_file(folder):
    split = TileStore.open(folder / "rows.zarr").split("train")
    assert split.label(3) == f"train row 3 (row {split.position[3, 0] + 1} of t.ecsv)"


def test_calibrate_speaks_of_rows(folder, capsys):
    words = ["calibrate", folder / "rows.zarr", "--bundle", folder / "run" / "bundle"]
    assert run(*words, "--samples", 6, "--out", folder / "calibration") == 0
    said = capsys.readouterr().out
    assert "30 rows, 6 samples each" in said
    assert "crps of single columns: x1 " in said
    for word in ("pixels", "tiles", "bright"):
        assert word not in said.replace("pixelwise", "").replace(str(folder), ""), word
    result = json.loads((folder / "calibration" / "calibration.json").read_text())
    assert list(result["crps_by_band"]) == ["x1", "x2", "x3", "x4", "x5"]
    mean = np.mean([score["value"] for score in result["crps_by_band"].values()])
    assert (
        mean == result["scores"]["crps"]["value"]
        or abs(mean - result["scores"]["crps"]["value"]) < 1e-6
    )
    assert list(result["calibration"]["bands"]) == ["x1", "x2", "x3", "x4", "x5"]


def test_the_bundle_translates_what_it_was_trained_on(folder):
    bundle = load_bundle(folder / "run" / "bundle")
    table = Table.read(folder / "t.ecsv")
    found = bundle.translate(table).mean
    store = TileStore.open(folder / "rows.zarr").split("train")
    way = bundle.direction()
    import torch

    with torch.no_grad():
        y = way.generator(torch.from_numpy(np.asarray(store.source))).numpy()
    wanted = way.output.stretch.inverse(y.T.astype(float)).T
    rows = store.position[:, 0]
    made = np.stack([found[name] for name in way.output.names], 1)
    np.testing.assert_allclose(made[rows], wanted, rtol=1e-5, atol=1e-5)
