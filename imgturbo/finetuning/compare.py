r"""Before and after, on held-out sky: how alike pictures are, and whether the light is right.

    PSNR, SSIM, bits   as in training (:mod:`imgturbo.training.validate`), stretched, data range 1
    LPIPS, ST-LPIPS    mean over tiles, of images, where their weights are on this machine
    flux bias          Σ(F̂ − s)/Σ(F − s) − 1 a band, s the sky's level, over the pixels in which the
                       *input* shows more than sky; with the error that the tiles' scatter gives it

The pixels are chosen by the input, which is the same before and after: chosen by the truth, the
faint would be pulled down and the bright up however good a prediction is. A bias is of fluxes, so
it is had where the side that is made has a unit, and not of pictures on a display.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imgturbo.bundle import Bundle
from imgturbo.config import Config
from imgturbo.data.source import Source
from imgturbo.engines import build_trainable
from imgturbo.losses import DIRECTIONS
from imgturbo.metrics.fluxes import flux_bins
from imgturbo.metrics.perceptual import Unavailable, lpips_distance, st_lpips_distance
from imgturbo.nets.generator import carry
from imgturbo.side import Side
from imgturbo.sky.stretch import Stretch
from imgturbo.team import Team
from imgturbo.training.validate import validate

__all__ = ["Scored", "score_bundle"]

_NO_FLUX = ("", "display", "Lab")
_BRIGHT = 0.05  # of the stretched range above the sky, where a stretch has no softening
_BATCH = 4


@dataclass
class Scored:
    """Scores of one bundle on held-out samples.

    Attributes:
        scores: such as ``forward/psnr``; of the bias of fluxes ``forward/flux_bias/F200W``, a
            share, and ``forward/flux_error/F200W``, its standard error.
        samples: how many were scored.
        notes: what could not be had, and why.
    """

    scores: dict[str, float] = field(default_factory=dict)
    samples: int = 0
    notes: list[str] = field(default_factory=list)

    def content(self) -> dict[str, Any]:
        """JSON-ready: a score that is not finite is left out."""
        return {name: value for name, value in self.scores.items() if math.isfinite(value)}


def score_bundle(bundle: Bundle, config: Config, source: Source) -> Scored:
    """Score a bundle's networks on the validation samples of some data.

    Args:
        bundle: a loaded one.
        config: the settled one of the fine-tuning, whose objective may have scores of its own.
        source: the data, in the bundle's numbers.
    """
    objective = build_trainable(config, source.source, source.target).eval()
    networks: dict[str, nn.Module] = {
        name: network for name in objective.maps() if (network := getattr(bundle, name)) is not None
    }
    scored = Scored()
    scored.scores, _ = validate(networks, source, _BATCH, _MANY, Team(), objective)
    beside = {
        way: _Beside(*_ends(source, way), scored.notes)
        for way, name in DIRECTIONS.items()
        if name in networks
    }
    with torch.inference_mode():
        for batch in source.validation(_BATCH):
            scored.samples += len(batch)
            batch = objective.observe(batch, networks)
            pairs = batch.paired
            z, x = (batch.z[pairs], batch.z_valid[pairs]), (batch.x[pairs], batch.x_valid[pairs])
            for way, other in beside.items():
                given, truth = (z, x) if way == "forward" else (x, z)
                if len(given[0]):
                    other.see(networks[DIRECTIONS[way]], given, truth)
    for way, other in beside.items():
        scored.scores |= {f"{way}/{name}": value for name, value in other.scores().items()}
    scored.notes = list(dict.fromkeys(scored.notes))
    return scored


_MANY = 1 << 31
"""Samples: all of them."""


def _ends(source: Source, way: str) -> tuple[Side, Side]:
    both = (source.source, source.target)
    return both if way == "forward" else both[::-1]


class _Beside:
    """What training's validation does not compute, of one direction."""

    def __init__(self, given: Side, made: Side, notes: list[str]) -> None:
        self.given, self.made, self.notes = given, made, notes
        self._distances: dict[str, list[float]] = {}
        self._predicted: list[NDArray[np.float64]] = []
        self._true: list[NDArray[np.float64]] = []
        self._judged = made.kind == "image"
        self._has_flux = made.kind == "image" and made.unit not in _NO_FLUX

    def see(self, network: nn.Module, given: Sides, truth: Sides) -> None:
        """Take in some pairs: values (B, C, …) and (B, 1, …) where they are valid."""
        predicted = network(given[0]).float()
        if predicted.shape != truth[0].shape:
            return
        both = getattr(network, "carry", carry)(given[1], predicted) & truth[1]
        if self._judged:
            self._judge(predicted.where(both, 0.0), truth[0].where(both, 0.0))
        if self._has_flux and given[0].shape[2:] == predicted.shape[2:]:
            self._sum_light(given, predicted, truth[0], both)

    def _judge(self, predicted: Tensor, truth: Tensor) -> None:
        for name, distance in (("lpips", lpips_distance), ("st_lpips", st_lpips_distance)):
            try:
                found = distance(predicted, truth)
            except Unavailable as reason:
                self.notes.append(str(reason))
                continue
            self._distances.setdefault(name, []).extend(found.tolist())

    def _sum_light(self, given: Sides, predicted: Tensor, truth: Tensor, both: Tensor) -> None:
        """Light above the sky of each tile and band, where the input shows some."""
        shown = (_above_sky(given[0], self.given.stretch) & given[1]).any(1, keepdim=True) & both
        for image, kept in ((predicted, self._predicted), (truth, self._true)):
            flux = self._flux(image)
            kept.append(np.where(shown.numpy(), flux, 0.0).sum((2, 3)))

    def _flux(self, image: Tensor) -> NDArray[np.float64]:
        stretch = self.made.stretch
        planes = np.moveaxis(image.double().numpy(), 1, 0)
        flux = np.asarray(stretch.inverse(planes)) - stretch.offset[:, None, None, None]
        return np.moveaxis(flux, 0, 1)

    def scores(self) -> dict[str, float]:
        """By name, as of :class:`Scored`."""
        found = {name: float(np.mean(values)) for name, values in self._distances.items()}
        if not self._true:
            return found
        predicted, truth = np.concatenate(self._predicted), np.concatenate(self._true)
        for light in flux_bins(predicted, truth, np.zeros(len(truth)), (-1.0, 1.0)):
            for name, ratio, error in zip(self.made.names, light.ratio, light.error, strict=True):
                found[f"flux_bias/{name}"] = float(ratio) - 1
                found[f"flux_error/{name}"] = float(error)
        return found


Sides = tuple[Tensor, Tensor]
"""Values (B, C, …), and (B, 1, …) where they are valid."""


def _above_sky(y: Tensor, stretch: Stretch) -> Tensor:
    """Where stretched values are more than the softening (some deviations of the sky) above it."""
    softened = np.isfinite(stretch.softening)
    level = np.where(softened, np.arcsinh(1.0) / stretch.scale, _BRIGHT)
    return y > torch.from_numpy(level).to(y)[:, None, None]
