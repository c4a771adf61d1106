r"""A scene as a camera would see it without noise.

Each band of the scene is painted on a grid ``oversample`` times finer than the camera's pixels,
convolved with the PSF by FFT, and summed over the samples of each pixel:

    image(x) = Σ_{samples in pixel x} (scene ∗ PSF).

The grid is worked through in blocks of pixels with a margin of half a PSF, so that memory does not
grow with the mosaic; a source's stamp is the same numbers in every block that it touches. A stamp
is normalised to the catalogue's flux, whatever its cusp or its cut at the faint end, so flux is
conserved exactly; a star is spread over the four samples around its position by their nearness,
which keeps both flux and centroid exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.special import gamma, gammaincinv

from data_prep.simulate.camera import Camera
from data_prep.simulate.sources import Profile, Scene, Source

__all__ = ["render"]

Array = NDArray[np.float64]
Float32 = NDArray[np.float32]

FAINTEST = 2.0
"""nJy per square arcsec at which a profile is cut: 2 % of the deepest band's noise in a pixel."""


def render(
    scene: Scene,
    camera: Camera,
    *,
    block: int = 1024,
    progress: Callable[[float], None] | None = None,
) -> Float32:
    """Noiseless images of all the camera's bands.

    Args:
        scene: must hold the camera's bands.
        camera: what looks.
        block: pixels a side that are worked on at once.
        progress: called with the fraction done.

    Returns:
        (C, H, W) float32, nJy per pixel.
    """
    columns = [scene.bands.index(band) for band in camera.bands]
    psfs = [camera.psf(channel).astype(np.float32) for channel in camera.channels]
    height, width = camera.shape
    image = np.zeros((len(columns), height, width), np.float32)
    boxes = [(y, x) for y in range(0, height, block) for x in range(0, width, block)]
    k = camera.oversample
    margin = -(-psfs[0].shape[0] // (2 * k))  # pixels
    for done, (y, x) in enumerate(boxes):
        rows, cols = min(block, height - y), min(block, width - x)
        shape = ((rows + 2 * margin) * k, (cols + 2 * margin) * k)
        canvas = np.zeros((len(columns), *shape), np.float32)
        count = len(scene.sources)
        for i, source in enumerate(scene.sources):
            _paint(canvas, source, camera, columns, ((y - margin) * k, (x - margin) * k))
            if progress is not None and i % 16 == 0:
                progress((done + 0.7 * i / count) / len(boxes))
        for c, psf in enumerate(psfs):
            seen = _convolve(canvas[c], psf)[margin * k :, margin * k :][: rows * k, : cols * k]
            image[c, y : y + rows, x : x + cols] = seen.reshape(rows, k, cols, k).sum((1, 3))
            if progress is not None:
                progress((done + 0.7 + 0.3 * (c + 1) / len(psfs)) / len(boxes))
    return image


def _convolve(canvas: Float32, psf: Float32) -> Float32:
    """Circular convolution; what wraps around stays within half a PSF of the edge, the margin."""
    shape = tuple(fft.next_fast_len(n, real=True) for n in canvas.shape)
    centre = psf.shape[0] // 2
    kernel = np.zeros(shape, np.float32)
    kernel[: psf.shape[0], : psf.shape[1]] = psf
    kernel = np.roll(kernel, (-centre, -centre), axis=(0, 1))
    product = fft.rfft2(canvas, s=shape)
    product *= fft.rfft2(kernel)
    return fft.irfft2(product, s=shape)[: canvas.shape[0], : canvas.shape[1]]


def _paint(
    canvas: Float32, source: Source, camera: Camera, columns: list[int], origin: tuple[int, int]
) -> None:
    """Add a source to a canvas (C, h, w) whose first sample is ``origin`` (row, column)."""
    k = camera.oversample
    x, y = camera.to_pixel(source.xi, source.eta)
    # A pixel's centre lies (k − 1)/2 samples after its first sample.
    column, row = float(k * x + (k - 1) / 2), float(k * y + (k - 1) / 2)
    if not source.profiles:
        _deposit(canvas, row - origin[0], column - origin[1], source.flux[columns])
    for profile in source.profiles:
        half = int(np.ceil(_reach(profile) * camera.oversample / camera.pixel_scale))
        top, left = round(row) - half, round(column) - half
        inside = [
            slice(max(0, start - first), min(2 * half + 1, start + length - first))
            for start, length, first in zip(origin, canvas.shape[1:], (top, left), strict=True)
        ]
        if any(part.stop <= part.start for part in inside):
            continue
        stamp = _stamp(source, profile, camera, half, (row - round(row), column - round(column)))
        stamp = stamp[inside[0], inside[1]]
        rows = slice(top + inside[0].start - origin[0], top + inside[0].stop - origin[0])
        cols = slice(left + inside[1].start - origin[1], left + inside[1].stop - origin[1])
        for c, flux in enumerate(profile.flux[columns]):
            canvas[c, rows, cols] += np.float32(flux) * stamp


def _deposit(canvas: Float32, row: float, column: float, flux: Array) -> None:
    """Share a point's flux among its four neighbours."""
    r, c = int(np.floor(row)), int(np.floor(column))
    for dr, dc, share in _corners(row - r, column - c):
        if 0 <= r + dr < canvas.shape[1] and 0 <= c + dc < canvas.shape[2]:
            canvas[:, r + dr, c + dc] += (share * flux).astype(np.float32)


def _corners(v: float, u: float) -> Iterator[tuple[int, int, float]]:
    for dr, a in ((0, 1 - v), (1, v)):
        for dc, b in ((0, 1 - u), (1, u)):
            yield dr, dc, a * b


def _edge(profile: Profile) -> float:
    """Radius along the major axis at which the brightest band fades below ``FAINTEST``, arcsec."""
    n = profile.index
    b = gammaincinv(2 * n, 0.5)
    total = 2 * np.pi * n * profile.radius**2 * profile.axis_ratio * np.exp(b) * b ** (-2 * n)
    effective = float(profile.flux.max()) / (total * gamma(2 * n))  # brightness at the radius
    fade = max(0.0, 1 + np.log(max(effective / FAINTEST, 1e-9)) / b) ** n
    return profile.radius * float(np.clip(fade, 3.5, 16.0))


def _reach(profile: Profile) -> float:
    """Half side of a stamp, arcsec; that of a lensed galaxy holds all its images."""
    images = 0.0 if profile.lens is None else 2.1 * profile.lens.radius
    return _edge(profile) + images


def _stamp(
    source: Source, profile: Profile, camera: Camera, half: int, offset: tuple[float, float]
) -> Float32:
    """(2·half + 1)² samples of a profile centred ``offset`` (y, x) from the middle one, sum 1."""
    dy, dx = np.float32(offset[0]), np.float32(offset[1])
    axis = np.arange(-half, half + 1, dtype=np.float32)
    light = _brightness(source, profile, camera, (axis - dy)[:, None], axis - dx)
    # The cusp: the middle samples are means over a finer grid.
    core = min(half, 3)
    middle = slice(half - core, half + core + 1)
    fine = ((np.arange((2 * core + 1) * 5) + 0.5) / 5 - core - 0.5).astype(np.float32)
    cusp = _brightness(source, profile, camera, (fine - dy)[:, None], fine - dx)
    light[middle, middle] = cusp.reshape(2 * core + 1, 5, 2 * core + 1, 5).mean((1, 3))
    light /= light.sum(dtype=np.float64)
    if len(profile.clumps):
        light *= np.float32(1 - profile.clumps[:, 3].sum())
        _add_clumps(light, profile, camera, offset)
    return light


def _axes(profile: Profile) -> Array:
    """(2, 2): (ξ, η) in arcsec → (major, minor) axis of the profile in units of its radius."""
    angle = np.radians(profile.position_angle)
    turn = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])
    turn[1] /= profile.axis_ratio
    return turn / profile.radius


def _brightness(
    source: Source, profile: Profile, camera: Camera, rows: Float32, cols: Float32
) -> Float32:
    """Surface brightness at samples counted from the source's position, up to a factor."""
    axes, sample = _axes(profile), camera.cd / camera.oversample
    if profile.lens is None:
        axes = (axes @ sample).astype(np.float32)
        u = axes[0, 0] * cols + axes[0, 1] * rows
        v = axes[1, 0] * cols + axes[1, 1] * rows
    else:
        lens = profile.lens
        sample, axes = sample.astype(np.float32), axes.astype(np.float32)
        here = np.float32(source.xi - lens.xi), np.float32(source.eta - lens.eta)
        xi, eta = lens.source_plane(
            here[0] + sample[0, 0] * cols + sample[0, 1] * rows,
            here[1] + sample[1, 0] * cols + sample[1, 1] * rows,
        )
        centre = lens.source_plane(*here)
        xi, eta = xi - np.float32(centre[0]), eta - np.float32(centre[1])
        u = axes[0, 0] * xi + axes[0, 1] * eta
        v = axes[1, 0] * xi + axes[1, 1] * eta
    r = np.sqrt(u * u + v * v)
    b = np.float32(gammaincinv(2 * profile.index, 0.5))
    power = r if profile.index == 1 else r ** np.float32(1 / profile.index)
    exponent = -b * power
    if profile.arms is not None:
        arms = profile.arms
        winding = np.log(np.maximum(r, np.float32(0.05))) / np.float32(
            np.tan(np.radians(arms.pitch))
        )
        phase = arms.count * (np.arctan2(v, u) - winding) - np.float32(np.radians(arms.phase))
        # Arms begin outside the bulge.
        exponent += np.float32(arms.strength) * np.cos(phase) * np.clip(2 * r - 0.4, 0, 1)
    edge = np.float32(_edge(profile) / profile.radius)
    fade = np.clip((edge - r) / (0.3 * edge), 0, 1)
    return np.exp(exponent) * fade * fade * (3 - 2 * fade)


def _add_clumps(
    light: Float32, profile: Profile, camera: Camera, offset: tuple[float, float]
) -> None:
    """Add Gaussian knots at their place in the plane of the disk; cut ones move to the edge."""
    half = light.shape[0] // 2
    dy, dx = offset
    axes = _axes(profile) @ camera.cd / camera.oversample
    samples = np.linalg.inv(axes) @ profile.clumps[:, :2].T  # (2, K) x, y
    for (x, y), (_, _, width, share) in zip(samples.T, profile.clumps, strict=True):
        sigma = max(0.7, width * profile.radius * camera.oversample / camera.pixel_scale)
        reach = min(half, int(np.ceil(4 * sigma)))
        column = float(np.clip(x + dx + half, reach, 2 * half - reach))
        row = float(np.clip(y + dy + half, reach, 2 * half - reach))
        axis = np.arange(-reach, reach + 1)
        across = np.exp(-0.5 * ((axis + round(column) - column) / sigma) ** 2)
        along = np.exp(-0.5 * ((axis + round(row) - row) / sigma) ** 2)
        knot = along[:, None] * across
        rows = slice(round(row) - reach, round(row) + reach + 1)
        cols = slice(round(column) - reach, round(column) + reach + 1)
        light[rows, cols] += (share / knot.sum() * knot).astype(np.float32)
