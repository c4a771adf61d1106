"""Laws of the published procedure, and the count of network passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from smacs0723_standins import SIDE, pictures

from benchmarks.smacs0723 import cost
from benchmarks.smacs0723.field import Strip
from benchmarks.smacs0723.sliding import counting, sliding_translate
from imgturbo.bundle import load_bundle, save_bundle
from imgturbo.config import Config, UNetConfig
from imgturbo.errors import ImgturboError
from imgturbo.mosaic import translate_array
from imgturbo.nets import build_generator
from imgturbo.nets.generator import ImageGenerator
from imgturbo.sky import SkyImage


class Brighten(ImageGenerator):
    """u ↦ 2u, or twice the row within the window."""

    def __init__(self, rows: bool = False) -> None:
        super().__init__(2, 2)
        self.rows = rows

    def translate(self, u, noise):
        if self.rows:
            return torch.arange(u.shape[2]).view(1, 1, -1, 1).expand_as(u).to(u.dtype)
        return 2 * u


def image(height, width, seed=0):
    return np.random.default_rng(seed).random((2, height, width), dtype=np.float32)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    stride=st.integers(1, 16),
    batch=st.integers(1, 5),
)
def test_a_pixelwise_network_is_applied_exactly_and_counted(height, width, stride, batch):
    u, network = image(height, width), Brighten()
    with counting(network) as tally:
        y = sliding_translate(network, u, window=16, stride=stride, batch=batch)
    assert y.shape == u.shape
    grown = [max(16, (side // stride + 1) * stride) for side in (height, width)]
    windows = [(side - 16) // stride + 1 for side in grown]
    assert tally.pixels == windows[0] * windows[1] * 16 * 16
    covered = [
        min(side, (n - 1) * stride + 16) for side, n in zip((height, width), windows, strict=True)
    ]
    np.testing.assert_allclose(
        y[:, : covered[0], : covered[1]], 2 * u[:, : covered[0], : covered[1]], rtol=1e-5
    )
    if stride in (1, 2, 4, 8, 16):  # those divide the window, and leave nothing uncovered
        assert covered == [height, width]


def test_all_windows_weigh_the_same():
    """The mean of a pixel's rows in the windows of rows 0, 4, 8 and 12 that see it."""
    y = sliding_translate(Brighten(rows=True), image(20, 16), window=16, stride=4)
    firsts = range(0, 24 - 16 + 1, 4)
    expected = [np.mean([r - f for f in firsts if 0 <= r - f < 16]) for r in range(20)]
    np.testing.assert_allclose(y[0, :, 5], expected, rtol=1e-6)


def test_far_from_borders_a_pixel_costs_the_square_of_window_by_stride():
    network = Brighten()
    with counting(network) as tally:
        sliding_translate(network, image(400, 400), window=16, stride=4)
    assert 0.9 * 16 < tally.passes(400, 400) < 16 * 1.05


def test_what_is_not_finite_is_black():
    u = image(20, 20)
    u[:, 3, 4] = np.nan, np.inf
    assert (sliding_translate(Brighten(), u, window=16, stride=8)[:, 3, 4] == 0).all()


def test_draws_and_inner_passes_count_and_the_generator_is_as_before():
    network = build_generator(
        UNetConfig(noise_channels=1, width=2, depth=1), in_channels=2, out_channels=2
    )
    with counting(network) as tally:
        translate_array(network, image(33, 47), samples=3)
    assert tally.passes(33, 47) == 3
    assert "draws" not in vars(network)
    network.passes = 5
    with counting(network) as tally:
        translate_array(network, image(33, 47))
    assert tally.passes(33, 47) == 5
    with pytest.raises(ImgturboError), counting(network):
        translate_array(network, image(33, 47)[:1])
    assert "draws" not in vars(network)


@pytest.fixture
def bundle(tmp_path):
    config = Config()
    config.model.decoder = UNetConfig(width=4, depth=1, blocks=1)
    decoder = build_generator(config.model.decoder, in_channels=3, out_channels=3)
    sides = {"source": SIDE, "target": SIDE}
    save_bundle(
        tmp_path / "b", decoder=decoder, encoder=None, config=config, sides=sides, record={}
    )
    return load_bundle(tmp_path / "b")


def wide_strip(height=270, width=330):
    source, target = (
        SkyImage.from_array(u, unit="display", bands=("R", "G", "B"))
        for u in pictures(height, width)
    )
    return Strip(source, target, np.ones((height, width), bool), (0, height))


def test_the_cost_is_measured_on_the_same_pixels(bundle):
    facts = cost.measure(bundle, wide_strip(), size=300, stride=32, batch=4)
    assert facts["part"] == [270, 300]
    # 288 × 320 when grown: 2 × 3 windows of 256 pixels.
    assert facts["published"]["passes"] == 6 * 256 * 256 / (270 * 300)
    assert facts["one_pass"]["passes"] == 1
    assert facts["ratio_passes"] == facts["published"]["passes"]
    ratio = facts["published"]["seconds"] / facts["one_pass"]["seconds"]
    assert facts["ratio_seconds"] == pytest.approx(ratio)
    # Windows differ from the whole near their borders alone.
    assert facts["published"]["psnr"] == pytest.approx(facts["one_pass"]["psnr"], abs=0.5)
    assert 0 < facts["largest_difference"] < 1


def test_a_part_below_the_published_window_is_refused(bundle):
    with pytest.raises(ImgturboError, match="200 × 200 has no window of 256"):
        cost.measure(bundle, wide_strip(), size=200)
