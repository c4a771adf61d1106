"""``register``: find the residual misalignment of a source image against a target image.

With P the map of source pixels to target pixels that the two WCS predict (the identity for pictures
without coordinates), matched sources (r_k, q_k) give the correction

    T(r) = G(P(r)) + L(G(P(r))),

G a shift, an affine map or a polynomial (of at most the degree asked for), L an optional smooth
local shift. The result is not a resampled image but a WCS of the source in the target's frame
(``coordinates``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from data_prep.register.chance import evidence
from data_prep.register.coordinates import fit_wcs, frame_points, nominal_wcs, pixels_to_pixels
from data_prep.register.correlate import LARGEST, Correlation, correlate
from data_prep.register.local import choose_local
from data_prep.register.matching import coarse_map, refine, vote_shift
from data_prep.register.pairs import Pairs, best_degree, compose, find_pairs, held_out, shares
from data_prep.register.polynomial import Polynomial, fit_weighted, formal_error, parameters
from data_prep.register.registration import Registration
from data_prep.register.sources import WINDOW, Sources, find_sources, luminance, measure
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError

if TYPE_CHECKING:
    from imgturbo.sky import SkyImage

__all__ = ["register"]

Floats = NDArray[np.float64]
Map = Callable[[Floats], Floats]

_REACH = 3.0  # last matching radius, in pixels of the coarser image
_FEW, _POOR = 16, 0.5  # pairs, and the pixels that they leave, with which a shift may compete
_REMEDY = (
    "set prepare.register.method=none, or ask for less: prepare.register.model=shift, "
    "a lower prepare.register.min_sources"
)


class _Unmatched(ImgturboError):
    """Sources do not tell how the images lie; the images themselves may."""


@dataclass(frozen=True)
class _Task:
    """Two images, the map P by their coordinates, and their sources."""

    source: SkyImage
    target: SkyImage
    config: RegisterConfig
    both: bool  # have coordinates
    target_wcs: WCS
    predict: Map
    images: list[tuple[NDArray[np.float32], NDArray[np.bool_]]]
    found: list[Sources]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the source."""
        return self.source.data.shape[1], self.source.data.shape[2]

    @property
    def names(self) -> str:
        return f"{_name(self.source)} and {_name(self.target)}"

    @property
    def degree(self) -> int:
        """The highest that is asked for."""
        return {"shift": 0, "affine": 1, "polynomial": self.config.degree}[self.config.model]

    @property
    def search(self) -> float | None:
        """Target pixels of the largest shift; None where any map is searched."""
        return self.config.max_shift / float(self.target.pixel_scale or 1) if self.both else None


def register(source: SkyImage, target: SkyImage, config: RegisterConfig) -> Registration:
    """Register ``source`` onto ``target``.

    Images that both have a WCS are trusted to ``config.max_shift`` arcsec; others are registered
    from their sources alone, whatever the rotation and shift between them (scale up to a factor
    of a few), and get nominal coordinates. Small images with a WCS that show too few sources are
    shifted by their correlation.

    Raises:
        ImgturboError: the footprints do not overlap; too few sources are found or matched; the
            match is no better than chance; the offset is beyond ``max_shift``.
    """
    both = source.wcs is not None and target.wcs is not None
    target_wcs = target.wcs if target.wcs is not None else nominal_wcs(target.data.shape[1:])
    predict: Map
    if both:
        source_wcs = source.wcs

        def predict(points: Floats) -> Floats:
            return pixels_to_pixels(source_wcs, target_wcs, points)

        _require_overlap(source, target, predict)
    else:
        predict = _identity
    if config.method == "none":
        same = source.wcs if both else fit_wcs(_identity, source.data.shape[1:], target_wcs)
        return Registration.without_sources(same, target_wcs, "none", "none")

    images = [luminance(image.data) for image in (source, target)]
    found = [find_sources(*image) for image in images]
    task = _Task(source, target, config, both, target_wcs, predict, images, found)
    try:
        matched = _by_sources(task)
    except _Unmatched as error:
        correlation = _correlation(task)
        if correlation is None:
            raise
        if not correlation.enough:
            raise ImgturboError(
                f"{error} (nor do the images themselves agree: {correlation})"
            ) from None
        return _shifted(task, correlation)
    if matched.matched < _FEW and matched.residual_held_out > _POOR:
        # Knots of one galaxy differ from band to band; as a whole it may tell more.
        correlation = _correlation(task)
        if correlation is not None and correlation.enough:
            shifted = _shifted(task, correlation)
            if shifted.residual_held_out < matched.residual_held_out:
                return shifted
    return matched


def _by_sources(task: _Task) -> Registration:
    config, found, predict, size = task.config, task.found, task.predict, task.size
    _require(task, min(len(s) for s in found), "detected")
    start = _start(task)
    # From here on both images are measured in the same window on the sky.
    scale = _relative_scale(lambda points: start(predict(points)), size)
    window = WINDOW * max(1.0, scale)
    ours, theirs = (
        _measured(image[0], sources, width)
        for image, sources, width in zip(task.images, found, (window / scale, window), strict=True)
    )
    predicted = predict(ours.positions)
    usable = np.isfinite(predicted).all(axis=1)
    predicted, noise = predicted[usable], scale * ours.noise[usable]

    reach, degree = _REACH * max(1.0, scale), task.degree
    low = min(degree, 1)
    working, _, _ = refine(predicted, theirs.positions, start, [2 * reach, reach, reach], low)
    search = find_pairs(predicted, noise, theirs, working, low, reach)
    _require(task, len(search), "matched")
    _require_evidence(task, search, predicted, theirs, reach)
    pairs = search.believed(low).surest()
    if config.model == "polynomial":
        degree = best_degree(pairs, degree, predict(frame_points(size, 25)))
    polynomial, total = fit_weighted(pairs.given, pairs.observed, degree, pairs.noise)

    local = None
    if config.local:
        mapped = polynomial(pairs.given)
        local = choose_local(mapped, pairs.observed - mapped, total)
    complete = compose(polynomial, local)
    shape = task.target.data.shape[1:]
    common = _common_frame(predict(frame_points(size, 33)), complete, shape)
    source_wcs = fit_wcs(
        lambda points: complete(predict(points)), size, task.target_wcs, tables=local is not None
    )
    return Registration(
        source_wcs=source_wcs,
        target_wcs=task.target_wcs,
        method="sources",
        model=config.model if config.model != "polynomial" else f"polynomial {degree}",
        found=(len(found[0]), len(found[1])),
        rejected=pairs.rejected,
        positions=pairs.observed,
        before=pairs.observed - pairs.given,
        after=pairs.observed - complete(pairs.given),
        held_out=held_out(pairs.given, pairs.observed, total, degree, local),
        noise=pairs.noise,
        share=shares(pairs.given, common),
        formal=formal_error(pairs.given, degree, total, common),
        polynomial=polynomial,
        local=local,
    )


def _require_evidence(
    task: _Task, pairs: Pairs, predicted: Floats, target: Sources, reach: float
) -> None:
    """The match is no accident, and the offset no further than was searched."""
    # Without coordinates the search bends the map in any case; with them, few pairs are evidence
    # enough for a shift, that is for the same sky, and then any map may be fitted.
    degrees = range(min(task.degree, 1) + 1) if task.both else (1,)
    trials = [
        evidence(pairs, predicted, target, task.images[1][1], degree, reach, task.search)
        for degree in degrees
    ]
    sure = min(trials, key=lambda trial: trial.log_alarms)
    if not sure.enough:
        further = (
            f"raise prepare.register.max_shift ({task.config.max_shift} arcsec) if their "
            "coordinates are worse than that"
            if task.both
            else "name pictures that overlap"
        )
        raise _Unmatched(
            f"{task.names}: the match is no better than chance, {sure}; pair files of the same "
            f"sky, {further}, or set prepare.register.method=none"
        )
    moved = float(np.median(np.hypot(*(pairs.observed - pairs.given).T)))
    if task.search is not None and moved > task.search + reach:
        raise ImgturboError(
            f"{task.names}: the images match {moved / task.search:.2g} times further off than "
            f"'prepare.register.max_shift' ({task.config.max_shift} arcsec); raise it if their "
            "coordinates may be that wrong"
        )


def _correlation(task: _Task) -> Correlation | None:
    """What the images have in common; None where they are too large or have no coordinates."""
    if task.search is None or max(task.target.data.shape[1:]) > LARGEST:
        return None

    def to_source(points: Floats) -> Floats:
        return pixels_to_pixels(task.target_wcs, task.source.wcs, points)

    return correlate(task.images[0], task.images[1], to_source, task.search)


def _shifted(task: _Task, correlation: Correlation) -> Registration:
    shift = Polynomial(0, correlation.shift[None], np.zeros(2), 1.0)
    return Registration.without_sources(
        fit_wcs(lambda points: shift(task.predict(points)), task.size, task.target_wcs),
        task.target_wcs,
        "correlation",
        "shift",
        found=(len(task.found[0]), len(task.found[1])),
        error=float(np.hypot(*correlation.error)),
        polynomial=shift,
    )


def _start(task: _Task) -> Map:
    """The first correction, good to a few pixels: a voted shift, or asterisms without a WCS."""
    found = task.found
    predicted, observed = task.predict(found[0].positions), found[1].positions
    if task.search is None:
        coarse = coarse_map(predicted, observed, task.size, task.target.data.shape[1:])
        if coarse is None:
            _require(task, 0, "matched")
            raise AssertionError("unreachable: zero matches are always too few")
        return coarse
    reach = task.search
    finite = predicted[np.isfinite(predicted).all(axis=1)]
    tolerance = max(1.5, reach / 10)
    shift = vote_shift(finite, observed, reach, tolerance)

    def shifted(points: Floats) -> Floats:
        return points + shift

    # Halved again and again: a shift alone may leave the corners off by a small rotation.
    radii = [r for r in tolerance * 0.5 ** np.arange(8) if r > _REACH]
    degree = min(task.degree, 1)
    return refine(finite, observed, shifted, [*radii, _REACH], degree)[0]


def _identity(points: Floats) -> Floats:
    return points


def _relative_scale(to_target: Map, shape: tuple[int, int]) -> float:
    """Size of a source pixel in target pixels, at the middle of the source."""
    middle = np.array([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]])
    corners = to_target(middle + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    sides = corners[1:] - corners[0]
    area = abs(np.linalg.det(sides)) if np.isfinite(sides).all() else 0.0
    return float(np.sqrt(area)) if area > 0 else 1.0


def _common_frame(predicted: Floats, complete: Map, shape: tuple[int, int]) -> Floats:
    """Those of the source's points (K, 2) that lie on the target (H, W); all where none does."""
    predicted = predicted[np.isfinite(predicted).all(axis=1)]
    there = complete(predicted)
    inside = (there > -0.5).all(axis=1) & (there < np.array(shape[::-1]) - 0.5).all(axis=1)
    return predicted[inside] if inside.any() else predicted


def _measured(image: NDArray[np.float32], sources: Sources, window: float) -> Sources:
    """The sources measured in another window, those that have a centroid there."""
    return sources if abs(window / WINDOW - 1) < 0.02 else measure(image, sources, window)


def _name(image: SkyImage) -> str:
    return str(image.path) if image.path else "an image without a file"


def _require_overlap(source: SkyImage, target: SkyImage, predict: Map) -> None:
    height, width = source.data.shape[1:]
    rows, columns = target.data.shape[1:]
    x, y = np.meshgrid(np.linspace(0, width - 1, 33), np.linspace(0, height - 1, 33))
    there = predict(np.stack([x.ravel(), y.ravel()], axis=1))
    there = there[np.isfinite(there).all(axis=1)]  # the far side of the sky has no pixel
    low, high = there.min(0, initial=np.inf), there.max(0, initial=-np.inf)
    if not ((high > -0.5) & (low < np.array([columns, rows]) - 0.5)).all():
        raise ImgturboError(
            f"{_name(source)} and {_name(target)}: no common sky, their footprints do not overlap; "
            "name files of the same field, or list them in separate unpaired fields"
        )


def _require(task: _Task, count: int, what: str) -> None:
    """Too few sources, detected or matched, is an error with its counts and its remedy."""
    needed = max(task.config.min_sources, parameters(task.degree))
    if count < needed:
        detected = " and ".join(str(len(sources)) for sources in task.found)
        raise _Unmatched(
            f"{task.names}: too few sources to register, {count} {what} of {needed} needed "
            f"({detected} detected, model {task.config.model!r}); {_REMEDY}"
        )
