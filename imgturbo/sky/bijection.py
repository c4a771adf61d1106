"""Maps of an open set of numbers onto all real ones, for what cannot be negative, or has two ends.

    none     t = f                                     f ∈ ℝ
    log      t = ln(f − low)                           f > low
    logit    t = ln((f − low)/(high − f))              low < f < high
    angle    the logit of f wrapped into [low, high)   f ∈ ℝ, the same again every high − low

A density of t, which a network can give whatever it puts out, is one of f that never leaves the
set. A value outside of it has no t: NaN. The ends themselves go to ±∞. All are float64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["NONE", "Bijection", "BijectionKind"]

BijectionKind = Literal["none", "log", "logit", "angle"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bijection:
    """One of the maps above; ``low`` and ``high`` are in the unit of the values.

    Raises:
        ValueError: no such kind, ends that are not finite, or ``high`` not above ``low`` where
            both are used.

    Example:
        >>> share = Bijection("logit", 0.0, 1.0)
        >>> share(np.array([0.5, 1.5])).tolist(), share.inverse(np.array([0.0])).tolist()
        ([0.0, nan], [0.5])
    """

    kind: BijectionKind = "none"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(BijectionKind):
            kinds = ", ".join(get_args(BijectionKind))
            raise ValueError(f"a bijection must be one of {kinds}, not {self.kind!r}")
        if not math.isfinite(self.low) or not math.isfinite(self.high - self.low):
            raise ValueError("the ends of a bijection must be finite")
        if self.kind in ("logit", "angle") and not self.low < self.high:
            raise ValueError(f"a bijection must have its end {self.high} above {self.low}")

    def __call__(self, values: Floats) -> Floats:
        """t of values of any shape."""
        if self.kind == "none":
            return values
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.kind == "log":
                return np.asarray(np.log(values - self.low))
            if self.kind == "angle":
                values = self.low + np.mod(values - self.low, self.high - self.low)
            return np.asarray(np.log(values - self.low) - np.log(self.high - values))

    def inverse(self, t: Floats) -> Floats:
        """The values of t."""
        if self.kind == "none":
            return t
        if self.kind == "log":
            with np.errstate(over="ignore"):
                return np.asarray(self.low + np.exp(t))
        tail = np.exp(-np.abs(t))  # from the nearer end, where nothing is rounded away
        step = (self.high - self.low) * tail / (1 + tail)
        return np.where(t < 0, self.low + step, self.high - step)

    def scaled(self, factor: float) -> tuple[Bijection, float]:
        """The map of ``factor · f``, factor > 0, and by how much its t is more than that of f."""
        if self.kind == "none":
            return self, 0.0
        shift = math.log(factor) if self.kind == "log" else 0.0
        return Bijection(self.kind, self.low * factor, self.high * factor), shift

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the kind, and the ends that it uses."""
        used = {"none": (), "log": ("low",)}.get(self.kind, ("low", "high"))
        return {"kind": self.kind, **{name: getattr(self, name) for name in used}}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Bijection:
        """Inverse of :meth:`to_dict`."""
        ends = {name: float(content[name]) for name in ("low", "high") if name in content}
        return cls(content["kind"], **ends)


NONE = Bijection()
"""The map that changes nothing."""
