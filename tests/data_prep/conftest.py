"""Fields that several tests of preparation begin with."""

from __future__ import annotations

import numpy as np
import pytest
from prepare_fields import picture, stars, write

from imgturbo.config import FieldConfig


@pytest.fixture
def pair(tmp_path):
    """Two source bands and one target band on one grid, NaN borders that differ."""
    shape = (101, 131)
    blue, red, deep = (stars(shape, seed=0) * f for f in (1.0, 2.0, 5.0))
    blue[:7] = np.nan
    red[:, :5] = np.nan
    deep[-9:] = np.nan
    source = [
        write(tmp_path / "blue.fits", blue, band="F606W"),
        write(tmp_path / "red.fits", red, band="F814W"),
    ]
    return FieldConfig(
        name="cosmos", source=source, target=[write(tmp_path / "t.fits", deep, band="F200W")]
    )


@pytest.fixture
def pictures(tmp_path):
    """Two colour pictures of one sky, without a WCS."""
    bright = np.clip(
        np.stack([stars((90, 121), seed=2, noise=0.01) / n for n in (9, 12, 15)]), 0, 1
    )
    return FieldConfig(
        name="smacs",
        source=[picture(tmp_path / "hubble.png", bright**0.8)],
        target=[picture(tmp_path / "webb.png", bright)],
    )
