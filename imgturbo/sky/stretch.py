"""An invertible map from flux f to the range that networks like, a band at a time.

    y = asinh((f − offset)/softening)/scale,        f = offset + softening · sinh(scale · y)

(asinh magnitudes, Lupton, Gunn & Szalay 1999, arXiv astro-ph/9903081). Around the sky level
``offset`` it is linear over a few times ``softening``; bright sources grow as a logarithm. Nothing
is ever clipped. ``softening = inf`` is the linear limit

    y = (f − offset)/scale,                         f = offset + scale · y,

for pictures, which have been stretched by whoever made them. Numbers that cannot be negative, or
that have two ends, go through a bijection of ℝ first (:mod:`imgturbo.sky.bijection`): t(f) then
stands where f does above. All arithmetic is float64; the result has the type of the input. NaN
stays NaN. Numpy only: a machine that trains needs no astropy.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo.sky.bijection import NONE, Bijection

__all__ = ["Stretch", "clipped_sky", "middle_of"]

_SAMPLE = 1 << 22  # pixels a band that statistics are taken from: plenty, and bounded in memory
_CLIP_ROUNDS, _CLIP_SIGMA = 10, 3.0


@dataclass(frozen=True, eq=False)
class Stretch:
    """``offset``, ``softening``, ``scale``: float64 (C,); see the module's docstring.

    Attributes:
        before: the bijection that comes first, one a band; left out, there is none. The three
            numbers are then of t, without a unit.

    Example:
        >>> stretch = Stretch(np.array([0.002]), np.array([0.015]), np.array([4.0]))
        >>> y = stretch(np.array([[0.002, 0.1, 1000.0]]))
        >>> y.round(2).tolist()
        [[0.0, 0.64, 2.95]]
        >>> stretch.inverse(y).round(6).tolist()
        [[0.002, 0.1, 1000.0]]
    """

    offset: NDArray[np.float64]
    softening: NDArray[np.float64]
    scale: NDArray[np.float64]
    before: tuple[Bijection, ...] = ()

    def __post_init__(self) -> None:
        for name in ("offset", "softening", "scale"):
            value = np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64))
            object.__setattr__(self, name, value)
        object.__setattr__(self, "before", tuple(self.before) or (NONE,) * len(self.offset))
        if len(self.before) != len(self.offset):
            raise ValueError("a stretch must have one bijection a band, or none at all")
        if not (len(self.offset) == len(self.softening) == len(self.scale)):
            raise ValueError("offset, softening and scale must have one value a band")
        if not (np.isfinite(self.offset).all() and np.isfinite(self.scale).all()):
            raise ValueError("offset and scale must be finite")
        if not ((self.softening > 0).all() and (self.scale > 0).all()):
            raise ValueError("softening and scale must be positive")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stretch) and self.to_dict() == other.to_dict()

    def __len__(self) -> int:
        return len(self.offset)

    def __call__(self, flux: NDArray[Any]) -> NDArray[Any]:
        """y of ``flux`` (C, …)."""
        return self._by_band(flux, self._forward)

    def inverse(self, y: NDArray[Any]) -> NDArray[Any]:
        """Flux of ``y`` (C, …)."""
        return self._by_band(y, self._backward)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of each band: that of its bijection if it has one, else ``"asinh"`` or ``"linear"``."""
        plain = ["linear" if np.isinf(soft) else "asinh" for soft in self.softening]
        pairs = zip(self.before, plain, strict=True)
        return tuple(name if one == NONE else one.kind for one, name in pairs)

    @classmethod
    def linear(cls, channels: int) -> Stretch:
        """The identity map, for pictures with values 0 to 1."""
        return cls(np.zeros(channels), np.full(channels, np.inf), np.ones(channels))

    @classmethod
    def fit(
        cls,
        data: NDArray[Any],
        valid: NDArray[np.bool_] | None = None,
        softening: float = 3.0,
        percentile: float = 99.9,
    ) -> Stretch:
        """Fit to an image: (C, H, W) with ``valid`` (H, W), or pooled pixels (C, N).

        The offset is the sky level (sigma-clipped median), the softening ``softening`` times the
        sky's robust standard deviation, and the scale such that the flux at ``percentile`` becomes
        y = 1. A constant band gets a stretch that maps it to 0.
        """
        rows = []
        for plane in data:
            pixels = plane[valid] if valid is not None else plane.ravel()
            rows.append(_fit_band(_sample(pixels), softening, percentile))
        offset, soft, scale = np.array(rows).T
        return cls(offset, soft, scale)

    @classmethod
    def standardising(
        cls, values: NDArray[Any], before: Sequence[Bijection] = (), digits: int | None = None
    ) -> Stretch:
        """The linear map of columns to mean 0 and standard deviation 1, after their bijections.

        Args:
            values: (C, N); what is not finite once mapped is left out.
            before: a bijection a column.
            digits: round mean and deviation to so many significant ones, so that other machines,
                which add in another order, come to the same.

        Returns:
            A column without a spread is only centred.
        """
        before = tuple(before) or (NONE,) * len(values)
        rows = []
        for column, bijection in zip(values, before, strict=True):
            t = bijection(np.asarray(column, np.float64))
            t = t[np.isfinite(t)]
            mean, deviation = (float(t.mean()), float(t.std())) if t.size else (0.0, 0.0)
            if digits is not None:  # the mean to the same place as the deviation
                deviation = float(f"{deviation:.{digits}g}")
                place = digits - 1 - int(np.floor(np.log10(deviation or 1.0)))
                mean = round(mean, place) + 0.0
            rows.append((mean, deviation or 1.0))
        mean, deviation = np.array(rows).T
        return cls(mean, np.full(len(mean), np.inf), deviation, before)

    # ------------------------------------------------------------------- where it is kept

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite softening is the string ``"inf"``; ``before`` only if it does."""
        soft = [float(s) if np.isfinite(s) else "inf" for s in self.softening]
        content: dict[str, Any] = {
            "kind": "asinh" if np.isfinite(self.softening).any() else "linear",
            "offset": [float(o) for o in self.offset],
            "softening": soft,
            "scale": [float(s) for s in self.scale],
        }
        if self.bijective:
            content["before"] = [bijection.to_dict() for bijection in self.before]
        return content

    @property
    def bijective(self) -> bool:
        """Whether any band goes through a bijection first."""
        return any(bijection != NONE for bijection in self.before)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Stretch:
        """Inverse of :meth:`to_dict`."""
        soft = [float(s) for s in content["softening"]]
        before = tuple(Bijection.from_dict(part) for part in content.get("before") or ())
        return cls(np.array(content["offset"]), np.array(soft), np.array(content["scale"]), before)

    def header_cards(self, bands: Sequence[str]) -> list[tuple[str, Any, str]]:
        """FITS cards (keyword, value, comment): STRNB, then STRBn, STROn, STRSn, STRCn a band.

        Raises:
            ValueError: a band goes through a bijection; tables do, which have no such header.
        """
        if self.bijective:
            raise ValueError("a stretch with bijections is of a table, not of an image")
        cards: list[tuple[str, Any, str]] = [
            ("STRNB", len(bands), "bands of the stretch y=asinh((f-O)/S)/C")
        ]
        rows = zip(bands, self.offset, self.softening, self.scale, strict=True)
        for n, (band, offset, soft, scale) in enumerate(rows, start=1):
            cards += [
                (f"STRB{n}", band, "band"),
                (f"STRO{n}", float(offset), "offset O, in BUNIT"),
                (f"STRS{n}", float(soft) if np.isfinite(soft) else "inf", "softening S, in BUNIT"),
                (f"STRC{n}", float(scale), "scale C"),
            ]
        return cards

    @classmethod
    def from_header(cls, header: Mapping[str, Any], bands: Sequence[str]) -> Stretch | None:
        """The stretch of ``bands`` that a header carries, or None."""
        count = header.get("STRNB")
        if count is None:
            return None
        index = {header.get(f"STRB{n}"): n for n in range(1, int(count) + 1)}
        if any(band not in index for band in bands):
            return None
        rows = [[float(header[f"STR{k}{index[band]}"]) for k in "OSC"] for band in bands]
        return cls(*np.array(rows).T)

    # -------------------------------------------------------------------------- arithmetic

    def scaled(self, factor: float | NDArray[np.float64]) -> Stretch:
        """The stretch of the same sky in another unit: of ``factor · flux`` what this is of flux.

        Args:
            factor: one number, or one a channel, positive.
        """
        factors = np.broadcast_to(np.asarray(factor, np.float64), self.offset.shape)
        moved = [b.scaled(float(f)) for b, f in zip(self.before, factors, strict=True)]
        shift = np.array([shift for _, shift in moved])
        own = np.where([b == NONE for b in self.before], factors, 1.0)  # t has no unit
        linear = np.isinf(self.softening)
        scale = np.where(linear, self.scale * own, self.scale)
        before = tuple(bijection for bijection, _ in moved)
        return Stretch(self.offset * own + shift, self.softening * own, scale, before)

    def _by_band(
        self,
        values: NDArray[Any],
        function: Callable[[int, NDArray[np.float64]], NDArray[np.float64]],
    ) -> NDArray[Any]:
        values = np.asarray(values)
        if len(values) != len(self):
            raise ValueError(f"{len(values)} channels given to a stretch of {len(self)}")
        kind = values.dtype if np.issubdtype(values.dtype, np.floating) else np.dtype(np.float64)
        out = np.empty(values.shape, kind.newbyteorder("="))
        for band in range(len(self)):  # a band at a time: float64 only of one plane
            out[band] = function(band, values[band].astype(np.float64))
        return out

    def _forward(self, band: int, flux: NDArray[np.float64]) -> NDArray[np.float64]:
        flux = self.before[band](flux) - self.offset[band]
        if np.isinf(self.softening[band]):
            return flux / self.scale[band]
        return np.arcsinh(flux / self.softening[band]) / self.scale[band]

    def _backward(self, band: int, y: NDArray[np.float64]) -> NDArray[np.float64]:
        y = y * self.scale[band]
        if np.isfinite(self.softening[band]):
            y = self.softening[band] * np.sinh(y)
        return self.before[band].inverse(self.offset[band] + y)


def _sample(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Finite pixels, evenly thinned to a bounded number."""
    step = max(1, len(pixels) // _SAMPLE)
    thinned = pixels[::step].astype(np.float64)
    return thinned[np.isfinite(thinned)]


def _fit_band(
    pixels: NDArray[np.float64], softening: float, percentile: float
) -> tuple[float, float, float]:
    if len(pixels) == 0:
        return 0.0, 1.0, 1.0
    offset, sigma = clipped_sky(pixels)
    bright = float(np.percentile(pixels, percentile)) - offset
    if sigma == 0:  # more than half of the pixels are equal: fall back on the spread of the rest
        sigma = float(np.std(pixels))
    if sigma == 0:
        return offset, 1.0, 1.0
    soft = softening * sigma
    scale = float(np.arcsinh(max(bright, sigma) / soft))
    return offset, soft, scale


def clipped_sky(pixels: NDArray[np.floating]) -> tuple[float, float]:
    """Level and robust deviation of finite pixels, one or more, after clipping at 3 σ."""
    # Sorted once: medians, spreads and what is clipped are then places in it, found by bisection.
    sky: Sequence[float] = np.sort(pixels).astype(np.float64).data
    for _ in range(_CLIP_ROUNDS):
        middle = _median(sky)
        sigma = 1.4826 * _deviation(sky, middle)
        far = _CLIP_SIGMA * sigma
        first = bisect_left(sky, True, key=lambda value: middle - value <= far)
        last = bisect_left(sky, True, key=lambda value: value - middle > far)
        if sigma == 0 or last - first == len(sky):
            break
        sky = sky[first:last]
    middle = _median(sky)
    return middle, 1.4826 * _deviation(sky, middle)


def middle_of(pixels: NDArray[np.float64]) -> tuple[float, float]:
    """Level and robust deviation of finite pixels, one or more, without clipping."""
    ordered: Sequence[float] = np.sort(pixels).data
    middle = _median(ordered)
    return middle, 1.4826 * _deviation(ordered, middle)


def _median(values: Sequence[float]) -> float:
    """Of sorted values."""
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def _deviation(values: Sequence[float], middle: float) -> float:
    """The median distance of sorted values from their median.

    The k values nearest to it are neighbours.
    """

    def nearest(k: int) -> float:
        first = bisect_left(
            range(len(values) - k),
            True,
            key=lambda i: abs(values[i] - middle) <= abs(values[i + k] - middle),
        )
        return max(abs(values[first] - middle), abs(values[first + k - 1] - middle))

    half = len(values) // 2
    return nearest(half + 1) if len(values) % 2 else (nearest(half) + nearest(half + 1)) / 2
