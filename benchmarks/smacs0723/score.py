"""Score any prediction of the strip, from whatever program it comes.

    python -m benchmarks.smacs0723.score PREDICTION.{png,fits} [--json FILE] [--work WORK]

The prediction is RGB (red first), on Webb's grid: of the strip, 457 × 2798 pixels, or of the whole
aligned field, which is cut to the strip. Values 0…1 (8-bit pictures are divided by 255). It is
compared with the aligned Webb picture as it is, data range 1, over the pixels that both telescopes
have measured; a prediction that leaves some of these out is refused, as it would be scored on an
easier sky than the others.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.smacs0723.field import Strip, add_work, guarded, load_strip
from imgturbo import evaluate
from imgturbo.errors import ImgturboError
from imgturbo.files import write_json
from imgturbo.report.tables import score_table
from imgturbo.sky import SkyImage, Stretch, read_sky

__all__ = ["read_prediction", "score"]


def score(prediction: SkyImage | Path, strip: Strip, baselines: bool = False) -> dict[str, Any]:
    """What :func:`imgturbo.scoring.evaluate.evaluate` says of it, on the strip's pixels.

    Args:
        prediction: an image of the strip, or its file.
        strip: from :func:`load_strip`.
        baselines: also the input as it is, and the best affine colour map of this very strip.

    Raises:
        ImgturboError: another size, grid, or number of bands, or pixels left out.
    """
    if isinstance(prediction, Path):
        prediction = read_prediction(prediction, strip)
    missing = int((strip.valid & ~prediction.valid).sum())
    if missing:
        raise ImgturboError(
            f"{prediction.path or 'prediction'}: {missing} pixels that both telescopes measured "
            "have no value; fill them (all rows are scored on the same pixels)"
        )
    scores = evaluate(
        _masked(prediction, strip),
        _masked(strip.target, strip),
        strip.source if baselines else None,
        stretch=Stretch.linear(3),
    )
    if not baselines:  # they are rows of their own here
        scores["notes"] = [note for note in scores["notes"] if not note.startswith("no source")]
    return scores


def read_prediction(path: Path, strip: Strip) -> SkyImage:
    """A picture or FITS file, cut to the strip, on its grid.

    Raises:
        ImgturboError: another size, grid, or number of bands.
    """
    image = read_sky(path)
    height, width = strip.size
    first, last = strip.rows
    channels, rows, cols = image.shape
    if channels != 3:
        raise ImgturboError(f"{path}: has {channels} bands; the strip has three: R, G, B")
    if (rows, cols) == (last, width):
        image = image.window(slice(first, last), slice(None))
    elif (rows, cols) != (height, width):
        raise ImgturboError(
            f"{path}: is {rows} × {cols} pixels; give the strip ({height} × {width}) or the whole "
            f"aligned field ({last} × {width}), whose Hubble image is in the folder 'aligned'"
        )
    if image.wcs is not None and strip.target.wcs is not None and not _same_grid(image, strip):
        raise ImgturboError(
            f"{path}: its coordinates are not those of the strip; translate the aligned Hubble "
            "image, not hubble.png"
        )
    # Bands by place: names differ from program to program, and red comes first in pictures.
    return replace(image, bands=strip.target.bands, wcs=strip.target.wcs, unit="display")


def _same_grid(image: SkyImage, strip: Strip) -> bool:
    """Whether the corners agree to a tenth of a pixel."""
    assert image.wcs is not None
    assert strip.target.wcs is not None
    height, width = strip.size
    x, y = np.array([0, width - 1, 0, width - 1]), np.array([0, 0, height - 1, height - 1])
    there = strip.target.wcs.world_to_pixel(image.wcs.pixel_to_world(x, y))
    return bool(np.allclose(there, (x, y), atol=0.1))


def _masked(image: SkyImage, strip: Strip) -> SkyImage:
    """The strip's pixels alone, without what evaluate might go by instead (header, WCS)."""
    data = np.where(strip.valid, image.data, np.nan).astype(np.float32)
    return SkyImage.from_array(data, unit="display", bands=strip.target.bands)


def main() -> None:
    parser = argparse.ArgumentParser(description="Score a prediction of the validation strip.")
    parser.add_argument("prediction", type=Path, help="PNG, TIFF or FITS")
    parser.add_argument("--json", type=Path, help="write the scores here")
    parser.add_argument("--baselines", action="store_true", help="beside identity and best affine")
    add_work(parser)
    options = parser.parse_args()
    scores = score(options.prediction, load_strip(options.work), options.baselines)
    score_table(scores)
    if options.json:
        write_json(options.json, scores)


if __name__ == "__main__":
    guarded(main)
