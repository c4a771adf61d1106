r"""The multi-scale conditional invertible network: x ↔ (w₁, …, w_n) given φ(y).

    stage i    perhaps an injector: all channels moved by φᵢ(y)       (Cᵢ, H/2ⁱ, W/2ⁱ)
               blocks × [conditional coupling, mixing]
               half the resolution by Haar wavelets                   (4Cᵢ, …)
               coarse_blocks × [mixing, unconditional 1×1 coupling]
               split: a share goes on, the rest is the latent wᵢ
    backend    flatten, blocks × [permutation, conditional dense coupling], last latent

    log p(x|y) = Σᵢ log N(wᵢ; 0, 1) + log|det ∂w/∂x|

Samples of x given y are x = f⁻¹(T·ε; φ(y)), ε ~ N(0, 1), with the temperature T: 1 is the model's
own distribution, 0 its image of w = 0. Without the dense backend every operation is local and any
image size divisible by the stride will do; with noise that is a function of the position
(``PositionalNoise``) windows of an image then agree with the whole.

Ardizzone et al. 2019, *Guided Image Generation with Conditional Invertible Neural Networks*
(arXiv:1907.02392), section 3 and appendix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from imgturbo.config import FlowConfig, FlowDenseConfig, FlowStageConfig
from imgturbo.errors import ImgturboError
from imgturbo.flows.actnorm import ActNorm
from imgturbo.flows.chain import Chain
from imgturbo.flows.condition import build_condition
from imgturbo.flows.coupling import Coupling, MakePredictor
from imgturbo.flows.flatten import Flatten
from imgturbo.flows.haar import HaarDownsampling, PixelUnshuffle
from imgturbo.flows.injector import Injector
from imgturbo.flows.laws import make_law
from imgturbo.flows.mixing import Permutation, make_mixing
from imgturbo.flows.predictors import ConvPredictor, DensePredictor
from imgturbo.flows.split import Pyramid, Split
from imgturbo.flows.transform import Condition, Transform, full_precision, require_channels
from imgturbo.nets.noise import FreshNoise, Noise

__all__ = ["MultiScaleCINN"]


class MultiScaleCINN(nn.Module):
    """p(x|y) for images x (B, C, H, W) given images y (B, Cc, sH, sW).

    Args:
        config: see ``FlowConfig``.
        channels: C.
        condition_channels: Cc.

    Attributes:
        stride: H and W, and the origins of windows, must be multiples of it.

    Raises:
        ImgturboError: ``dense.size`` cannot be halved as often as there are stages.
    """

    def __init__(self, config: FlowConfig, channels: int, condition_channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.condition_channels = condition_channels
        self.scale = config.condition.scale
        self.stride = 2 ** len(config.stages)
        self.size = None if config.dense is None else config.dense.size
        if self.size is not None and self.size % self.stride:
            raise ImgturboError(
                f"dense.size {self.size} cannot be halved {len(config.stages)} times; "
                f"make it a multiple of {self.stride}"
            )
        levels = _possible(config.stages, channels)
        self.condition = build_condition(
            config.condition,
            condition_channels,
            levels,
            None if config.dense is None else config.dense.width,
            config.prior,
        )
        build = _Builder(config)
        stages, splits, self._latents = [], [], []
        for level, stage in enumerate(levels):
            stages.append(build.stage(stage, channels))
            channels *= 4
            keep = max(1, int(stage.keep * channels))
            last = level == len(levels) - 1
            # A split reads the next stage's condition where its couplings share one; the backend's
            # is a vector, which a split of images cannot read.
            shared = not config.condition.a_head_a_coupling and not last
            width = levels[level + 1].width if shared else 0
            splits.append(build.split(channels, keep, width))
            if splits[-1] is not None:
                self._latents.append((channels - keep, 2 ** (level + 1)))
                channels = keep
        if config.dense is not None and self.size is not None:
            side = self.size // self.stride
            stages.append(build.dense(config.dense, (channels, side, side)))
        else:
            splits.pop()
        self._latents.append((channels, self.stride))
        self.flow = Pyramid(stages, splits)

    def conditions(self, y: Tensor) -> list[Condition]:
        """φ(y) for every stage; all other methods take it in the place of y."""
        conditions: list[Condition] = self.condition(y)
        for level, (stage, own) in enumerate(zip(self.flow.stages, conditions, strict=True)):
            if isinstance(own, list):  # one a conditional coupling; those come first in a stage
                layers = cast("Chain", stage).transforms
                positions = [i for i, layer in enumerate(layers) if isinstance(layer, Coupling)]
                spread: list[Tensor | None] = [None] * len(layers)
                for position, tensor in zip(positions, own, strict=False):
                    spread[position] = tensor
                conditions[level] = spread
        return conditions

    def forward(self, x: Tensor, y: Tensor | list[Condition]) -> tuple[list[Tensor], Tensor]:
        """Latents, finest first, and log|det ∂w/∂x| (B,).

        Raises:
            ImgturboError: x or y has the wrong bands, or sides that do not fit.
        """
        require_channels(x, self.channels, "this flow")
        self.latent_shapes(*x.shape[2:])
        return self.flow(x, self._conditions(y))  # type: ignore[no-any-return]

    def inverse(self, latents: Sequence[Tensor], y: Tensor | list[Condition]) -> Tensor:
        """Latents, finest first, → x (B, C, H, W).

        y may have fewer rows, (B/n, …), each for n latents that follow each other.

        Raises:
            ImgturboError: latents of another number or size than y asks for.
        """
        conditions = self._conditions(y)
        _, height, width = _geometry(conditions)
        shapes = self.latent_shapes(height, width)
        if [tuple(w.shape[1:]) for w in latents] != shapes or len({len(w) for w in latents}) > 1:
            raise ImgturboError(
                f"latents of shapes {[tuple(w.shape) for w in latents]} where "
                f"{['(B, ' + ', '.join(map(str, shape)) + ')' for shape in shapes]} belong"
            )
        return self.flow.inverse(latents, conditions)

    def log_prob(self, x: Tensor, y: Tensor | list[Condition]) -> Tensor:
        """log p(x|y) (B,), in nats."""
        latents, log_det = self(x, y)
        for w in latents:
            log_det = log_det - 0.5 * (w.square() + math.log(2 * math.pi)).flatten(1).sum(1)
        return log_det

    @torch.no_grad()
    def sample(
        self,
        y: Tensor | list[Condition],
        n: int = 1,
        temperature: float = 1.0,
        noise: Sequence[Noise] | None = None,
    ) -> Tensor:
        """n samples for each y: (B, n, C, H, W). φ(y) is computed once for all of them.

        Args:
            y: condition (B, Cc, sH, sW), or what ``conditions`` made of it.
            n: samples for each condition.
            temperature: standard deviation of the latents, ≥ 0.
            noise: n sources of ε, one a sample; None: torch's generator. ``PositionalNoise`` of n
                seeds makes windows agree; its origins are in pixels of x.

        Raises:
            ImgturboError: the temperature is below zero, n below one, or y does not fit.
        """
        if not temperature >= 0:
            raise ImgturboError(f"the temperature must be zero or more, not {temperature}")
        if n < 1 or (noise is not None and len(noise) != n):
            count = "none" if noise is None else len(noise)
            raise ImgturboError(f"cannot draw {n} samples (sources of noise: {count})")
        conditions = self._conditions(y)
        finest, height, width = _geometry(conditions)
        batch = len(finest)
        shapes = self.latent_shapes(height, width)
        like = full_precision(finest.new_empty(0))
        latents = []
        for index, (shape, (_, stride)) in enumerate(zip(shapes, self._latents, strict=True)):
            draws = [
                source(index, (batch, *shape), stride, like)
                for source in (noise or [FreshNoise()] * n)
            ]
            latents.append(temperature * torch.stack(draws, dim=1).flatten(0, 1))
        return self.flow.inverse(latents, conditions).unflatten(0, (batch, n))

    def latent_shapes(self, height: int, width: int) -> list[tuple[int, ...]]:
        """Shapes of the latents (without batch) of an image x of this height and width.

        Raises:
            ImgturboError: a side is no multiple of the stride, or not the one size of a flow with
                a dense backend.
        """
        if self.size is not None and (height, width) != (self.size, self.size):
            raise ImgturboError(
                f"this flow has a dense backend for images of {self.size} × {self.size} pixels, "
                f"not {height} × {width}"
            )
        if height % self.stride or width % self.stride or not height or not width:
            raise ImgturboError(
                f"the sides of an image must be multiples of {self.stride} for this flow, not "
                f"{height} × {width}; crop or pad it"
            )
        shapes: list[tuple[int, ...]] = [
            (channels, height // stride, width // stride) for channels, stride in self._latents
        ]
        if self.size is not None:
            shapes[-1] = (math.prod(shapes[-1]),)
        return shapes

    def _conditions(self, y: Tensor | list[Condition]) -> list[Condition]:
        return self.conditions(y) if isinstance(y, Tensor) else y


def _geometry(conditions: Sequence[Condition]) -> tuple[Tensor, int, int]:
    """A feature map of the condition, and the height and width of the x that belongs to it."""
    for level, own in enumerate(conditions):
        for tensor in [own] if isinstance(own, Tensor) else own or []:
            if tensor is not None and tensor.ndim == 4:
                return tensor, tensor.shape[2] << level, tensor.shape[3] << level
    raise ValueError("no stage of these conditions is an image")


def _possible(stages: Sequence[FlowStageConfig], channels: int) -> list[FlowStageConfig]:
    """The stages, without couplings where a single channel leaves them nothing to split."""
    found = []
    for stage in stages:
        found.append(stage if channels > 1 else stage.model_copy(update={"blocks": 0}))
        channels = max(1, int(stage.keep * 4 * channels))
    return found


class _Builder:
    """Makes the parts of a flow, a new seed for every mixing."""

    def __init__(self, config: FlowConfig) -> None:
        self.config = config
        self.law = make_law(config.law, config.clamp)
        self.seed = 0

    def stage(self, stage: FlowStageConfig, channels: int) -> Chain:
        layers: list[Transform] = []
        if stage.injector:
            layers += [ActNorm(channels)] if self.config.actnorm else []
            layers.append(Injector(channels, stage.width, stage.width, self.law))
        for _ in range(stage.blocks):
            layers += self._coupling(channels, self._conditional(stage))
            layers.append(self._mixing(channels))
        layers.append(
            HaarDownsampling(stage.order, stage.rebalance)
            if stage.down == "haar"
            else PixelUnshuffle(stage.order)
        )
        for _ in range(stage.coarse_blocks):
            layers.append(self._mixing(4 * channels))
            layers += self._coupling(4 * channels, self._unconditional(stage))
        return Chain(*layers, memory_saving=self.config.memory_saving)

    def split(self, channels: int, keep: int, condition: int) -> Split | None:
        if keep == channels:
            return None

        def make(inputs: int, outputs: int) -> nn.Module:
            return ConvPredictor(
                inputs,
                outputs,
                width=4 * keep,
                condition_channels=condition,
                kernels=(3, 1),
                reach=self.config.reach,
            )

        return Split(channels, keep, make if self.config.prior else None)

    def dense(self, dense: FlowDenseConfig, shape: tuple[int, int, int]) -> Chain:
        numbers = math.prod(shape)
        layers: list[Transform] = [Flatten(shape)]
        for _ in range(dense.blocks):
            layers.append(Permutation(numbers, self._next_seed()))
            layers += self._coupling(
                numbers,
                lambda i, o: DensePredictor(
                    i,
                    o,
                    width=dense.width,
                    condition_channels=dense.width,
                    hidden_layers=dense.layers,
                    reach=self.config.reach,
                ),
            )
        return Chain(*layers, memory_saving=self.config.memory_saving)

    def _conditional(self, stage: FlowStageConfig) -> MakePredictor:
        return lambda i, o: ConvPredictor(
            i,
            o,
            width=stage.width,
            condition_channels=stage.width,
            kernels=stage.kernels,
            reach=self.config.reach,
        )

    def _unconditional(self, stage: FlowStageConfig) -> MakePredictor:
        return lambda i, o: ConvPredictor(
            i, o, width=stage.coarse_width, kernels=(1, 1, 1), slope=0.01, reach=self.config.reach
        )

    def _coupling(self, channels: int, make: MakePredictor) -> list[Transform]:
        coupling = Coupling(channels, make, self.law)
        return [ActNorm(channels), coupling] if self.config.actnorm else [coupling]

    def _mixing(self, channels: int) -> Transform:
        return make_mixing(self.config.mixing, channels, self._next_seed())

    def _next_seed(self) -> int:
        self.seed += 1
        return self.seed
