r"""A conditional flow as a generator: z ↦ x̃ ~ p(x|z), beside the networks of ``imgturbo.nets``.

    x̃ = f⁻¹(ε; φ(z)),      ε ~ N(0, 1) from a source of noise;  ε = 0 without one

So the mosaic translator applies it like any other: windows that agree (the latents are functions of
the sky position), means, deviations and quantiles of many draws. φ(z) is computed once for all of
them.

Where the condition is finer than x (``scale`` s > 1: colours at a quarter of the grey image's
resolution), the flow's x is the mean over s × s pixels, and what is drawn is brought back to the
size of z by joint bilateral upsampling, which keeps to the edges of z.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from imgturbo.config import FlowConfig
from imgturbo.errors import ImgturboError
from imgturbo.flows.cinn import MultiScaleCINN
from imgturbo.flows.transform import Condition
from imgturbo.flows.upsampling import joint_bilateral_upsample
from imgturbo.nets.generator import ImageGenerator
from imgturbo.nets.noise import Noise

__all__ = ["CINNDecoder"]


class CINNDecoder(ImageGenerator):
    """Samples of p(x|z) as a generator (B, C, H, W) → (B, C', H, W), and its density.

    Args:
        config: of the flow.
        in_channels: bands of z, the condition.
        out_channels: bands of x.

    Attributes:
        flow: x (B, C', H/s, W/s) ↔ latents, given z (B, C, H, W).
        scale: s.
        size: the side of z, for a flow with a dense backend; None: any.
    """

    has_density = True

    def __init__(self, config: FlowConfig, in_channels: int, out_channels: int) -> None:
        flow = MultiScaleCINN(config, out_channels, in_channels)
        super().__init__(
            in_channels, out_channels, stride=flow.stride * flow.scale, stochastic=True
        )
        self.config = config
        self.flow = flow
        self.scale = flow.scale
        self.size = None if flow.size is None else flow.size * flow.scale
        self.whole_image = self.size is not None

    def narrow(self) -> CINNDecoder:
        """The same flow with one channel wherever that is no matter: inside φ and the couplings.

        Not in x: how many of its channels a split keeps, and with that which couplings there are
        behind it and which channels meet in them, decides how far the flow sees.
        """
        thin = {"width": 1, "coarse_width": 1}
        stages = [stage.model_copy(update=thin) for stage in self.config.stages]
        condition = self.config.condition.narrowed()
        config = self.config.model_copy(update={"stages": stages, "condition": condition})
        with torch.random.fork_rng(devices=[]):  # its weights are not the caller's business
            narrow = CINNDecoder(config, 1, self.out_channels)
        # Permutations above all, which a bundle brings along.
        narrow.load_state_dict(dict(self.named_buffers()), strict=False)
        return narrow

    def translate(self, u: Tensor, noise: Noise | None) -> Tensor:
        return next(self.draws(u, [noise]))

    def draws(self, u: Tensor, noises: Sequence[Noise | None]) -> Iterator[Tensor]:
        height, width = u.shape[2:]
        u = self.padded(u)
        conditions = self.flow.conditions(u)
        for noise in noises:
            x = self.flow.sample(conditions, noise=[_OnGridOf(noise, self.scale)])[:, 0]
            if self.scale > 1:
                x = joint_bilateral_upsample(x, u)
            yield x[..., :height, :width]

    def conditions(self, u: Tensor) -> list[Condition]:
        """What the flow needs of z (B, C, H, W), whose sides are multiples of the stride."""
        return self.flow.conditions(u)

    def sample(self, conditions: list[Condition]) -> Tensor:
        """A draw of the flow's x for each condition, by torch's own generator."""
        return self.flow.sample(conditions)[:, 0]

    def reduce(self, x: Tensor) -> Tensor:
        """The flow's x (B, C', H/s, W/s): means over s × s pixels of x (B, C', H, W)."""
        return x if self.scale == 1 else F.avg_pool2d(x, self.scale)

    def log_density(self, y: Tensor, z: Tensor | list[Condition]) -> Tensor:
        """log p(y|z) (B,) in nats, of the flow's y (B, C', H/s, W/s) given z (B, C, H, W).

        In the place of z may stand what ``flow.conditions`` made of it.

        Raises:
            ImgturboError: bands or sides that do not fit the flow.
        """
        return self.flow.log_prob(y, z)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile what a likelihood runs: the condition's network and the way to the latents."""
        self.flow.condition.compile(*args, **kwargs)
        self.flow.compile(*args, **kwargs)

    def check(self, given: int | None, wanted: int | None) -> None:
        """Refuse tables, and images of a side that the flow cannot read.

        Raises:
            ImgturboError: naming the sides that fit.
        """
        super().check(given, wanted)
        assert given is not None
        named = f"data.crop or prepare.tile.size is {given}"
        if self.size is not None and given != self.size:
            raise ImgturboError(
                f"{named}, but the flow has a dense backend for {self.size} pixels; make them "
                "agree (model.decoder.dense.size counts pixels of the target)"
            )
        if given % self.stride:
            raise ImgturboError(
                f"{named}, but this flow reads images whose sides are multiples of {self.stride}; "
                "use one"
            )


class _OnGridOf:
    """Noise for the flow's grid, s times coarser than z's; zeros where there is no noise."""

    def __init__(self, noise: Noise | None, scale: int) -> None:
        self.noise = noise
        self.scale = scale

    def __call__(self, layer: int, shape: Sequence[int], stride: int, like: Tensor) -> Tensor:
        if self.noise is None:
            return torch.zeros(tuple(shape), device=like.device, dtype=like.dtype)
        return self.noise(layer, shape, stride * self.scale, like)
