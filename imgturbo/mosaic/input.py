"""What is translated: files that are opened, matched to a model, and known by their content."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from imgturbo import __version__
from imgturbo.bundle import Bundle
from imgturbo.bundle.settings import Settings
from imgturbo.files import naming, sha256
from imgturbo.mosaic.background import Background
from imgturbo.mosaic.grid import on_grid_of
from imgturbo.mosaic.matching import (
    band_order,
    check_scale,
    check_values,
    flux_factors,
    warn_assumed,
    warn_uncalibrated,
)
from imgturbo.mosaic.reducers import Reduction
from imgturbo.mosaic.translate import (
    area_of,
    in_unit,
    interval_cards,
    softening_of,
)
from imgturbo.remote import identity, readable
from imgturbo.sky import SkyReader, open_sky
from imgturbo.sky.bands import stem
from imgturbo.sky.grids import zoomed_grid
from imgturbo.sky.overlap import require_common_in
from imgturbo.sky.provenance import object_cards, prediction_cards

__all__ = ["Input", "cards_of", "digest", "fingerprint"]

_CREATOR = f"imgturbo {__version__}"


class Input:
    """The input, opened, matched to the model, and read as the network wants it."""

    def __init__(
        self,
        bundle: Bundle,
        files: Sequence[Path],
        direction: str,
        bands: Sequence[str] | None,
        grid: Path | str | None,
        match: bool,
        opened: Callable[[SkyReader], None] | None = None,
    ) -> None:
        self.way = bundle.direction(direction)
        self.files, self.bands, self.grid = list(files), bands, grid
        reader = open_sky(files, unit=self.way.input.unit, names=bands)
        self.reader: SkyReader = reader
        try:
            if opened is not None:
                opened(reader)
            zoom, asked = self.way.generator.zoom, None
            if grid is not None:
                self.reader, asked = on_grid_of(reader, grid, zoom)
            else:
                self.reader = reader.at_scale(self.way.input.pixel_scale)
            self.output_wcs, self.output_size = self.reader.wcs, asked
            if self.output_wcs is not None and zoom != 1:
                self.output_wcs, whole = zoomed_grid(self.output_wcs, self.size, zoom)
                self.output_wcs.array_shape = asked or whole
            what = ", ".join(map(str, files))
            stems = [stem(path) for path in files]
            self.order = band_order(self.way.input.names, reader.bands, what, stems, reader.named)
            scales = [self.reader.scales[k] for k in self.order]
            self.factors = flux_factors(scales, self.way.input, what)
            self.output = self.way.output.on(area_of(scales[0].pixel_area, zoom))
            if self.reader.unit_is_assumed:
                warn_assumed(self.way.input, what)
                check_values(self.reader.glance()[self.order], self.way.input, what)
            else:
                warn_uncalibrated(scales, self.way.input, what)
            if grid is not None:
                check_scale(self.reader.pixel_scale, self.way.input, what)
            self._check_common(what)
            self.softening = softening_of(bundle)
            side = self.way.input
            self.background = Background(
                self.flux, self.size, side.stretch, self.softening, side.names, match
            )
            self.background.warn(what, side.unit)
        except BaseException:
            self.reader.close()
            raise

    def _check_common(self, what: str) -> None:
        """Every window would be empty without a pixel that was measured in all bands."""
        require_common_in(
            self.flux,
            self.size,
            [self.reader.bands[k] for k in self.order],
            what if self.grid is None else f"{what} on the grid of {self.grid}",
        )

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.reader.shape[1], self.reader.shape[2]

    def flux(self, rows: slice, cols: slice) -> npt.NDArray[np.floating]:
        """A window (C, h, w), in the bands' order and the unit of the model's input."""
        return in_unit(self.reader.read(rows, cols).data[self.order], self.factors)

    def __enter__(self) -> Input:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.reader.close()


def cards_of(source: Input, bundle: Bundle, settings: Settings) -> list[tuple[str, Any, str]]:
    """Of the primary header of whatever a bundle has made of an input."""
    cards: list[tuple[str, Any, str]] = [
        ("CREATOR", _CREATOR, "translated by"),
        *prediction_cards(bundle.hash, source.way.name),
        *object_cards(source.reader.header),
    ]
    if source.reader.row_order:
        cards += [("ROWORDER", source.reader.row_order, "place of the first row")]
    if settings.samples is not None:
        cards += [
            ("NSAMPLES", settings.samples, "draws of the stochastic network"),
            ("SEED", settings.seed, "of the draws"),
            ("TEMPERAT", settings.temperature, "of the draws; 1: the model's own"),
        ]
    cards += interval_cards(source.way, settings)
    if settings.match_sky:
        cards += [("MATCHSKY", True, "sky level brought to the training's first")]
    if settings.ensemble != "none":
        cards += [("ENSEMBLE", settings.ensemble, "mean over these symmetries")]
    return cards + list(source.output.stretch.header_cards(source.way.output.names))


def digest(path: Path) -> str:
    """What tells the content of an input from another's."""
    with naming(path, "look at its permissions and its disk", "cannot be read"):
        return identity(path)


def fingerprint(
    source: Input,
    bundle: Bundle,
    settings: Settings,
    digests: Sequence[str],
    reduction: Reduction,
    **own: object,
) -> str:
    """SHA-256 of all that decides the pixels of what is made of an input.

    Args:
        source, bundle, settings: what is translated, by what and how.
        digests: of the input's files.
        reduction: what becomes of the draws.
        own: what else the pixels depend on, as JSON has it.
    """
    grid, correction = source.grid, reduction.correction
    content = {
        "version": __version__,
        "inputs": list(digests),
        "grid": None if grid is None else digest(readable(grid)),
        "order": source.order,
        "model": [bundle.hash, source.way.name],
        "ensemble": settings.ensemble,
        "sky": settings.match_sky,
        "draws of (seed, n)": [settings.seed, settings.precision, settings.temperature],
        "reduction": reduction._replace(correction=None),
        "intervals": None if correction is None else correction.name,
        **own,
    }
    return sha256(json.dumps(content).encode())
