"""From one telescope's image to the other's, in memory.

    f  →  f·10^{0.4 ΔZP}  →  y = stretch(f)  →  ŷ = G(y)  →  f̂ = stretch'⁻¹(ŷ)  →  NaN where f is

with small holes of y filled (`imgturbo.mosaic.reading`), window by window
(`imgturbo.mosaic.windows`). The inverse stretch is done in float64: sinh amplifies what float32
rounds. The pixel grid, the WCS and the mask are the source's; unit, zero points and stretch
keywords are those of the model's output side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Unpack, overload

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from imgturbo.bundle import Bundle, Correction, Direction, Translation
from imgturbo.bundle.settings import Settings, SettingsDict
from imgturbo.errors import ImgturboError
from imgturbo.mosaic.background import Background
from imgturbo.mosaic.grid import at_scale
from imgturbo.mosaic.layout import prepare
from imgturbo.mosaic.matching import (
    band_order,
    check_values,
    flux_factors,
    warn_assumed,
    warn_uncalibrated,
)
from imgturbo.mosaic.reading import Reading, strips
from imgturbo.mosaic.sweep import sweep
from imgturbo.nets import Generator
from imgturbo.side import Side
from imgturbo.sky import SkyImage, Stretch
from imgturbo.sky.grids import zoomed_grid
from imgturbo.sky.overlap import require_common
from imgturbo.sky.provenance import derived_header, history_of, prediction_cards
from imgturbo.sky.units import DISPLAY

__all__ = [
    "area_of",
    "correction_of",
    "in_unit",
    "interval_cards",
    "matched",
    "softening_of",
    "translate_array",
    "translate_sky",
    "unstretch",
]

Array = npt.NDArray[Any]
Planes = npt.NDArray[np.float32]

SOFTENING = 3.0  # of a stretch of which nobody says more: the default of `prepare.stretch`


# ------------------------------------------------------------------------------- in memory


def translate_array(
    generator: Generator,
    array: Array,
    *,
    stretch: Stretch | None = None,
    target: Stretch | None = None,
    **settings: Unpack[SettingsDict],
) -> Translation[Planes]:
    """Translate an array in memory; without stretches, of values that are stretched already.

    Args:
        generator: keeps the contract of `imgturbo.nets`.
        array: (C, H, W), NaN where not measured.
        stretch, target: of the input and the output.
        settings: see `imgturbo.mosaic.Settings`.

    Returns:
        Arrays (C', H, W) float32, on the network's finer or coarser grid if it has one; NaN where
        any band of the input is; and the flags.

    Raises:
        ImgturboError: an array or settings that do not fit.
        TypeError: a setting that there is not.
    """
    return _translated(generator, array, stretch, target, Settings(**settings), SOFTENING, "")


def _translated(
    generator: Generator,
    array: Array,
    stretch: Stretch | None,
    target: Stretch | None,
    settings: Settings,
    softening: float,
    unit: str,
    what: str | None = None,
    bands: Sequence[str] = (),
    correction: Correction | None = None,
) -> Translation[Planes]:
    """The array translated; ``what`` it is called where its sky is compared with the training's."""
    _check_channels(generator, array)
    channels, height, width = array.shape

    def flux(rows: slice, cols: slice) -> Array:
        return array[:, rows, cols]

    background = None
    if what is not None or settings.match_sky:
        names = bands or [f"band {k + 1}" for k in range(channels)]
        size = (height, width)
        background = Background(flux, size, stretch, softening, names, settings.match_sky)
        background.warn(what or "the array", unit)
    apply, layout = prepare(generator, height, width, settings, correction=correction)
    read = Reading(
        flux,
        (height, width),
        apply.generator,
        stretch,
        target,
        softening,
        background,
        layout.exact,
    )
    shape = (apply.channels, *layout.size)
    planes = {name: np.empty(shape, np.float32) for name in layout.reduction.extensions}
    flags = np.zeros(layout.size, np.uint8)

    def put(block: Array, rows: slice, cols: slice, name: str) -> None:
        planes[name][:, rows, cols] = block

    def put_flags(block: npt.NDArray[np.uint8], rows: slice, cols: slice) -> None:
        flags[rows, cols] = block

    sweep(layout, layout.units, read, apply, unstretch(target), put, put_flags, lambda unit: None)
    return layout.reduction.translation(planes, flags)


@overload
def translate_sky(
    bundle: Bundle, image: SkyImage, direction: str = ..., **settings: Unpack[SettingsDict]
) -> Translation[SkyImage]: ...


@overload
def translate_sky(
    bundle: Bundle, image: Array, direction: str = ..., **settings: Unpack[SettingsDict]
) -> Translation[Planes]: ...


def translate_sky(
    bundle: Bundle,
    image: SkyImage | Array,
    direction: str = "forward",
    **settings: Unpack[SettingsDict],
) -> Translation[SkyImage] | Translation[Planes]:
    """Translate an image in memory.

    Args:
        bundle: a loaded bundle.
        image: a `SkyImage`, bands in any order, brought to the pixel scale of the bundle's input if
            it has a WCS with another one (a network for super-resolution gives finer pixels); or an
            array (C, H, W) in the unit and the band order of the bundle's input side, NaN where not
            measured.
        direction: ``"forward"``, source to target, or ``"backward"``.
        settings: see `imgturbo.mosaic.Settings`.

    Returns:
        What came in, translated: a `SkyImage`, the stretch of its new bands in its header, or an
        array (C', H, W) float32, as the mean, and for several samples as the other parts too; and
        the flags.

    Raises:
        ImgturboError: bands, unit or settings that do not fit.
        TypeError: a setting that there is not.

    Example:
        >>> import imgturbo
        >>> bundle = imgturbo.load_bundle("smacs0723-fidelity")
        >>> made = imgturbo.translate_sky(bundle, np.full((3, 20, 24), 0.1, np.float32))
        >>> made.mean.shape, made.flags.shape
        ((3, 20, 24), (20, 24))
    """
    chosen = Settings(**settings)
    way = bundle.direction(direction)
    source, target = way.input.stretch, way.output.stretch
    if not isinstance(image, SkyImage):
        array = np.asarray(image)
        if way.input.unit == DISPLAY:
            check_values(array, way.input, "the array")
        if array.ndim == 3 and len(array) == len(way.input):
            require_common([np.isfinite(array)], way.input.names, "the array")
        return _translated(
            way.generator,
            array,
            source,
            target,
            chosen,
            softening_of(bundle),
            way.input.unit,
            "the array",
            way.input.names,
            correction_of(way, chosen, way.output),
        )
    what = str(image.path or "the image")
    image, array = matched(image, way.input, what)
    zoom, wcs = way.generator.zoom, image.wcs
    output = way.output.on(area_of(image.scales[0].pixel_area, zoom))
    if wcs is not None and zoom != 1:
        wcs, _ = zoomed_grid(wcs, image.valid.shape, zoom)
    found = _translated(
        way.generator,
        array,
        source,
        output.stretch,
        chosen,
        softening_of(bundle),
        way.input.unit,
        what,
        way.input.names,
        correction_of(way, chosen, output),
    )
    header = derived_header(image.header)
    for line in history_of(image.header):
        header.add_history(line)
    made = [*prediction_cards(bundle.hash, way.name), *interval_cards(way, chosen)]
    header.update(fits.Header([*made, *output.stretch.header_cards(output.names)]))
    like = replace(
        image,
        header=header,
        wcs=wcs,
        unit=output.unit,
        bands=output.names,
        zeropoints=output.zeropoints,
        named=(True,) * len(output),
        data=found.mean,
        valid=np.all(np.isfinite(found.mean), axis=0),
    )
    return found.map(
        lambda plane: replace(like, data=plane, valid=np.all(np.isfinite(plane), axis=0))
    )


def correction_of(way: Direction, settings: Settings, output: Side) -> Correction | None:
    """How the quantiles that are asked for are put right; None: not at all.

    Raises:
        ImgturboError: other draws or levels than those that were calibrated.
    """
    return None if way.intervals is None else way.intervals.correction(settings, output)


def interval_cards(way: Direction, settings: Settings) -> list[tuple[str, Any, str]]:
    """What a header says of quantiles that were put right."""
    name = way.calibration(settings)
    return [] if name is None else [("QCALIB", name, "quantiles calibrated on other sky")]


def area_of(area: float | None, zoom: Fraction) -> float | None:
    """Of a pixel of the output, where the input's pixels have this one; None: not known."""
    return None if area is None else area / float(zoom) ** 2


def matched(image: SkyImage, side: Side, what: str) -> tuple[SkyImage, Planes]:
    """An image on the pixel scale of a side, and its values (C, H, W) as the side has them.

    Args:
        image: bands in any order, in a unit that can be brought to the side's.
        side: whose bands, unit and pixel scale are wanted.
        what: the file, for messages.

    Raises:
        ImgturboError: bands or unit that do not fit, or no pixel measured in all bands.
    """
    order = band_order(side.names, image.bands, what, stated=image.named)
    if side.unit and any(image.scales[k].unit.kind == "none" for k in order):
        warn_assumed(side, what)
        check_values(image.data[order], side, what)
        image = replace(image, unit=side.unit, zeropoints=())
    else:
        warn_uncalibrated([image.scales[k] for k in order], side, what)
    image = at_scale(image, side.pixel_scale)
    measured = np.isfinite(image.data[order])
    require_common([measured], [image.bands[k] for k in order], what)
    factors = flux_factors([image.scales[k] for k in order], side, what)
    return image, in_unit(image.data[order], factors)


# ----------------------------------------------------------- shared with the road through files


def softening_of(bundle: Bundle) -> float:
    """Of its stretches, in deviations of the training sky's noise."""
    return bundle.config.prepare.stretch.softening


def unstretch(target: Stretch | None) -> Callable[[Array], Array]:
    """Network output (C', h, w) → flux, float64."""

    def to_flux(values: Array) -> Array:
        flux = values.astype(np.float64)
        if target is not None:
            for rows in strips(flux):
                flux[:, rows] = target.inverse(flux[:, rows])
        return flux

    return to_flux


def in_unit(flux: Array, factors: Array | None) -> Array:
    """Flux in the unit of the model's input side."""
    if factors is None:
        return flux
    return (flux * factors[:, None, None]).astype(np.float32)


def _check_channels(generator: Generator, array: Array) -> None:
    if array.ndim != 3 or array.shape[0] != generator.in_channels:
        raise ImgturboError(
            f"the network reads arrays of shape ({generator.in_channels}, H, W); "
            f"got {tuple(array.shape)}"
        )
