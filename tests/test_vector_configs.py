"""Every config of tables: it is read, its network fits its problem, trains a step and draws."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

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


def of_simulators() -> list[str]:
    """Names of the configs whose decoder draws posteriors of a simulator."""
    names = []
    for path in sorted(FOLDER.glob("*.yaml")):
        source = load_config(path).data.source
        if source is not None and getattr(source, "given", "") == "observations":
            names.append(path.stem)
    return names


@pytest.mark.parametrize("name", of_simulators())
def test_it_trains_a_step_and_draws(name, tmp_path):
    path = FOLDER / f"{name}.yaml"
    config = load_settled(path, [*SHORT, f"train.out={tmp_path / 'run'}"])
    if config.data.source.name not in SIMULATORS:
        pytest.skip(f"there is no simulator {config.data.source.name}")
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
