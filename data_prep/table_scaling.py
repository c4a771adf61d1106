r"""How columns are brought to about zero mean and unit deviation, exactly undone.

    linear   y = (f − m)/s                    m mean, s deviation
    log      y = ln(f/m)/s                    ln m mean, s deviation of ln f;  f > 0
    asinh    y = asinh((f − m)/σ)/s           m median, σ so many robust deviations, s the deviation
                                              of asinh((f − m)/σ)

of the training rows. Columns of one group share m, σ and s, those of all their values together. The
moments are summed over blocks as Chan, Golub & LeVeque do (1979, Stanford STAN-CS-79-773),

    n = n₁ + n₂,   δ = m₂ − m₁,   m = m₁ + δ n₂/n,   M = M₁ + M₂ + δ² n₁n₂/n,

and median and robust deviation are those of at most 65 536 rows, evenly spread.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_prep.table_rows import End, by_pattern
from imgturbo.errors import ImgturboError
from imgturbo.sky.bijection import NONE, Bijection
from imgturbo.sky.stretch import Stretch
from imgturbo.tables.reader import chosen_names

__all__ = ["Scaling"]

Numbers = NDArray[np.float64]

_SAMPLE = 1 << 16  # rows that medians are taken of


class Scaling:
    """Looks at the training rows of one side, and gives its stretch.

    Args:
        end: the side.
        rows: how many training rows there are about.

    Raises:
        ImgturboError: groups that contradict each other or the scalings.
    """

    def __init__(self, end: End, rows: int) -> None:
        self.end = end
        patterns: dict[str, str] = dict(end.config.scalings)
        for pattern in patterns:
            chosen_names(end.names, [pattern], f"prepare.tables.{end.name}.scalings")
        self.kinds = np.array(by_pattern(end.names, patterns, end.config.scaling))
        self._group = self._groups()
        self._step = max(1, -(-rows // _SAMPLE))
        self._seen = 0
        self._sample: list[Numbers] = []
        n = len(end.names)
        self._count, self._mean, self._squares = np.zeros(n), np.zeros(n), np.zeros(n)

    def _groups(self) -> NDArray[np.int64]:
        """Which columns share a scaling: a number each."""
        where = f"prepare.tables.{self.end.name}.groups"
        group = np.arange(len(self.end.names))
        taken: set[str] = set()
        for patterns in self.end.config.groups:
            names = chosen_names(self.end.names, patterns, where)
            places = [self.end.names.index(name) for name in names]
            twice = taken & set(names)
            if twice:
                raise ImgturboError(f"{where}: {min(twice)} is in two groups; leave it in one")
            taken |= set(names)
            for what, words in (("scaling", self.kinds[places]),
                                ("unit", [self.end.units[p] for p in places])):  # fmt: skip
                if len(set(words)) > 1:
                    raise ImgturboError(
                        f"{where}: {names[0]} and others of its group differ in their {what} "
                        f"({', '.join(sorted(set(words)))}); they cannot share one"
                    )
            group[places] = places[0]
        return group

    def see(self, values: Numbers, number: NDArray[np.int64], where: str) -> None:
        """Take in some training rows.

        Args:
            values: (n, C), NaN where there is no number.
            number: of the rows in their file, from 0, (n,).
            where: the file, for messages.

        Raises:
            ImgturboError: a number that is not positive in a column under a logarithm.
        """
        taken = values[(-self._seen) % self._step :: self._step]
        self._seen += len(values)
        self._sample.append(taken)
        seen = np.where(np.isfinite(values), values, np.nan)
        for place in np.flatnonzero(self.kinds == "log"):
            wrong = np.flatnonzero(seen[:, place] <= 0)
            if len(wrong):
                raise ImgturboError(
                    f"{where}: row {number[wrong[0]] + 1}, column {self.end.names[place]}: "
                    f"{seen[wrong[0], place]:g} has no logarithm; scale the column by asinh or "
                    "linear, or empty the cell"
                )
            seen[:, place] = np.log(seen[:, place])
        self._add(seen)

    def _add(self, values: Numbers) -> None:
        known = ~np.isnan(values)
        count = known.sum(axis=0)
        mean = np.where(known, values, 0).sum(axis=0) / np.maximum(count, 1)
        squares = np.where(known, values - mean, 0)
        parts = count, mean, np.square(squares).sum(axis=0)
        merged = _merged((self._count, self._mean, self._squares), parts)
        self._count, self._mean, self._squares = merged

    def stretch(self) -> Stretch:
        """The stretch of all columns; one that is constant gets a scale of 1."""
        n = len(self.end.names)
        offset, softening, scale = np.zeros(n), np.full(n, np.inf), np.ones(n)
        before = tuple(Bijection("log") if kind == "log" else NONE for kind in self.kinds)
        sample = np.concatenate(self._sample) if self._sample else np.empty((0, n))
        for group in np.unique(self._group):
            places = np.flatnonzero(self._group == group)
            kind = self.kinds[places[0]]
            total = np.zeros(3)
            for place in places:
                own = self._count[place], self._mean[place], self._squares[place]
                total = np.array(_merged(tuple(total), own))
            count, mean, squares = total
            deviation = float(np.sqrt(squares / count)) if count else 0.0
            if kind == "asinh":
                found = _asinh(sample[:, places], self.end.config.softening)
            else:  # of a logarithm too: what was added up is ln f
                found = float(mean), np.inf, deviation
            offset[places], softening[places], scale[places] = found
            constant = deviation <= 1e-12 * abs(mean) or not scale[places[0]] > 0
            scale[places] = 1.0 if constant else scale[places]
        return Stretch(offset, softening, scale, before)


def _merged(one: tuple[Numbers, ...], other: tuple[Numbers, ...]) -> tuple[Numbers, ...]:
    """Count, mean and sum of squares of two sets together."""
    n1, m1, s1 = one
    n2, m2, s2 = other
    n = n1 + n2
    share = n2 / np.maximum(n, 1)
    step = m2 - m1
    return n, m1 + step * share, s1 + s2 + step**2 * n1 * share


def _asinh(sample: Numbers, softening: float) -> tuple[float, float, float]:
    values = sample[np.isfinite(sample)]
    if not len(values):
        return 0.0, 1.0, 1.0
    middle = float(np.median(values))
    sigma = 1.4826 * float(np.median(np.abs(values - middle))) or float(np.std(values)) or 1.0
    soft = softening * sigma
    return middle, soft, float(np.std(np.arcsinh((values - middle) / soft)))
