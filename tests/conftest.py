"""Shared settings of the suite: small thread pools, fixed seeds, no network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Tiny tensors gain nothing from threads, and lose much where processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "imgturbo",
    deadline=None,
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("imgturbo")

# A developer's copy of the real data, beside the checkout; absent elsewhere.
REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """One seed for every test, or its draws would depend on what its process ran before."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: begun last, they keep one of two processes busy alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def real_data() -> Path:
    """Real Hubble and Webb files; tests that need them skip where they are absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real Hubble/Webb files are not beside this checkout")
    return REAL_DATA


@dataclass(frozen=True)
class Job:
    """The whole job on a small simulated sky, done by the command line; see :func:`job`."""

    folder: Path
    source: tuple[Path, Path]  # Hubble-like, F606W and F814W
    target: tuple[Path, Path, Path]  # Webb-like, F150W, F277W and F444W
    tiles: Path
    aligned_source: Path  # on the target's grid, both bands in one file
    aligned_target: Path
    config: Path
    run: Path
    bundle: Path
    prediction: Path
    scores: Path


@pytest.fixture(scope="session")
def job(tmp_path_factory) -> Job:
    """Simulate, prepare, train for three steps, translate, evaluate: some seconds, once a session.

    Tests may read everything here, and write nothing.
    """
    from imgturbo.cli.main import main

    folder = tmp_path_factory.mktemp("job")
    done = Job(
        folder,
        tuple(folder / "sky" / f"hst_{band}.fits" for band in ("f606w", "f814w")),
        tuple(folder / "sky" / f"jwst_{band}.fits" for band in ("f150w", "f277w", "f444w")),
        folder / "tiles.zarr",
        folder / "aligned" / "field_source.fits",
        folder / "aligned" / "field_target.fits",
        folder / "config.yaml",
        folder / "run",
        folder / "run" / "bundle",
        folder / "prediction.fits",
        folder / "scores.json",
    )
    done.config.write_text(
        f"""
data: {{tiles: {done.tiles}, batch_size: 2}}
model:
  decoder: {{kind: unet, width: 8, depth: 1, blocks: 1}}
  critic: {{width: 8, layers: 1}}
train: {{out: {done.run}, steps: 3, warmup: 1, validate_every: 3, checkpoint_every: 3,
         validate_tiles: 2, trackers: [jsonl]}}
"""
    )
    sides = [f"--source={path}" for path in done.source]
    sides += [f"--target={path}" for path in done.target]
    # So small a field that a guard would leave no sky to be typical of it.
    tile = ["prepare.tile.size=32", "prepare.tile.min_valid=0.5", "prepare.split.guard=0"]
    source, target = str(done.aligned_source), str(done.aligned_target)
    for words in (
        ["simulate", "--out", str(folder / "sky"), "--size", "192"],
        ["prepare", *sides, "--out", str(done.tiles), "--aligned", str(folder / "aligned"), *tile],
        ["train", str(done.config)],
        ["translate", "--bundle", str(done.bundle), source, "--out", str(done.prediction)],
        ["evaluate", str(done.prediction), target, "--source", source, "--json", str(done.scores)],
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0, words
    return done
