"""Groups of symmetries are groups, and their elements act as they are said to."""

from __future__ import annotations

import numpy as np
import pytest

from imgturbo.symmetries import GROUPS, mirrors

PLANE = np.arange(12).reshape(3, 4)


def turned(plane, element):
    transposed, turns = element
    return np.rot90(plane.T if transposed else plane, turns)


def mirrored(plane, element):
    transposed, axes = mirrors(element)
    return np.flip(plane.T if transposed else plane, axes)


@pytest.mark.parametrize("element", GROUPS["d4"])
def test_turning_is_mirroring(element):
    np.testing.assert_array_equal(turned(PLANE, element), mirrored(PLANE, element))


@pytest.mark.parametrize("name", GROUPS)
def test_each_is_a_group_with_the_identity_first(name):
    square = np.arange(9).reshape(3, 3)
    views = {turned(square, element).tobytes() for element in GROUPS[name]}
    assert len(views) == len(GROUPS[name])
    np.testing.assert_array_equal(turned(square, GROUPS[name][0]), square)
    for first in GROUPS[name]:
        for second in GROUPS[name]:
            assert turned(turned(square, first), second).tobytes() in views


def test_each_is_within_the_next():
    none, mirror, flips, d4 = (set(GROUPS[name]) for name in ("none", "mirror", "flips", "d4"))
    assert none < mirror < flips < d4
