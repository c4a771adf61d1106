"""The published way to translate a large image, and a count of what any way costs.

"Hubble Meets Webb" (Kinakh et al. 2024, Sensors 24, 1151) and its released code translate windows
of 256 × 256 pixels at every multiple of a stride (8 by default), one at a time, and average all
that cover a pixel with equal weights:

    x̃(p) = Σ_k G(z|_{w_k})(p) / #{k : p ∈ w_k},

the image being grown at the right and bottom by zeros to (n div stride + 1) · stride. Far from the
borders a pixel is computed (256 / stride)² times: 1024 times by default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imgturbo.nets import Generator

__all__ = ["STRIDE", "WINDOW", "Tally", "counting", "sliding_translate"]

WINDOW = 256
STRIDE = 8


class Tally:
    """Pixels that went through a network."""

    def __init__(self) -> None:
        self.pixels = 0

    def passes(self, height: int, width: int) -> float:
        """Network evaluations a pixel of an image (height, width)."""
        return self.pixels / (height * width)


@contextmanager
def counting(generator: Generator) -> Iterator[Tally]:
    """Count what the translators put through ``generator``: pixels of the window · draws · passes.

    A generator whose one output takes several passes of its network (diffusion) says how many.
    """
    tally = Tally()
    drawn, passes = generator.draws, getattr(generator, "passes", 1)

    def counted(u: Tensor, noises: Sequence[Any]) -> Iterator[Tensor]:
        for output in drawn(u, noises):
            tally.pixels += passes * len(u) * u.shape[-2] * u.shape[-1]
            yield output

    generator.draws = counted  # type: ignore[method-assign]
    try:
        yield tally
    finally:
        del generator.draws  # the class's own again


@torch.inference_mode()
def sliding_translate(
    generator: Generator,
    image: NDArray[np.float32],
    *,
    window: int = WINDOW,
    stride: int = STRIDE,
    batch: int = 1,
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """The flat average over all windows.

    Args:
        generator: in evaluation mode; without noise.
        image: (C, H, W), stretched; what is not finite counts as 0.
        window, stride: in pixels.
        batch: windows that go through the network together; 1 as published.
        device: where the network runs.

    Returns:
        (C', H, W).
    """
    generator.to(device).eval()
    _, height, width = image.shape
    grown = [max(window, (side // stride + 1) * stride) for side in (height, width)]
    padded = torch.zeros(image.shape[0], *grown)
    padded[:, :height, :width] = torch.from_numpy(np.nan_to_num(image, posinf=0, neginf=0))
    rows, cols = (range(0, side - window + 1, stride) for side in grown)
    places = [(row, col) for row in rows for col in cols]
    total = torch.zeros(generator.out_channels, *grown, device=device)
    count = torch.zeros(*grown, device=device)
    padded = padded.to(device)
    for first in range(0, len(places), batch):
        group = places[first : first + batch]
        stack = torch.stack([padded[:, y : y + window, x : x + window] for y, x in group])
        outputs = next(iter(generator.draws(stack, [None])))
        for (y, x), output in zip(group, outputs, strict=True):
            total[:, y : y + window, x : x + window] += output
            count[y : y + window, x : x + window] += 1
    # A stride that does not divide the window leaves a rim without windows; there is 0 / 1.
    return (total / count.clamp(min=1))[:, :height, :width].cpu().numpy()
