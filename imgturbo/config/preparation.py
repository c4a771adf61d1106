"""Which files become tiles, and how they are registered, divided and stretched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from imgturbo.config.section import LocalPath, OutPath, Section
from imgturbo.remote import Readable

__all__ = [
    "FieldConfig",
    "PicturesConfig",
    "PrepareConfig",
    "RegisterConfig",
    "SplitConfig",
    "StretchConfig",
    "TableSideConfig",
    "TablesConfig",
    "TileConfig",
]


class RegisterConfig(Section):
    """Residual alignment of source onto target after the WCS has been trusted as far as it goes."""

    method: Literal["none", "sources"] = "sources"
    """Align by the sources (stars and galaxies) that both images show, or trust the coordinates as
    they are (none). Small cutouts with coordinates but too few sources are shifted by their
    correlation."""
    model: Literal["shift", "affine", "polynomial"] = "affine"
    """The map that is fitted: a shift, an affine map, or a polynomial."""
    degree: int = Field(2, ge=2, le=5)
    """Highest degree of the polynomial."""
    local: bool = False
    """Fit smooth local shifts to what the map leaves, and keep them where they help."""
    min_sources: int = Field(8, ge=3)
    """Fewest matched sources that a fit is trusted with; fewer are an error."""
    max_shift: float = Field(3.0, gt=0)
    """Largest misalignment that is searched, in arcsec, when both sides have coordinates."""


class FieldConfig(Section):
    """One patch of sky: the files of each side; a side left empty makes unpaired tiles."""

    name: str
    """What the field is called in reports and file names."""
    source: list[Readable] = []
    """FITS files (or a picture) of the source side, one a band, here or at an address (https://,
    s3://); empty: the field has none."""
    target: list[Readable] = []
    """The same of the target side."""
    source_unit: str = ""
    """Unit of the source files that have no BUNIT in their headers, like MJy/sr, electron/s or 10
    nJy."""
    target_unit: str = ""
    """Unit of the target files that have no BUNIT in their headers."""
    source_bands: list[str] = []
    """What the bands of the source files are called, in their order, where headers do not say it or
    lie; empty: as the headers say, else like the files."""
    target_bands: list[str] = []
    """The same of the target files."""
    split: Literal["auto", "train", "validation"] = "auto"
    """Where the field goes: all to training, all to validation, or divided as prepare.split says
    (auto)."""
    register_: RegisterConfig | None = Field(None, alias="register")
    """How this field is aligned; None: as prepare.register says."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    @model_validator(mode="after")
    def _has_a_side(self) -> FieldConfig:
        if not self.source and not self.target:
            raise ValueError(f"field {self.name!r} names neither source nor target files")
        return self


class SplitConfig(Section):
    """Train/validation by sky region, never by random tile."""

    method: Literal["blocks", "rows", "field"] = "blocks"
    """What is held out: squares of sky spread over the fields (blocks), a strip of rows (rows), or
    whole fields (field)."""
    fraction: float = Field(0.2, ge=0, lt=1)
    """Share of the sky that goes to validation."""
    block: int = Field(4, ge=1)
    """Side of a square of 'blocks', in tiles."""
    rows: tuple[int, int] | None = None
    """First row, and the one after the last, of the target's pixels that 'rows' holds out; None:
    the last ones, as many as 'fraction' says."""
    guard: int | None = Field(None, ge=0)
    """Pixels left unused between training and validation sky, so that they share no galaxy and no
    correlated noise; training tiles that would reach into them are moved out where they can be.
    None: 32, or less, with a note, where that would take half of the training sky."""


class TileConfig(Section):
    """How large tiles are and how they are laid."""

    size: int = Field(128, ge=8)
    """Side of a tile in pixels."""
    stride: int | None = Field(None, ge=1)
    """Pixels from one tile to the next; None: the size, so that tiles don't overlap."""
    min_valid: float = Field(0.8, ge=0, le=1)
    """Least share of a tile's pixels that must have been measured."""
    max_residual: float | None = Field(1.0, gt=0)
    """Largest misalignment of source and target, in pixels, at which a tile is kept: that of the
    held-out sources nearest to it. None: all are."""


class StretchConfig(Section):
    """y = asinh((f − offset)/softening)/scale, or its linear limit for pictures."""

    kind: Literal["auto", "asinh", "linear"] = "auto"
    """asinh, linear, or auto: linear for pictures and asinh for FITS files."""
    softening: float = Field(3.0, gt=0)
    """Flux up to which asinh is about linear, in robust standard deviations of the sky."""
    percentile: float = Field(99.9, gt=50, le=100)
    """Percentile of the flux above the sky that is mapped to y = 1."""


class PicturesConfig(Section):
    """Photographs instead of FITS files, on no sky: colour pictures, or pairs of pictures.

    ``colour`` teaches L → ab; ``pairs`` reads the source from ``files`` and the target of the same
    name from ``targets``; ``halves`` has both in one picture, side by side.
    """

    kind: Literal["colour", "pairs", "halves"] = "colour"
    """What is learnt: a picture's colours from its lightness (colour), the second of two files of
    the same name (pairs), or one half of a picture from the other (halves)."""
    files: list[LocalPath] = []
    """Pictures, and folders of pictures."""
    targets: list[LocalPath] = []
    """The same for the targets of the kind 'pairs', which other kinds have not."""
    source_half: Literal["left", "right"] = "left"
    """The half that is the source, for the kind 'halves'."""
    validation: list[LocalPath] = []
    """More pictures and folders of pictures, which are held out whole."""
    hold_out: Literal["none", "pictures", "strip"] | None = None
    """What of 'files' is held out: nothing, whole pictures, or a strip at the right of each; None:
    pictures, or nothing where 'validation' names some."""
    fraction: float = Field(0.1, gt=0, lt=1)
    """Share that is held out: of the pictures, or of the width of each."""
    size: int | None = Field(256, ge=8)
    """Pixels to which the shorter side of each picture is brought; None: as it is."""
    zooms: list[Annotated[float, Field(gt=0)]] = [1.0]
    """Sizes at which training sees each picture, as multiples of 'size'."""

    @model_validator(mode="after")
    def _has_pictures(self) -> PicturesConfig:
        if not self.files:
            raise ValueError("'files' names no picture and no folder of pictures")
        if (self.kind == "pairs") != bool(self.targets):
            raise ValueError("'targets' goes with the kind 'pairs', and only with it")
        return self


Scaling = Literal["linear", "asinh", "log"]


class TableSideConfig(Section):
    """The columns of one side, and how they are brought to a range that networks learn in.

    Where columns are named, a pattern such as ``jet*_E`` names all that it fits.
    """

    files: list[Readable] = []
    """Tables of this side alone, whose rows follow one another; empty: those of
    prepare.tables.files."""
    columns: list[str] = []
    """Names of the columns, or patterns of names, in this order; empty: all columns of numbers but
    the key, the group and those of the other side."""
    units: dict[str, str] = {}
    """Units that columns are converted to when they are read; of a column whose file states none,
    the one it is in. Others stay as they are."""
    scaling: Scaling = "linear"
    """linear: mean 0 and deviation 1; asinh: linear near the median, a logarithm far from it; log:
    of positive numbers, the logarithm's mean 0 and deviation 1."""
    scalings: dict[str, Scaling] = {}
    """The same of single columns, by their names or patterns."""
    softening: float = Field(1.0, gt=0)
    """Distance from the median up to which asinh is about linear, in robust deviations."""
    groups: list[list[str]] = []
    """Columns that share one scaling, offset and scale alike, as components of momenta may."""


class TablesConfig(Section):
    """Tables of numbers instead of FITS images: CSV, ECSV, FITS tables, HDF5; a row is a sample."""

    files: list[Readable] = []
    """Tables that hold both sides in each row; empty: each side names its own."""
    source: TableSideConfig | None = None
    """The source side, z; None: there is none."""
    target: TableSideConfig | None = None
    """The target side, x; None: there is none."""
    paired: bool = True
    """Whether a row of the source's files and one of the target's belong together; no: the two
    sides are independent samples."""
    key: str | None = None
    """A column of both sides' files by whose values rows are paired; those without a partner stay
    unpaired. None: the first row with the first, the second with the second."""
    group: str | None = None
    """A column whose equal values are never divided between training, validation and test, such as
    the number of a run; None: every row by itself."""
    fraction: float = Field(0.1, ge=0, lt=1)
    """Share of the rows, or of the groups, that goes to validation."""
    test: float = Field(0.0, ge=0, lt=1)
    """Share that is kept out of the store altogether; these rows are written as tables beside it,
    OUT_test.ecsv, as they came."""
    seed: int = Field(0, ge=0)
    """Of the division: another seed holds other rows out."""

    @model_validator(mode="after")
    def _says_where_rows_come_from(self) -> TablesConfig:
        sides = {"source": self.source, "target": self.target}
        given = {name: side for name, side in sides.items() if side is not None}
        if not given:
            raise ValueError("name the columns of 'source', of 'target', or of both")
        for name, side in given.items():
            if self.files and side.files:
                raise ValueError(f"'files' and '{name}.files' both name tables; leave out one")
            if not self.files and not side.files:
                raise ValueError(f"neither 'files' nor '{name}.files' names a table")
        if self.key is not None and (self.files or len(given) < 2 or not self.paired):
            raise ValueError(
                "'key' pairs the rows of the source's own files with those of the target's; leave "
                "it out"
            )
        if self.files and len(given) == 2 and not any(side.columns for side in given.values()):
            raise ValueError("with one file for both sides, 'columns' says which are whose")
        if self.fraction + self.test >= 1:
            raise ValueError("'fraction' and 'test' together leave no row to train on")
        return self


class PrepareConfig(Section):
    """From files to a store of tiles: register, divide, cut, stretch."""

    fields: list[FieldConfig] = []
    """The patches of sky to prepare."""
    pictures: PicturesConfig | None = None
    """Photographs instead; fields, register and split then play no part. None: no photographs."""
    tables: TablesConfig | None = None
    """Tables of numbers instead; all keys but 'out' then play no part. None: no tables."""
    out: OutPath = Path("runs/tiles.zarr")
    """The tile store to write."""
    pixel_scale: float | None = Field(None, gt=0)
    """Pixel size of all tiles in arcsec; None keeps the first target's grid."""
    factor: int = Field(1, ge=1, le=16)
    """Pixels of the target across one of the source, for super-resolution: 2 or 4 brings the
    source to pixels so many times as wide; 1: both sides on one grid."""
    register_: RegisterConfig = Field(RegisterConfig(), alias="register")
    """How sources are aligned to targets."""
    tile: TileConfig = TileConfig()
    """How the fields are cut into tiles."""
    split: SplitConfig = SplitConfig()
    """Which sky is held out for validation."""
    stretch: StretchConfig = StretchConfig()
    """How fluxes are brought to a range that networks learn in."""
    workers: int = Field(2, ge=1)
    """Fields, or pictures, that are prepared at the same time."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    @model_validator(mode="after")
    def _tiles_have_whole_pixels_of_both_sides(self) -> PrepareConfig:
        for key, pixels in (("size", self.tile.size), ("stride", self.tile.stride or 0)):
            if pixels % self.factor:
                raise ValueError(
                    f"tile.{key} is {pixels}, in pixels of the target, of which the source's are "
                    f"{self.factor} wide (factor); make it a multiple of {self.factor}"
                )
        if self.factor > 1 and self.pictures is not None:
            raise ValueError("factor is of FITS files with coordinates, not of pictures")
        return self
