"""Every config of tables: it is read, its network fits its problem, trains a step and draws."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import yaml

from imgturbo.bundle import load_bundle
from imgturbo.config import load_config
from imgturbo.data.choice import open_source
from imgturbo.engines import load_settled
from imgturbo.simulators import SIMULATORS
from imgturbo.training import train

FOLDER = Path(__file__).parents[1] / "configs" / "vectors"
SHORT = [
    "data.batch_size=8", "train.steps=1", "train.warmup=1", "train.validate_every=1",
    "train.validate_tiles=8", "train.checkpoint_every=1", "data.source.validation=8",
]  # fmt: skip


def of_simulators() -> dict[str, str]:
    """Configs whose decoder draws posteriors of a simulator: their names, and its."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        source = yaml.safe_load(path.read_text()).get("data", {}).get("source") or {}
        if source.get("given") == "observations":
            found[path.stem] = source["name"]
    return found


@pytest.mark.parametrize(("name", "simulator"), of_simulators().items())
def test_it_trains_a_step_and_draws(name, simulator, tmp_path):
    if simulator not in SIMULATORS:
        pytest.skip(f"there is no simulator {simulator}")
    path = FOLDER / f"{name}.yaml"
    config = load_settled(path, [*SHORT, f"train.out={tmp_path / 'run'}"])
    if "zuko" in config.model.decoder.kind and importlib.util.find_spec("zuko") is None:
        pytest.skip("the package zuko is not installed")
    assert config.name == name
    assert str(load_config(path).train.out) == f"runs/{name}"
    assert f"imgturbo train configs/vectors/{name}.yaml" in path.read_text()
    bundle = load_bundle(train(config).bundle)
    batch = next(iter(open_source(config).validation(5)))
    draws = bundle.decoder.posterior(batch.z, 3)
    assert draws.shape == (5, 3, len(bundle.target))
    assert draws[batch.z_valid[:, 0]].isfinite().all()
