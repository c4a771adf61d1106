"""Intervals that hold on other sky: fitted on a field that trained nothing and selected nothing.

The field is translated as any user would do it, on the truth's own pixels, and the truth is held
against the quantiles of the draws: r = (x − Q_q)/(s + s₀) in every pixel. By band and by bin of
brightness :mod:`imgturbo.metrics.conformal` says by how much each quantile must be moved. The
guarantee costs the most pixels of a block over all pixels of the bin, so that a block counts at
most 1024 of the sky's, 256 of faint light's and 64 of each brighter bin's (one galaxy does not
rule); of what counts a sixteenth, a quarter, all is drawn at random, which costs nothing. Bins that
are too few for their level join the next fainter one, and a block then counts no more in all of
them than it may in one.

What is guaranteed is an average over blocks of sky like these, not a promise of each pixel, and
not of other skies: depth, point spread function and crowding must be alike. It is measured too, on
the same field, a fold of it at a time, by intervals that were fitted on the others.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from imgturbo.bundle import Bundle, Intervals
from imgturbo.bundle.folder import Direction
from imgturbo.bundle.intervals import EDGES, bins_of, spread_of
from imgturbo.errors import ImgturboError
from imgturbo.metrics.conformal import enough, shift
from imgturbo.metrics.estimates import as_json, bootstrap
from imgturbo.mosaic import translate_file
from imgturbo.mosaic.reducers import quantile_name
from imgturbo.scoring.together import Matched, as_sky, in_unit_of, with_bands_of
from imgturbo.sky import SkyImage
from imgturbo.sky.hdus import hdus_of
from imgturbo.sky.stretch import Stretch

__all__ = ["CAVEAT", "Scores", "fit_intervals", "fitted", "ends_of"]

Array = NDArray[np.float64]

CAVEAT = (
    "Guaranteed on average over blocks of sky that are exchangeable with those of the fit (the "
    "same depth, point spread function and crowding): pixels within a block may depend on each "
    "other, but another field is another population, and no pixel or source by itself is promised "
    "anything."
)

BLOCK = 32  # pixels a side: wider than most galaxies and than any correlation of the noise
CAP = 64  # pixels of a bin that count in a block, at most
_MOST = (1024, 256, 64, 64, 64)  # pixels of a block and bin that stand for themselves; see the page
_ALL = (slice(None), slice(None))
_FOLDS = 5
_CHUNK = 4  # blocks a side of what is left out together
_BRIGHT = 2  # the first bin that is called bright: y ≥ 0.25, as calibrate's


class Scores(NamedTuple):
    """Pixels of one band, (n,) each but ``r``.

    Attributes:
        r: (n, Q) truth less quantile, in spreads.
        bin: of brightness.
        block: its number.
        weight: how many pixels of its block and bin it stands for.
    """

    r: Array
    bin: NDArray[np.intp]
    block: NDArray[np.intp]
    weight: Array

    def part(self, chosen: NDArray[np.bool_]) -> Scores:
        """Of these pixels."""
        return Scores(self.r[chosen], self.bin[chosen], self.block[chosen], self.weight[chosen])


def ends_of(levels: Sequence[float]) -> tuple[float, ...]:
    """The quantiles (ascending) that are the ends of central intervals, and the median.

    Example:
        >>> ends_of((0.5, 0.9))
        (0.05, 0.25, 0.5, 0.75, 0.95)
    """
    ends = {0.5}
    for level in levels:
        if not 0 < level < 1:
            raise ImgturboError(f"level {level}: an interval's level lies between 0 and 1")
        ends |= {round((1 - level) / 2, 10), round((1 + level) / 2, 10)}
    return tuple(sorted(ends))


def fit_intervals(
    bundle: Bundle,
    source: Sequence[Path],
    truth: Sequence[Path],
    *,
    samples: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
    levels: Sequence[float] = (0.5, 0.68, 0.9, 0.95),
    device: str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Intervals:
    """Fit a bundle's intervals on a field; nothing is written (:func:`imgturbo.bundle.annotate`).

    Args:
        bundle: its decoder must be stochastic.
        source, truth: files of one patch of sky, as of ``translate`` and ``evaluate``.
        samples, temperature, seed: of the draws; the intervals are of so many draws at this
            temperature.
        levels: of the central intervals.
        device: None: the first CUDA device, else the CPU.
        progress: told what is being done, and the fraction done.

    Raises:
        ImgturboError: a file that trained the bundle, a deterministic model, images that do not
            fit, a field too small for the levels.
    """
    _refuse_training(bundle, [*source, *truth])
    if samples < 2:
        raise ImgturboError(f"{samples} samples have no spread; draw 2 or more, better 32")
    way, quantiles = bundle.direction(), ends_of(levels)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        made = Path(folder) / "prediction.fits"
        # Quantiles beyond the outermost draw are moved like the others.
        warnings.filterwarnings("ignore", ".*beyond stands their outermost one")
        translate_file(
            bundle, list(source), made, grid=truth[0], samples=samples, temperature=temperature,
            seed=seed, quantiles=quantiles, raw_quantiles=True, device=device, progress=progress,
        )  # fmt: skip
        scores = _scores(made, truth, way, quantiles, seed)
    return fitted(
        scores, way, samples, temperature, quantiles, [p.name for p in source],
        [p.name for p in truth],
    )  # fmt: skip


def fitted(
    scores: dict[str, Scores],
    way: Direction,
    samples: int,
    temperature: float,
    levels: tuple[float, ...],
    source: list[str],
    truth: list[str],
) -> Intervals:
    """Intervals of scores by band; the arguments as of :func:`fit_intervals`, levels of quantiles.

    Raises:
        ImgturboError: too few blocks for a level.
    """
    blocks = len({int(block) for of in scores.values() for block in np.unique(of.block)})
    return Intervals(
        way.name,
        samples,
        temperature,
        levels,
        EDGES,
        {band: tuple(map(tuple, _table(of, levels, band).tolist())) for band, of in scores.items()},
        {
            "source": source,
            "truth": truth,
            "block": BLOCK,
            "blocks": blocks,
            "pixels": {band: len(of.r) for band, of in scores.items()},
            "measured": _measured(scores, levels),
            "caveat": CAVEAT,
        },
    )


def _refuse_training(bundle: Bundle, files: Sequence[Path]) -> None:
    """Files that are those of the training or lie where those lay."""
    for field in bundle.config.prepare.fields:
        for trained in [*field.source, *field.target]:
            for path in files:
                if trained.exists() and path.exists() and path.samefile(trained):
                    raise ImgturboError(
                        f"{path}: trained this bundle or selected its weights (field {field.name}),"
                        " so that nothing is guaranteed by it; give a field that did neither"
                    )


# ---------------------------------------------------------------------------------- scores


@dataclass(frozen=True, eq=False)
class _Strip:
    """Rows of the prediction's planes: mean, spread and quantiles, and the truth."""

    mean: Array
    std: Array
    quantiles: Array
    truth: Array


def _scores(
    made: Path, truth: Sequence[Path], way: Direction, levels: Sequence[float], seed: int
) -> dict[str, Scores]:
    """By band, of all blocks of the field."""
    prediction = as_sky(made, "prediction")
    seen = in_unit_of(
        prediction, with_bands_of(prediction, as_sky(list(truth), "truth"), Matched())
    )
    if seen.shape != prediction.shape:
        raise ImgturboError(
            f"{', '.join(map(str, truth))}: lie on several grids; bring them to one first "
            "(imgturbo prepare)"
        )
    stretch = Stretch.from_header(prediction.header or {}, prediction.bands) or way.output.stretch
    random = np.random.default_rng(seed)
    found: dict[str, list[Scores]] = {band: [] for band in prediction.bands}
    for number, strip in enumerate(_strips(made, seen, levels)):
        bins = bins_of(strip.mean, stretch, EDGES)
        spread = spread_of(strip.std, stretch)
        r = (strip.truth - strip.quantiles) / spread
        for band, name in enumerate(prediction.bands):
            found[name].append(_of_strip(r[:, band], bins[band], number, random))
    return {
        name: Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        for name, parts in found.items()
    }


def _strips(made: Path, truth: SkyImage, levels: Sequence[float]) -> Iterator[_Strip]:
    """A row of blocks at a time: draws of a mosaic need not fit into the memory."""
    bands, height, width = truth.shape
    with hdus_of(made) as hdus:
        planes = {(hdu.name, hdu.ver): hdu for hdu in hdus}
        names = ["SCI", "STD", *map(quantile_name, levels)]
        for top in range(0, height, BLOCK):
            rows = slice(top, min(height, top + BLOCK))
            read = [
                np.stack(
                    [
                        planes[name, band + 1].window(_ALL, rows, slice(0, width), np.float64)
                        for band in range(bands)
                    ]
                )
                for name in names
            ]
            mean, std, *quantiles = read
            seen = truth.data[:, rows].astype(np.float64)
            yield _Strip(mean, std, np.stack(quantiles), seen)


def _of_strip(r: Array, bins: NDArray[np.intp], row: int, random: np.random.Generator) -> Scores:
    """The pixels that count of each block and bin, of r (Q, h, w): see the module's page."""
    known = np.isfinite(r).all(0)
    _, cols = np.nonzero(known)
    block, bin_ = cols // BLOCK, bins[known]
    group = block * (len(EDGES) + 1) + bin_
    order = np.lexsort((random.random(len(group)), group))  # by group, at random within
    ordered = group[order]
    first = np.searchsorted(ordered, ordered)  # where its group begins
    place = np.arange(len(ordered)) - first
    size = np.searchsorted(ordered, ordered, side="right") - first
    most = np.asarray(_MOST)[bin_[order]]
    wanted = np.minimum(size, most) * (CAP / most)  # a mean: how many it is, chance decides
    chance = random.random(len(np.unique(ordered)))[np.unique(ordered, return_inverse=True)[1]]
    taken = place < np.floor(wanted + chance)
    kept = order[taken]
    weight = (size / wanted)[taken]
    return Scores(r[:, known].T[kept], bin_[kept], block[kept] + (row << 20), weight)


# ------------------------------------------------------------------------------------- fits


def _table(scores: Scores, levels: Sequence[float], band: str) -> Array:
    """c (G, Q): bins that are too few join the next fainter one, the faintest the next brighter."""
    most = max(max(levels), 1 - min(levels))
    joined = _joined(scores, most)
    if not joined:
        raise ImgturboError(
            f"{band}: {len(np.unique(scores.block))} blocks of sky ({len(scores.r)} pixels) cannot "
            f"guarantee a quantile of {most:g}; give a larger field, or lower --levels"
        )
    table = np.empty((len(EDGES) + 1, len(levels)))
    for group in joined:
        r = scores.r[_counted(scores, group)]
        table[group] = [shift(r[:, place], level, CAP) for place, level in enumerate(levels)]
    return table


def _counted(scores: Scores, group: list[int]) -> NDArray[np.intp]:
    """Numbers of the pixels that count of bins that are one: of a block no more than of one bin.

    A pixel that stands for more goes in with that chance, so that what is kept is of the sky.
    """
    of_group = np.flatnonzero(np.isin(scores.bin, group))
    if len(group) == 1:
        return of_group
    random = np.random.default_rng(0)
    weight = scores.weight[of_group]
    draw = random.exponential(size=len(of_group)) / weight  # a sample by weight, without again
    order = np.lexsort((draw, scores.block[of_group]))
    block = scores.block[of_group][order]
    place = np.arange(len(block)) - np.searchsorted(block, block)
    return np.sort(of_group[order[place < CAP]])


def _joined(scores: Scores, level: float) -> list[list[int]]:
    """Groups of bins, each with enough pixels for the level; none where all are too few."""

    def enough_of(group: list[int]) -> bool:
        return enough(len(_counted(scores, group)), level, CAP)

    groups: list[list[int]] = []
    waiting: list[int] = []
    for number in reversed(range(len(EDGES) + 1)):
        waiting = [number, *waiting]
        if enough_of(waiting):
            groups.append(waiting)
            waiting = []
    if waiting and groups:
        last = waiting + groups.pop()
        groups = [*groups, last] if enough_of(last) else []
    every = list(range(len(EDGES) + 1))
    return groups or ([every] if enough_of(every) else [])


# --------------------------------------------------------------------------------- measured


def _measured(scores: dict[str, Scores], levels: Sequence[float]) -> dict[str, Any]:
    """Coverage of each central interval on folds that were left out: of all, bright, each band.

    ``{"0.9": {"all": estimate, "bright": estimate, "bands": {band: estimate}}}``; nothing where a
    fold's others are too few.
    """
    inside: dict[str, list[Array]] = {}
    for band, of in scores.items():
        try:
            inside[band] = _left_out(of, levels, band)
        except ImgturboError:
            return {}
    result = {}
    for place, level in enumerate(levels[: len(levels) // 2]):
        hits = {band: found[place] for band, found in inside.items()}
        both = [(hits[band], of) for band, of in scores.items()]
        bright = [(hit[of.bin >= _BRIGHT], of.part(of.bin >= _BRIGHT)) for hit, of in both]
        result[f"{1 - 2 * level:g}"] = {
            "all": _share(both),
            "bright": _share(bright),
            "bands": {band: _share([(hits[band], of)]) for band, of in scores.items()},
        }
    return result


def _left_out(scores: Scores, levels: Sequence[float], band: str) -> list[Array]:
    """Of each central interval, widest first, which pixels (n,) lie in it."""
    row, col = scores.block >> 20, scores.block & 0xFFFFF
    chunk = (row // _CHUNK) * 1000003 + col // _CHUNK
    number = np.unique(chunk, return_inverse=True)[1]
    fold = np.random.default_rng(0).permutation(number.max() + 1)[number] % _FOLDS
    pairs = len(levels) // 2
    inside = [np.zeros(len(fold)) for _ in range(pairs)]
    for one in range(_FOLDS):
        out = fold == one
        if not out.any():
            continue
        c = _table(scores.part(~out), levels, band)[scores.bin[out]]
        for place in range(pairs):
            low, high = place, len(levels) - 1 - place
            r = scores.r[out]
            inside[place][out] = (r[:, low] >= c[:, low]) & (r[:, high] <= c[:, high])
    return inside


def _share(parts: Sequence[tuple[Array, Scores]]) -> dict[str, Any]:
    """The share of the sky within, its error by blocks."""
    blocks = np.concatenate([of.block for _, of in parts])
    if not blocks.size:
        return {"value": None, "error": None, "n": 0}
    number = np.unique(blocks, return_inverse=True)[1]
    weight = np.concatenate([of.weight for _, of in parts])
    hit = np.concatenate([hit for hit, _ in parts])
    columns = [np.bincount(number, of).astype(np.float64) for of in (weight * hit, weight)]
    return as_json(bootstrap(lambda h, n: h.sum(-1) / n.sum(-1), *columns))
