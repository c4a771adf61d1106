"""What preparation leaves for people: the aligned images of each field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_prep.split import Areas
from data_prep.staging import Staged
from data_prep.survey import FieldSurvey
from imgturbo.config import SplitConfig
from imgturbo.files import naming
from imgturbo.sky import write_sky

__all__ = ["ALIGNED", "aligned_files", "write_aligned"]

_MAKER = "imgturbo prepare"
_CREATOR = ("CREATOR", _MAKER, "registered and resampled by")
ALIGNED = (b"CREATOR", _MAKER.encode())
"""How an aligned image of an earlier preparation is known (:mod:`imgturbo.places`)."""


def _parts(field: FieldSurvey, split: SplitConfig) -> list[str]:
    """Parts of a field's file names: the whole, and the held-out rows where there are such."""
    strip = split.method == "rows" and field.config.split == "auto"
    return ["", "validation_"] if strip else [""]


def aligned_files(folder: Path, fields: Sequence[FieldSurvey], split: SplitConfig) -> list[Path]:
    """The files that :func:`write_aligned` leaves."""
    return [
        folder / f"{field.config.name}_{part}{side}.fits"
        for field in fields
        for part in _parts(field, split)
        for side in ("source", "target")
        if getattr(field, side) is not None
    ]


def write_aligned(
    folder: Path,
    fields: Sequence[FieldSurvey],
    staged: Sequence[Staged],
    areas: Sequence[Areas],
    split: SplitConfig,
) -> None:
    """Write each field on its common grid: ``NAME_source.fits`` and ``NAME_target.fits``.

    With the ``rows`` division, the held-out rows also as ``NAME_validation_source.fits`` and
    ``NAME_validation_target.fits``. Pictures are written as FITS too: their values stay floats.
    """
    with naming(folder, "choose another folder", "cannot be made for the aligned images"):
        folder.mkdir(parents=True, exist_ok=True)
    for field, piece, area in zip(fields, staged, areas, strict=True):
        for part in _parts(field, split):
            for side in piece.sides:
                image = piece.image(side)
                if part:
                    y0, y1, x0, x1 = area.validation[0]
                    # From where a pixel of the coarser side begins; it ends with one already.
                    wide, own = piece.factor("source"), piece.factor(side)
                    y0, y1 = -(-y0 // wide) * wide, y1 // wide * wide
                    image = image.window(slice(y0 // own, y1 // own), slice(x0 // own, x1 // own))
                path = folder / f"{field.config.name}_{part}{side}.fits"
                write_sky(path, image, header_cards=[_CREATOR], overwrite=True)
