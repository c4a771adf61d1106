"""A generator applied to a stack of windows, and what that costs.

Windows arrive as stretched values with 0 where nothing was measured, (B, C, h, w), together with
the pixel position of each window's first pixel. A stochastic generator draws its noise from that
position and a seed alone (`PositionalNoise`), so two windows that see the same pixel see the same
noise, and law 1 holds draw by draw.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from imgturbo.errors import ImgturboError
from imgturbo.nets import FreshNoise, Generator, PositionalNoise, Tempered, receptive_field

__all__ = ["Applier", "bytes_per_pixel", "halo_of", "pick_device"]

Array = npt.NDArray[np.float32]


class Applier:
    """Calls a generator on windows; yields one output per draw.

    Args:
        generator: any module that keeps the contract of `imgturbo.nets`.
        device: where it runs; the generator is moved there.
        samples: number of draws; None: the output without noise (ε = 0), the only one there is of a
            deterministic network.
        seed: of the draws; the first has the seed itself.
        temperature: of the draws' noise; 1 is the model's own distribution.
        precision: ``"no"`` for float32, ``"bf16"`` for automatic mixed precision.

    Raises:
        ImgturboError: several draws of a generator that has only one output, a temperature below
            zero or without draws.
    """

    def __init__(
        self,
        generator: Generator,
        device: torch.device,
        samples: int | None = None,
        seed: int = 0,
        precision: str = "no",
        temperature: float = 1.0,
    ) -> None:
        if samples is not None and samples < 1:
            raise ImgturboError(f"{samples} samples make no image; use 1 or more")
        if samples is not None and not generator.stochastic:
            raise ImgturboError(
                f"{samples} samples were asked of a deterministic network, which has one output; "
                "leave --samples out, or train one with noise_channels > 0 or head: gaussian"
            )
        if not temperature >= 0:
            raise ImgturboError(f"the temperature must be zero or more, not {temperature}")
        if temperature != 1 and samples is None:
            raise ImgturboError(
                f"a temperature of {temperature} is one of draws, and none are asked for; add "
                "--samples"
            )
        if precision not in ("no", "bf16"):
            raise ImgturboError(f"precision {precision!r} is unknown; use 'no' or 'bf16'")
        generator.to(device).eval()
        self.generator = generator.to(memory_format=torch.channels_last)
        self.device = device
        self.channels = generator.out_channels
        self.draws = samples or 1
        self.noisy = samples is not None
        self.seed = seed
        self.precision = precision
        self.temperature = temperature

    @torch.inference_mode()
    def __call__(
        self, stack: Array, origins: Tensor | Sequence[tuple[int, int]]
    ) -> Iterator[Array]:
        """(B, C, h, w) stretched float32 → (B, C', h, w) stretched float32, once a draw.

        Rows of a table, (B, C) → (B, C'), have the number of the row and 0 for an origin.
        """
        form = torch.channels_last if stack.ndim == 4 else torch.contiguous_format
        u = torch.from_numpy(stack).to(self.device, memory_format=form)
        noises = [
            Tempered(PositionalNoise(self.seed, origins, draw), self.temperature)
            if self.noisy
            else None
            for draw in range(self.draws)
        ]
        outputs = self.generator.draws(u, noises)
        mixed = self.precision == "bf16"
        while True:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
                output = next(outputs, None)
            if output is None:
                return
            yield output.float().cpu().numpy()


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device that was named, else the first CUDA device, else the CPU.

    Raises:
        ImgturboError: no such device here.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        picked = torch.device(device)
        torch.empty(1, device=picked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ImgturboError(f"device {device!s} cannot be used here ({reason}); try cpu") from None
    return picked


def halo_of(generator: Generator, overlap: int | None) -> tuple[int, bool]:
    """(halo in pixels, whether it covers the receptive field) for an overlap of windows.

    An `overlap` of None takes the receptive field r on each side, 2r in all. A generator of images
    of one size sees them whole. One with statistics over the image has no r; its windows may be
    blended, with an overlap that is asked for, but never agree.

    Raises:
        ImgturboError: no receptive field to take, a negative overlap.
    """
    if generator.size is not None:
        return 0, True
    if overlap is None:
        return receptive_field(generator), True
    if overlap < 0:
        raise ImgturboError(f"an overlap of {overlap} pixels makes no sense; use 0 or more")
    halo = -(-overlap // 2)
    return halo, not generator.whole_image and halo >= receptive_field(generator)


@torch.inference_mode()
def bytes_per_pixel(generator: Generator, channels: int) -> float:
    """What the network holds at its peak for one input pixel, in bytes of float32.

    Measured, not guessed: modules' outputs are followed on a small input from their making to their
    release. Buffers that the convolution library takes within a call are not seen; they were
    measured to be some 40 % more (docs/performance.md), hence the 1.5.
    """
    # Several cells of the coarsest grid, but no huge image where that grid is itself coarse.
    side = generator.size or max(64, generator.stride, min(8 * generator.stride, 256))
    like = next(generator.parameters(), torch.zeros(()))
    alive: dict[int, int] = {}
    peak = 0

    def made(_module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal peak
        if isinstance(output, Tensor):
            key = output.untyped_storage().data_ptr()
            alive[key] = output.numel() * 4
            weakref.finalize(output, alive.pop, key, None)
            peak = max(peak, sum(alive.values()))

    hooks = [module.register_forward_hook(made) for module in generator.modules()]
    try:
        u = torch.zeros(1, channels, side, side, device=like.device, dtype=like.dtype)
        noise = FreshNoise() if generator.stochastic else None
        with torch.random.fork_rng(devices=[]):
            generator(u, noise)
    finally:
        for hook in hooks:
            hook.remove()
    return 1.5 * (peak + 4 * channels * side * side) / (side * side)
