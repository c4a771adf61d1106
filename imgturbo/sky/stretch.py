"""An invertible map from flux f to the range that networks like, a band at a time.

    y = asinh((f − offset)/softening)/scale,        f = offset + softening · sinh(scale · y)

(asinh magnitudes, Lupton, Gunn & Szalay 1999, arXiv astro-ph/9903081). Around the sky level
``offset`` it is linear over a few times ``softening``; bright sources grow as a logarithm. Nothing
is ever clipped. ``softening = inf`` is the linear limit

    y = (f − offset)/scale,                         f = offset + scale · y,

for pictures, which have been stretched by whoever made them, and for columns of a table.
``softening = 0`` is the logarithmic limit

    y = ln(f/offset)/scale,                         f = offset · exp(scale · y),

for positive columns of a table; of f ≤ 0 it is NaN. So y = 0 where f = offset in all three. All
arithmetic is float64; the result has the type of the input. NaN stays NaN. Numpy only: a machine
that trains needs no astropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Stretch"]

_SAMPLE = 1 << 22  # pixels a band that statistics are taken from: plenty, and bounded in memory
_CLIP_ROUNDS, _CLIP_SIGMA = 10, 3.0


@dataclass(frozen=True, eq=False)
class Stretch:
    """``offset``, ``softening``, ``scale``: float64 (C,); see the module's docstring."""

    offset: NDArray[np.float64]
    softening: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("offset", "softening", "scale"):
            value = np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64))
            object.__setattr__(self, name, value)
        if not (len(self.offset) == len(self.softening) == len(self.scale)):
            raise ValueError("offset, softening and scale must have one value a band")
        if not (np.isfinite(self.offset).all() and np.isfinite(self.scale).all()):
            raise ValueError("offset and scale must be finite")
        logarithmic = self.softening == 0
        if not ((self.softening >= 0).all() and (self.scale > 0).all()):
            raise ValueError("softening and scale must be positive")
        if not (self.offset[logarithmic] > 0).all():
            raise ValueError("a softening of 0 is a logarithm, whose offset must be positive")

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
        """Of each band: ``"asinh"``, ``"linear"`` or ``"log"``."""
        return tuple(
            "log" if s == 0 else "linear" if np.isinf(s) else "asinh" for s in self.softening
        )

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

    # ------------------------------------------------------------------- where it is kept

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; an infinite softening is the string ``"inf"``."""
        soft = [float(s) if np.isfinite(s) else "inf" for s in self.softening]
        kinds = set(self.kinds)
        log = "log" if kinds == {"log"} else "mixed"
        return {
            "kind": log if "log" in kinds else "asinh" if "asinh" in kinds else "linear",
            "offset": [float(o) for o in self.offset],
            "softening": soft,
            "scale": [float(s) for s in self.scale],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Stretch:
        """Inverse of :meth:`to_dict`."""
        soft = [float(s) for s in content["softening"]]
        return cls(np.array(content["offset"]), np.array(soft), np.array(content["scale"]))

    def header_cards(self, bands: Sequence[str]) -> list[tuple[str, Any, str]]:
        """FITS cards (keyword, value, comment): STRNB, then STRBn, STROn, STRSn, STRCn a band."""
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
        linear = np.isinf(self.softening)  # a logarithm's scale knows no unit
        scale = np.where(linear, self.scale * factor, self.scale)
        return Stretch(self.offset * factor, self.softening * factor, scale)

    def _by_band(self, values: NDArray[Any], function: Any) -> NDArray[Any]:
        values = np.asarray(values)
        if len(values) != len(self):
            raise ValueError(f"{len(values)} channels given to a stretch of {len(self)}")
        kind = values.dtype if np.issubdtype(values.dtype, np.floating) else np.dtype(np.float64)
        out = np.empty(values.shape, kind.newbyteorder("="))
        for band in range(len(self)):  # a band at a time: float64 only of one plane
            out[band] = function(band, values[band].astype(np.float64))
        return out

    def _forward(self, band: int, flux: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.softening[band] == 0:
            positive = np.where(flux > 0, flux, np.nan)
            return (np.log(positive) - np.log(self.offset[band])) / self.scale[band]
        flux = flux - self.offset[band]
        if np.isinf(self.softening[band]):
            return flux / self.scale[band]
        return np.arcsinh(flux / self.softening[band]) / self.scale[band]

    def _backward(self, band: int, y: NDArray[np.float64]) -> NDArray[np.float64]:
        y = y * self.scale[band]
        if self.softening[band] == 0:
            return self.offset[band] * np.exp(y)
        if np.isinf(self.softening[band]):
            return self.offset[band] + y
        return self.offset[band] + self.softening[band] * np.sinh(y)


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
    sky = pixels
    for _ in range(_CLIP_ROUNDS):
        middle = float(np.median(sky))
        sigma = 1.4826 * float(np.median(np.abs(sky - middle)))
        kept = sky[np.abs(sky - middle) <= _CLIP_SIGMA * sigma]
        if sigma == 0 or len(kept) == len(sky):
            break
        sky = kept
    offset, sigma = float(np.median(sky)), 1.4826 * float(np.median(np.abs(sky - np.median(sky))))
    bright = float(np.percentile(pixels, percentile)) - offset
    if sigma == 0:  # more than half of the pixels are equal: fall back on the spread of the rest
        sigma = float(np.std(pixels))
    if sigma == 0:
        return offset, 1.0, 1.0
    soft = softening * sigma
    scale = float(np.arcsinh(max(bright, sigma) / soft))
    return offset, soft, scale
