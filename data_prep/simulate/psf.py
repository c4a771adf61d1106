r"""Point spread functions computed from the telescopes' pupils.

A pupil of amplitude A(x) and optical path difference W(x), x in metres, seen at wavelength λ, has
the far-field intensity (Fraunhofer diffraction)

    h_λ(θ) ∝ | ∫ A(x) exp(2πi W(x)/λ) exp(−2πi x·θ/λ) dx |²,

and a band sees the mean of h_λ over its wavelengths, which smooths the speckles and stretches
them into spikes. The integral is one FFT: on N × N samples of step δx the image comes out at steps
δθ = λ/(N δx); so the pupil is drawn anew for each λ with δx = λ/(N δθ), and all wavelengths land on
the same angular grid without interpolation. Edges of the pupil are drawn by the area of each cell
they cover, hence a strut thinner than a cell still blocks the right amount of light.

Path differences here are even, W(−x) = W(x). Odd ones (tilt, coma) displace an image, by another
amount in each band: the astrometry of real mosaics has taken that out, and what is simulated must
not carry a misregistration of its own. With an even W the image of an even pupil is even too;
:func:`centred` takes out the little that three struts leave.

Angles here are in the frame of the pixels: +x right, +y up, anticlockwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["ARCSEC", "HUBBLE_PUPIL", "WEBB_PUPIL", "Pupil", "blur", "centred", "image_of_pupil"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pupil:
    """An aperture within ``radius`` metres.

    ``draw(x, y, step)``: coordinates and their step in metres → amplitude 0–1 and path difference
    in metres, both of the shape of x.
    """

    radius: float
    draw: Callable[[Array, Array, float], tuple[Array, Array]]


ARCSEC = np.pi / (180 * 3600)
"""One arcsecond in radians."""

HUBBLE_DIAMETER = 2.4
HUBBLE_OBSTRUCTION = 0.33
HUBBLE_VANE = 0.0264  # metres: 0.022 of the radius
WEBB_FLAT_TO_FLAT = 1.32
WEBB_GAP = 0.007
WEBB_STRUT = 0.11
WEBB_RADIUS = 3.31  # of the circle around all 18 segments


def _inside(distance: Array, step: float) -> Array:
    """Fraction of a cell inside an edge at signed ``distance`` (positive inside)."""
    return np.clip(0.5 + distance / step, 0.0, 1.0)


def _strut(x: Array, y: Array, angle: float, width: float, step: float) -> Array:
    """Fraction of a cell covered by a strut from the centre outwards at ``angle`` degrees."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along, across = c * x + s * y, np.abs(c * y - s * x)
    covered = np.clip(0.5 + (width / 2 - across) / step, 0.0, min(1.0, width / step))
    return covered * _inside(along, step)


def _hubble(x: Array, y: Array, step: float) -> tuple[Array, Array]:
    """Round 2.4 m mirror, 0.33 obscured in diameter, four vanes at 45°; a little spherical error.

    Source: the ACS and WFPC2 pupils of Krist, Hook & Stoehr 2011 (Tiny Tim), without pads.
    """
    radius = HUBBLE_DIAMETER / 2
    r = np.hypot(x, y)
    amplitude = _inside(radius - r, step) * _inside(r - HUBBLE_OBSTRUCTION * radius, step)
    for angle in (45, 135, 225, 315):
        amplitude = amplitude * (1 - _strut(x, y, angle, HUBBLE_VANE, step))
    rho = (r / radius) ** 2
    spherical = 15e-9 * np.sqrt(5) * (6 * rho**2 - 6 * rho + 1)
    return amplitude, spherical


@cache
def _webb_segments() -> tuple[tuple[float, float, float, float, float], ...]:
    """Centre (m), piston (m) and two slopes (m/m) of the 18 hexagons.

    Errors of alignment are drawn once: 40 nm of piston, 25 nm of tilt at a segment's edge, near the
    ~70 nm in total measured in flight (Rigby et al. 2023, arXiv:2207.05632). Segments that lie
    opposite have the same piston and opposite slopes, which makes the path difference even.
    """
    rng = np.random.default_rng(18)
    pitch = WEBB_FLAT_TO_FLAT + WEBB_GAP
    first = pitch * np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    second = pitch * np.array([0.0, 1.0])
    segments = []
    for i in range(-2, 3):
        for j in range(-2, 3):
            if (i, j) > (0, 0) and abs(i + j) <= 2:
                centre = i * first + j * second
                piston = 40e-9 * rng.standard_normal()
                slopes = 25e-9 / (WEBB_FLAT_TO_FLAT / 2) * rng.standard_normal(2)
                for side in (1, -1):
                    x, y, slope_x, slope_y = side * np.concatenate([centre, slopes])
                    segments.append((float(x), float(y), piston, float(slope_x), float(slope_y)))
    return tuple(segments)


def _webb(x: Array, y: Array, step: float) -> tuple[Array, Array]:
    """18 hexagons of 1.32 m flat to flat, and the three struts of the secondary mirror.

    Hexagons with a flat top throw spikes at 30°, 90°, 150°, …; the upright strut adds the short
    horizontal pair, and the two lower struts point between hexagons so that theirs coincide.
    """
    amplitude, path = np.zeros_like(x), np.zeros_like(x)
    normals = [(np.cos(a), np.sin(a)) for a in np.radians([30, 90, 150])]
    for centre_x, centre_y, piston, slope_x, slope_y in _webb_segments():
        dx, dy = x - centre_x, y - centre_y
        across = np.maximum.reduce([np.abs(c * dx + s * dy) for c, s in normals])
        segment = _inside(WEBB_FLAT_TO_FLAT / 2 - across, step)
        amplitude += segment
        path += (segment > 0) * (piston + slope_x * dx + slope_y * dy)
    for angle in (90, 240, 300):
        amplitude *= 1 - _strut(x, y, angle, WEBB_STRUT, step)
    return np.minimum(amplitude, 1.0), path


HUBBLE_PUPIL = Pupil(HUBBLE_DIAMETER / 2, _hubble)
WEBB_PUPIL = Pupil(WEBB_RADIUS, _webb)


def image_of_pupil(
    pupil: Pupil, wavelengths: Sequence[float], scale: float, size: int, roll: float = 0.0
) -> Array:
    """Mean intensity over ``wavelengths``, sum 1, centred on pixel [size//2, size//2].

    Args:
        pupil: amplitude and path difference.
        wavelengths: metres.
        scale: arcsec per sample.
        size: samples a side, even.
        roll: degrees by which the pupil is turned anticlockwise in the frame of the pixels.

    Returns:
        (size, size) float64; beyond 85 % of the half side it fades smoothly to zero.

    Raises:
        ValueError: the scale is too coarse to sample the intensity (λ/2D) or size is odd.
    """
    if size % 2:
        raise ValueError(f"the size of a PSF must be even, not {size}")
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    total = np.zeros((size, size))
    for wavelength in wavelengths:
        side = wavelength / (scale * ARCSEC)  # of the pupil plane that the FFT covers, metres
        if side < 4 * pupil.radius:
            raise ValueError(f"{scale}″ is too coarse a sampling at {wavelength * 1e6:.2f} µm")
        step = side / size
        half = min(size // 2, int(np.ceil(pupil.radius / step)) + 2)
        axis = step * np.arange(-half, half)
        x, y = np.meshgrid(axis, axis)
        amplitude, path = pupil.draw(c * x + s * y, c * y - s * x, step)
        field = np.zeros((size, size), np.complex128)
        window = slice(size // 2 - half, size // 2 + half)
        field[window, window] = amplitude * np.exp(2j * np.pi * path / wavelength)
        intensity = np.abs(fft.fft2(field)) ** 2
        total += intensity / intensity.sum()
    image = fft.fftshift(total)
    axis = (np.arange(size) - size // 2) / (size // 2)
    r = np.hypot(axis, axis[:, None])
    image *= 0.5 * (1 + np.cos(np.pi * np.clip((r - 0.85) / 0.15, 0, 1)))
    return image / image.sum()


def centred(image: Array) -> Array:
    """The even part of an image (N, N), N even: centred on pixel [N//2, N//2] by any measure."""
    turned = np.roll(image[::-1, ::-1], 1, axis=(0, 1))
    return 0.5 * (image + turned)


def blur(image: Array, boxes: Sequence[float], sigma: float) -> Array:
    """Convolve by square boxes of the given sides and a round Gaussian, all in samples.

    The boxes are the detector's pixel and the drop of the drizzling; the Gaussian is jitter and the
    diffusion of charge. Done in the Fourier domain, so that fractions of a sample are exact.
    """
    size = image.shape[0]
    frequency = fft.fftfreq(size)
    transfer = np.exp(-2 * (np.pi * sigma * frequency) ** 2)
    for side in boxes:
        transfer = transfer * np.sinc(side * frequency)
    half = transfer[: size // 2 + 1]
    blurred = fft.irfft2(fft.rfft2(image) * transfer[:, None] * half, s=image.shape)
    return blurred / blurred.sum()
