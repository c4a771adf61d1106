"""Ten named objects of the strip: Hubble, predictions, Webb side by side in one picture.

    python -m benchmarks.smacs0723.objects --out docs/smacs0723_objects.png \
        --row smacs0723-3600steps [--prediction TITLE=FILE …] [--work WORK]

The places are fixed in ``objects.json``; they were chosen on Hubble and Webb alone, so that
failures are shown as they come. A row of panels an object, all on one scale: y^0.8 of 0…1.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.smacs0723.field import Strip, add_work, guarded, load_strip
from benchmarks.smacs0723.score import read_prediction
from imgturbo.errors import ImgturboError
from imgturbo.files import whole
from imgturbo.report.preview import colour

__all__ = ["PLACES", "Place", "read_places", "render"]

PLACES = Path(__file__).with_name("objects.json")
_GAMMA = 0.8
_INCHES = 1.9  # of a panel
_DPI = 110


@dataclass(frozen=True)
class Place:
    """A square of the strip, and what is to be seen in it."""

    name: str
    row: int
    column: int
    side: int
    what: str

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns."""
        half = self.side // 2
        return (
            slice(self.row - half, self.row - half + self.side),
            slice(self.column - half, self.column - half + self.side),
        )


def read_places(path: Path = PLACES) -> list[Place]:
    """The fixed list."""
    return [Place(**entry) for entry in json.loads(path.read_text())["objects"]]


def render(
    out: Path, strip: Strip, predictions: dict[str, NDArray[np.float32]], places: list[Place]
) -> None:
    """Write the picture.

    Args:
        out: PNG.
        strip: Hubble and Webb.
        predictions: by title, (3, H, W) of the strip.
        places: squares inside the strip.

    Raises:
        ImgturboError: a place that reaches out of the strip.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    images = {"Hubble": strip.source.data, **predictions, "Webb": strip.target.data}
    # Bands are listed red first in pictures, and `colour` takes them blue first.
    shown = {title: colour(image[::-1], _GAMMA) for title, image in images.items()}
    height, width = strip.size
    figure = Figure(
        figsize=(_INCHES * len(images), (_INCHES + 0.28) * len(places) + 0.2),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0.01),
    )
    strips = figure.subfigures(len(places), 1, squeeze=False)[:, 0]
    for subfigure, place in zip(strips, places, strict=True):
        rows, cols = place.window
        if min(rows.start, cols.start) < 0 or rows.stop > height or cols.stop > width:
            raise ImgturboError(f"{place.name}: reaches out of the strip of {height} × {width}")
        subfigure.suptitle(f"{place.name}: {place.what}", fontsize=7, x=0.01, ha="left")
        axes = subfigure.subplots(1, len(images), squeeze=False)[0]
        for cell, (title, picture) in zip(axes, shown.items(), strict=True):
            cell.imshow(picture[rows, cols], interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            if place is places[0]:
                cell.text(6, 8, title, color="white", fontsize=9, va="top")
    with whole(out) as aside:
        figure.savefig(aside, dpi=_DPI, format="png")


def main() -> None:
    parser = argparse.ArgumentParser(description="Panels of ten named objects.")
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--row", action="append", default=[], help="a row of this benchmark")
    parser.add_argument(
        "--prediction", action="append", default=[], metavar="TITLE=FILE", help="any prediction"
    )
    add_work(parser)
    options = parser.parse_args()
    strip = load_strip(options.work)
    files = {row: options.work / "rows" / row / "prediction.fits" for row in options.row}
    for word in options.prediction:
        title, _, path = word.partition("=")
        files[title] = Path(path)
    predictions = {title: read_prediction(path, strip).data for title, path in files.items()}
    render(options.out, strip, predictions, read_places())
    print(options.out)


if __name__ == "__main__":
    guarded(main)
