"""Rows through a bundle, in memory: the same network, draws and reductions as images have.

    f  →  y = stretch(f)  →  ŷ = G(y)  →  f̂ = stretch'⁻¹(ŷ)  →  NaN where a number of the row is

Columns go by their names, and are brought to the units of the bundle's input side. Row i draws its
noise from (seed, i), so that a row's draws depend on its number in the table and on nothing else:
neither on the batches nor on the other rows. Of columns that are angles means, deviations and
quantiles are those of the circle (:mod:`imgturbo.tables.angles`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.bundle import Bundle, Direction, Translation
from imgturbo.bundle.settings import Settings, SettingsDict
from imgturbo.errors import ImgturboError
from imgturbo.mosaic.apply import Applier, pick_device
from imgturbo.mosaic.reducers import Reducer, Reduction
from imgturbo.sky.provenance import prediction_cards
from imgturbo.tables.angles import Angles
from imgturbo.tables.quantity import factors_to
from imgturbo.tables.reader import Column, listed

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["RowTranslator", "column_name", "translate_table"]

Numbers = NDArray[np.float64]

_BATCH = 1 << 13  # rows that go through the network together, by default
_OF_IMAGES = ("window", "overlap", "ensemble", "match_sky", "raw_quantiles")


class RowTranslator:
    """A bundle's way from rows to rows.

    Args:
        bundle: a loaded one.
        direction: ``"forward"``, source to target, or ``"backward"``.
        settings: of the draws and of the computing; those of images have no meaning here.

    Raises:
        ImgturboError: a bundle of images, no such direction, settings that make no sense.
    """

    def __init__(self, bundle: Bundle, direction: str, settings: Settings) -> None:
        self.way = bundle.direction(direction)
        _refuse_images(bundle, self.way)
        _refuse_settings_of_images(settings)
        self.reduction = Reduction.of(settings.samples, settings.quantiles, settings.keep_draws)
        self.batch = _BATCH if settings.batch is None else settings.batch
        if self.batch < 1:
            raise ImgturboError(f"batches of {self.batch} rows make no table; use 1 or more")
        self._apply = Applier(
            self.way.generator,
            pick_device(settings.device),
            settings.samples,
            settings.seed,
            settings.precision,
            settings.temperature,
        )

    def __call__(self, values: Numbers, first: int = 0) -> dict[str, Numbers]:
        """Translate some rows.

        Args:
            values: (n, C), in the units of the input side; NaN where there is no number.
            first: number of the first row in its table.

        Returns:
            (n, C') by what it is: ``SCI``, the mean or the one output; ``STD``, ``Q05``, ``S001``
            as asked for. A row in which a number is missing is NaN.
        """
        shape = len(values), len(self.way.output)
        planes = {name: np.full(shape, np.nan) for name in self.reduction.extensions}
        for start in range(0, len(values), self.batch):
            rows = slice(start, start + self.batch)
            for name, part in self._some(values[rows], first + start).items():
                planes[name][rows] = part
        return planes

    def _some(self, values: Numbers, first: int) -> dict[str, Numbers]:
        with np.errstate(over="ignore", invalid="ignore"):
            y = self.way.input.stretch(values.T).T.astype(np.float32)
        measured = np.isfinite(y).all(axis=1)
        y[~measured] = 0
        numbers = torch.arange(first, first + len(y))
        origins = torch.stack([numbers, torch.zeros_like(numbers)], dim=1)
        reducer, angles = Reducer(self.reduction), Angles(self.way.output, self.reduction)
        for drawn in self._apply(np.ascontiguousarray(y), origins):
            with np.errstate(over="ignore", invalid="ignore"):
                values = self.way.output.stretch.inverse(drawn.astype(np.float64).T).T
            reducer.update(values)
            angles.update(values)
        planes = reducer.planes()
        angles.mend(planes)
        for plane in planes.values():
            plane[~measured] = np.nan
        return planes


@overload
def translate_table(
    bundle: Bundle, table: NDArray[Any], direction: str = ..., **settings: Unpack[SettingsDict]
) -> Translation[Numbers]: ...


@overload
def translate_table(
    bundle: Bundle, table: Table, direction: str = ..., **settings: Unpack[SettingsDict]
) -> Translation[Table]: ...


def translate_table(
    bundle: Bundle,
    table: Table | NDArray[Any],
    direction: str = "forward",
    **settings: Unpack[SettingsDict],
) -> Translation[Table] | Translation[Numbers]:
    """Translate rows in memory.

    Args:
        bundle: a loaded bundle whose sides are tables.
        table: an astropy table that has the columns of the input side, in any order and among
            others, in units that can be converted; or an array (N, C) in the input side's units and
            order, or one with named fields in its units. NaN, or masked, where there is no number.
        direction: ``"forward"``, source to target, or ``"backward"``.
        settings: ``samples``, ``seed``, ``temperature``, ``quantiles``, ``keep_draws``, ``batch``
            (rows), ``device``, ``precision``; see :class:`imgturbo.bundle.Settings`.

    Returns:
        What came in, translated, as the mean and, for several samples, as the other parts too: a
        table with the output side's columns and units, or an array (N, C') float64. Rows in which a
        number is missing are NaN.

    Raises:
        ImgturboError: columns, units or settings that do not fit.
        TypeError: a setting that there is not.
    """
    translator = RowTranslator(bundle, direction, Settings(**settings))
    side = translator.way.input
    if not isinstance(table, np.ndarray) and not hasattr(table, "colnames"):
        raise ImgturboError(
            f"rows are given as an astropy table or as a numpy array (N, {len(side)}), not as "
            f"{type(table).__name__}; make one of it"
        )
    if isinstance(table, np.ndarray) and table.dtype.names is None:
        if table.ndim != 2 or table.shape[1] != len(side):
            raise ImgturboError(
                f"the model reads rows (N, {len(side)}) of {listed(side.names)}, not an array of "
                f"shape {table.shape}"
            )
        return translator.reduction.translation(translator(_floats(table)))
    planes = translator(_rows_of(table, side.names, side.units))
    if isinstance(table, np.ndarray):  # one of named fields, which has no units
        return translator.reduction.translation(planes)
    meta = dict((key, value) for key, value, _ in prediction_cards(bundle.hash, direction))
    found = translator.reduction.translation(planes)
    return found.map(lambda plane: _as_table(plane, translator.way, meta))


def _as_table(values: Numbers, way: Direction, meta: dict[str, Any]) -> Table:
    from astropy.table import Column as AstropyColumn
    from astropy.table import Table

    named = zip(way.output.names, way.output.units, values.T, strict=True)
    return Table([AstropyColumn(v, name=n, unit=u or None) for n, u, v in named], meta=meta)


def _rows_of(table: Any, names: Sequence[str], units: Sequence[str]) -> Numbers:
    """(N, C) of the columns of an astropy table or of an array with named fields, in these units.

    An array has no units; it is taken to be in these.
    """
    bare = isinstance(table, np.ndarray)
    there = list(table.dtype.names if bare else table.colnames)
    missing = [name for name in names if name not in there]
    if missing:
        raise ImgturboError(f"the table has no column {missing[0]}; it has {listed(there)}")
    given = units if bare else [str(getattr(table[n], "unit", None) or "") for n in names]
    columns = [Column(name, unit) for name, unit in zip(names, given, strict=True)]
    factors = factors_to(columns, units, "the table")
    values = np.empty((len(table), len(names)))
    for place, name in enumerate(names):
        column = np.ma.asarray(getattr(table[name], "value", table[name]))
        if column.ndim != 1 or column.dtype.kind not in "iufb":
            raise ImgturboError(f"the table: column {name} holds no numbers; give it some")
        values[:, place] = np.ma.filled(column.astype(np.float64), np.nan)
    return values if factors is None else values * factors


def _floats(array: NDArray[Any]) -> Numbers:
    if array.dtype.kind not in "iufb":
        raise ImgturboError(f"the array holds values of type {array.dtype}, no numbers")
    return np.ma.filled(array.astype(np.float64), np.nan)


def column_name(name: str, plane: str) -> str:
    """The column of what ``plane`` says of ``name``: NAME, NAME_std, NAME_q05, NAME_s001.

    >>> column_name("m_tt", "SCI"), column_name("m_tt", "Q97.5")
    ('m_tt', 'm_tt_q97.5')
    """
    return name if plane == "SCI" else f"{name}_{plane.lower()}"


def _refuse_images(bundle: Bundle, way: Direction) -> None:
    for side, what in ((way.input, "reads"), (way.output, "makes")):
        if side.kind == "latent":
            raise ImgturboError(
                f"{bundle.path}: {what} numbers drawn from a prior, which no table holds; take the "
                "other --direction"
            )
        if side.kind != "table":
            raise ImgturboError(
                f"{bundle.path}: {what} images ({', '.join(side.names)}), not rows of a table; "
                "give it FITS images, or name a bundle that was trained on tables"
            )


def _refuse_settings_of_images(settings: Settings) -> None:
    defaults = {field.name: field.default for field in fields(Settings)}
    for name in _OF_IMAGES:
        if getattr(settings, name) != defaults[name]:
            raise ImgturboError(
                f"--{name.replace('_', '-')} has a meaning for images only; leave it out for tables"
            )
