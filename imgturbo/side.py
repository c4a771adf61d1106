"""One end of a translation: what its numbers are called, and what they mean.

A network maps one list of numbers to another. What they are is said once, by the two sides of a
tile store or bundle: z, the source, and x, the target. A side is an image of the sky (a name a
band), a table of numbers (a name a column), or a latent code (a name a coordinate). In JSON it is

    {"bands": […], "unit": …, "pixel_scale": …, "zeropoints": […], "stretch": {…}}

with ``"kind"`` beside it where it is no image, and ``"units"`` where the columns of a table have
units of their own. It is read through a schema (:class:`SideSchema`):
what other programs or a failing disk have made of it is told by its key. Numpy only: a machine that
trains has no astropy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imgturbo.sky.bijection import BijectionKind
from imgturbo.sky.stretch import Stretch

if TYPE_CHECKING:
    from imgturbo.sky.photometry import FluxScale

__all__ = ["Kind", "Side", "SideSchema"]

Kind = Literal["image", "table", "latent"]


@dataclass(frozen=True)
class Side:
    """What one end of a translation is; frozen, and equal where all of it is.

    Attributes:
        names: of the bands of an image, the columns of a table, the coordinates of a code.
        unit: of the values before the stretch; ``""`` where it is not known, or where the columns
            of a table have several.
        stretch: from values in ``unit`` to what the network sees, one a name.
        kind: image, table or latent.
        pixel_scale: arcsec a pixel that the images were trained at; None where there is none.
        zeropoints: AB magnitude of the value 1 in one pixel, a name each, None where unknown;
            left out, none is known.
        units: of the columns of a table, one a name; left out, all have ``unit``.

    Raises:
        ValueError: another number of zero points, units or stretches than of names; an image with
            bijections.

    Example:
        >>> from imgturbo.sky.stretch import Stretch
        >>> side = Side(("F606W", "F814W"), "electron/s", Stretch.linear(2), pixel_scale=0.04)
        >>> len(side), side.zeropoints
        (2, (None, None))
        >>> Side.from_dict(side.to_dict()) == side
        True
    """

    names: tuple[str, ...]
    unit: str
    stretch: Stretch
    kind: Kind = "image"
    pixel_scale: float | None = None
    zeropoints: tuple[float | None, ...] = ()
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(self.names)
        zeropoints = tuple(self.zeropoints) or (None,) * len(names)
        units = tuple(self.units) or (self.unit,) * len(names)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "zeropoints", zeropoints)
        object.__setattr__(self, "units", units)
        if not len(names) == len(zeropoints) == len(self.stretch):
            raise ValueError(
                f"{len(names)} names, {len(zeropoints)} zero points and a stretch of "
                f"{len(self.stretch)} make no side"
            )
        if len(units) != len(names):
            raise ValueError(f"{len(names)} names and {len(units)} units make no side")
        if self.kind not in get_args(Kind):
            raise ValueError(f"a side is one of {', '.join(get_args(Kind))}, not {self.kind!r}")
        if self.kind == "image" and self.stretch.bijective:
            raise ValueError("the stretch of an image has no bijections, which are a table's")

    def __len__(self) -> int:
        """How many bands, columns or coordinates it has: C."""
        return len(self.names)

    @property
    def scales(self) -> tuple[FluxScale, ...]:
        """What the value 1 in a pixel means, a band each, on the pixels of the training."""
        from imgturbo.sky.photometry import ARCSEC2, FluxScale
        from imgturbo.sky.units import parse_unit

        area = self.pixel_scale**2 * ARCSEC2 if self.pixel_scale else None
        unit = parse_unit(self.unit)
        return tuple(FluxScale(unit, zero, area) for zero in self.zeropoints)

    def on(self, pixel_area: float | None) -> Side:
        """The same side on other pixels: zero points, and the stretch of fluxes per pixel, moved.

        A network gives what it learnt to give, on the pixels of its training; ``stretch.inverse``
        of what is returned makes of that the values of the pixels that the image really has.

        Args:
            pixel_area: of the image's pixels, in steradians; None leaves the side as it is.
        """
        old = self.scales[0]
        if not pixel_area or not old.pixel_area or abs(pixel_area / old.pixel_area - 1) < 1e-6:
            return self
        moved = tuple(scale.on(pixel_area) for scale in self.scales)
        factor = old.factor_to(moved[0]) or 1.0  # of every band: unit and areas are theirs all
        return replace(
            self,
            stretch=self.stretch if factor == 1 else self.stretch.scaled(factor),
            pixel_scale=self.pixel_scale
            and self.pixel_scale * math.sqrt(pixel_area / old.pixel_area),
            zeropoints=tuple(scale.zeropoint for scale in moved),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; what ``bundle.json`` and a tile store's attributes hold."""
        content: dict[str, Any] = {
            "bands": list(self.names),
            "unit": self.unit,
            "pixel_scale": self.pixel_scale,
            "zeropoints": list(self.zeropoints),
            "stretch": self.stretch.to_dict(),
        }
        if self.units != (self.unit,) * len(self):
            content["units"] = list(self.units)
        return content if self.kind == "image" else {"kind": self.kind, **content}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], kind: Kind = "image") -> Side:
        """Inverse of :meth:`to_dict`.

        Args:
            content: the JSON; ``pixel_scale`` and ``zeropoints`` may be missing.
            kind: of a side that does not say.

        Raises:
            ValueError: it does not describe a side; which key.
        """
        return SideSchema.model_validate(content).side(kind)


_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Positive = Annotated[float, Field(allow_inf_nan=False, gt=0)]
_Arcsec = Annotated[float, Field(gt=1e-6, lt=1e6)]  # beyond them squares and powers overflow
_Magnitude = Annotated[float, Field(gt=-300, lt=300)]


class _BijectionSchema(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    kind: BijectionKind
    low: _Finite = 0.0
    high: _Finite = 1.0


class _StretchSchema(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    offset: list[_Finite]
    softening: list[_Positive | Literal["inf"]]
    scale: list[_Positive]
    before: list[_BijectionSchema] | None = None


class SideSchema(BaseModel):
    """A side as JSON has it; keys that are younger or older than this version are let pass."""

    model_config = ConfigDict(strict=True, extra="ignore")

    kind: Kind | None = None
    bands: list[str] = Field(min_length=1)
    unit: str | None
    pixel_scale: _Arcsec | None = None
    zeropoints: list[_Magnitude | None] | None = None
    units: list[str] | None = None
    stretch: _StretchSchema

    @model_validator(mode="after")
    def _makes_a_side(self) -> Self:
        self.side("image")
        return self

    def side(self, kind: Kind) -> Side:
        """The side; ``kind`` is of one that does not say."""
        return Side(
            names=tuple(self.bands),
            unit=self.unit or "",
            stretch=Stretch.from_dict(self.stretch.model_dump()),
            kind=self.kind or kind,
            pixel_scale=self.pixel_scale,
            zeropoints=tuple(self.zeropoints or ()),
            units=tuple(self.units or ()),
        )
