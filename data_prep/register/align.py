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
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_prep.register.coordinates import fit_wcs, frame_points, nominal_wcs, pixels_to_pixels
from data_prep.register.local import LocalShift, choose_local, fit_local
from data_prep.register.matching import coarse_map, mutual_nearest, refine, vote_shift
from data_prep.register.polynomial import (
    Polynomial,
    fit_polynomial,
    fit_robust,
    folds,
    parameters,
)
from data_prep.register.registration import Registration
from data_prep.register.sources import WINDOW, Sources, centroid, find_sources, luminance
from imgturbo.config import RegisterConfig
from imgturbo.errors import ImgturboError

if TYPE_CHECKING:
    from imgturbo.sky import SkyImage

__all__ = ["register"]

Floats = NDArray[np.float64]
Map = Callable[[Floats], Floats]

_REACH = 3.0  # last matching radius, in pixels of the coarser image
_ENOUGH = 200  # pairs that are all kept
_REMEDY = (
    "set prepare.register.method=none, or ask for less: prepare.register.model=shift, "
    "a lower prepare.register.min_sources"
)


def register(source: SkyImage, target: SkyImage, config: RegisterConfig) -> Registration:
    """Register ``source`` onto ``target``.

    Images that both have a WCS are trusted to ``config.max_shift`` arcsec; others are registered
    from their sources alone, whatever the rotation and shift between them (scale up to a factor
    of a few), and get nominal coordinates.

    Raises:
        ImgturboError: the footprints do not overlap; too few sources are found or matched.
    """
    both = source.wcs is not None and target.wcs is not None
    size = source.data.shape[1:]
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
        nothing = np.zeros((0, 2))
        same = source.wcs if both else fit_wcs(_identity, size, target_wcs)
        return Registration(
            same, target_wcs, "none", "none", (0, 0), 0, nothing, nothing, nothing, nothing
        )

    images = [luminance(image.data) for image in (source, target)]
    found = [find_sources(*image) for image in images]
    _require(found, min(len(s) for s in found), config, source, target, "detected")
    ours, theirs = found[0].positions, found[1].positions
    degree = {"shift": 0, "affine": 1, "polynomial": config.degree}[config.model]

    start = _start(predict(ours), theirs, source, target, config, found, both)
    # From here on both images are measured in the same window on the sky.
    scale = _relative_scale(lambda points: start(predict(points)), size)
    window = WINDOW * max(1.0, scale)
    ours, our_weight = _recentre(images[0][0], found[0], window / scale)
    theirs, their_weight = _recentre(images[1][0], found[1], window)
    predicted = predict(ours)
    usable = np.isfinite(predicted).all(axis=1)
    predicted, our_weight = predicted[usable], our_weight[usable]

    reach = _REACH * max(1.0, scale)
    working, _, _ = refine(predicted, theirs, start, [2 * reach, reach, reach], min(degree, 1))
    here, there = mutual_nearest(working(predicted), theirs, reach)
    _require(found, len(here), config, source, target, "matched")
    polynomial, keep = fit_robust(predicted[here], theirs[there], degree)
    # A better map finds more of the pairs and fewer of the wrong ones.
    here, there = mutual_nearest(polynomial(predicted), theirs, reach)
    _require(found, len(here), config, source, target, "matched")
    sure = _surest(our_weight[here], their_weight[there])
    here, there = here[sure], there[sure]
    if config.model == "polynomial":
        frame = predict(frame_points(size, 25))
        degree = _best_degree(predicted[here], theirs[there], degree, frame)
    polynomial, keep = fit_robust(predicted[here], theirs[there], degree)
    given, observed = predicted[here][keep], theirs[there][keep]
    _require(found, len(given), config, source, target, "matched")

    local = None
    if config.local:
        mapped = polynomial(given)
        local = choose_local(mapped, observed - mapped)
    complete = _compose(polynomial, local)
    source_wcs = fit_wcs(
        lambda points: complete(predict(points)), size, target_wcs, tables=local is not None
    )
    return Registration(
        source_wcs=source_wcs,
        target_wcs=target_wcs,
        method="sources",
        model=config.model if config.model != "polynomial" else f"polynomial {degree}",
        found=(len(found[0]), len(found[1])),
        rejected=int((~keep).sum()),
        positions=observed,
        before=observed - given,
        after=observed - complete(given),
        held_out=_held_out(given, observed, degree, local),
        polynomial=polynomial,
        local=local,
    )


def _start(
    predicted: Floats,
    observed: Floats,
    source: SkyImage,
    target: SkyImage,
    config: RegisterConfig,
    found: list[Sources],
    both: bool,
) -> Map:
    """The first correction, good to a few pixels: a voted shift, or asterisms without a WCS."""
    if not both:
        size, onto = source.data.shape[1:], target.data.shape[1:]
        coarse = coarse_map(predicted, observed, size, onto)
        if coarse is None:
            _require(found, 0, config, source, target, "matched")
            raise AssertionError("unreachable: zero matches are always too few")
        return coarse
    assert target.wcs is not None
    pixel = target.pixel_scale
    assert pixel is not None
    reach = config.max_shift / pixel
    finite = predicted[np.isfinite(predicted).all(axis=1)]
    tolerance = max(1.5, reach / 10)
    shift = vote_shift(finite, observed, reach, tolerance)

    def shifted(points: Floats) -> Floats:
        return points + shift

    # Halved again and again: a shift alone may leave the corners off by a small rotation.
    radii = [r for r in tolerance * 0.5 ** np.arange(8) if r > _REACH]
    degree = 0 if config.model == "shift" else 1
    return refine(finite, observed, shifted, [*radii, _REACH], degree)[0]


def _identity(points: Floats) -> Floats:
    return points


def _compose(polynomial: Polynomial, local: LocalShift | None) -> Map:
    def complete(points: Floats) -> Floats:
        mapped = polynomial(points)
        return mapped if local is None else mapped + local(mapped)

    return complete


def _best_degree(given: Floats, observed: Floats, degree: int, frame: Floats) -> int:
    """The degree, of 1 to ``degree``, that predicts held-out pairs best and stays tame.

    A polynomial is free where there is no source: one that folds or blows up anywhere on the
    source's ``frame`` (25 x 25 points) has no inverse there, and a WCS needs one.
    """
    errors = []
    for trial in range(1, degree + 1):
        residual = np.full(given.shape, np.inf)
        for held in folds(len(given)):
            kept = np.setdiff1d(np.arange(len(given)), held)
            if len(kept) >= parameters(trial):
                polynomial, _ = fit_robust(given[kept], observed[kept], trial)
                residual[held] = observed[held] - polynomial(given[held])
        polynomial, _ = fit_robust(given, observed, trial)
        mapped = polynomial(frame).reshape(25, 25, 2)
        along, across = np.diff(mapped, axis=0)[:, :-1], np.diff(mapped, axis=1)[:-1]
        area = along[..., 0] * across[..., 1] - along[..., 1] * across[..., 0]
        tame = bool((area / np.median(area) > 0.8).all() and (area / np.median(area) < 1.25).all())
        errors.append(np.median(np.hypot(*residual.T)) if tame or trial == 1 else np.inf)
    return 1 + int(np.argmin(errors))


def _held_out(given: Floats, observed: Floats, degree: int, local: LocalShift | None) -> Floats:
    """Residuals (N, 2) of every pair under a map fitted without it; NaN where too few are left."""
    residual = np.full(given.shape, np.nan)
    for held in folds(len(given)):
        kept = np.setdiff1d(np.arange(len(given)), held)
        if len(kept) < parameters(degree):
            return residual
        polynomial = fit_polynomial(given[kept], observed[kept], degree)
        mapped = polynomial(given[kept])
        again = local and fit_local(mapped, observed[kept] - mapped, local.smoothing)
        residual[held] = observed[held] - _compose(polynomial, again)(given[held])
    return residual


def _relative_scale(to_target: Map, shape: tuple[int, int]) -> float:
    """Size of a source pixel in target pixels, at the middle of the source."""
    middle = np.array([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]])
    corners = to_target(middle + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    area = abs(np.linalg.det(corners[1:] - corners[0]))
    return float(np.sqrt(area)) if np.isfinite(area) and area > 0 else 1.0


def _recentre(image: NDArray[np.float32], sources: Sources, window: float) -> tuple[Floats, Floats]:
    """Positions measured in another window, and significances, of the sources that have one."""
    if abs(window / WINDOW - 1) < 0.02:
        return sources.positions, sources.significance
    moved, good = centroid(image, sources.positions, window)
    return moved[good], sources.significance[good]


def _surest(ours: Floats, theirs: Floats) -> NDArray[np.int64]:
    """The better half of the pairs, where there are plenty: faint sources add centroid noise only.

    Chosen by how clearly they are seen in both images, never by how well they agree.
    """
    rank = np.minimum(ours.argsort().argsort(), theirs.argsort().argsort())
    return np.argsort(-rank, kind="stable")[: max(_ENOUGH, len(rank) // 2)]


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


def _require(
    found: list[Sources],
    count: int,
    config: RegisterConfig,
    source: SkyImage,
    target: SkyImage,
    what: str,
) -> None:
    """Too few sources, detected or matched, is an error with its counts and its remedy."""
    degree = {"shift": 0, "affine": 1, "polynomial": config.degree}[config.model]
    needed = max(config.min_sources, parameters(degree))
    if count < needed:
        raise ImgturboError(
            f"{_name(source)} and {_name(target)}: too few sources to register, {count} {what} "
            f"of {needed} needed ({len(found[0])} and {len(found[1])} detected, "
            f"model {config.model!r}); {_REMEDY}"
        )
