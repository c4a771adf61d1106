"""Layouts: units share the output, and the windows are those that the memory allows."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.bundle.settings import Settings
from imgturbo.config import UNetConfig
from imgturbo.errors import ImgturboError
from imgturbo.mosaic import layout as layouts
from imgturbo.mosaic.layout import Layout, prepare
from imgturbo.mosaic.reducers import Reduction
from imgturbo.mosaic.windows import plan
from imgturbo.nets import build_generator


@given(
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    halo=st.integers(0, 9),
    stride=st.sampled_from([2, 4]),
    more=st.integers(0, 20),
    zoom=st.sampled_from([Fraction(1), Fraction(2), Fraction(3), Fraction(1, 2)]),
    exact=st.booleans(),
)
def test_every_pixel_and_every_flag_is_of_one_unit(size, halo, stride, more, zoom, exact):
    windows = plan(*size, 2 * (-(-halo // stride) * stride) + stride + more, halo, stride)
    output = ceil(size[0] * zoom), ceil(size[1] * zoom)
    layout = Layout(windows, exact, 1, Reduction.of(None, (), False), output, zoom)
    times = np.zeros((2, *output), int)
    for unit in layout.units:
        for count, place in zip(times, layout.places(unit), strict=True):
            count[place] += 1
    assert (times == 1).all()


@pytest.fixture(scope="module")
def network():
    return build_generator(UNetConfig(width=4, depth=1, blocks=1), 2, 3).eval()


def test_what_is_computed_at_once_fits_the_memory(network, monkeypatch):
    """A batch of windows takes no more than the budget; a larger one makes larger batches."""
    held = []
    for budget in (1 << 26, 1 << 29):
        monkeypatch.setattr(layouts, "MEMORY_CPU", budget)
        apply, layout = prepare(network, 1500, 1700, Settings(device="cpu"))
        assert (apply.generator, layout.size) == (network, (1500, 1700))
        area = max(height * width for height, width in (w.shape for w in layout.windows))
        cost = layouts.bytes_per_pixel(network, 2)
        assert layout.batch * area * cost <= budget
        held.append(layout.batch * area)
    assert held[0] < held[1]


def test_a_batch_without_a_window_is_refused(network):
    with pytest.raises(ImgturboError, match="batches of 0 windows make no image; use 1 or more"):
        prepare(network, 40, 40, Settings(device="cpu", batch=0))
