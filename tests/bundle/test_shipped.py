"""What the shipped bundles computed before their code was last moved about, they compute still.

``shipped.npz`` holds one small picture and what version 0.1.0 made of it, ``shipped.json`` the
sha256 of each result and the machine. There every byte must be the same; convolutions of another
processor or library round otherwise, and are held to what rounding can explain.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from imgturbo.bundle import load_bundle
from imgturbo.sky import Stretch

BEFORE = json.loads(Path(__file__).with_name("shipped.json").read_text())


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("shipped.npz")) as content:
        return dict(content)


def this_machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    # A cloud's processors share a name; family, model and stepping tell them apart.
    wanted = ("model name", "cpu family", "model\t", "stepping")
    facts = [line.partition(":")[2].strip() for line in lines if line.startswith(wanted)]
    where = " ".join(facts[: len(wanted)]) or "unknown"
    return f"{where}, torch {torch.__version__}, numpy {np.__version__}"


def compare(name: str, result: np.ndarray, stored: dict[str, np.ndarray]) -> None:
    expected = stored[name]
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4 * np.nanmax(expected))
    if this_machine() == BEFORE["machine"]:
        digest = hashlib.sha256(np.ascontiguousarray(result).tobytes()).hexdigest()
        assert digest == BEFORE["outputs"][name]


def seen_before(values: np.ndarray, stretch: Stretch) -> np.ndarray:
    """The picture with what version 0.1.0 showed its networks in a hole: the value of y = 0.

    Since then small holes are filled first. What a network makes of an image without holes is the
    same.
    """
    return np.where(np.isnan(values), stretch.offset[:, None, None], values).astype(np.float32)


@pytest.mark.parametrize("name", ["smacs0723-fidelity", "smacs0723-perceptual"])
def test_translations_are_what_they_were(name, stored):
    bundle = load_bundle(name)
    shown = seen_before(stored["rgb"], bundle.source.stretch)
    found = bundle.translate(shown, window=64, overlap=0)
    assert found.std is None
    found.mean[:, np.isnan(stored["rgb"]).any(0)] = np.nan
    compare(name, found.mean, stored)


def test_draws_are_what_they_were(stored):
    """In version 0.1.0 the second draw of seed 3 was the first of seed 4, which is what it was."""
    lightness = (100 * stored["rgb"][:1]).astype(np.float32)
    bundle = load_bundle("kodak-colours")
    shown = seen_before(lightness, bundle.source.stretch)
    first, second = (
        bundle.translate(shown, samples=1, seed=seed, window=64, overlap=0).mean for seed in (3, 4)
    )
    mean = first + (second - first) / 2  # in the order of imgturbo.mosaic.reducers
    std = np.sqrt((second - first) * (second - mean))
    for plane in (mean, std):
        plane[:, np.isnan(lightness[0])] = np.nan
    compare("kodak-colours-mean", mean, stored)
    compare("kodak-colours-std", std, stored)
