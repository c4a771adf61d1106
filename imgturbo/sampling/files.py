"""Samples and reconstructions on disk: FITS with units, pictures, tables.

    .fits         a stack: extensions S001, S002, … a sample, EXTVER 1 … C a band; the header says
                  SEED and NSAMPLES, and sample k is a function of the two
    .png          a contact sheet of stretched images, as bright as training saw them
    .csv, .tsv, .ecsv, .fits, .h5
                  rows of numbers, a column a name; all but the first two have units, SEED, NSAMPLES

A reconstruction is a FITS file with the extensions SCI (what came back) and RESIDUAL (what came
back less what was given), or a figure of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgturbo import __version__
from imgturbo.bundle import Bundle
from imgturbo.errors import ImgturboError
from imgturbo.places import free_place
from imgturbo.report.preview import FIGURE, colour, comparison
from imgturbo.report.sheet import SHEET, contact_sheet
from imgturbo.sampling.draw import Latent, Values, sample
from imgturbo.sampling.reconstruct import Reconstruction
from imgturbo.side import Side
from imgturbo.sky import SkySpec, SkyWriter, write_sky
from imgturbo.sky.provenance import prediction_cards
from imgturbo.sky.units import DISPLAY
from imgturbo.tables.reader import Column
from imgturbo.tables.writer import check_writable, write_table

__all__ = ["write_reconstruction", "write_samples"]

Planes = NDArray[np.float32]
Progress = Callable[[str, float], None]

SAMPLED = (b"CREATOR = 'imgturbo ", b"MODEL")
"""How a stack is known that was drawn here (:mod:`imgturbo.places`)."""

_CREATOR = ("CREATOR", f"imgturbo {__version__}", "made by")
_GAMMA = 0.8  # as of the figures
_MOST = 400  # pictures on a sheet
_MOST_STACKED = 100_000  # extensions of a file
_SHOWN = 96  # pixels to which small pictures are enlarged


def write_samples(
    bundle: Bundle,
    out: Path | str,
    n: int,
    seed: int = 0,
    *,
    temperature: float = 1.0,
    size: int | None = None,
    between: tuple[int, int] | None = None,
    device: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Draw samples into a file, a batch at a time.

    Args, beside those of :func:`imgturbo.sampling.sample`:
        out: FITS stack, PNG sheet, or table, by its suffix.
        overwrite: replace what is there.
        progress: called with (what, fraction done).

    Raises:
        ImgturboError: what :func:`~imgturbo.sampling.sample` refuses; a suffix that does not suit
            what is drawn; the output exists or cannot be written.
    """
    out = Path(out)
    side = Latent.of(bundle, size).way.output
    _check_suffix(out, side, n)
    suffix = out.suffix.lower()
    images = side.kind == "image"
    marks = {".png": SHEET, ".fits": SAMPLED} if images else {}
    free_place(out, folders=[bundle.path], mark=marks.get(suffix), overwrite=overwrite)
    drawn = sample(
        bundle, n, seed, temperature=temperature, size=size, between=between, device=device
    )
    told = _telling(drawn, n, progress)
    cards = _cards(n, seed, temperature, between)
    if not images:
        _write_rows(out, bundle, side, told, cards)
    elif suffix == ".png":
        _write_sheet(out, side, told, f"{bundle.config.name} {bundle.hash}, seed {seed}")
    else:
        _write_stack(out, bundle, side, told, n, cards)
    return out


def _check_suffix(out: Path, side: Side, n: int) -> None:
    """Refuse a file that cannot hold what is drawn."""
    if side.kind != "image":
        check_writable(out)
    elif out.suffix.lower() not in (".fits", ".png"):
        raise ImgturboError(f"{out}: the model draws images; end the name with .fits or .png")
    elif out.suffix.lower() == ".png" and n > _MOST:
        raise ImgturboError(
            f"{out}: a sheet shows {_MOST} samples at most, not {n}; write a stack (.fits)"
        )
    elif n > _MOST_STACKED:
        raise ImgturboError(
            f"{out}: a stack holds {_MOST_STACKED} samples at most, not {n}; write several, each "
            "of a --seed of its own"
        )


def _cards(
    n: int, seed: int, temperature: float, between: tuple[int, int] | None
) -> list[tuple[str, Any, str]]:
    """What a file says of how it was drawn."""
    cards: list[tuple[str, Any, str]] = [
        ("NSAMPLES", n, "samples"),
        ("SEED", seed, "sample k is a function of it and k"),
        ("TEMPERAT", temperature, "of the prior; 1: its own"),
    ]
    if between is not None:
        cards += [("SAMPLEA", between[0], "the way begins at this one")]
        cards += [("SAMPLEB", between[1], "and ends at this one")]
    return cards


def _telling(drawn: Iterator[Values], n: int, progress: Progress | None) -> Iterator[Values]:
    done = 0
    for batch in drawn:
        yield batch
        done += len(batch)
        if progress is not None:
            progress(f"{done} samples", done / n)


def _write_stack(
    out: Path,
    bundle: Bundle,
    side: Side,
    batches: Iterable[Values],
    n: int,
    cards: list[tuple[str, Any, str]],
) -> None:
    """One batch is in memory at a time, whatever n."""
    writer: SkyWriter | None = None
    names = [f"S{number + 1:0{max(3, len(str(n)))}d}" for number in range(n)]
    made = prediction_cards(bundle.hash, "sample")
    if side.pixel_scale is not None:
        cards = [*cards, ("PIXSCALE", side.pixel_scale, "arcsec a pixel, of the training")]
    taken = 0
    try:
        for batch in batches:
            if writer is None:
                spec = SkySpec(
                    shape=(len(side), *batch.shape[2:]),
                    bands=side.names,
                    unit=side.unit,
                    zeropoints=side.zeropoints,
                    header_cards=[_CREATOR, *made, *cards, *side.stretch.header_cards(side.names)],
                    extensions=names,
                    image_cards=made,
                )
                writer = SkyWriter(out, spec, overwrite=True)
            for image in batch:
                writer.write(image, slice(None), slice(None), names[taken])
                taken += 1
        assert writer is not None
        writer.close()
    except BaseException:
        if writer is not None:
            writer.discard()
        raise


def _write_sheet(out: Path, side: Side, batches: Iterable[Values], words: str) -> None:
    pictures = [_picture(image, side) for batch in batches for image in batch]
    across = int(np.ceil(np.sqrt(len(pictures))))
    rows = [pictures[first : first + across] for first in range(0, len(pictures), across)]
    contact_sheet(out, rows, title=words)


def _picture(image: Values, side: Side) -> Values:
    """(1 or 3, H, W) from 0 to 1, top row first, its pixels repeated where it is small."""
    if side.unit == DISPLAY:
        planes = image if len(image) in (1, 3) else image[:1]
    else:
        rgb = colour(side.stretch(image), _GAMMA)  # rows of the sky run upward
        planes = np.moveaxis(rgb, 2, 0)[:, ::-1]
    times = max(1, _SHOWN // max(planes.shape[1:]))
    return planes.repeat(times, 1).repeat(times, 2)


def _write_rows(
    out: Path,
    bundle: Bundle,
    side: Side,
    batches: Iterable[Values],
    cards: list[tuple[str, Any, str]],
) -> None:
    """One batch is in memory at a time, whatever n."""
    columns = [
        Column(name, unit, np.dtype(np.float64))
        for name, unit in zip(side.names, side.units, strict=True)
    ]
    said = {key: value for key, value, _ in (_CREATOR, *prediction_cards(bundle.hash, "sample"))}
    with write_table(out, columns, said | {key: value for key, value, _ in cards}) as table:
        for rows in batches:
            table.write(dict(zip(side.names, rows.T, strict=True)))


def write_reconstruction(
    found: Reconstruction, out: Path | str, bundle: Bundle, *, overwrite: bool = False
) -> Path:
    """Write what came back, beside what was lost.

    Args:
        found: of :func:`imgturbo.sampling.reconstruct`.
        out: FITS with the extensions SCI and RESIDUAL, or a PNG figure.
        bundle: that it went through.
        overwrite: replace what is there.

    Raises:
        ImgturboError: another suffix, or the output exists or cannot be written.
    """
    out = Path(out)
    if out.suffix.lower() not in (".fits", ".png"):
        raise ImgturboError(f"{out}: a reconstruction is an image; end the name with .fits or .png")
    mark = FIGURE if out.suffix.lower() == ".png" else SAMPLED
    free_place(out, [found.given.path], [bundle.path], mark=mark, overwrite=overwrite)
    if out.suffix.lower() == ".png":
        stretch = found.side.stretch
        panels = {"truth": stretch(found.given.data), "prediction": stretch(found.image.data)}
        words = f"{bundle.config.name}, {found.path} path, PSNR {found.psnr:.2f} dB"
        comparison(out, panels, pictures=found.side.unit == DISPLAY, caption=words)
        return out
    cards = [_CREATOR, *prediction_cards(bundle.hash, f"{found.path} path")]
    cards += found.side.stretch.header_cards(found.side.names)
    return write_sky(
        out,
        found.image,
        header_cards=cards,
        history=[f"there and back from {found.given.path}"],
        extras={"RESIDUAL": found.residual},
        image_cards=prediction_cards(bundle.hash, f"{found.path} path"),
        overwrite=True,
    )
