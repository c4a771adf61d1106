r"""What the latents of a colour flow hold: four ways of moving through z at one lightness.

    saturation     x = f⁻¹(t·z; L),  t from 0 to 1.5: colours grow from the mean's
    interpolation  z = a₀z₀ + a₁z₁,  aᵢ = sign(uᵢ)·|uᵢ|^½, uᵢ from −0.81 to 0.81 (a grid of both)
    transfer       z_ref = f(x_ref; L_ref), decoded with another L, the finest latents drawn anew:
                   z = √s·z_rand + √(1 − s)·z_ref, s = (1, 0.7, 0, 0) from fine to coarse
    scales         all latents zero but one level, which is drawn several times

Each is done at the size that the network works at, on the whole image in one piece, and becomes one
contact sheet. Draw i is draw i of ``imgturbo colorize`` with the same seed.

Ardizzone et al. 2019 (arXiv:1907.02392), section 4 and the published code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imgturbo.bundle import Bundle
from imgturbo.color.colorize import colour_decoder, to_full_size, working_lightness
from imgturbo.color.grey import read_colour, read_grey
from imgturbo.errors import ImgturboError
from imgturbo.nets import PositionalNoise
from imgturbo.places import free_place
from imgturbo.report.sheet import SHEET, contact_sheet
from imgturbo.sky.lab import lab_to_rgb
from imgturbo.sky.picture import resize

if TYPE_CHECKING:
    from imgturbo.flows.decoder import CINNDecoder

__all__ = ["MIX", "Study", "interpolate", "saturation", "scales", "transfer"]

MIX = (1.0, 0.7, 0.0, 0.0)
"""Published share of new noise in each latent, finest first, of a flow with four of them."""

_FACTORS = tuple(0.25 * k for k in range(7))
_CORNERS = np.linspace(-0.81, 0.81, 5)

Planes = NDArray[np.float32]


class Study:
    """One lightness and the flow that colours it: latents in, pictures out.

    Args:
        bundle: of a flow L → ab.
        lightness: (1, h, w) at the working size.

    Raises:
        ImgturboError: the bundle holds no flow of colours.
    """

    def __init__(self, bundle: Bundle, lightness: Planes) -> None:
        decoder = colour_decoder(bundle)
        if not hasattr(decoder, "flow"):
            raise ImgturboError(
                f"{bundle.path}: what draws its colours has no latents to move through; train a "
                "flow with configs/cinn_colorize.yaml"
            )
        self.decoder = cast("CINNDecoder", decoder)
        self.flow = self.decoder.flow
        self.source = bundle.source.stretch
        self.target = bundle.target.stretch
        self.lightness = lightness
        self.input = self._padded(self.source(lightness))
        with torch.inference_mode():
            self.conditions = self.flow.conditions(self.input)
        height, width = (side // self.decoder.scale for side in self.input.shape[2:])
        self.shapes = self.flow.latent_shapes(height, width)
        self._height = height

    def _padded(self, planes: Planes) -> Tensor:
        return self.decoder.padded(torch.from_numpy(np.ascontiguousarray(planes))[None])

    def draw(self, seed: int, number: int = 0) -> list[Tensor]:
        """Latents of one draw of a seed, finest first."""
        noise = PositionalNoise(seed, [(0, 0)], number)
        latents = []
        for index, shape in enumerate(self.shapes):
            dense = len(shape) == 1
            stride = self.flow.stride if dense else self._height // shape[1]
            like = torch.zeros(())
            latents.append(noise(index, (1, *shape), stride * self.decoder.scale, like))
        return latents

    def zeros(self) -> list[Tensor]:
        """The latents' mean."""
        return [torch.zeros(1, *shape) for shape in self.shapes]

    @torch.inference_mode()
    def encode(self, ab: Planes) -> list[Tensor]:
        """Latents of colours (2, h, w) on this lightness."""
        height, width = self.lightness.shape[1:]
        if ab.shape[1:] != (height, width):
            raise ImgturboError(
                f"colours of {ab.shape[2]} × {ab.shape[1]} pixels for a lightness of {width} × "
                f"{height}; bring both to one size"
            )
        x = self.decoder.reduce(self._padded_target(ab))
        latents, _ = self.flow(x, self.conditions)
        return latents  # type: ignore[no-any-return]

    def _padded_target(self, ab: Planes) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(self.target(ab)))[None]
        bottom = self.input.shape[2] - x.shape[2]
        right = self.input.shape[3] - x.shape[3]
        x = torch.cat([x, x[:, :, -1:].expand(-1, -1, bottom, -1)], dim=2)
        return torch.cat([x, x[:, :, :, -1:].expand(-1, -1, -1, right)], dim=3)

    @torch.inference_mode()
    def picture(self, latents: Sequence[Tensor]) -> Planes:
        """sRGB (3, h, w) of the latents."""
        x = self.flow.inverse(latents, self.conditions)[0].numpy()
        height, width = self.lightness.shape[1:]
        scale = self.decoder.scale
        padded = self.source.inverse(self.input[0].numpy())[0].astype(np.float32)
        rgb = to_full_size(padded, self.target.inverse(x).astype(np.float32))
        assert rgb.shape[1:] == (x.shape[1] * scale, x.shape[2] * scale)
        return rgb[:, :height, :width]

    def grey(self) -> Planes:
        """sRGB (3, h, w) of the lightness alone."""
        colourless = np.zeros((2, *self.lightness.shape[1:]), np.float32)
        return lab_to_rgb(np.concatenate([self.lightness, colourless]))


class Reading(TypedDict, total=False):
    """How a grey image is read: as of :func:`imgturbo.color.colorize.colorize`."""

    size: int | None
    bands: str | None
    grey: bool


def _study(
    bundle: Bundle,
    path: Path | str,
    *,
    size: int | None = None,
    bands: str | None = None,
    grey: bool = False,
) -> Study:
    return Study(bundle, working_lightness(bundle, read_grey(path, bands, grey), size))


def saturation(
    bundle: Bundle,
    path: Path | str,
    out: Path,
    *,
    samples: int = 3,
    seed: int = 0,
    overwrite: bool = False,
    **reading: Unpack[Reading],
) -> None:
    """Write a sheet: a row a draw, its latents scaled from 0 to 1.5.

    Args:
        bundle: of a flow L → ab.
        path: grey image.
        out: PNG.
        samples: rows.
        seed: of all of them.
        overwrite: replace a file that is no sheet of ours.
        reading: ``size``, ``bands``, ``grey`` as of :func:`imgturbo.color.colorize.colorize`.

    Raises:
        ImgturboError: as ``colorize``; ``out`` is not named as a PNG.
    """
    _check_sheet(out, bundle, [path], overwrite)
    study = _study(bundle, path, **reading)
    rows = []
    for draw in range(samples):
        z = study.draw(seed, draw)
        rows.append([study.picture([factor * w for w in z]) for factor in _FACTORS])
    contact_sheet(out, rows, captions=[[f"{factor:.2f} z" for factor in _FACTORS]])


def interpolate(
    bundle: Bundle,
    path: Path | str,
    out: Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    **reading: Unpack[Reading],
) -> None:
    """Write a sheet of 5 × 5: a₀z₀ + a₁z₁ of two draws; arguments as :func:`saturation`."""
    _check_sheet(out, bundle, [path], overwrite)
    study = _study(bundle, path, **reading)
    first, second = study.draw(seed), study.draw(seed, 1)
    steps = [math.copysign(math.sqrt(abs(u)), u) for u in _CORNERS]
    rows = [
        [study.picture([a * w + b * v for w, v in zip(first, second, strict=True)]) for b in steps]
        for a in steps
    ]
    contact_sheet(
        out,
        rows,
        captions=[[f"a1 = {b:+.2f}" for b in steps]],
        labels=[f"a0 = {a:+.2f}" for a in steps],
    )


def transfer(
    bundle: Bundle,
    paths: Sequence[Path | str],
    out: Path,
    *,
    reference: Path | str,
    mix: Sequence[float] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    **reading: Unpack[Reading],
) -> None:
    """Write a sheet: each grey image in the colours of the reference, and in colours of its own.

    Args:
        bundle: of a flow L → ab.
        paths: grey images; the reference is brought to the size of each.
        out: PNG.
        reference: colour picture.
        mix: s, the share of new noise in each latent, finest first; None: the published one, cut to
            this flow, the coarsest kept.
        seed: of the new noise.
        overwrite: as of :func:`saturation`.
        reading: as of :func:`saturation`.

    Raises:
        ImgturboError: no colour picture, shares outside 0…1 or of another number than latents.
    """
    _check_sheet(out, bundle, [reference, *paths], overwrite)
    lab = read_colour(reference)
    rows = []
    for path in paths:
        study = _study(bundle, path, **reading)
        shares = _shares(mix, len(study.shapes))
        there = resize(lab, *study.lightness.shape[1:])
        seen = Study(bundle, there[:1]).encode(there[1:])
        own = study.draw(seed)
        mixed = [
            math.sqrt(s) * new + math.sqrt(1 - s) * old
            for s, new, old in zip(shares, own, seen, strict=True)
        ]
        rows.append([study.grey(), lab_to_rgb(there), study.picture(mixed), study.picture(own)])
    contact_sheet(out, rows, captions=[["grey", "reference", "transferred", "own draw"]])


def scales(
    bundle: Bundle,
    path: Path | str,
    out: Path,
    *,
    samples: int = 5,
    seed: int = 0,
    overwrite: bool = False,
    **reading: Unpack[Reading],
) -> None:
    """Write a sheet: a row a latent, finest first, drawn anew in each column, all others zero.

    Arguments as :func:`saturation`; ``samples`` are the columns.
    """
    _check_sheet(out, bundle, [path], overwrite)
    study = _study(bundle, path, **reading)
    rows = []
    for level in range(len(study.shapes)):
        row = []
        for draw in range(samples):
            z = study.zeros()
            z[level] = study.draw(seed, draw)[level]
            row.append(study.picture(z))
        rows.append(row)
    labels = [f"{math.prod(shape)} numbers" for shape in study.shapes]
    contact_sheet(out, rows, labels=labels)


def _check_sheet(out: Path, bundle: Bundle, inputs: Sequence[Path | str], overwrite: bool) -> None:
    """Before the work: what is written is a PNG, whatever its name says, and nothing is in its way.

    Raises:
        ImgturboError: another name, or a place where it must not go.
    """
    if out.suffix.lower() != ".png":
        raise ImgturboError(f"{out}: the sheet is a PNG; name it {out.with_suffix('.png').name}")
    free_place(out, inputs, [bundle.path], mark=SHEET, overwrite=overwrite)


def _shares(mix: Sequence[float] | None, latents: int) -> Sequence[float]:
    if mix is None:
        return (*(*MIX, *([0.0] * latents))[: latents - 1], 0.0)
    if len(mix) != latents or not all(0 <= s <= 1 for s in mix):
        raise ImgturboError(
            f"--mix {','.join(f'{s:g}' for s in mix)}: this flow has {latents} latents, so give "
            f"{latents} numbers from 0 to 1, finest first"
        )
    return mix
