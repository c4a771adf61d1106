r"""Scores where nothing is paired: what comes back, and how like the data what is made is.

    direct/psnr     −10 log₁₀ mean(x̂ − x)²,   x → z̃ → x̂       where there are both maps
    reverse/psnr    −10 log₁₀ mean(ẑ − z)²,   z → x̃ → ẑ
    forward/mmd     MMD² of {x̃} and {x}, the validation's z and x;   backward/mmd of {z̃} and {z}
    forward/frechet   Fréchet distance of their features;   backward/frechet   likewise

on the stretched values, over what is valid, with the averaged weights. They are computed of
validation batches that hold no pair, and of all where ``train.select`` names one of them: they cost
further passes. A PSNR of what comes back says nothing of what is in between: a cycle can be
faithful by hiding its input. An MMD (Gretton et al. 2012, JMLR 13, eq. 4, the kernels of
:mod:`imgturbo.turbo.divergences`) is the mean over the batches, without bias in any size of theirs.
It compares pixels; the Fréchet distance compares the features of a network that judges pictures
(:mod:`imgturbo.metrics.frechet`), is computed only where it selects, and falls with the number of
tiles, so that it compares steps of one run alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from imgturbo.data.batch import Batch
from imgturbo.data.source import Source
from imgturbo.errors import ImgturboError
from imgturbo.losses import CYCLE_SCORES, DIRECTIONS, UNPAIRED_SCORES
from imgturbo.metrics.frechet import frechet_distance, frechet_features
from imgturbo.metrics.perceptual import Unavailable
from imgturbo.nets import PositionalNoise
from imgturbo.nets.generator import carry
from imgturbo.team import Team
from imgturbo.turbo.divergences import kernel
from imgturbo.turbo.terms import Terms

__all__ = ["UnpairedScores", "refuse_unscored", "squared_mmd"]

_APART = 1 << 20  # pixels between the places of two samples' noise

Sides = tuple[Tensor, Tensor]
"""Values (B, C, …) and (B, 1, …) where they are valid."""


def refuse_unscored(select: str | None, source: Source) -> None:
    """Refuse to select by a Fréchet distance that cannot be had, before anything is trained.

    Raises:
        ImgturboError: the side has no images, or the network that judges is not installed.
    """
    way, _, score = (select or "").partition("/")
    if score != "frechet":
        return
    side = source.target if way == "forward" else source.source
    if side.kind != "image":
        raise ImgturboError(
            f"train.select {select}: a Fréchet distance is of images, and that side holds "
            f"{'codes' if side.kind == 'latent' else 'rows of numbers'}; take {way}/mmd"
        )
    try:
        frechet_features(torch.zeros(1, 1, 8, 8))
    except Unavailable as reason:
        raise ImgturboError(f"train.select {select}: {reason}") from None


class UnpairedScores:
    """Collects the scores of the module's page over validation batches.

    Args:
        networks: ``decoder``, ``encoder``, those that there are.
        select: the score that selects, which is computed whatever the batches hold.
    """

    def __init__(self, networks: Mapping[str, nn.Module], select: str | None) -> None:
        self._networks = networks
        self._ways = {way: networks[name] for way, name in DIRECTIONS.items() if name in networks}
        self._cycles = CYCLE_SCORES if len(self._ways) == len(DIRECTIONS) else {}
        names = {f"{way}/{name}" for way in self._ways for name in UNPAIRED_SCORES}
        self._always = select in names or select in self._cycles
        self._sums = {name: torch.zeros(2, dtype=torch.float64) for name in self._cycles}
        self._sums |= {f"{way}/mmd": torch.zeros(2, dtype=torch.float64) for way in self._ways}
        self._features = {
            way: (_Moments(), _Moments()) for way in self._ways if select == f"{way}/frechet"
        }

    def update(self, batch: Batch, number: int) -> None:
        """Take in a validation batch; ``number`` places the noise of stochastic maps."""
        if batch.paired.any() and not self._always:
            return
        sides = {"z": (batch.z, batch.z_valid), "x": (batch.x, batch.x_valid)}
        for name, (own, other, there, back) in _CYCLES.items():
            if name in self._cycles:
                data, valid = sides[own]
                middle = _run(self._networks[there], sides[own], sides[other][0])
                found = None if middle is None else _run(self._networks[back], middle, data)
                if found is not None:
                    both = valid & found[1]
                    error = torch.where(both, found[0] - data, 0.0).double().square().sum()
                    self._add(name, error, both.sum() * data.shape[1])
        for way, network in self._ways.items():
            given, real = (sides[space] for space in ("zx" if way == "forward" else "xz"))
            made = _run(network, given, real[0], _noise(network, number, len(batch)))
            if made is None:
                continue
            both = made[1] & real[1]
            fake, truth = (torch.where(both, u, 0.0) for u in (made[0], real[0]))
            if len(batch) > 1:
                self._add(f"{way}/mmd", squared_mmd(fake, truth) * len(batch), len(batch))
            if way in self._features:
                for moments, images in zip(self._features[way], (fake, truth), strict=True):
                    moments.update(frechet_features(images))

    def _add(self, name: str, total: Tensor, count: Tensor | int) -> None:
        self._sums[name] += torch.tensor([float(total), float(count)], dtype=torch.float64)

    def scores(self, team: Team) -> dict[str, float]:
        """The scores of all processes' batches, which each of them gets; a collective call."""
        if team.size > 1:
            self._sums = {n: team.sum(s.to(team.device)).cpu() for n, s in self._sums.items()}
            for pair in self._features.values():
                for moments in pair:
                    moments.share(team)
        found = {name: total / count for name, (total, count) in self._lists() if count}
        for name in self._cycles:
            if name in found:
                found[name] = -10 * math.log10(found[name]) if found[name] else math.inf
        for way, (one, other) in self._features.items():
            if one.count > 1:
                found[f"{way}/frechet"] = frechet_distance(*one.fitted(), *other.fitted())
        return found

    def _lists(self) -> list[tuple[str, list[float]]]:
        return [(name, sums.tolist()) for name, sums in self._sums.items()]


_CYCLES = {
    "direct/psnr": ("x", "z", "encoder", "decoder"),
    "reverse/psnr": ("z", "x", "decoder", "encoder"),
}
"""Of each path: the space it begins in, the other one, the map there and the map back."""


def _run(
    network: nn.Module, given: Sides, like: Tensor, noise: PositionalNoise | None = None
) -> Sides | None:
    """An output with its validity, 0 where not valid; None: it is of another shape than data."""
    data, valid = given
    output = network(torch.where(valid, data, 0.0), noise).float()
    if output.shape[1:] != like.shape[1:]:
        return None  # whole validation tiles of a network that reads crops of one size
    made = getattr(network, "carry", carry)(valid, output)
    return torch.where(made, output, 0.0), made


def _noise(network: nn.Module, number: int, size: int) -> PositionalNoise | None:
    if not getattr(network, "stochastic", False):
        return None
    step = _APART * int(getattr(network, "stride", 1))
    return PositionalNoise(number, [[row * step, 0] for row in range(size)])


def squared_mmd(fake: Tensor, real: Tensor) -> Tensor:
    """MMD² between as many samples of each, (B, …) of one shape, B ≥ 2, without bias.

    No sample is compared with itself, nor with the one of the other kind in its row, which wears
    the same holes (Gretton et al. 2012, eq. 4).
    """
    scales, (a, b) = Terms().mmd_scales, (u.flatten(1) for u in (fake, real))
    pairs = kernel(a, a, scales) + kernel(b, b, scales) - kernel(a, b, scales)
    pairs = pairs - kernel(b, a, scales)
    n = len(a)
    return (pairs.sum() - pairs.diagonal().sum()) / (n * (n - 1))


class _Moments:
    """Sums of features, which add up over processes: n, Σ f, Σ f fᵀ in double precision."""

    def __init__(self) -> None:
        self.count = 0
        self._sums = torch.zeros(0, dtype=torch.float64)

    def update(self, features: Tensor) -> None:
        f = features.double().cpu()
        f = torch.cat([torch.ones(len(f), 1, dtype=f.dtype), f], 1)
        total = f.T @ f
        self._sums = total if not self.count else self._sums + total
        self.count += len(features)

    def share(self, team: Team) -> None:
        width = max(size for (size,) in team.gather([len(self._sums)]))
        if not width:
            return
        mine = self._sums if len(self._sums) else torch.zeros(width, width, dtype=torch.float64)
        self._sums = team.sum(mine.to(team.device)).cpu()
        self.count = int(self._sums[0, 0])

    def fitted(self) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D)."""
        n = self._sums[0, 0]
        mean = self._sums[0, 1:] / n
        return mean, (self._sums[1:, 1:] - n * torch.outer(mean, mean)) / (n - 1)
