"""Train and validation are different *sky*, never random tiles of the same sky.

Neighbouring tiles share galaxies, halos and correlated noise, so a random tile is no test. Here
each field is divided into rectangles first, and only then into tiles:

``blocks``  squares of ``block`` × ``block`` tiles; a hash of each square's sky position orders
            them, and the first ones, up to ``fraction`` of the valid sky, are validation;
``rows``    rows [first, last) of the target are validation, the rest is training; without rows
            the last ``fraction`` of those that each field has;
``field``   whole fields are held out, named by ``split: validation`` or chosen by the same hash.

V is the union of all fields' validation rectangles on the sky. No training tile touches V, nor
comes nearer to it than the guard, not even a tile of *another* field that sees the same sky:
rectangles go from field to field as directions in the sky, whatever frames their headers are in
(pictures without a WCS are taken for different sky).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from skimage.draw import polygon

from imgturbo.config import SplitConfig
from imgturbo.errors import ImgturboError
from imgturbo.files import sha256
from imgturbo.sky.frames import directions, icrs, to_pixels
from imgturbo.sky.wcs import pixel_area

__all__ = ["Areas", "FieldSky", "Guarded", "Rect", "divide", "exclusion", "guarded"]

_GUARDS = (32, 16, 8, 4, 2, 1, 0)  # pixels; the first is more than most galaxies are wide
_LEFT = 0.5  # of the training sky, by a guard that nobody asked for
_TORN = 20.0  # times the usual step along an outline: there a map is torn
_PIXELS = 1 << 18  # asked for their place in one go


class Rect(NamedTuple):
    """Pixels [y0, y1) × [x0, x1) of a field's grid."""

    y0: int
    y1: int
    x0: int
    x1: int


@dataclass(frozen=True)
class FieldSky:
    """What the division needs to know of a field.

    Attributes:
        name: of the field.
        kind: which sides it has; each kind is divided in the same proportion.
        valid: (H, W) bool, True where every side that it has was measured.
        wcs: of the grid, None where the sky position is unknown (pictures).
        asked: the division that the config asks for.
        scale: pixels of the grid a pixel of the target file, for ``rows``.
    """

    name: str
    kind: Literal["pair", "source", "target"]
    valid: NDArray[np.bool_]
    wcs: WCS | None = None
    asked: Literal["auto", "train", "validation"] = "auto"
    scale: float = 1.0


@dataclass(frozen=True)
class Areas:
    """Rectangles of one field; tiles are laid from the first pixel of each."""

    train: tuple[Rect, ...]
    validation: tuple[Rect, ...]


def divide(fields: Sequence[FieldSky], config: SplitConfig, tile: int) -> list[Areas]:
    """Areas of each field. What training must avoid besides is :func:`exclusion`'s.

    Raises:
        ImgturboError: ``rows`` outside the image.
    """
    validation: list[list[Rect]] = [[] for _ in fields]
    for index, field in enumerate(fields):
        if field.asked == "validation":
            validation[index] = [_whole(field)]
        elif field.asked == "auto" and config.method == "rows" and (config.rows or config.fraction):
            validation[index] = [_validation_rows(field, config)]
    if config.method != "rows" and config.fraction > 0:
        for kind in ("pair", "source", "target"):
            free = [i for i, f in enumerate(fields) if f.kind == kind and f.asked == "auto"]
            candidates = _candidates(fields, free, config, tile)
            for index, rect in _hold_out(fields, candidates, config.fraction):
                validation[index].append(rect)
    return [
        Areas(_training(field, rects, config), tuple(sorted(rects)))
        for field, rects in zip(fields, validation, strict=True)
    ]


def _whole(field: FieldSky) -> Rect:
    height, width = field.valid.shape
    return Rect(0, height, 0, width)


def _validation_rows(field: FieldSky, config: SplitConfig) -> Rect:
    height, width = field.valid.shape
    if config.rows is None:
        seen = np.flatnonzero(field.valid.any(1))  # not all of a picture need be covered
        first, last = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, height)
        return Rect(last - round(config.fraction * (last - first)), last, 0, width)
    first, last = config.rows
    y0, y1 = math.floor(first * field.scale), min(math.ceil(last * field.scale), height)
    if not 0 <= y0 < y1:
        raise ImgturboError(
            f"field {field.name}: 'prepare.split.rows' is [{first}, {last}) but the target has "
            f"{height / field.scale:.0f} rows; choose rows within it"
        )
    return Rect(y0, y1, 0, width)


def _training(field: FieldSky, held_out: Sequence[Rect], config: SplitConfig) -> tuple[Rect, ...]:
    whole = _whole(field)
    if whole in held_out:
        return ()
    if config.method != "rows" or not held_out:
        return (whole,)
    # The bands above and below the strip, so that tiles fill each from its own first row.
    y0, y1, *_ = held_out[0]
    above, below = whole._replace(y1=y0), whole._replace(y0=y1)
    return tuple(rect for rect in (above, below) if rect.y1 > rect.y0)


def _candidates(
    fields: Sequence[FieldSky], free: Sequence[int], config: SplitConfig, tile: int
) -> list[tuple[int, Rect]]:
    """Rectangles that may be held out, with the index of their field."""
    if config.method == "field":
        return [(i, _whole(fields[i])) for i in free]
    block = config.block
    while True:
        found = [
            (i, rect)
            for i in free
            for rect in _blocks(fields[i].valid.shape, block * tile)
            if fields[i].valid[rect.y0 : rect.y1, rect.x0 : rect.x1].any()
        ]
        # On a small sky one block would be far more than the fraction: take smaller ones.
        if block == 1 or len(found) >= 1 / config.fraction:
            return found
        block //= 2


def _blocks(shape: tuple[int, ...], side: int) -> list[Rect]:
    """Squares that cover an image; the last of each line takes what remains."""
    edges = []
    for length in shape:
        count = max(1, length // side)
        edges.append([*(side * i for i in range(count)), length])
    ys, xs = edges
    return [Rect(y0, y1, x0, x1) for y0, y1 in pairwise(ys) for x0, x1 in pairwise(xs)]


def _hold_out(
    fields: Sequence[FieldSky], candidates: Sequence[tuple[int, Rect]], fraction: float
) -> list[tuple[int, Rect]]:
    """Candidates in the order of their hash, while each brings the sum nearer to the fraction.

    At least one is held out and one is left, where there are two.
    """
    if len(candidates) < 2:
        return []
    weights = {
        (i, rect): int(fields[i].valid[rect.y0 : rect.y1, rect.x0 : rect.x1].sum())
        for i, rect in candidates
    }
    goal = fraction * sum(weights.values())
    held: list[tuple[int, Rect]] = []
    total = 0.0
    for candidate in sorted(candidates, key=lambda c: _hash(fields[c[0]], c[1])):
        if total + weights[candidate] / 2 <= goal and len(held) < len(candidates) - 1:
            held.append(candidate)
            total += weights[candidate]
    return held or [min(candidates, key=lambda c: weights[c])]


def _hash(field: FieldSky, rect: Rect) -> str:
    """A number that depends on the place in the sky alone, where that is known."""
    x, y = (rect.x0 + rect.x1 - 1) / 2, (rect.y0 + rect.y1 - 1) / 2
    if field.wcs is None:
        place = f"{field.name} {y} {x}"
    else:
        ra, dec = icrs(field.wcs, x, y)
        place = f"{float(ra):.4f} {float(dec):.4f}"
    return sha256(place.encode())


# ------------------------------------------------------------------- what training must avoid


class Guarded(NamedTuple):
    """Pixels between training and validation sky, and what each field's training must avoid."""

    guard: int
    excluded: list[NDArray[np.bool_]]


def guarded(fields: Sequence[FieldSky], areas: Sequence[Areas], guard: int | None) -> Guarded:
    """What training must avoid: V and the guard about it, (H, W) a field (:func:`exclusion`).

    Args:
        guard: pixels, as asked for. None: 32, or the largest smaller one that leaves half of the
            training sky, with a warning.
    """

    def excluded(pixels: int) -> list[NDArray[np.bool_]]:
        return [exclusion(fields, areas, index, pixels) for index in range(len(fields))]

    if guard is not None:
        return Guarded(guard, excluded(guard))
    bare = excluded(0)
    whole = _training_sky(fields, areas, bare)
    for pixels in _GUARDS:
        masks = excluded(pixels) if pixels else bare
        left = _training_sky(fields, areas, masks)
        if left >= _LEFT * whole:
            break
    if pixels < _GUARDS[0]:
        warnings.warn(
            f"the fields are so small that training and validation sky are {pixels} pixels apart "
            f"(in larger ones {_GUARDS[0]}) and may share a galaxy; 'prepare.split.guard' sets it",
            stacklevel=2,
        )
    return Guarded(pixels, masks)


def _training_sky(
    fields: Sequence[FieldSky], areas: Sequence[Areas], excluded: Sequence[NDArray[np.bool_]]
) -> int:
    """Measured pixels of all training rectangles that are not excluded."""
    return sum(
        int((field.valid & ~mask)[r.y0 : r.y1, r.x0 : r.x1].sum())
        for field, area, mask in zip(fields, areas, excluded, strict=True)
        for r in area.train
    )


def exclusion(
    fields: Sequence[FieldSky], areas: Sequence[Areas], index: int, guard: int
) -> NDArray[np.bool_]:
    """(H, W) mask of a field, True where no training tile may reach: V widened by the guard."""
    here = fields[index]
    mask = np.zeros(here.valid.shape, bool)
    for rect in areas[index].validation:
        mask[
            max(rect.y0 - guard, 0) : rect.y1 + guard, max(rect.x0 - guard, 0) : rect.x1 + guard
        ] = True
    for other, there in enumerate(areas):
        if other != index and there.validation and _may_overlap(here, fields[other]):
            for rect in there.validation:
                _fill_projected(mask, here, fields[other], rect, guard)
    return mask


def _outline(rect: Rect, margin: float, points: int = 65) -> tuple[NDArray, NDArray]:
    """Pixel x, y along the outer edge of a rectangle."""
    t = np.linspace(0, 1, points)
    y0, y1 = rect.y0 - 0.5 - margin, rect.y1 - 0.5 + margin
    x0, x1 = rect.x0 - 0.5 - margin, rect.x1 - 0.5 + margin
    x = np.concatenate([x0 + (x1 - x0) * t, 0 * t + x1, x1 + (x0 - x1) * t, 0 * t + x0])
    y = np.concatenate([0 * t + y0, y0 + (y1 - y0) * t, 0 * t + y1, y1 + (y0 - y1) * t])
    return x, y


def _may_overlap(a: FieldSky, b: FieldSky) -> bool:
    """Whether the circles around two fields touch; far fields would project to nonsense."""
    if a.wcs is None or b.wcs is None:
        return False
    (centre_a, radius_a), (centre_b, radius_b) = _circle(a), _circle(b)
    # Of a map of much of the sky the rim may lie between the points of the lattice.
    reach = 1.1 * (radius_a + radius_b)
    return reach > 1.0 or float(_angles(centre_a, centre_b[None])[0]) <= reach


def _circle(field: FieldSky) -> tuple[NDArray[np.float64], float]:
    """The direction of a field's middle, and the largest angle from there to its rim."""
    assert field.wcs is not None
    height, width = field.valid.shape
    x, y = np.meshgrid(np.linspace(-0.5, width - 0.5, 9), np.linspace(-0.5, height - 0.5, 9))
    there = directions(field.wcs, x, y)
    seen = there[np.isfinite(there).all(axis=-1)]  # the corners of an all-sky map are no sky
    if not len(seen):
        return np.array([1.0, 0.0, 0.0]), math.pi
    middle = there[4, 4] if np.isfinite(there[4, 4]).all() else seen[0]
    return middle, float(_angles(middle, seen).max())


def _angles(vector: NDArray, others: NDArray) -> NDArray:
    # The chord keeps its precision at arcseconds, where the cosine does not.
    return 2 * np.arcsin(np.clip(np.linalg.norm(others - vector, axis=1) / 2, 0, 1))


def _fill_projected(
    mask: NDArray[np.bool_], here: FieldSky, there: FieldSky, rect: Rect, guard: int
) -> None:
    """Mark the pixels of ``here`` that see a rectangle of ``there``, a pixel's margin included."""
    assert here.wcs is not None
    assert there.wcs is not None
    margin = (guard + 1) * _stretch(here, there, rect)
    u, v = _outline(rect, margin)
    x, y = to_pixels(there.wcs, here.wcs, u, v)
    walked = np.hypot(np.diff(u), np.diff(v))
    steps = np.hypot(np.diff(x), np.diff(y))[walked > 0] / walked[walked > 0]
    if np.isfinite(steps).all() and steps.max() <= _TORN * np.median(steps):
        rows, cols = polygon(y, x, mask.shape)
        mask[rows, cols] = True
        return
    # Part of the outline is out of reach, or on both sides of a seam: ask every pixel.
    height, width = mask.shape
    step = max(1, _PIXELS // width)
    for top in range(0, height, step):
        y, x = np.mgrid[top : min(top + step, height), :width].astype(float)
        u, v = to_pixels(here.wcs, there.wcs, x, y)
        inside = (u > rect.x0 - 0.5 - margin) & (u < rect.x1 - 0.5 + margin)
        mask[top : top + step] |= (
            inside & (v > rect.y0 - 0.5 - margin) & (v < rect.y1 - 0.5 + margin)
        )


def _stretch(here: FieldSky, there: FieldSky, rect: Rect) -> float:
    """The most pixels of ``there`` that a pixel of ``here`` spans in any direction; at least 1."""
    x = np.array([(rect.x0 + rect.x1 - 1) / 2])
    y = np.array([(rect.y0 + rect.y1 - 1) / 2])
    x, y = to_pixels(there.wcs, here.wcs, x, y)
    if not np.isfinite(x[0]):
        height, width = here.valid.shape
        x, y = np.array([(width - 1) / 2]), np.array([(height - 1) / 2])
    u, v = to_pixels(
        here.wcs, there.wcs, x + np.array([-0.5, 0.5, 0, 0]), y + np.array([0, 0, -0.5, 0.5])
    )
    matrix = np.array([[u[1] - u[0], u[3] - u[2]], [v[1] - v[0], v[3] - v[2]]])
    if np.isfinite(matrix).all():
        return max(1.0, float(np.linalg.norm(matrix, 2)))
    ours, theirs = pixel_area(here.wcs), pixel_area(there.wcs)
    return max(1.0, math.sqrt(ours / theirs)) if ours and theirs else 1.0
