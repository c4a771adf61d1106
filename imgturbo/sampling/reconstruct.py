r"""There and back: x → z̃ → x̂ (direct) or z → x̃ → ẑ (reverse), and what is lost on the way.

    residual   r = f̂ − f, in the unit of the image;     PSNR = −10 log₁₀ mean(ŷ − y)²

over the pixels that were measured, y the stretched values, whose range is 1. Where both ends are
images the two translations follow each other. Where one is a code and the networks read images of
one size S alone, the image is cut into squares of S pixels, the last of each line moved back to end
where the image ends; a square goes there and back by itself.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.bundle import Bundle
from imgturbo.bundle.folder import Direction
from imgturbo.errors import ImgturboError
from imgturbo.mosaic.apply import pick_device
from imgturbo.mosaic.translate import matched, translate_array, translate_sky
from imgturbo.sampling.draw import unstretched
from imgturbo.side import Side
from imgturbo.sky import SkyImage, read_sky
from imgturbo.sky.image import measured

__all__ = ["Reconstruction", "reconstruct"]

Planes = NDArray[np.float32]

_BATCH = 16


@dataclass(frozen=True)
class Reconstruction:
    """An image, what came back, and how far the two are apart.

    Attributes:
        given: the image as the model reads it: bands, unit and pixels of ``side``.
        image: what came back, NaN where the input is.
        side: that both are of.
        residual: ``image − given`` (C, H, W).
        psnr: in dB, of the stretched values; infinite where nothing was lost.
        path: ``direct`` (x → z̃ → x̂) or ``reverse`` (z → x̃ → ẑ).
    """

    given: SkyImage
    image: SkyImage
    side: Side
    residual: Planes
    psnr: float
    path: str


def reconstruct(
    bundle: Bundle,
    files: SkyImage | Path | str | Sequence[Path | str],
    path: str | None = None,
    *,
    device: str | torch.device | None = None,
) -> Reconstruction:
    """Bring an image there and back.

    Args:
        bundle: a loaded one, with both maps.
        files: the image, its file, or a file a band.
        path: ``direct``: an image of the target side, ``reverse``: of the source side; None: of
            the side that is no code, else ``direct``.
        device: where the networks run; None: the first CUDA device, else the CPU.

    Raises:
        ImgturboError: a map is missing; the image is of other bands, or smaller than what the
            networks read; the side holds rows of numbers or codes.
    """
    there, back, path = _ways(bundle, path)
    image = files if isinstance(files, SkyImage) else read_sky(files, unit=there.input.unit)
    given, values = matched(image, there.input, str(image.path or "the image"))
    given = replace(
        given,
        data=values,
        valid=measured(values),
        unit=there.input.unit,
        bands=there.input.names,
        zeropoints=there.input.on(given.scales[0].pixel_area).zeropoints,
        named=(True,) * len(there.input),
    )
    if there.generator.size is not None:
        made = _by_squares(there, back, values, device)
    elif there.output.kind == "latent":
        code = translate_array(
            there.generator, values, stretch=there.input.stretch, device=device
        ).mean
        made = translate_array(back.generator, code, target=there.input.stretch, device=device).mean
    else:
        made = _by_translation(bundle, given, there, back, device)
    made = np.where(given.valid, made, np.float32(np.nan))
    stretch = there.input.stretch
    apart = (stretch(made) - stretch(values))[:, given.valid].astype(np.float64)
    if not apart.size:
        raise ImgturboError(f"{image.path or 'the image'}: no pixel was measured in all bands")
    error = float(np.square(apart).mean())
    return Reconstruction(
        given,
        replace(given, data=made),
        there.input,
        (made - values).astype(np.float32),
        -10 * math.log10(error) if error else math.inf,
        path,
    )


def _ways(bundle: Bundle, path: str | None) -> tuple[Direction, Direction, str]:
    """The map there, the map back, and what the path is called."""
    if path is None:
        path = "reverse" if bundle.target.kind == "latent" else "direct"
    if path not in ("direct", "reverse"):
        raise ImgturboError(f"path {path!r}: choose direct (x → z → x) or reverse (z → x → z)")
    if bundle.decoder is None or bundle.encoder is None:
        missing = "decoder" if bundle.decoder is None else "encoder"
        raise ImgturboError(
            f"{bundle.path}: holds no {missing}, and there and back goes through both; train one "
            "with a weight on objective.paired.x_hat or z_hat"
        )
    names = ("backward", "forward") if path == "direct" else ("forward", "backward")
    there, back = map(bundle.direction, names)
    if there.input.kind != "image":
        other = "reverse" if path == "direct" else "direct"
        raise ImgturboError(
            f"{bundle.path}: the {path} path begins with a {there.input.kind}, not with images; "
            f"ask for the {other} one"
        )
    return there, back, path


def _by_translation(
    bundle: Bundle,
    given: SkyImage,
    there: Direction,
    back: Direction,
    device: str | torch.device | None,
) -> Planes:
    """By the two translations, each of which keeps coordinates, units and grids."""
    with warnings.catch_warnings():
        # What came out of the first map need not have the sky of the other telescope's training.
        warnings.filterwarnings("ignore", ".*sky is not the training's")
        other = translate_sky(bundle, given, there.name, device=device).mean
        returned = translate_sky(bundle, other, back.name, device=device).mean
    height, width = given.valid.shape
    return returned.data[:, :height, :width]


@torch.inference_mode()
def _by_squares(
    there: Direction, back: Direction, values: Planes, device: str | torch.device | None
) -> Planes:
    """By networks that read images of one size."""
    size, picked = there.generator.size, pick_device(device)
    assert size is not None
    height, width = values.shape[1:]
    if min(height, width) < size:
        raise ImgturboError(
            f"the image has {width} × {height} pixels, and the model reads squares of {size}; give "
            "a larger image"
        )
    for network in (there.generator, back.generator):
        network.to(picked).eval()
    stretch = there.input.stretch
    y = np.nan_to_num(stretch(values), nan=0.0).astype(np.float32)
    places = [(top, left) for top in _starts(height, size) for left in _starts(width, size)]
    made = np.empty_like(values)
    for first in range(0, len(places), _BATCH):
        part = places[first : first + _BATCH]
        squares = np.stack([y[:, top : top + size, left : left + size] for top, left in part])
        code = there.generator(torch.from_numpy(squares).to(picked), None)
        found = unstretched(back.generator(code, None).float().cpu().numpy(), stretch)
        for (top, left), square in zip(part, found, strict=True):
            made[:, top : top + size, left : left + size] = square
    return made


def _starts(length: int, size: int) -> list[int]:
    return [*range(0, length - size, size), length - size]
