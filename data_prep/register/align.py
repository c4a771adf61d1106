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

from data_prep.register.chance import evidence
from data_prep.register.coordinates import fit_wcs, frame_points, nominal_wcs, pixels_to_pixels
from data_prep.register.local import choose_local
from data_prep.register.matching import coarse_map, refine, vote_shift
from data_prep.register.pairs import best_degree, compose, find_pairs, held_out, shares
from data_prep.register.polynomial import fit_weighted, formal_error, parameters
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
        same = source.wcs if both else fit_wcs(_identity, size, target_wcs)
        return Registration.without_sources(same, target_wcs, "none", "none")

    images = [luminance(image.data) for image in (source, target)]
    found = [find_sources(*image) for image in images]
    _require(found, min(len(s) for s in found), config, source, target, "detected")
    degree = {"shift": 0, "affine": 1, "polynomial": config.degree}[config.model]

    start = _start(predict, source, target, config, found, both)
    # From here on both images are measured in the same window on the sky.
    scale = _relative_scale(lambda points: start(predict(points)), size)
    window = WINDOW * max(1.0, scale)
    ours, theirs = (
        _measured(image[0], sources, width)
        for image, sources, width in zip(images, found, (window / scale, window), strict=True)
    )
    predicted = predict(ours.positions)
    usable = np.isfinite(predicted).all(axis=1)
    predicted, noise = predicted[usable], scale * ours.noise[usable]

    reach = _REACH * max(1.0, scale)
    low = min(degree, 1)
    working, _, _ = refine(predicted, theirs.positions, start, [2 * reach, reach, reach], low)
    search = find_pairs(predicted, noise, theirs, working, low, reach)
    _require(found, len(search), config, source, target, "matched")
    limit = config.max_shift / float(target.pixel_scale or 1) if both else None
    bent = low if both else 1  # without coordinates the search bends the map in any case
    sure = evidence(search, predicted, theirs, images[1][1], bent, reach, limit)
    if not sure.enough:
        raise ImgturboError(
            f"{_name(source)} and {_name(target)}: the match is no better than chance, {sure}; "
            f"{_other_sky(config, both)}"
        )
    pairs = search.surest()
    if config.model == "polynomial":
        degree = best_degree(pairs, degree, predict(frame_points(size, 25)))
    polynomial, total = fit_weighted(pairs.given, pairs.observed, degree, pairs.noise)
    if limit is not None:
        moved = float(np.median(np.hypot(*(pairs.observed - pairs.given).T)))
        if moved > limit + reach:
            raise ImgturboError(
                f"{_name(source)} and {_name(target)}: the images match {moved / limit:.2g} times "
                f"further off than 'prepare.register.max_shift' ({config.max_shift} arcsec); raise "
                "it if their coordinates may be that wrong"
            )

    local = None
    if config.local:
        mapped = polynomial(pairs.given)
        local = choose_local(mapped, pairs.observed - mapped, total)
    complete = compose(polynomial, local)
    common = _common_frame(predict(frame_points(size, 33)), complete, target.data.shape[1:])
    source_wcs = fit_wcs(
        lambda points: complete(predict(points)), size, target_wcs, tables=local is not None
    )
    return Registration(
        source_wcs=source_wcs,
        target_wcs=target_wcs,
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


def _start(
    predict: Map,
    source: SkyImage,
    target: SkyImage,
    config: RegisterConfig,
    found: list[Sources],
    both: bool,
) -> Map:
    """The first correction, good to a few pixels: a voted shift, or asterisms without a WCS."""
    predicted, observed = predict(found[0].positions), found[1].positions
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


def _relative_scale(to_target: Map, shape: tuple[int, int]) -> float:
    """Size of a source pixel in target pixels, at the middle of the source."""
    middle = np.array([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]])
    corners = to_target(middle + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    area = abs(np.linalg.det(corners[1:] - corners[0]))
    return float(np.sqrt(area)) if np.isfinite(area) and area > 0 else 1.0


def _common_frame(predicted: Floats, complete: Map, shape: tuple[int, int]) -> Floats:
    """Those of the source's points (K, 2) that lie on the target (H, W); all where none does."""
    predicted = predicted[np.isfinite(predicted).all(axis=1)]
    there = complete(predicted)
    inside = (there > -0.5).all(axis=1) & (there < np.array(shape[::-1]) - 0.5).all(axis=1)
    return predicted[inside] if inside.any() else predicted


def _measured(image: NDArray[np.float32], sources: Sources, window: float) -> Sources:
    """The sources measured in another window, those that have a centroid there."""
    return sources if abs(window / WINDOW - 1) < 0.02 else measure(image, sources, window)


def _other_sky(config: RegisterConfig, both: bool) -> str:
    """What to do where nothing shows that two images are of one sky."""
    further = (
        f"raise prepare.register.max_shift ({config.max_shift} arcsec) if their coordinates are "
        "worse than that"
        if both
        else "name pictures that overlap"
    )
    return f"pair files of the same sky, {further}, or set prepare.register.method=none"


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
