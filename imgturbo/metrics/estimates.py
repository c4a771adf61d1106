r"""A number with its error bar: what every figure of a report is.

Of n sources (or blocks of sky) the bootstrap draws n with replacement, B times, and computes the
statistic T of each draw; its standard deviation over the draws is the error of T (Efron 1979,
Annals of Statistics 7, 1). It needs no model of the scatter, and it is of the sources that there
are: what all of them have in common, such as a wrong zero point, it cannot know.

Robust scatter is 1.4826 · median |v − median v|, the σ of normal numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "as_json", "bootstrap", "median", "rate", "scatter"]

Array = NDArray[np.float64]
Statistic = Callable[..., Any]

_DRAWS = 300
_AT_ONCE = 1 << 22  # numbers that are drawn in one go


class Estimate(NamedTuple):
    """A value, its standard error and how many sources or blocks it is of.

    The error is NaN of fewer than two, the value NaN of none.
    """

    value: float
    error: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.error:.2g} (n = {self.n})"


def bootstrap(
    statistic: Statistic, *columns: Array, draws: int = _DRAWS, seed: int = 0
) -> Estimate:
    """A statistic of sources with the error that the bootstrap gives it.

    Args:
        statistic: of arrays (…, n), over their last axis: (…,).
        columns: (n,) each, what it needs of each source.
        draws: B.
        seed: of the draws; the same one, the same error.

    Example:
        >>> import numpy as np
        >>> values = np.random.default_rng(0).normal(5.0, 1.0, 400)
        >>> found = bootstrap(lambda v: v.mean(-1), values)
        >>> bool(abs(found.error / (values.std() / 20) - 1) < 0.15), found.n
        (True, 400)
    """
    n = len(columns[0])
    if not n:
        return Estimate(float("nan"), float("nan"), 0)
    random = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // n)
    found = []
    with np.errstate(divide="ignore", invalid="ignore"):  # a ratio of nothing is not a number
        value = float(statistic(*columns))
        if n < 2:
            return Estimate(value, float("nan"), n)
        for first in range(0, draws, step):
            index = random.integers(0, n, (min(step, draws - first), n))
            found.append(statistic(*(column[index] for column in columns)))
        return Estimate(value, float(np.std(np.concatenate(found), ddof=1)), n)


def median(values: Array) -> Array:
    """Of the last axis, as :func:`bootstrap` wants it."""
    return np.asarray(np.median(values, -1))


def rate(count: int, area: float) -> Estimate:
    """A count per area; of none that were found the error says up to how many there may be.

    Its error is √(k + 1)/area, the deviation of what a count of k tells of its mean (a flat prior).

    Example:
        >>> print(rate(0, 2.0), rate(8, 2.0))
        0 ± 0.5 (n = 0) 4 ± 1.5 (n = 8)
    """
    return Estimate(count / area, float(np.sqrt(count + 1)) / area, count)


def scatter(values: Array) -> Array:
    """Robust σ of the last axis; see the module's page. One value has none."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    middle = np.median(values, -1, keepdims=True)
    return np.asarray(1.4826 * np.median(np.abs(values - middle), -1))


def as_json(found: Estimate) -> dict[str, float | int | None]:
    """An estimate as JSON has it; what is not finite is null."""
    value, error = (None if not np.isfinite(v) else float(v) for v in (found.value, found.error))
    return {"value": value, "error": error, "n": found.n}
