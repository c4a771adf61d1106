"""What a preparation did, and whether it was done before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imgturbo.data.store import TileStore
from imgturbo.errors import ImgturboError

__all__ = ["FieldReport", "PrepareReport", "finished"]


@dataclass(frozen=True)
class FieldReport:
    """One field's line of the report; residuals in pixels of the tiles, None where unknown.

    ``residual_held_out`` is the honest one: of a map that was fitted to other sources. ``rejected``
    pairs were near but contradicted by their neighbours, ``misaligned`` tiles left out. A file of
    tables has ``rows``, of which ``refused`` had too few numbers and ``test`` were kept out.
    """

    name: str
    kind: str
    matched: int | None
    residual_before: float | None
    residual_after: float | None
    valid_fraction: float
    train: int
    validation: int
    residual_held_out: float | None = None
    rejected: int | None = None
    misaligned: int = 0
    rows: int | None = None
    refused: int = 0
    test: int = 0


@dataclass(frozen=True)
class PrepareReport:
    """What a preparation did; ``reused`` says that the store was there already, unchanged."""

    out: Path
    fields: tuple[FieldReport, ...]
    reused: bool = False

    @property
    def train(self) -> int:
        """Training tiles of all fields."""
        return sum(field.train for field in self.fields)

    @property
    def validation(self) -> int:
        """Validation tiles of all fields."""
        return sum(field.validation for field in self.fields)


def finished(out: Path, key: str) -> PrepareReport | None:
    """The report of a store that is there already and was made from the same things."""
    try:
        recipe = TileStore.open(out).recipe
        if recipe["key"] != key:
            return None
        reports = tuple(FieldReport(**content) for content in recipe["report"])
    except (ImgturboError, KeyError, TypeError):
        return None
    return PrepareReport(out, reports, reused=True)
