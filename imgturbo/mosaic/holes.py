r"""What a network is shown where nothing was measured, and how far that can be seen.

It was trained on sky with 0, the sky's level, under every mask. In the middle of a star that is a
dark pit, and pixels beside it come out wrong by hundreds of σ. So small holes are closed first,
from the pixels around them,

    y'(p) = Σ_q K(p − q) m(q) y(q) / Σ_q K(p − q) m(q),     K(d) = exp(−|d|²/2s²), |d|∞ ≤ R,

(as ``astropy.convolution.interpolate_replace_nans``), band by band, each from its own measured
pixels. Small is a hole, or a part of one, into which no square of ``WIDE`` pixels fits: cosmic
rays, bad columns, the cores of stars. Wider ones, with their ragged edges, stay 0: what is in them
nobody knows. Whether a pixel is filled, and with what, depends on the pixels within ``MARGIN`` of
it and on no window (law 1).

How far a hole is seen is measured, not taken from the receptive field, at whose rim nearly nothing
arrives: the network is given a patch of noise with a bright source, once as it is and once with a
hole over the source, and the distance is noted at which the outputs differ by a tenth of the noise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import correlate1d, distance_transform_edt, maximum_filter, minimum_filter

from imgturbo.mosaic.zoom import flags_on
from imgturbo.nets import Generator
from imgturbo.sky import Stretch

__all__ = ["FARTHEST", "MARGIN", "fill_small", "influence", "near", "small_holes"]

WIDE = 9
"""Pixels: holes as wide, both ways, are not filled."""
MARGIN = 12
"""Pixels around a place that decide what it is filled with: WIDE − 1, and 4 for ragged edges."""
FARTHEST = 64
"""Pixels beyond which no hole is said to be seen."""

_RADIUS, _SPREAD = 8, 1.0  # of the kernel, in pixels: R and s
_HOLE = 8  # pixels across, of the hole by which the influence is measured
_NOTICED = 0.1  # of the noise
_DISPLAY_NOISE = 0.04  # of pictures, which have no sky: a step of 8 bits is noticed

Planes = npt.NDArray[np.float32]
Where = npt.NDArray[np.bool_]


def small_holes(hole: Where) -> Where:
    """(h, w): which pixels of the holes (h, w) are of small ones."""
    squares = minimum_filter(hole.view(np.uint8), WIDE, mode="constant", cval=0)
    wide = maximum_filter(squares, WIDE, mode="constant", cval=0)
    edges = maximum_filter(wide, WIDE, mode="constant", cval=0)  # 4 pixels around
    return hole & (edges == 0)


def fill_small(values: Planes, valid: Where) -> None:
    """Fill small holes in place, and put 0 into the others.

    Args:
        values: (C, h, w) stretched, NaN where a band was not measured.
        valid: (h, w) True where all bands were.
    """
    if valid.all():
        return
    small = small_holes(~valid)
    if small.any():
        rows, cols = _around(small)
        part, here = values[:, rows, cols], small[rows, cols]
        for plane in part:
            measured = np.isfinite(plane)
            wanted = here & ~measured
            if wanted.any():
                weighted = _smooth(np.where(measured, plane, 0.0)) / np.maximum(
                    _smooth(measured.astype(np.float64)), 1e-30
                )
                plane[wanted] = weighted[wanted]
    values[:, ~(valid | small)] = 0


def _around(where: Where) -> tuple[slice, slice]:
    """The box of a mask, and the kernel's radius around it."""
    box = []
    for axis in (1, 0):
        places = np.flatnonzero(where.any(axis))
        box.append(slice(max(0, int(places[0]) - _RADIUS), int(places[-1]) + _RADIUS + 1))
    return box[0], box[1]


def _smooth(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    d = np.arange(-_RADIUS, _RADIUS + 1)
    kernel = np.exp(-(d**2) / (2 * _SPREAD**2))
    rows = correlate1d(plane, kernel, 0, mode="constant")
    return np.asarray(correlate1d(rows, kernel, 1, mode="constant"))


def near(hole: Where, reach: int) -> Where:
    """(h, w): which pixels lie within ``reach`` of a hole, itself included."""
    if not hole.any():
        return hole
    return np.asarray(distance_transform_edt(~hole) <= reach)


@torch.inference_mode()
def influence(
    generator: Generator, source: Stretch | None, target: Stretch | None, softening: float
) -> int:
    """The distance in pixels at which a hole is still seen: at most ``FARTHEST``.

    Args:
        generator: on its device, in evaluation mode.
        source, target: stretches of its two sides; None: of stretched values nothing is known, and
            they are taken for pictures.
        softening: of the stretches, in deviations of the training sky's noise.
    """
    stride = generator.stride
    side = generator.size or -(-(2 * FARTHEST + _HOLE) // stride) * stride
    random = np.random.default_rng(0)
    noise = _noise(source, generator.in_channels, softening)[:, None, None]
    sky = random.normal(size=(generator.in_channels, side, side)) * noise
    first = (side - min(_HOLE, side)) // 2
    hole = np.zeros((side, side), bool)
    hole[first : first + _HOLE, first : first + _HOLE] = True
    y, x = np.mgrid[:side, :side] - (first + (_HOLE - 1) / 2)
    shown = np.where(hole, sky + np.exp(-(x**2 + y**2) / 8), sky).astype(np.float32)
    masked = np.where(hole, np.nan, sky).astype(np.float32)
    fill_small(masked, ~hole)
    device = next((p.device for p in generator.parameters()), torch.device("cpu"))
    outputs = [
        generator(torch.from_numpy(u[None]).to(device), None)[0].float().cpu().numpy()
        for u in (shown, masked)
    ]
    noticed = _NOTICED * _noise(target, generator.out_channels, softening)[:, None, None]
    changed = flags_on((np.abs(outputs[0] - outputs[1]) > noticed).any(0), 1 / generator.zoom)
    changed = changed[:side, :side]
    far = distance_transform_edt(~hole)[changed]
    return min(FARTHEST, max(1, int(np.ceil(far.max(initial=0)))))


def _noise(stretch: Stretch | None, channels: int, softening: float) -> npt.NDArray[np.float64]:
    """σ of the training sky, stretched, a band."""
    if stretch is None:
        return np.full(channels, _DISPLAY_NOISE)
    asinh = np.isfinite(stretch.softening)
    return np.where(asinh, np.arcsinh(1 / softening) / stretch.scale, _DISPLAY_NOISE)
