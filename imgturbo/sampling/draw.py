r"""Images (or rows) out of a prior: z_k ~ N(0, 1), x̃_k = p(z_k), f_k = stretch⁻¹(x̃_k).

Sample k of a seed is a function of (seed, k) alone: its code is the k-th of a stream of draws that
training never sees (:mod:`imgturbo.data.philox`), and the noise of a stochastic map is that of a
place of its own, as if sample k lay k steps to the south on an endless sky. So 64 samples are the
first 64 of 6400, and it is the same whoever computes them, and in what batches.

Between two samples a and b codes go along the great circle,

    z(t) = [sin((1 − t)Ω) z_a + sin(tΩ) z_b] / sin Ω,    cos Ω = z_a·z_b / |z_a||z_b|,

as a Gaussian in many dimensions is a shell, which a straight line leaves (Shoemake 1985,
doi:10.1145/325165.325242; White 2016, arXiv:1609.04468).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from imgturbo.bundle import Bundle
from imgturbo.bundle.folder import Direction
from imgturbo.data.philox import Use
from imgturbo.data.prior import draw_codes
from imgturbo.errors import ImgturboError
from imgturbo.mosaic.apply import pick_device
from imgturbo.nets import PositionalNoise, Tempered
from imgturbo.sky.stretch import Stretch

__all__ = ["Latent", "Values", "sample", "unstretched"]

Planes = NDArray[np.float32]
Values = NDArray[np.float32 | np.float64]

_TOGETHER = {True: 16, False: 4096}  # images, rows: what one call of the network makes
_APART = 1 << 20  # pixels between the places of two samples' noise


@dataclass(frozen=True)
class Latent:
    """The latent side of a bundle, and the way from there to the data.

    Attributes:
        way: the map from codes to data.
        side: S in pixels, of codes that are maps; None: they are vectors.
    """

    way: Direction
    side: int | None

    @classmethod
    def of(cls, bundle: Bundle, size: int | None = None) -> Latent:
        """That of a bundle.

        Args:
            bundle: a loaded one.
            size: S of codes that are maps; None: of the images of its training.

        Raises:
            ImgturboError: none of its sides is drawn from a prior; a size is given of vectors.
        """
        names = [
            name
            for name, side in (("forward", bundle.source), ("backward", bundle.target))
            if side.kind == "latent"
        ]
        if not names:
            raise ImgturboError(
                f"{bundle.path}: none of its sides is drawn from a prior ({bundle.source.kind} to "
                f"{bundle.target.kind}), so there are no codes to sample; imgturbo translate "
                "applies it, and draws of a stochastic model are its --samples"
            )
        prior = bundle.config.data.source
        maps = prior is not None and prior.kind == "prior" and prior.shape == "map"
        if not maps and size is not None:
            raise ImgturboError(
                f"{bundle.path}: its codes are rows of numbers, which have no size; leave --size "
                "out"
            )
        known = bundle.record.get("extent") or bundle.config.prepare.tile.size
        return cls(bundle.direction(names[0]), (size or int(known)) if maps else None)

    def codes(self, numbers: NDArray[np.int64], seed: int) -> Planes:
        """The codes of samples by their numbers: (B, n), or (B, n, S, S) of maps."""
        return draw_codes(len(self.way.input), self.side, seed, Use.SAMPLE, numbers)

    @torch.inference_mode()
    def decode(
        self,
        codes: Planes,
        numbers: NDArray[np.int64] | None,
        seed: int = 0,
        temperature: float = 1.0,
        device: str | torch.device | None = None,
    ) -> Planes:
        """What the map makes of codes, stretched: (B, C, …).

        Args:
            codes: (B, n) or (B, n, S, S).
            numbers: of the samples, which place their noise; None: ε = 0.
            seed: of the noise.
            temperature: of the noise.
            device: where the network runs.
        """
        picked, generator = pick_device(device), self.way.generator
        generator.to(picked).eval()
        noise = None
        if generator.stochastic and numbers is not None:
            step = _APART * generator.stride
            origins = [[int(number) * step, 0] for number in numbers]
            noise = Tempered(PositionalNoise(seed, origins), temperature)
        return generator(torch.from_numpy(codes).to(picked), noise).float().cpu().numpy()


def sample(
    bundle: Bundle,
    n: int,
    seed: int = 0,
    *,
    temperature: float = 1.0,
    size: int | None = None,
    between: tuple[int, int] | None = None,
    batch: int | None = None,
    device: str | torch.device | None = None,
) -> Iterator[Values]:
    """Draw samples, a batch at a time.

    Args:
        bundle: a loaded one, with a latent side.
        n: how many.
        seed: of codes and noise.
        temperature: their standard deviation; 1 is the prior's own, 0 its middle.
        size: side in pixels, of codes that are maps; None: of the training's images.
        between: numbers of two samples; then the n are on the way from one to the other, both
            included, without noise.
        batch: samples at a time; None: some.
        device: where the network runs; None: the first CUDA device, else the CPU.

    Yields:
        (B, C, S, S) images, float32, or (B, C) rows, float64, in the unit of the side that they
        are of.

    Raises:
        ImgturboError: no latent side, fewer samples than one (two on a way), a negative
            temperature, no such device.
    """
    latent = Latent.of(bundle, size)
    least = 1 if between is None else 2
    if n < least:
        raise ImgturboError(f"{n} samples are none; ask for {least} or more")
    if not temperature >= 0:
        raise ImgturboError(f"the temperature must be zero or more, not {temperature}")
    if between is not None and min(between) < 0:
        raise ImgturboError(f"samples are numbered from 0; there is no number {min(between)}")
    together = batch or _TOGETHER[latent.way.output.kind == "image"]

    def batches() -> Iterator[Values]:
        for first in range(0, n, together):
            numbers = np.arange(first, min(first + together, n))
            if between is None:
                codes = np.float32(temperature) * latent.codes(numbers, seed)
                made = latent.decode(codes, numbers, seed, temperature, device)
            else:
                one, other = np.float32(temperature) * latent.codes(np.array(between), seed)
                made = latent.decode(
                    great_circle(one, other, numbers / (n - 1)), None, device=device
                )
            yield unstretched(made, latent.way.output.stretch)

    return batches()


def unstretched(values: Planes, stretch: Stretch) -> Values:
    """Values (B, C, …) of a network in the unit of their side.

    Images are float32; rows are float64, for a column may be of times, of which float32 has hours.
    """
    planes = stretch.inverse(np.moveaxis(values, 1, 0).astype(np.float64))
    kind = np.float64 if values.ndim == 2 else np.float32
    return np.ascontiguousarray(np.moveaxis(planes, 0, 1), kind)


def great_circle(one: Planes, other: Planes, t: NDArray[np.float64]) -> Planes:
    """Codes between two codes of equal shape, (T, …), on the arc of the module's page."""
    a, b = (code.astype(np.float64).ravel() for code in (one, other))
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    angle = np.arccos(np.clip(a @ b / lengths, -1, 1)) if lengths else 0.0
    shares = np.stack([1 - t, t])
    if np.sin(angle) > 1e-6:
        shares = np.sin(shares * angle) / np.sin(angle)
    return (shares.T @ np.stack([a, b])).reshape(len(t), *one.shape).astype(np.float32)
