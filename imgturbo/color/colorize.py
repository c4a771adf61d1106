r"""Colours for a grey image of any size, drawn from p(a, b | L).

    L  →  at the working size  →  (a, b)⁽ⁱ⁾ ~ p(a, b | L), window by window  →  upsampled by the
    edges of the full L  →  RGB of (L, a⁽ⁱ⁾, b⁽ⁱ⁾)

What a network has learnt of faces or galaxies it has learnt at one size in pixels, so a picture is
brought to the size of the training pictures first (its shorter side: ``prepare.pictures.size`` of
the bundle's config). Lightness is never touched: the result has every detail of the input, and its
colours are as fine as those of the working size. A flow with a dense backend reads squares of one
size alone: the picture is squeezed into that square and its colours are stretched back.

The colours are inventions. They are drawn from what the training pictures showed; several draws
show how little a grey image says about its colours, and none of them is a measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.bundle import Bundle
from imgturbo.bundle.settings import Computing
from imgturbo.color.grey import Grey, read_grey
from imgturbo.errors import ImgturboError
from imgturbo.files import naming
from imgturbo.flows.upsampling import joint_bilateral_upsample
from imgturbo.mosaic import translate_array
from imgturbo.nets import Generator
from imgturbo.places import free_folder, free_place
from imgturbo.report.sheet import contact_sheet
from imgturbo.sky import write_sky
from imgturbo.sky.lab import colours_grey, lab_to_rgb
from imgturbo.sky.picture import resize, working_shape
from imgturbo.sky.provenance import history_of, prediction_cards
from imgturbo.sky.units import DISPLAY

__all__ = [
    "colorize",
    "colour_decoder",
    "draw_colours",
    "to_full_size",
    "working_lightness",
]

_ONE_PIECE = 640 * 960  # pixels that the network sees at once, if not told otherwise

Planes = NDArray[np.float32]
Report = Callable[[str, float], None]


def colorize(
    bundle: Bundle,
    paths: Sequence[Path | str],
    out_dir: Path | str,
    *,
    samples: int = 8,
    temperature: float = 1.0,
    seed: int = 0,
    size: int | None = None,
    bands: str | None = None,
    grey: bool = False,
    overwrite: bool = False,
    progress: Report | None = None,
    **settings: Unpack[Computing],
) -> list[Path]:
    """Colour grey images; of ``NAME`` writes ``NAME_s001.png``, …, and ``NAME_sheet.png``.

    ``NAME_mean.png`` is the image of the latents' mean, T = 0, whatever the temperature. An image
    of fluxes (FITS) also becomes ``NAME_s001.fits``, …: bands R, G, B from 0 to 1 with the
    coordinates of the input, NaN where it was not measured.

    Args:
        bundle: of a flow L → ab, trained on photographs.
        paths: pictures and FITS files.
        out_dir: made if it is not there.
        samples: draws of colours; draw i is a function of the seed and i.
        temperature: of the draws: 0 is the image of the latents' mean.
        seed: of the draws.
        size: the shorter side that the network sees, in pixels; None: that of its training, 0: the
            image as it is.
        bands: the band to read of FITS files that have several.
        grey: take the lightness of colour pictures.
        overwrite: replace what is there.
        progress: told what is being done.
        settings: ``window``, ``overlap``, ``batch``, ``device``, ``precision``; see
            :class:`imgturbo.mosaic.Settings`.

    Returns:
        The files, in the order written.

    Raises:
        ImgturboError: no colour bundle, an image that is not grey, a file that is there already.
        TypeError: a setting that there is not.
    """
    say = progress or (lambda what, fraction: None)
    colour_decoder(bundle)
    if samples < 1:
        raise ImgturboError(f"{samples} samples make no picture; use 1 or more")
    if not temperature >= 0:
        raise ImgturboError(f"the temperature must be zero or more, not {temperature}")
    out = Path(out_dir)
    images = [read_grey(path, bands, grey) for path in paths]
    free_folder(out, folders=[bundle.path])
    _check_places(images, out, samples, overwrite, paths)
    written = []
    for index, image in enumerate(images):
        say(f"{image.name}: drawing colours", index / len(images))
        small = working_lightness(bundle, image, size)
        draws = draw_colours(bundle, small, samples, temperature=temperature, seed=seed, **settings)
        sheet: list[NDArray[Any]] = []
        for name, ab in draws.items():
            rgb = to_full_size(image.lightness, ab)
            rgb[:, ~image.valid] = np.nan
            sheet.append(_thumbnail(rgb))
            say(f"{image.name}: {name}", (index + len(sheet) / (samples + 1)) / len(images))
            drawn = name != "mean"
            cards = [
                ("SEED", seed if drawn else None, "of the draws"),
                ("DRAW", len(sheet) - 1 if drawn else None, "which of the seed's draws, from 0"),
                ("TEMPERAT", temperature if drawn else 0.0, "temperature of this draw"),
            ]
            made = [*prediction_cards(bundle.hash, "colorize"), *cards]
            written += _write(image, rgb, out / f"{image.name}_{name}", made, overwrite)
        # The image of the latents' mean comes last in the draws and second on the sheet.
        titles = ["grey", "T = 0", *(f"draw {i + 1}" for i in range(samples))]
        first = _thumbnail(lab_to_rgb(_grey_lab(image)))
        _sheet(out / f"{image.name}_sheet.png", [first, sheet[-1], *sheet[:-1]], titles, image.name)
        written.append(out / f"{image.name}_sheet.png")
    return written


def colour_decoder(bundle: Bundle) -> Generator:
    """The flow of a bundle that colours, or another model with a density.

    Raises:
        ImgturboError: it does something else.
    """
    decoder, source, target = bundle.decoder, bundle.source, bundle.target
    colours = colours_grey(source.names, target.names)
    if decoder is None or not colours or not decoder.has_density:
        raise ImgturboError(
            f"{bundle.path}: translates {', '.join(source.names)} to "
            f"{', '.join(target.names)}; colours need a flow from L to a, b, trained with "
            "configs/cinn_colorize.yaml"
        )
    return decoder


def working_lightness(bundle: Bundle, image: Grey, size: int | None) -> Planes:
    """L (1, h, w) at the size that the network works at; ``size`` as of :func:`colorize`."""
    if size is not None and size < 0:
        raise ImgturboError(f"a size of {size} pixels makes no sense; 0 keeps the image as it is")
    height, width = image.lightness.shape
    fixed = colour_decoder(bundle).size
    if fixed is not None:
        return resize(image.lightness[None], fixed, fixed)
    pictures = bundle.config.prepare.pictures
    if size is None and pictures is not None:
        size = pictures.size
    return resize(image.lightness[None], *working_shape(height, width, size or None))


def to_full_size(lightness: Planes, ab: Planes) -> Planes:
    """sRGB (3, H, W) of L (H, W) and colours (2, h, w), brought up along the edges of L."""
    height, width = lightness.shape
    if ab.shape[1] > height or ab.shape[2] > width:
        ab = resize(ab, min(ab.shape[1], height), min(ab.shape[2], width))
    guide = torch.from_numpy((lightness / 25.6)[None, None])  # the published unit of σ_g
    full = joint_bilateral_upsample(torch.from_numpy(ab)[None], guide)[0].numpy()
    return lab_to_rgb(np.concatenate([lightness[None], full]))


def draw_colours(
    bundle: Bundle,
    lightness: Planes,
    samples: int,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    mean: bool = True,
    **settings: Unpack[Computing],
) -> dict[str, Planes]:
    """Colours (2, h, w) of L (1, h, w) by name: ``s001``, …, and last ``mean``, of ε = 0.

    Arguments as of :func:`colorize`; L is at the size that the network works at.
    """
    decoder = colour_decoder(bundle)
    translate = partial(
        translate_array,
        decoder,
        lightness,
        stretch=bundle.source.stretch,
        target=bundle.target.stretch,
    )
    whole = lightness.shape[1] * lightness.shape[2] <= _ONE_PIECE
    if whole and settings.get("window") is None and settings.get("overlap") is None:
        # One window has no neighbour to agree with, so nobody need measure how far the network
        # sees, which for a deep one takes longer than the colours.
        settings["window"], settings["overlap"] = max(lightness.shape), 0
    drawn = translate(
        samples=samples, seed=seed, temperature=temperature, keep_draws=samples > 1, **settings
    )
    named = {f"s{i + 1:03}": ab for i, ab in enumerate(drawn.draws or [drawn.mean])}
    if mean:
        named["mean"] = translate(**settings).mean
    return named


# -------------------------------------------------------------------------------------- writing


def _check_places(
    images: Sequence[Grey],
    out: Path,
    samples: int,
    overwrite: bool,
    inputs: Sequence[Path | str],
) -> None:
    """Refuse before any work what could not be written at its end."""
    names = [image.name for image in images]
    for image in images:
        if names.count(image.name) > 1:
            raise ImgturboError(
                f"{image.sky.path}: another image is named {image.name!r} too; colour them into "
                "different folders"
            )
        kinds = [*(f"s{i + 1:03}" for i in range(samples)), "mean"]
        wanted = [f"{image.name}_{kind}{s}" for kind in kinds for s in _suffixes(image)]
        for name in [*wanted, f"{image.name}_sheet.png"]:
            remedy = "name another folder or add --overwrite"
            free_place(out / name, inputs, overwrite=overwrite, remedy=remedy)


def _suffixes(image: Grey) -> tuple[str, ...]:
    return (".png", ".fits") if image.is_sky else (".png",)


def _write(
    image: Grey,
    rgb: Planes,
    place: Path,
    cards: list[tuple[str, Any, str]],
    overwrite: bool,
) -> list[Path]:
    """The picture, and for fluxes a FITS file in the rows and coordinates of the input."""
    picture = replace(
        image.sky,
        data=rgb,
        valid=image.valid,
        wcs=None,
        header=None,  # its rows are a picture's now
        path=None,
        unit=DISPLAY,
        bands=("R", "G", "B"),
        zeropoints=(None,) * 3,
    )
    with naming(place.parent, "choose another folder", "cannot be made a folder"):
        place.parent.mkdir(parents=True, exist_ok=True)
    paths = [place.with_name(place.name + suffix) for suffix in _suffixes(image)]
    write_sky(paths[0], picture, overwrite=overwrite)
    for path in paths[1:]:
        rows = slice(None, None, -1 if image.flipped else 1)
        up = replace(
            picture,
            data=rgb[:, rows],
            valid=image.valid[rows],
            wcs=image.sky.wcs,
            header=image.sky.header,
            path=image.sky.path,
        )
        write_sky(
            path,
            up,
            header_cards=cards,
            history=history_of(image.sky.header),
            image_cards=cards,
            overwrite=overwrite,
        )
    return paths


def _grey_lab(image: Grey) -> Planes:
    lab = np.zeros((3, *image.lightness.shape), np.float32)
    lab[0] = np.where(image.valid, image.lightness, np.nan)
    return lab


def _thumbnail(rgb: Planes, longest: int = 480) -> Planes:
    """Small enough that a sheet of many takes no memory; what is not measured becomes white."""
    height, width = rgb.shape[1:]
    shrink = min(1.0, longest / max(height, width))
    filled = np.nan_to_num(rgb, nan=1.0)
    return resize(filled, max(1, round(shrink * height)), max(1, round(shrink * width)))


def _sheet(path: Path, pictures: list[Planes], titles: list[str], name: str) -> None:
    """All pictures in rows of five."""
    across = min(5, len(pictures))
    rows = [pictures[i : i + across] for i in range(0, len(pictures), across)]
    words = [titles[i : i + across] for i in range(0, len(titles), across)]
    contact_sheet(path, rows, captions=words, title=name)
