"""A small bundle of tables, and tables that fit it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.config import Config
from imgturbo.engines import build_network
from imgturbo.side import Side
from imgturbo.sky.bijection import NONE, Bijection
from imgturbo.sky.stretch import Stretch

NAMES, UNITS = ("E", "pt", "m"), ("GeV", "GeV", "")
OUTPUTS, OUTPUT_UNITS = ("a", "b"), ("MeV", "rad")


def side_z() -> Side:
    """Columns scaled by each of the three laws."""
    stretch = Stretch(
        np.array([10.0, 3.0, np.log(2.0)]),
        np.array([np.inf, 0.5, np.inf]),
        np.array([4.0, 1.3, 0.7]),
        (NONE, NONE, Bijection("log")),
    )
    return Side(NAMES, "", stretch, kind="table", units=UNITS)


def side_x() -> Side:
    stretch = Stretch(np.array([100.0, 0.1]), np.array([np.inf, 2.0]), np.array([30.0, 0.9]))
    return Side(OUTPUTS, "", stretch, kind="table", units=OUTPUT_UNITS)


@pytest.fixture(scope="session")
def make_table_bundle(tmp_path_factory):
    """``make(noise)`` → a loaded bundle with both directions."""
    made = {}

    def make(noise: int = 0):
        if noise not in made:
            torch.manual_seed(3)
            network = {"kind": "mlp", "hidden": [8, 8], "noise_channels": noise}
            config = Config.model_validate({"model": {"decoder": network}})
            section = config.model.decoder
            folder = tmp_path_factory.mktemp("bundle") / f"noise{noise}"
            save_bundle(
                folder,
                decoder=build_network(section, 3, 2),
                encoder=build_network(section, 2, 3),
                config=config,
                sides={"source": side_z(), "target": side_x()},
                record={},
            )
            made[noise] = load_bundle(folder)
        return made[noise]

    return make


@pytest.fixture
def rows():
    """``rows(n)`` → (n, 3), as the bundles read them."""

    def make(n: int) -> np.ndarray:
        random = np.random.default_rng(n)
        return np.stack(
            [random.normal(10, 4, n), random.standard_cauchy(n), random.lognormal(0.7, 0.5, n)], 1
        )

    return make
