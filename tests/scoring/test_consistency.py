"""A restored image is held against its data: 1 for the truth, 0 for the noise itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from imgturbo.config import OperatorConfig
from imgturbo.errors import ImgturboError
from imgturbo.nets import build_generator
from imgturbo.scoring.consistency import consistency
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch

SIDE = Side(("F150W",), "MJy/sr", Stretch(np.zeros(1), np.full(1, np.inf), np.full(1, 4.0)))


@dataclass
class OfOperator:
    """As much of a bundle as is asked for."""

    encoder: torch.nn.Module | None
    source: Side = SIDE
    target: Side = SIDE
    path: Path = field(default_factory=lambda: Path("a-bundle"))


def bundle(noise=0.1, **operator):
    section = OperatorConfig.model_validate({"operator": operator, "noise": noise})
    return OfOperator(build_generator(section, 1, 1).eval())


@pytest.mark.parametrize(
    "operator",
    [
        {"kind": "identity"},
        {"kind": "blur", "fwhm": 3, "side": 9},
        {"kind": "downsample", "factor": 2},
        {"kind": "fourier", "size": 64, "share": 0.3},
    ],
    ids=lambda operator: operator["kind"],
)
def test_the_truth_explains_its_data_to_within_the_noise(operator):
    """In flux, of which the stretch makes what the operator acts on."""
    model, random = bundle(**operator), np.random.default_rng(0)
    sky = 4.0 * random.normal(size=(1, 1, 64, 64)).astype(np.float32)
    noise = torch.from_numpy(random.normal(size=sky.shape).astype(np.float32))
    seen = model.encoder.observe(torch.from_numpy(sky / 4), noise).numpy() * 4
    found = consistency(model, seen[0], sky[0])
    assert found["ratio"] == pytest.approx(1, abs=0.15)
    assert found["noise"] == pytest.approx(0.1)
    assert consistency(model, seen[0], 0 * sky[0])["ratio"] > 5
    if operator["kind"] == "blur":
        assert found["measurements"] == (64 - 8) ** 2  # what sees beyond the edge is left out


@pytest.mark.parametrize(
    ("operator", "observed", "restored", "words"),
    [
        ({"kind": "identity"}, (8, 8), (8, 9), "give images of one grid"),
        ({"kind": "downsample", "factor": 3}, (8, 8), (8, 8), "factor is 3, which does not divide"),
        ({"kind": "fourier", "size": 8}, (8, 9), (8, 9), "reads squares of 8 pixels, not 8 × 9"),
        ({"kind": "fourier", "size": 8}, (9, 9), (9, 9), "size is 8, but"),
    ],
)
def test_images_that_do_not_fit_are_one_line(operator, observed, restored, words):
    with pytest.raises(ImgturboError, match=words):
        consistency(bundle(**operator), np.ones((1, *observed)), np.ones((1, *restored)))


def test_what_cannot_be_judged_is_said():
    seen = np.ones((1, 8, 8))
    holed = seen.copy()
    holed[0, 2, 3] = np.nan
    with pytest.raises(ImgturboError, match="1 pixels are not measured"):
        consistency(bundle(kind="identity"), holed, seen)
    for model in (bundle(noise=0, kind="identity"), OfOperator(None)):
        with pytest.raises(ImgturboError, match="holds no operator with noise"):
            consistency(model, seen, seen)
