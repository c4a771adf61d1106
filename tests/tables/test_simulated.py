"""Tables of simulators: the same rows however many are written, with names, units and history."""

from __future__ import annotations

import numpy as np
import pytest

from imgturbo.errors import ImgturboError
from imgturbo.simulators import Ballistics, Linear, Simulator, Stars
from imgturbo.tables import open_table, simulate_table, simulated


def numbers(path, names) -> np.ndarray:
    with open_table(path) as table:
        return np.concatenate([block.numbers for block in table.blocks(names)])


@pytest.mark.parametrize("suffix", [".csv", ".ecsv", ".fits"])
def test_every_format_gives_the_same_rows_and_units(tmp_path, suffix):
    simulator = Stars()
    path = simulate_table(simulator, tmp_path / f"stars{suffix}", 5000, seed=3)
    names = [*simulator.parameters.names, *simulator.observations.names]
    rows = numbers(path, names)
    blocks = [simulator.draw(np.random.default_rng([3, k, simulated._ROWS]), 4096) for k in (0, 1)]
    drawn = np.concatenate([np.concatenate(block, 1) for block in blocks])[:5000]
    np.testing.assert_array_equal(rows, drawn)
    with open_table(path) as table:
        assert list(table.columns) == names
        if suffix != ".csv":
            wanted = [*simulator.parameters.units, *simulator.observations.units]
            assert [column.unit for column in table.columns.values()] == wanted


def test_hdf5_too(tmp_path):
    pytest.importorskip("h5py")
    path = simulate_table(Linear(), tmp_path / "linear.h5", 10)
    assert numbers(path, ["z1", "x5"]).shape == (10, 2)


def test_fewer_rows_are_the_first_of_more(tmp_path):
    few = simulate_table(Linear(), tmp_path / "few.csv", 7)
    many = simulate_table(Linear(), tmp_path / "many.csv", 4100)
    other = simulate_table(Linear(), tmp_path / "other.csv", 7, seed=1)
    names = ["z1", "x1"]
    np.testing.assert_array_equal(numbers(few, names), numbers(many, names)[:7])
    assert (numbers(few, names) != numbers(other, names)).all()


def test_what_is_not_observed_is_missing(tmp_path):
    class Dark(Ballistics):
        def observe(self, generator, parameters):
            landed = super().observe(generator, parameters)
            return np.where(parameters[:, :1] < 0, np.nan, landed)

    rows = numbers(simulate_table(Dark(), tmp_path / "dark.csv", 50), ["x1", "y"])
    np.testing.assert_array_equal(np.isnan(rows[:, 1]), rows[:, 0] < 0)


def test_it_is_whole_or_not_there(tmp_path):
    class Broken(Linear):
        def draw(self, generator, n):
            raise KeyboardInterrupt

    simulator: Simulator = Broken()
    with pytest.raises(KeyboardInterrupt):
        simulate_table(simulator, tmp_path / "t.csv", 10)
    assert not list(tmp_path.iterdir())
    (tmp_path / "t.csv").write_text("mine")
    for name, n, words in (
        ("t.csv", 5, "exists already"), ("u.csv", 0, "0 rows"), ("u.xyz", 5, "written as .csv"),
    ):  # fmt: skip
        with pytest.raises(ImgturboError, match=words):
            simulate_table(Linear(), tmp_path / name, n)
    assert (tmp_path / "t.csv").read_text() == "mine"
