"""Shapes of galaxies that are known."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.modeling.models import Sersic2D

from imgturbo.metrics.morphology import (
    NAMES,
    NOTHING,
    can_measure,
    ellipticity,
    outline,
    shape_of,
)

ROWS, COLS = np.mgrid[:49, :49]
NOISE = 0.003


def galaxy(index=1.0, flat=0.0, radius=5.0, seed=0):
    made = Sersic2D(1.0, radius, index, 24.2, 23.9, flat, 0.6)(COLS, ROWS)
    return made + np.random.default_rng(seed).normal(0, NOISE, made.shape)


@pytest.mark.parametrize("flat", [0.0, 0.3, 0.6])
def test_the_ellipticity_of_an_ellipse(flat):
    stamp = galaxy(0.5, flat)
    assert ellipticity(stamp, outline(stamp, NOISE)) == pytest.approx(flat, abs=0.03)


def test_the_outline_holds_the_middle_and_not_the_neighbour():
    stamp = galaxy(0.5, radius=2.0)
    stamp[5:8, 40:43] += 1.0
    source = outline(stamp, NOISE)
    assert source.data[24, 24] == 1
    assert source.data[6, 41] > 1
    assert outline(np.roll(stamp, 20, 0) * 0, NOISE) is None
    assert outline(np.roll(galaxy(0.5, radius=2.0), 16, 1), NOISE) is None  # the middle is dark


@pytest.mark.skipif(not can_measure(), reason="statmorph is not installed (extra morphology)")
def test_the_sersic_index_of_a_sersic_galaxy():
    found = [shape_of(stamp, outline(stamp, NOISE), NOISE) for stamp in (galaxy(0.5), galaxy(1.5))]
    assert found[0].sersic_n == pytest.approx(0.5, abs=0.05)
    assert found[1].sersic_n == pytest.approx(1.5, abs=0.15)
    assert found[0].gini < found[1].gini  # more of the light in fewer pixels
    assert found[0].m20 > found[1].m20
    assert all(abs(shape.asymmetry) < 0.1 for shape in found)
    assert found[0]._fields == NAMES


@pytest.mark.skipif(not can_measure(), reason="statmorph is not installed (extra morphology)")
def test_what_has_no_shape_has_none():
    stamp = np.random.default_rng(1).normal(0, NOISE, (49, 49))
    stamp[22:27, 22:27] += 4 * NOISE
    source = outline(stamp, NOISE)
    found = shape_of(-stamp, source, NOISE)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(NOTHING))
