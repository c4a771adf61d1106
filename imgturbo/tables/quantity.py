"""Units of columns: what a file states, what is wanted, and the factor between the two.

A unit that is spelled as the wanted one is the wanted one, whether astropy knows it or not. Others
are converted where a factor does it (MeV to GeV, deg to rad); where none does, the column is
refused. A column whose file states no unit is taken to be in the wanted one, which is said.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from imgturbo.errors import ImgturboError
from imgturbo.tables.reader import Column, listed

__all__ = ["factor_between", "factors_to"]

_FORMATS = ("generic", "fits", "vounit", "cds")


def factors_to(
    columns: Sequence[Column], wanted: Sequence[str], where: str
) -> NDArray[np.float64] | None:
    """What each column is multiplied by to be in the wanted unit; None where nothing changes.

    Args:
        columns: as the file has them.
        wanted: a unit each; ``""`` takes the column as it is.
        where: the file, for messages.

    Raises:
        ImgturboError: a unit that cannot be brought to the wanted one.
    """
    factors = np.ones(len(columns))
    silent = []
    for place, (column, unit) in enumerate(zip(columns, wanted, strict=True)):
        if not unit or column.unit == unit:
            continue
        if not column.unit:
            silent.append(column.name)
            continue
        factor = factor_between(column.unit, unit)
        if factor is None:
            raise ImgturboError(
                f"{where}: column {column.name} is in {column.unit}, and {unit} is wanted, to "
                "which no factor leads; convert it first"
            )
        factors[place] = factor
    if silent:
        units = list(dict.fromkeys(wanted[[c.name for c in columns].index(n)] for n in silent))
        warnings.warn(
            f"{where}: no unit is stated for {listed(silent)}; taken to be in {listed(units)}",
            stacklevel=2,
        )
    return None if (factors == 1).all() else factors


@lru_cache(maxsize=1024)
def factor_between(given: str, wanted: str) -> float | None:
    """How many of ``wanted`` one of ``given`` is; None where no factor leads there.

    >>> factor_between("MeV", "GeV"), factor_between("GeV", "m"), factor_between("mag(AB)", "Jy")
    (0.001, None, None)
    """
    from astropy import units as u
    from astropy.units.function import FunctionUnitBase

    if given == wanted:
        return 1.0

    def parsed(text: str) -> u.UnitBase | None:
        for form in _FORMATS:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return u.Unit(text, format=form)
            except (ValueError, TypeError):
                continue
        return None

    one, other = parsed(given), parsed(wanted)
    if one is None or other is None:
        return None
    if any(isinstance(unit, FunctionUnitBase) for unit in (one, other)):
        return 1.0 if one == other else None  # AB magnitudes and the like are no multiples
    try:
        return float(one.to(other))
    except u.UnitConversionError:
        return None
