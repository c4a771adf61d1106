"""Which windows an image is translated by, how they are joined, and how many at a time.

A network says what it needs (its halo, its stride, its size), an image how large it is, a device
how much memory it has left. What comes of it is a :class:`Layout`, and `imgturbo.mosaic.sweep` goes
by that alone: a continued output has the layout of the one that was begun, or begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch

from imgturbo.bundle import Correction
from imgturbo.bundle.settings import Settings
from imgturbo.errors import ImgturboError
from imgturbo.mosaic.apply import Applier, bytes_per_pixel, halo_of, pick_device
from imgturbo.mosaic.reducers import Reduction
from imgturbo.mosaic.windows import Window, choose_windows, plan
from imgturbo.nets import Ensemble, Generator
from imgturbo.symmetries import GROUPS

__all__ = ["Layout", "Place", "prepare"]

Place = tuple[slice, slice]

MEMORY_CPU = 704 << 20  # bytes that one batch of windows may take at its peak, by default
MAX_BATCH = 16


@dataclass(frozen=True)
class Layout:
    """Windows over one image, and how they are joined.

    Attributes:
        windows: from `plan`, row by row.
        exact: cores are cropped; else overlaps are blended.
        batch: equal windows that go through the network together.
        reduction: what is made of the draws.
        size: (H, W) of the output.
        zoom: pixels of the output across one of the input, in which windows are counted.
    """

    windows: Sequence[Window]
    exact: bool
    batch: int
    reduction: Reduction
    size: tuple[int, int]
    zoom: Fraction = Fraction(1)

    @property
    def units(self) -> range:
        """Numbers of the units: windows, or rows of windows."""
        return range(len(self.windows) if self.exact else self.windows[-1].row + 1)

    def output(self, window: Window) -> Window:
        """A window on the grid of the output."""
        return window.zoomed(self.zoom, self.size)

    def places(self, unit: int) -> tuple[Place, Place]:
        """Where a unit's pixels and its flags lie in the output, as (rows, cols)."""
        if self.exact:
            window = self.output(self.windows[unit])
            core = window.core_rows, window.core_cols
            return core, core
        beside = [window for window in self.windows if window.row in (unit, unit + 1)]
        rows = {window.row: self.output(window) for window in beside}
        mine, width = rows[unit], slice(0, self.size[1])
        end = rows[unit + 1].rows.start if unit + 1 in rows else mine.rows.stop
        return (slice(mine.rows.start, end), width), (mine.core_rows, width)


def prepare(
    generator: Generator,
    height: int,
    width: int,
    settings: Settings,
    size: tuple[int, int] | None = None,
    correction: Correction | None = None,
) -> tuple[Applier, Layout]:
    """The network on its device, and the windows that suit it, the image and the memory.

    Args:
        generator: not yet there.
        height, width: of the input.
        settings: how to compute.
        size: (H, W) of the output, no more than the network writes; None: all of that.
        correction: of the quantiles.

    Raises:
        ImgturboError: settings that make no sense or cannot be met.
    """
    device = pick_device(settings.device)
    if not generator.on_the_sky:
        raise ImgturboError(
            "this network leads between images and codes, which have no place on the sky, so there "
            "is nothing to translate; draw images with imgturbo sample, or bring some there and "
            "back with its --reconstruct"
        )
    generator = _ensemble(generator, settings)
    apply = Applier(
        generator,
        device,
        settings.samples,
        settings.seed,
        settings.precision,
        settings.temperature,
    )
    reduction = Reduction.of(settings.samples, settings.quantiles, settings.keep_draws, correction)
    if generator.size is not None and (height, width) != (generator.size, generator.size):
        raise ImgturboError(
            f"this network reads images of {generator.size} × {generator.size} pixels only (it has "
            f"a dense backend), not {height} × {width}; bring the image to that size, or use a "
            "flow without a dense backend"
        )
    overlap = settings.overlap
    if generator.whole_image and settings.window and settings.window >= max(height, width):
        overlap = overlap or 0  # one window has no neighbour to agree with
    halo, exact = halo_of(generator, overlap)
    stride = generator.stride
    budget = _budget(device)
    cost = bytes_per_pixel(generator, generator.in_channels)
    if device.type == "cpu":  # where the reducers' planes lie, with one float32 draw
        cost += (8 * reduction.held + 4) * generator.out_channels * float(generator.zoom) ** 2
    window: int | tuple[int, int] | None = generator.size or settings.window
    if window is None:
        window = choose_windows(height, width, halo, stride, cost, budget)
    windows = plan(height, width, window, halo, stride)
    batch = settings.batch
    if batch is None:
        tallest, widest = (max(window.shape[axis] for window in windows) for axis in (0, 1))
        batch = min(MAX_BATCH, max(1, int(budget / (cost * tallest * widest))))
    if batch < 1:
        raise ImgturboError(f"batches of {batch} windows make no image; use 1 or more")
    # A single window has no neighbour to be blended with.
    exact = exact or len(windows) == 1
    size = size or (generator.written(height), generator.written(width))
    return apply, Layout(windows, exact, batch, reduction, size, generator.zoom)


def _ensemble(generator: Generator, settings: Settings) -> Generator:
    """The network, or its mean over the symmetries that are asked for."""
    if settings.ensemble == "none":
        return generator
    if settings.ensemble not in GROUPS:
        raise ImgturboError(
            f"ensemble {settings.ensemble!r} is unknown; choose one of {', '.join(GROUPS)}"
        )
    if settings.samples is not None:
        raise ImgturboError(
            f"an ensemble over symmetries ({settings.ensemble}) has no draws: its mean would blur "
            "each of them; leave out --samples or --ensemble"
        )
    return Ensemble(generator, settings.ensemble)


def _budget(device: torch.device) -> float:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # A power of two, so that a run that continues finds the plan of the run before.
        return float(1 << (free // 4).bit_length() - 1) if free >= 4 else 1.0
    return MEMORY_CPU
