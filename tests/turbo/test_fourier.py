"""Fourier distances, mode by mode against NumPy: which cell, which power, which of them count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgturbo.errors import ImgturboError
from imgturbo.turbo import fourier as module
from imgturbo.turbo.fourier import fourier, spectrum

SIZES = [
    (8, 8),
    (9, 9),
    (12, 7),
    (7, 16),
    (13, 26),
    (19, 4),
]  # the last: longer waves than its width


def frequencies(height, width):
    """Waves along the image, signed, of every mode: y (H, 1) and x (1, W)."""
    return np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width)[None, :] * width


def cells(height, width):
    """A name for every mode: its ring, in waves along the short side, and its direction.

    Directions are four, centred on 0°, 45°, 90° and 135°; a mode and its opposite are one.
    """
    y, x = frequencies(height, width)
    short = min(height, width)
    ring = np.round(np.hypot(y / height, x / width) * short).astype(int)
    degrees = np.round(np.degrees(np.arctan2(y / height, x / width)), 4)
    sector = np.floor(((degrees + 22.5) % 180) / 45).astype(int)
    return [(r, s) if r else (0, 0) for r, s in zip(ring.flat, sector.flat, strict=True)]


def hann(height, width):
    """The window without its zeros, of unit mean square."""
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    return window / np.sqrt((window**2).mean())


def powers(image):
    """Mean |F|² of (H, W) in every cell but the mean level's, by name."""
    height, width = image.shape
    power = np.abs(np.fft.fft2(image * hann(height, width))) ** 2 / (height * width)
    found = {}
    for name, value in zip(cells(height, width), power.flat, strict=True):
        found.setdefault(name, []).append(value)
    found.pop((0, 0))
    return {name: np.mean(values) for name, values in found.items()}


def images(height, width, bands=1, seed=0):
    rng = np.random.default_rng(seed)
    both = (
        rng.normal(size=(2, 1, bands, height, width))
        * np.array([1, 2.5])[:, None, None, None, None]
    )
    valid = torch.ones(1, 1, height, width, dtype=torch.bool)
    return *(torch.from_numpy(u) for u in both), valid


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_cells_are_rings_in_four_directions(height, width):
    index, modes = module._cells(height, width, torch.device("cpu"))
    names = cells(height, width)
    pairs = {(name, int(number)) for name, number in zip(names, index, strict=True)}
    assert len(pairs) == len({name for name, _ in pairs}) == len({number for _, number in pairs})
    assert [names.count(name) for name, _ in sorted(pairs, key=lambda p: p[1])] == modes.tolist()
    # In the order of their rings.
    rings = [name[0] for name, _ in sorted(pairs, key=lambda p: p[1])]
    assert rings == sorted(rings)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_spectra_are_compared_cell_by_cell(height, width):
    u, t, valid = images(height, width, bands=2)
    valid[..., 2, :] = False
    found = spectrum(u, t, valid)
    expected = []
    for band in range(2):
        p, q = (powers(torch.where(valid, one, 0.0)[0, band].numpy()) for one in (u, t))
        expected += [abs(np.log(p[name]) - np.log(q[name])) for name in p]
    assert found.entries.item() == 2 * (height - 1) * width
    assert found.total.item() / found.entries.item() == pytest.approx(np.mean(expected), rel=1e-3)


def test_a_flat_prediction_lacks_all_power_above_the_floor():
    _, t, valid = images(11, 10)
    found = spectrum(torch.zeros_like(t), t, valid)
    expected = np.mean([np.log((p + 1e-6) / 1e-6) for p in powers(t[0, 0].numpy()).values()])
    assert found.total.item() / found.entries.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_fourier_is_numpys_transform(height, width):
    u, t, valid = images(height, width, bands=2)
    valid[..., :3] = False
    difference = torch.where(valid, u - t, 0.0).numpy()
    modes = np.fft.fft2(difference * hann(height, width)) / np.sqrt(height * width)
    found = fourier(u, t, valid)
    assert found.total.item() == pytest.approx(np.abs(modes).sum(), rel=1e-9)
    assert found.entries.item() == 2 * height * (width - 3)


@given(seed=st.integers(0, 99), level=st.floats(0.05, 3))
def test_noise_of_the_target_is_no_power_to_have(seed, level):
    """On noise alone hardly a cell stands out; beside a bright wave its own cell alone does."""
    rng = np.random.default_rng(seed)
    t = torch.from_numpy(level * rng.normal(size=(1, 1, 64, 64)))
    valid = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    number = len(powers(t[0, 0].numpy()))
    zero = torch.zeros_like(t)
    noisy, quiet = (spectrum(zero, t, valid, [flag]) for flag in (True, False))
    assert noisy.entries.item() == quiet.entries.item() == 64 * 64
    assert noisy.total.item() < 0.02 * quiet.total.item()
    assert quiet.total.item() == spectrum(zero, t, valid).total.item()
    wave = torch.cos(2 * torch.pi * 16 / 64 * torch.arange(64, dtype=torch.float64))
    bright = t + 30 * level * wave
    found = spectrum(bright, bright, valid, [True]).total.item() / (64 * 64)
    # Its noise is less than the wave: of the few cells that count, ratios of nearly 1.
    assert found < 20 * 0.1 / number


def test_tables_and_lines_are_refused():
    for shape, smallest in (((1, 1, 1, 8), 2), ((1, 1, 8, 1), 2), ((1, 4), 2)):
        u = torch.zeros(shape)
        with pytest.raises(ImgturboError, match=f"at least {smallest} pixels"):
            spectrum(u, u, torch.ones_like(u[:, :1], dtype=torch.bool))
    u = torch.zeros(1, 1, 2, 2)
    assert spectrum(u, u, torch.ones_like(u, dtype=torch.bool)).total.item() == 0
    u = torch.ones(1, 1, 1, 1)
    assert fourier(u, 0 * u, torch.ones_like(u, dtype=torch.bool)).total.item() == 1
    with pytest.raises(ImgturboError, match="at least 1 pixels"):
        fourier(u[0], u[0], torch.ones_like(u[0], dtype=torch.bool))
