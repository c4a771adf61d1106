"""Which files become tiles, and how they are registered, divided and stretched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from imgturbo.config.section import Section

__all__ = [
    "FieldConfig",
    "PicturesConfig",
    "PrepareConfig",
    "RegisterConfig",
    "SplitConfig",
    "StretchConfig",
    "TileConfig",
]


class RegisterConfig(Section):
    """Residual alignment of source onto target after the WCS has been trusted as far as it goes."""

    method: Literal["none", "sources"] = "sources"
    model: Literal["shift", "affine", "polynomial"] = "affine"
    degree: int = Field(2, ge=2, le=5)  # of the polynomial
    local: bool = False  # smooth local shifts after the global model
    min_sources: int = Field(8, ge=3)
    max_shift: float = Field(3.0, gt=0)  # arcsec searched when both sides have a WCS


class FieldConfig(Section):
    """One patch of sky: the files of each side; a side left empty makes unpaired tiles."""

    name: str
    source: list[Path] = []
    target: list[Path] = []
    source_unit: str = ""  # taken for files without BUNIT: MJy/sr, electron/s, 10 nJy …
    target_unit: str = ""
    split: Literal["auto", "train", "validation"] = "auto"
    register_: RegisterConfig | None = Field(None, alias="register")  # None: as prepare.register

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    @model_validator(mode="after")
    def _has_a_side(self) -> FieldConfig:
        if not self.source and not self.target:
            raise ValueError(f"field {self.name!r} names neither source nor target files")
        return self


class SplitConfig(Section):
    """Train/validation by sky region, never by random tile."""

    method: Literal["blocks", "rows", "field"] = "blocks"
    fraction: float = Field(0.2, ge=0, lt=1)  # of the sky that goes to validation
    block: int = Field(4, ge=1)  # side of a block, in tiles
    rows: tuple[int, int] | None = None  # 'rows': [first, last) of the target; None: the last ones
    guard: int = Field(0, ge=0)  # pixels left unused between the two regions


class TileConfig(Section):
    size: int = Field(128, ge=8)
    stride: int | None = None  # None: no overlap
    min_valid: float = Field(0.8, ge=0, le=1)


class StretchConfig(Section):
    """y = asinh((f − offset)/softening)/scale, or its linear limit for pictures."""

    kind: Literal["auto", "asinh", "linear"] = "auto"  # auto: linear for pictures, asinh for FITS
    softening: float = Field(3.0, gt=0)  # in units of the sky's robust standard deviation
    percentile: float = Field(99.9, gt=50, le=100)  # the flux that is mapped to y = 1


class PicturesConfig(Section):
    """Photographs instead of FITS files, on no sky: colour pictures, or pairs of pictures.

    ``colour`` teaches L → ab; ``pairs`` reads the source from ``files`` and the target of the same
    name from ``targets``; ``halves`` has both in one picture, side by side.
    """

    kind: Literal["colour", "pairs", "halves"] = "colour"
    files: list[Path] = []  # pictures, and folders of pictures
    targets: list[Path] = []  # the same for the targets of "pairs"
    source_half: Literal["left", "right"] = "left"
    validation: list[Path] = []  # like files: more pictures, held out whole
    hold_out: Literal["none", "pictures", "strip"] | None = None  # None: pictures, or as named
    fraction: float = Field(0.1, gt=0, lt=1)  # of the pictures, or of each one's right side
    size: int | None = Field(256, ge=8)  # the shorter side in pixels; None: as it is
    zooms: list[Annotated[float, Field(gt=0)]] = [1.0]  # training sees each picture at these too

    @model_validator(mode="after")
    def _has_pictures(self) -> PicturesConfig:
        if not self.files:
            raise ValueError("'files' names no picture and no folder of pictures")
        if (self.kind == "pairs") != bool(self.targets):
            raise ValueError("'targets' goes with the kind 'pairs', and only with it")
        return self


class PrepareConfig(Section):
    fields: list[FieldConfig] = []
    pictures: PicturesConfig | None = None  # then fields, register and split play no part
    out: Path = Path("runs/tiles.zarr")
    pixel_scale: float | None = Field(None, gt=0)  # arcsec; None keeps the target's grid
    register_: RegisterConfig = Field(RegisterConfig(), alias="register")
    tile: TileConfig = TileConfig()
    split: SplitConfig = SplitConfig()
    stretch: StretchConfig = StretchConfig()
    workers: int = Field(2, ge=1)

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
