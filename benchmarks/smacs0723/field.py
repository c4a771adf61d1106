"""The field that every row shares: pictures, registration, the held-out strip.

    python -m benchmarks.smacs0723.field --pictures DIR [--work WORK]

registers hubble.png onto webb.png (``configs/smacs0723.yaml``, section ``prepare``) and leaves in
WORK the aligned images and a tile store. Rows 0–1827 of the aligned field are for training, rows
1828–2284 are the validation strip: 457 × 2798 pixels, on which every row is scored.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgturbo.config import PrepareConfig, TileConfig, load_config
from imgturbo.errors import ImgturboError
from imgturbo.sky import SkyImage, read_sky

__all__ = [
    "ROOT",
    "Strip",
    "add_work",
    "guarded",
    "load_strip",
    "load_training",
    "prepare_field",
    "strip_source",
]

ROOT = Path(__file__).resolve().parents[2]
WORK = Path("runs/benchmarks/smacs0723")
NAME = "smacs0723"


@dataclass(frozen=True)
class Strip:
    """The held-out rows of both telescopes, on Webb's grid.

    Attributes:
        source, target: Hubble and Webb, RGB in 0…1, top row first.
        valid: (H, W), where both are measured: the pixels that count, the same for every row.
        rows: first and last + 1 row of the strip in the aligned field.
    """

    source: SkyImage
    target: SkyImage
    valid: NDArray[np.bool_]
    rows: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.target.shape[1:]


def add_work(parser: argparse.ArgumentParser) -> None:
    """The option that every command has."""
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder (default {WORK})")


def guarded(main: Callable[[], None]) -> None:
    """Run a command; a mistake of the user is one line and exit status 2."""
    try:
        main()
    except ImgturboError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def prepare_settings(pictures: Path, work: Path, tile: TileConfig | None = None) -> PrepareConfig:
    """Section ``prepare`` of the field, for tiles of one size.

    Raises:
        ImgturboError: the pictures are not in ``pictures``.
    """
    settings = load_config(ROOT / "configs" / "smacs0723.yaml").prepare
    (field,) = settings.fields
    field.source, field.target = [pictures / "hubble.png"], [pictures / "webb.png"]
    for path in (*field.source, *field.target):
        if not path.exists():
            raise ImgturboError(
                f"{path}: no such picture; benchmarks/smacs0723/README.md says where to get it"
            )
    if tile is not None:
        settings.tile = tile
    side = settings.tile
    settings.out = work / f"tiles-{side.size}-{side.stride or side.size}.zarr"
    return settings


def prepare_field(pictures: Path, work: Path, tile: TileConfig | None = None) -> Path:
    """Register and tile, unless that is done; returns the tile store."""
    from data_prep.prepare import prepare
    from imgturbo.report.progress import task

    settings = prepare_settings(pictures, work, tile)
    with task("preparing") as progress:
        prepare(settings, keep_aligned=work / "aligned", progress=progress)
    return settings.out


def strip_source(work: Path, part: str = "validation_") -> Path:
    """The aligned Hubble image of the strip, or with ``part=""`` of the whole field."""
    return work / "aligned" / f"{NAME}_{part}source.fits"


def load_strip(work: Path) -> Strip:
    """The strip that :func:`prepare_field` left.

    Raises:
        ImgturboError: it is not there.
    """
    source, target = _pair(work, "validation_")
    split = load_config(ROOT / "configs" / "smacs0723.yaml").prepare.split
    assert split.rows is not None
    return Strip(source, target, source.valid & target.valid, split.rows)


def load_training(work: Path) -> tuple[SkyImage, SkyImage]:
    """Hubble and Webb above the strip, for what is fitted without tiles."""
    source, target = _pair(work, "")
    split = load_config(ROOT / "configs" / "smacs0723.yaml").prepare.split
    assert split.rows is not None
    rows, cols = slice(0, split.rows[0]), slice(None)
    return source.window(rows, cols), target.window(rows, cols)


def _pair(work: Path, part: str) -> tuple[SkyImage, SkyImage]:
    source = strip_source(work, part)
    target = source.with_name(source.name.replace("source", "target"))
    for path in (source, target):
        if not path.exists():
            raise ImgturboError(
                f"{path}: not there; first python -m benchmarks.smacs0723.field --pictures DIR"
            )
    return read_sky(source), read_sky(target)


def main() -> None:
    parser = argparse.ArgumentParser(description="Register the field and cut it into tiles.")
    parser.add_argument("--pictures", type=Path, required=True, help="hubble.png and webb.png")
    add_work(parser)
    options = parser.parse_args()
    print(prepare_field(options.pictures, options.work))


if __name__ == "__main__":
    guarded(main)
