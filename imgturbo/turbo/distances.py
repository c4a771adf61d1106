"""Distances d(u, û) behind the paired terms L, with masks.

A likelihood p(u | ·) ∝ exp(−λ d(u, û)) turns −log p into λ d, so the choice of d is the choice of
the noise one believes in: ℓ1 (Laplace), ℓ2² (Gauss), Charbonnier √(d² + ε²) (between the two),
LPIPS (distance of deep features), the ℓ1 norm of the Fourier spectrum of u − û, and the distance
of the log-power spectra, |log P_u(k) − log P_û(k)|, which ignores phases and so does not punish
texture for being elsewhere. Two more are of pictures that are not registered to the last
pixel: ``shifted``, the least error of a patch over small shifts, and ``texture``, the difference of
local wavelet energies, for which detail must be there but may be another. And ``flux`` is a
distance of what telescopes count: the stretch is undone first, so that its minimum is the mean
of the flux. ``features`` compares what the critic of the output has learnt to look at (see
``critics``), and ``gaussian`` is no stand-in for −log q but that itself, where the network tells a
mean and a spread: −log N(u; μ, σ²), the noise learnt with the rest.

On a sky most pixels are black. With a signal weight κ > 0 the entries of ℓ1, ℓ2 and Charbonnier are
multiplied by w(p) = 1 + κ s(p), where s(p) = max_c (B ∗ |û_c|)(p) is the largest band's mean
absolute value over the valid ones of the 9 × 9 pixels around p; in a table, the row's largest.

Each distance returns sums, not means: a mean over a batch whose samples are unequally masked, or
which is split over several processes, is Σ total / Σ count, and only the caller knows all of them
(law 8). The count is the same for every distance, the number of valid entries, so that
distances may be added before they are divided. With nothing masked, Σ total / Σ count is the usual
mean: over entries (ℓ1, ℓ2, Charbonnier, shifted), modes (Fourier), cells (spectrum), samples
(LPIPS), and for texture the sum over scales of means over entries.

What lies under the mask is replaced before it is used; it may be NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.errors import ImgturboError
from imgturbo.nets.answer import Posterior
from imgturbo.nets.lpips import load_lpips, require_backbone
from imgturbo.nets.weights import MissingWeights
from imgturbo.turbo.critics import Features
from imgturbo.turbo.entries import Distance, Total, box, count, difference, require_images
from imgturbo.turbo.flux import Flux
from imgturbo.turbo.fourier import fourier, spectrum

__all__ = ["DISTANCES", "Distance", "Lpips", "Mix", "Total"]

CHARBONNIER_EPSILON = 1e-3
SIGNAL_BOX = 9  # pixels a side over which the signal is averaged
SHIFT, SHIFT_PATCH = 1, 7  # pixels: the largest shift, the side of the patch that moves as one
TEXTURE_SCALES = 4
GAUSSIAN = "gaussian"


def _entrywise(
    cell: Callable[[Tensor], Tensor],
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    kappa: float,
) -> Total:
    """Σ w cell(u − û); images (B, C, H, W) or tables (B, C)."""
    cells = torch.where(valid, cell(difference(prediction, target, valid)), 0.0)
    if kappa:
        cells = cells * (1 + kappa * signal(target, valid))
    return Total(cells.flatten(1).sum(1), count(target, valid))


def signal(target: Tensor, valid: Tensor) -> Tensor:
    """s of the module's page: (B, C, H, W) or (B, C) → (B, 1, H, W) or (B, 1)."""
    level = torch.where(valid, target, 0.0).abs()
    if level.ndim == 4:
        known = box(valid.to(level.dtype), SIGNAL_BOX).clamp(min=1e-6)
        level = box(level, SIGNAL_BOX) / known
    return level.amax(1, keepdim=True)


def l1(prediction: Tensor, target: Tensor, valid: Tensor, kappa: float = 0.0) -> Total:
    """Σ w |u − û|, entry by entry. Images (B, C, H, W) or tables (B, C)."""
    return _entrywise(torch.abs, prediction, target, valid, kappa)


def l2(prediction: Tensor, target: Tensor, valid: Tensor, kappa: float = 0.0) -> Total:
    """Σ w (u − û)², entry by entry. Images (B, C, H, W) or tables (B, C)."""
    return _entrywise(torch.square, prediction, target, valid, kappa)


def charbonnier(prediction: Tensor, target: Tensor, valid: Tensor, kappa: float = 0.0) -> Total:
    """Σ w √((u − û)² + ε²), ε = 10⁻³ (Lai et al. 2017, arXiv:1704.03915). Images or tables."""

    def cell(difference: Tensor) -> Tensor:
        return (difference.square() + CHARBONNIER_EPSILON**2).sqrt()

    return _entrywise(cell, prediction, target, valid, kappa)


# ------------------------------------------------------------------- not quite registered


def shifted(prediction: Tensor, target: Tensor, valid: Tensor) -> Total:
    r"""Σ_p min_δ E_δ(p) over shifts |δ|∞ ≤ 1 pixel, C times for C bands. Images (B, C, H, W).

    E_δ(p) is the mean of |u(q) − û(q + δ)| over bands and those q of the 7 × 7 pixels around p
    where both are valid. A patch may move, but only as one.

    Raises:
        ImgturboError: not images.
    """
    require_images("shifted", prediction, 1)
    height, width = target.shape[-2:]
    u = torch.where(valid, prediction, 0.0)
    moved = F.pad(torch.where(valid, target, 0.0), [SHIFT] * 4)
    moved_valid = F.pad(valid, [SHIFT] * 4)
    best = u.new_full((), math.inf)
    for dy in range(2 * SHIFT + 1):
        for dx in range(2 * SHIFT + 1):
            window = (..., slice(dy, dy + height), slice(dx, dx + width))
            both = valid & moved_valid[window]
            cells = torch.where(both, u - moved[window], 0.0).abs().mean(1, keepdim=True)
            known = box(both.to(u.dtype), SHIFT_PATCH)
            error = box(cells, SHIFT_PATCH) / known.clamp(min=1e-6)
            best = torch.minimum(best, torch.where(known > 0, error, math.inf))
    # Where p is valid the shift 0 is known, so that the minimum is finite.
    found = torch.where(valid, best, 0.0).flatten(1).sum(1)
    return Total(found * target.shape[1], count(target, valid))


def texture(prediction: Tensor, target: Tensor, valid: Tensor) -> Total:
    r"""Σ_j mean |B ∗ |d_j u| − B ∗ |d_j û||, times the number of entries. Images (B, C, H, W).

    d_j a = a_j − ↑a_{j+1} is the detail that the mean over 2 × 2 pixels takes away, a_0 = a and
    a_{j+1} = ↓a_j: the sum of the three Haar wavelets of scale j = 0 … 3. B is the mean over 3 × 3.
    A blurred prediction lacks energy; that its details have other phases or signs costs nothing.

    Raises:
        ImgturboError: not images, or a side of one pixel.
    """
    require_images("texture", prediction, 2)
    pair = torch.stack([torch.where(valid, image, 0.0) for image in (prediction, target)])
    pair = pair.flatten(0, 1)
    found = target.new_zeros(len(target))
    for _ in range(TEXTURE_SCALES):
        if min(pair.shape[-2:]) < 2:
            break
        coarse = F.avg_pool2d(pair, 2, ceil_mode=True)
        whole = F.interpolate(coarse, scale_factor=2.0)[..., : pair.shape[-2], : pair.shape[-1]]
        energy, truth = box((pair - whole).abs(), 3).chunk(2)
        found = found + (energy - truth).abs().flatten(1).mean(1)
        pair = coarse
    return Total(found * target[0].numel(), count(target, valid))


# -------------------------------------------------------------------------------- perceptual


class Lpips:
    """Σ over pixels of LPIPS (Zhang et al. 2018, arXiv:1801.03924); 0 … 1 is black … white.

    Three channels are taken as red, green, blue; of any other number each is taken as a grey
    picture. Masked pixels are 0 in both pictures. It is no ``nn.Module``, so that the backbone's
    weights enter neither checkpoints nor the list of trained parameters.

    Args:
        net: ``vgg`` or ``alex``, the backbone.
        random_backbone: no pretrained backbone; for tests of the plumbing.

    Raises:
        ImgturboError: the backbone's weights are not in torch's cache, or (when called) not
            images of at least 32 pixels a side.
    """

    def __init__(self, net: str = "vgg", random_backbone: bool = False) -> None:
        self.net, self.random_backbone = net, random_backbone
        if random_backbone:
            return
        try:
            require_backbone(net)  # now, not at the first step
        except MissingWeights as reason:
            raise ImgturboError(
                f"{reason}; put it there, or take lpips out of objective.distance"
            ) from None

    def __call__(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Total:
        require_images("lpips", prediction, 32)
        model = load_lpips(self.net, self.random_backbone, target.device)
        batch, channels, height, width = target.shape
        pictures = []
        for image in (prediction, target):
            image = torch.where(valid, image, 0.0).float()
            if channels != 3:
                image = image.reshape(batch * channels, 1, height, width).expand(-1, 3, -1, -1)
            pictures.append(image)
        value = model(*pictures, normalize=True).reshape(batch, -1).mean(1).to(target.dtype)
        # The mean over all pixels becomes a sum; what is divided by counts valid ones only.
        return Total(value * (channels * height * width), count(target, valid))


DISTANCES: dict[str, Distance] = {
    "l1": l1,
    "l2": l2,
    "charbonnier": charbonnier,
    "shifted": shifted,
    "texture": texture,
    "fourier": fourier,
    "spectrum": spectrum,
}


class Gaussian:
    """−Σ log N(u; μ, σ²) in nats, of a posterior that the network tells.

    The mean over entries is that of a sample's −log q divided by its number of entries.
    """

    def __init__(self, posterior: Posterior | None) -> None:
        assert posterior is not None  # the objective has asked for a map that tells
        self.posterior = posterior

    def __call__(self, prediction: Tensor, target: Tensor, valid: Tensor) -> Total:
        nats = self.posterior.nats(torch.where(valid, target, 0.0))
        return Total(torch.where(valid, nats, 0.0).flatten(1).sum(1), count(target, valid))


def _made(
    name: str, kappa: float, scale: Sequence[float] | None, critic: nn.Module | None
) -> Distance:
    """The named distance, with the signal weight where it is a sum over entries."""
    if name == "lpips":
        return Lpips()
    if name == "features":
        if critic is None:
            raise ImgturboError(
                "objective.distance: 'features' are those of the critic of the same output, which "
                "there is not, or which sees pairs; give it a weight in objective.marginal, and "
                "set objective.conditional to false"
            )
        return Features(critic)
    if name == "spectrum":
        return partial(spectrum, noisy=None if scale is None else [c > 0 for c in scale])
    if name == "flux":
        if scale is None:
            raise ImgturboError(
                "objective.distance: 'flux' needs a space whose stretch is known; use l2 here"
            )
        return Flux(scale)
    entrywise = {"l1": l1, "l2": l2, "charbonnier": charbonnier}
    return partial(entrywise[name], kappa=kappa) if name in entrywise else DISTANCES[name]


class Mix:
    """Σ_i w_i d_i of named distances, itself a distance.

    Args:
        weights: distance name → w; zeros are left out.
        kappa: the signal weight of the distances that are sums over entries.
        scale: of the space's stretch, a number a channel, 0 where it is linear, for ``flux`` and
            ``spectrum``; None where there is no stretch.
        critic: of the same output, for ``features``.

    Attributes:
        needs: what the map must tell of its output (see ``nets.Generator.tells``); empty: nothing.

    Raises:
        ImgturboError: no distance has a positive weight, LPIPS cannot be had, or ``flux`` is asked
            for in a space without a stretch.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        kappa: float = 0.0,
        scale: Sequence[float] | None = None,
        critic: nn.Module | None = None,
    ) -> None:
        for name, weight in weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ImgturboError(f"objective.distance: {name} = {weight}; weights are ≥ 0")
        used = {name: weight for name, weight in weights.items() if weight}
        self.exact = used.pop(GAUSSIAN, 0.0)
        self.needs = "posterior" if self.exact else ""
        self.parts = [(weight, _made(name, kappa, scale, critic)) for name, weight in used.items()]
        if not (self.parts or self.exact):
            raise ImgturboError("objective.distance: no distance has a weight; give e.g. {l1: 1}")

    def __call__(
        self,
        prediction: Tensor,
        target: Tensor,
        valid: Tensor,
        posterior: Posterior | None = None,
    ) -> Total:
        """The sum of its parts; ``posterior`` is what the network tells of the prediction."""
        exact = [(self.exact, Gaussian(posterior))] if self.exact else []
        parts: list[tuple[float, Distance]] = [*self.parts, *exact]
        found = [(weight, part(prediction, target, valid)) for weight, part in parts]
        total = torch.stack([weight * one.total for weight, one in found]).sum(0)
        return Total(total, found[0][1].entries)
