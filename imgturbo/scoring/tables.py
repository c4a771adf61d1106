"""`evaluate` of tables: generated rows against true ones, column by column and all at once.

    every column     KS and W₁ with bootstrap errors, beside what a perfect sample would have
    paired rows      root mean square error, bias, correlation; coverage of NAME_q05 … NAME_q95
    all columns      the AUC of a classifier that tells one from the other

(:mod:`imgturbo.metrics.distributions`.) Marginals alone reward shuffling: rows that are paired are
compared one by one too, and drawn so (:mod:`imgturbo.report.distributions`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.door import room_for
from imgturbo.errors import ImgturboError
from imgturbo.metrics.distributions import Pooled, bootstrap_weights, floor_of
from imgturbo.scoring.intervals import interval_names
from imgturbo.scoring.two_samples import two_sample_auc
from imgturbo.tables.files import open_table
from imgturbo.tables.quantity import factors_to
from imgturbo.tables.reader import TableReader, chosen_names, numbers_in

__all__ = ["MARK", "TablePair", "evaluate_tables", "read_pair"]

MARK = (b'"prediction"', b'"truth"', b'"classifier"')
"""How a file of scores of tables is known (:mod:`imgturbo.places`)."""

Rows = NDArray[np.float64]
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class TablePair:
    """Generated and true rows of the same columns.

    Attributes:
        names: of the columns.
        units: that both are in, the truth's.
        prediction, truth: (n, C) and (m, C), NaN where there is no number.
        paired: whether row i of both belongs together.
        quantiles: of the prediction, (n, C) by their level in percent, such as ``"Q05"``.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    prediction: Rows
    truth: Rows
    paired: bool
    quantiles: dict[str, Rows]


def evaluate_tables(
    pred: Path | str,
    truth: Path | str,
    *,
    columns: Sequence[str] | None = None,
    paired: bool | None = None,
    bootstrap: int = 100,
    classifier: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score the rows of a table against those of another.

    Args:
        pred: the generated rows: CSV, TSV, ECSV, FITS or HDF5.
        truth: true ones; units are brought to its own.
        columns: names or patterns; None: all columns of numbers that both have.
        paired: whether the n-th rows belong together; None: if there are as many of each.
        bootstrap: resamplings of the errors, 0 for none.
        classifier: whether the AUC is wanted, which takes seconds.
        seed: of resamplings, halvings and the classifier.
        progress: called with (what, fraction done).

    Returns:
        JSON as it is: ``"columns"`` by name, each with ``unit``, ``ks``, ``ks_error``,
        ``ks_floor``, ``w1``, ``w1_error``, ``w1_floor`` and, of paired rows, ``rmse``, ``bias`` and
        ``correlation``; ``"classifier"`` with ``auc``, ``error``, ``floor``, ``floor_error``, or
        None; ``"intervals"`` by name, or None; ``"rows"``, ``"paired"``, ``"notes"`` and what was
        asked.

    Raises:
        ImgturboError: tables that cannot be read, no common column, unlike units, pairs that are
            none, too few rows.
    """
    say = progress or (lambda what, fraction: None)
    say("reading tables", 0.0)
    pair = read_pair(pred, truth, columns, paired)
    generator = np.random.default_rng([seed, 0xE7A1])
    found = {}
    for place, name in enumerate(pair.names):
        say(name, 0.6 * place / len(pair.names))
        found[name] = {"unit": pair.units[place]} | _column(pair, place, bootstrap, generator)
    complete = [rows[np.isfinite(rows).all(axis=1)] for rows in (pair.prediction, pair.truth)]
    if pair.paired:
        both = np.isfinite(pair.prediction).all(1) & np.isfinite(pair.truth).all(1)
        complete = [pair.prediction[both], pair.truth[both]]
    return {
        "prediction": str(pred),
        "truth": str(truth),
        "paired": pair.paired,
        "rows": {
            "prediction": len(pair.prediction),
            "truth": len(pair.truth),
            "complete": [len(rows) for rows in complete],
        },
        "columns": found,
        "classifier": _classifier(complete, pair.paired, bootstrap, seed, say)
        if classifier
        else None,
        "intervals": _intervals(pair),
        "bootstrap": bootstrap,
        "seed": seed,
        "notes": _notes(pair, paired),
    }


def _notes(pair: TablePair, paired: bool | None) -> list[str]:
    """What a reader of the scores has to know."""
    notes = []
    if pair.paired and paired is None:
        notes.append(
            f"{len(pair.truth)} rows of each, taken as pairs in order; say --unpaired if they are "
            "independent samples"
        )
    if pair.paired:
        notes.append(
            "prediction and truth are of the same rows: distances of distributions may lie below "
            "the floor, which is of independent samples"
        )
    return notes


# ------------------------------------------------------------------------------------- reading


def read_pair(
    pred: Path | str,
    truth: Path | str,
    columns: Sequence[str] | None = None,
    paired: bool | None = None,
) -> TablePair:
    """Both tables, their common columns in memory; arguments as of :func:`evaluate_tables`.

    Raises:
        ImgturboError: as of :func:`evaluate_tables`.
    """
    with open_table(pred) as made, open_table(truth) as true:
        names = _common(made, true, columns)
        units = [true.columns[name].unit or made.columns[name].unit for name in names]
        wanted = [f"{name}_q{level}" for name in names for level in _levels(made, name)]
        rows = _all(made, [*names, *wanted], [*units, *(_unit_of(w, names, units) for w in wanted)])
        known = _all(true, names, units)
    count = len(names)
    if paired and len(rows) != len(known):
        raise ImgturboError(
            f"{pred}: has {len(rows)} rows, and {truth} has {len(known)}: they are no pairs; say "
            "--unpaired"
        )
    for path, values in ((pred, rows), (truth, known)):
        if len(values) < 2:
            raise ImgturboError(f"{path}: has {len(values)} rows, too few to compare; give it more")
        if not np.isfinite(values[:, :count]).all(axis=1).any():
            raise ImgturboError(
                f"{path}: none of its {len(values)} rows has a finite number in every column that "
                "is compared; name fewer --columns"
            )
    quantiles: dict[str, Rows] = {}
    for place, name in enumerate(wanted, start=count):
        own, _, level = name.rpartition("_q")
        plane = quantiles.setdefault(f"Q{level}", np.full((len(rows), count), np.nan))
        plane[:, names.index(own)] = rows[:, place]
    return TablePair(
        tuple(names),
        tuple(units),
        rows[:, :count],
        known,
        len(rows) == len(known) if paired is None else paired,
        quantiles,
    )


def _common(made: TableReader, true: TableReader, columns: Sequence[str] | None) -> list[str]:
    if columns:
        names = chosen_names(list(made.columns), columns, str(made.path))
        true.require(names)
        return names
    there = set(numbers_in(true))
    names = [name for name in numbers_in(made) if name in there]
    if not names:
        raise ImgturboError(
            f"{made.path}: has no column of numbers that {true.path} has too; columns go by their "
            "names, rename them"
        )
    return names


def _levels(made: TableReader, name: str) -> list[str]:
    start = f"{name}_q"
    ends = [own.removeprefix(start) for own in made.columns if own.startswith(start)]
    return [end for end in ends if end.replace(".", "").isdecimal()]


def _unit_of(quantile: str, names: Sequence[str], units: Sequence[str]) -> str:
    return units[names.index(quantile.rpartition("_q")[0])]


def _all(table: TableReader, names: Sequence[str], units: Sequence[str]) -> Rows:
    """(N, C) of some columns, in memory."""
    factors = factors_to([table.columns[name] for name in names], units, str(table.path))
    room_for(24 * table.length * len(names), table.path, "comparing its rows", "name --columns")
    blocks = [block.numbers for block in table.blocks(names)]
    values = np.concatenate(blocks) if blocks else np.empty((0, len(names)))
    return values if factors is None else values * factors


# ------------------------------------------------------------------------------------- scoring


def _column(
    pair: TablePair, place: int, bootstrap: int, generator: np.random.Generator
) -> dict[str, float | None]:
    """All scores of one column."""
    made, true = pair.prediction[:, place], pair.truth[:, place]
    if pair.paired:
        known = np.isfinite(made) & np.isfinite(true)
        made, true = made[known], true[known]
    else:
        made, true = made[np.isfinite(made)], true[np.isfinite(true)]
    if min(len(made), len(true)) < 2:
        return {"ks": None, "w1": None}
    pooled = Pooled(made, true)
    ks, w1 = pooled.distances()
    drawn = []
    for _ in range(bootstrap):
        first = bootstrap_weights(generator, len(made))
        second = first if pair.paired else bootstrap_weights(generator, len(true))
        drawn.append(pooled.distances(first, second))
    errors = np.std(drawn, axis=0) if bootstrap > 1 else (math.nan, math.nan)
    floors = floor_of(true, len(made), generator)
    scores = {
        "ks": ks, "ks_error": errors[0], "ks_floor": floors[0],
        "w1": w1, "w1_error": errors[1], "w1_floor": floors[1],
    }  # fmt: skip
    if pair.paired:
        scores |= _paired(made, true)
    return {key: _finite(value) for key, value in scores.items()}


def _paired(made: Rows, true: Rows) -> dict[str, float]:
    """Root mean square error, bias and correlation, with the errors of the first two."""
    difference, n = made - true, len(true)
    squares = np.square(difference)
    rmse = float(np.sqrt(squares.mean()))
    spread = made.std() * true.std()
    covariance = float(((made - made.mean()) * (true - true.mean())).mean())
    return {
        "rmse": rmse,
        "rmse_error": float(squares.std() / (2 * rmse * math.sqrt(n))) if rmse else 0.0,
        "bias": float(difference.mean()),
        "bias_error": float(difference.std() / math.sqrt(n)),
        "correlation": covariance / spread if spread else math.nan,
    }


def _classifier(
    complete: Sequence[Rows], paired: bool, bootstrap: int, seed: int, say: Progress
) -> dict[str, float | None] | None:
    """The AUC of all columns together, and that of one half of the truth against the other."""
    made, true = complete
    if min(len(made), len(true)) < 8:
        return None
    say("training a classifier", 0.65)
    found = two_sample_auc(made, true, together=paired, bootstrap=bootstrap, seed=seed)
    say("training a classifier on the truth alone", 0.85)
    order = np.random.default_rng([seed, 0xF100]).permutation(len(true))
    halves = np.array_split(true[order], 2)
    floor = two_sample_auc(*halves, bootstrap=bootstrap, seed=seed)
    return {
        "auc": _finite(found.value),
        "error": _finite(found.error),
        "floor": _finite(floor.value),
        "floor_error": _finite(floor.error),
    }


def _intervals(pair: TablePair) -> dict[str, dict[str, float]] | None:
    """Coverage of the central intervals that quantiles in the table make, over all columns."""
    if not pair.paired:
        return None
    found = {}
    for lower, upper, nominal in interval_names(sorted(pair.quantiles)):
        low, high = pair.quantiles[lower], pair.quantiles[upper]
        known = np.isfinite(low) & np.isfinite(high) & np.isfinite(pair.truth)
        inside = known & (low <= pair.truth) & (pair.truth <= high)
        if known.any():
            found[f"{lower}-{upper}"] = {
                "nominal": round(nominal, 10),
                "coverage": float(inside.sum() / known.sum()),
            }
    return found or None


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
