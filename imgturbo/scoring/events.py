r"""How well generated collision events follow the true ones: the table of the Turbo-Sim paper.

For each of ten observables the Kolmogorov-Smirnov distance between what a map makes and the truth,

    KS = max_t |F(t) − F̃(t)|,

of z̃ = encoder(x) against z and of x̃ = decoder(z) against x, drawn with noise. Inputs are the first
half of the events and the truth is the second half, so that nothing is compared with its own pair
(OTUS, arXiv:2101.08944). Of generated x̃ it is given twice: for all of them (as in Turbo-Sim,
arXiv:2112.10629) and for those that pass the data's thresholds (as in OTUS). Beside it stands the
*floor*: the same distance between the two halves of the truth, which no map can beat but by chance;
and two baselines without any network.

Marginals reward whoever shuffles events well. So of the events themselves there is, for each mass,
how a generated one follows its own event's (``scoring`` gives correlations, the report draws them).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp, spearmanr

from imgturbo.bundle import Bundle
from imgturbo.errors import ImgturboError
from imgturbo.events import TABLE, Events, Thresholds, observables, read_events
from imgturbo.events.layout import OBJECTS, PARTONS, UNIT, columns
from imgturbo.events.simple import reconstructed, smeared
from imgturbo.events.thresholds import SELECTION
from imgturbo.files import write_json
from imgturbo.places import Mark, free_place
from imgturbo.report.events import distributions_figure, migration_figure
from imgturbo.report.preview import FIGURE
from imgturbo.scoring.two_samples import two_sample_auc
from imgturbo.side import Side
from imgturbo.tables.quantity import factor_between
from imgturbo.tables.reader import listed

__all__ = ["MARK", "EventScores", "evaluate_events", "score_events"]

Floats = NDArray[np.float64]
Distances = dict[str, float]

MARK = (b'"observables": {', b'"floor": {')
"""Of a file of these scores, by which a later one may replace it."""

_FILES: dict[str, Mark] = {"events.json": MARK, "events.png": FIGURE, "migration.png": FIGURE}

_FEWEST = 20  # events a half, below which a distance says nothing


@dataclass(frozen=True)
class EventScores:
    """Scores, and the values that they are of, for pictures.

    Attributes:
        content: JSON.
        truth, made, own: observables by name, each (N,): of the second half of the data; of what
            the maps made of the first half; and of the first half itself, event by event as made.
        passing: (N,), which of the generated x̃ pass the thresholds.
    """

    content: dict[str, Any]
    truth: Mapping[str, Floats]
    made: Mapping[str, Floats]
    own: Mapping[str, Floats]
    passing: NDArray[np.bool_]


def evaluate_events(
    bundle: Bundle,
    path: Path | str,
    *,
    out: Path | str | None = None,
    thresholds: Thresholds = SELECTION,
    seed: int = 0,
    device: str | None = None,
    classifier: int = 600,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Score a bundle on held-out events, and leave scores and pictures in a folder.

    Args:
        bundle, path, thresholds, seed, device, classifier: as of :func:`score_events`.
        out: folder for events.json, events.png and migration.png; None: nothing is written.
        overwrite: replace files of these names that no scoring made.

    Raises:
        ImgturboError: as of :func:`score_events`; or the files cannot be written.
    """
    places = {} if out is None else {name: Path(out) / name for name in _FILES}
    for name, place in places.items():
        free_place(place, [path], [bundle.path], mark=_FILES[name], overwrite=overwrite)
    found = score_events(
        bundle, path, thresholds=thresholds, seed=seed, device=device, classifier=classifier
    )
    if places:
        write_json(places["events.json"], found.content)
        distributions_figure(places["events.png"], found.truth, found.made, found.passing)
        migration_figure(places["migration.png"], found.own, found.made)
    return found.content


def score_events(
    bundle: Bundle,
    path: Path | str,
    *,
    thresholds: Thresholds = SELECTION,
    seed: int = 0,
    device: str | None = None,
    classifier: int = 600,
) -> EventScores:
    """Score a bundle on events that it was not trained on.

    Args:
        bundle: with a decoder, an encoder, or both, of rows of events.
        path: a file of events.
        thresholds: that the data have passed.
        seed: of the draws.
        device: where networks run.
        classifier: steps of its training; 0: no classifier.

    Raises:
        ImgturboError: no such file, too few events, a bundle of other data, or one whose events
            are not finite.
    """
    _refuse_others(bundle)
    events = read_events(path)
    half = len(events) // 2
    if half < _FEWEST:
        raise ImgturboError(
            f"{path}: {len(events)} events are too few to score by; give 40 or more"
        )
    first = Events(events.z[:half], events.x[:half])
    second = Events(events.z[half : 2 * half], events.x[half : 2 * half])
    made = {"z": _through(bundle, "backward", first.x, seed, device),
            "x": _through(bundle, "forward", first.z, seed, device)}  # fmt: skip
    generator = np.random.default_rng(seed)
    simple = {"z": reconstructed(first.x, generator), "x": smeared(first.z, generator)}
    truth, own = observables(second.z, second.x), observables(first.z, first.x)
    values = _observables(made)
    x = made["x"]
    passing = thresholds.passes(x) if x is not None else np.zeros(0, bool)
    kept = {"z": np.ones(half, bool), "x": thresholds.passes(simple["x"])}
    content = {
        "events": half,
        "seed": seed,
        "bundle": bundle.hash,
        "observables": _distances(values, truth),
        "passing": _distances({n: v[passing] for n, v in values.items() if TABLE[n] == "x"}, truth),
        "passing_share": float(passing.mean()) if len(passing) else None,
        "floor": _distances(own, truth),
        "baseline": _distances(_observables(simple), truth),
        "baseline_passing": _distances(
            {n: v[kept[TABLE[n]]] for n, v in _observables(simple).items()}, truth
        ),
        "auc": _classified(made, second, first, classifier, seed),
        "rank_correlation": {
            name: float(spearmanr(own[name], values[name]).statistic) for name in values
        },
    }
    return EventScores(content, truth, values, own, passing)


def _refuse_others(bundle: Bundle) -> None:
    for side in (bundle.source, bundle.target):
        if side.kind != "table" or len(side) != 24:
            raise ImgturboError(
                f"{bundle.path}: translates {len(side)} numbers of kind {side.kind}, not events of "
                "24; train one with configs/vectors/turbosim.yaml"
            )


def _observables(rows: Mapping[str, Floats | None]) -> dict[str, Floats]:
    """Those of the table that can be had of what there is."""
    z, x = (np.empty((0, 24)) if (part := rows[side]) is None else part for side in "zx")
    found = observables(z, x)
    return {name: values for name, values in found.items() if rows[TABLE[name]] is not None}


def _distances(made: Mapping[str, Floats], truth: Mapping[str, Floats]) -> Distances:
    """KS of each observable that was made; left out where no event is left."""
    return {
        name: float(ks_2samp(values, truth[name], method="asymp").statistic)
        for name, values in made.items()
        if len(values)
    }


def _classified(
    made: Mapping[str, Floats | None], truth: Events, other: Events, steps: int, seed: int
) -> dict[str, dict[str, float]]:
    """AUC of a classifier of all 24 columns: of what was made, and of truth, against truth."""
    found = {}
    for space, rows in made.items():
        if rows is None or not steps:
            continue
        true, same = getattr(truth, space), getattr(other, space)
        found[space] = {
            name: two_sample_auc(true, one, bootstrap=0, seed=seed, steps=steps).value
            for name, one in (("auc", rows), ("floor", same))
        }
    return found


def _through(
    bundle: Bundle, direction: str, rows: Floats, seed: int, device: str | None
) -> Floats | None:
    """One draw of a bundle's map for every event; None where it has no such map."""
    if (bundle.decoder if direction == "forward" else bundle.encoder) is None:
        return None
    way = bundle.direction(direction)
    samples = 1 if way.generator.stochastic else None
    particles = (PARTONS, OBJECTS) if direction == "forward" else (OBJECTS, PARTONS)
    (given, unit), (made, other) = (
        (_order(side, names, bundle.path), _in_gev(side, bundle.path))
        for side, names in zip((way.input, way.output), particles, strict=True)
    )
    found = bundle.translate(
        rows[:, given] / unit, direction, samples=samples, seed=seed, device=device
    ).mean
    lost = int((~np.isfinite(found)).any(axis=1).sum())
    if lost:
        raise ImgturboError(
            f"{bundle.path}: {lost} of {len(found)} events that it makes ({direction}) hold "
            "numbers that are not finite; train for longer, or with a lower train.lr"
        )
    return (found * other)[:, np.argsort(made)]


def _order(side: Side, particles: tuple[str, ...], where: Path) -> NDArray[np.int64]:
    """Which number of an event each column of a side is.

    They are told by the names of :mod:`imgturbo.events.layout`, or by the numbers 1 to 24 that the
    columns of an event file have; other names are taken to be in the order of events.
    """
    wanted = columns(particles)
    if set(side.names) == set(wanted):
        return np.array([wanted.index(name) for name in side.names])
    stem, numbers = side.names[0].rpartition("_")[0], {f"{k + 1}": k for k in range(len(wanted))}
    ends = [name.removeprefix(f"{stem}_") for name in side.names]
    if set(ends) == set(numbers):
        return np.array([numbers[end] for end in ends])
    warnings.warn(
        f"{where}: its columns {listed(side.names)} are taken for the 24 numbers of an event in "
        f"their order, {wanted[0]} to {wanted[-1]}",
        stacklevel=2,
    )
    return np.arange(len(wanted))


def _in_gev(side: Side, where: Path) -> Floats:
    """How many GeV the unit of each column is; 1 where none is stated."""
    factors = [factor_between(unit, UNIT) if unit else 1.0 for unit in side.units]
    if None in factors:
        place = factors.index(None)
        raise ImgturboError(
            f"{where}: column {side.names[place]} is in {side.units[place]}, and the numbers of "
            f"events are in {UNIT}; prepare it in {UNIT} ('units' of prepare.tables)"
        )
    return np.array(factors, np.float64)
