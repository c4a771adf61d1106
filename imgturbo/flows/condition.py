r"""φ(y): features of the condition for every coupling of the invertible network.

``ConditionPyramid`` has one trunk that is halved along with the flow, and a small head a stage:

    stem     y (B, C, sH, sW) → (B, F₀, H, W), s pixels of y along one of x
    level i  blocks on (B, Fᵢ, H/2ⁱ, W/2ⁱ), Fᵢ = min(2ⁱ·F₀, F_max), then half the resolution
    head i   3×3 to the channels that stage i's couplings read
    head n   for a dense backend: the mean over the pixels of one level more, then a dense layer

``ColorizationCondition`` is the published network for colorization: a trunk that ends at the
resolution of x (256 channels, a quarter of y's sides), and for *every* coupling a head of its own
that halves as often as its stage asks for. Where the authors normalise over the batch, here the
channels of one pixel are.

Unlike the flow, φ need not be invertible; it is trained with the flow by the same likelihood. There
are no image statistics in it, so that without a dense backend windows agree with the whole image.

Ardizzone et al. 2019 (arXiv:1907.02392), sections 3.2–3.4 and appendix; blocks after VGG (Simonyan
& Zisserman 2015, arXiv:1409.1556) or ConvNeXt (Liu et al. 2022, arXiv:2201.03545); the published
trunk is that of Zhang et al. 2016 (arXiv:1603.08511).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from imgturbo.config import (
    ColorizationConditionConfig,
    ConditionConfig,
    FlowStageConfig,
    PyramidConditionConfig,
)
from imgturbo.errors import ImgturboError
from imgturbo.flows.transform import Condition
from imgturbo.nets.layers import ChannelNorm

__all__ = ["ColorizationCondition", "ConditionPyramid", "build_condition"]


class _VGGBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = ChannelNorm(width)

    def forward(self, h: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(h)))


class _ConvNeXtBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = ChannelNorm(width)
        self.expand = nn.Conv2d(width, 4 * width, 1)
        self.project = nn.Conv2d(4 * width, width, 1)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.project(F.gelu(self.expand(self.norm(self.spatial(h)))))


_BLOCKS: dict[str, type[_VGGBlock | _ConvNeXtBlock]] = {
    "vgg": _VGGBlock,
    "convnext": _ConvNeXtBlock,
}


class ConditionPyramid(nn.Module):
    """A feature pyramid: y (B, C, sH, sW) → one tensor a stage, and a vector for the dense part.

    Args:
        config: kind and sizes.
        channels: C.
        heads: channels that each stage reads, finest first; 0 where none does.
        dense: numbers that the dense backend reads; None: there is none.
    """

    def __init__(
        self,
        config: PyramidConditionConfig,
        channels: int,
        heads: Sequence[int],
        dense: int | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.scale = config.scale
        block = _BLOCKS[config.kind]
        count = len(heads) + (dense is not None)
        widths = [min(config.width * 2**level, config.max_width) for level in range(count)]
        # Patches where the condition is finer; at equal resolution neighbours matter.
        kernel, padding = (config.scale, 0) if config.scale > 1 else (3, 1)
        self.stem = nn.Conv2d(channels, widths[0], kernel, stride=config.scale, padding=padding)
        self.levels = nn.ModuleList(
            nn.Sequential(*[block(width) for _ in range(config.blocks)]) for width in widths
        )
        self.downs = nn.ModuleList(
            nn.Sequential(ChannelNorm(before), nn.Conv2d(before, after, 2, stride=2))
            for before, after in itertools.pairwise(widths)
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(width, head, 3, padding=1) if head else nn.Identity()
            for width, head in zip(widths, heads, strict=False)
        )
        self.vector = None if dense is None else nn.Linear(widths[-1], dense)
        if config.frozen:
            for trunk in (self.stem, self.levels, self.downs):
                trunk.requires_grad_(False)

    def forward(self, y: Tensor) -> list[Condition]:
        """Conditions, finest first, the dense backend's (B, dense) last.

        Raises:
            ImgturboError: ``y`` is no image, has another number of bands, or sides that cannot be
                halved as often as the flow does.
        """
        _check(y, self.channels, self.scale * 2 ** (len(self.levels) - 1))
        conditions: list[Condition] = []
        h = self.stem(y)
        levels = cast("list[nn.Module]", list(self.levels))
        for index, level in enumerate(levels):
            h = level(h if index == 0 else self.downs[index - 1](h))
            if index < len(self.heads):
                head = self.heads[index]
                conditions.append(None if isinstance(head, nn.Identity) else head(h))
        if self.vector is not None:
            conditions.append(self.vector(h.mean(dim=(2, 3))))
        return conditions


class ColorizationCondition(nn.Module):
    """y (B, C, 4H, 4W) → for each stage one tensor a coupling; and a vector for the dense part.

    Args:
        config: whether the trunk is trained.
        channels: C, 1 in the paper.
        stages: of the flow; each asks for ``blocks`` tensors of ``width`` channels.
        dense: numbers that the dense backend reads; None: there is none.
    """

    features = 256

    def __init__(
        self,
        config: ColorizationConditionConfig,
        channels: int,
        stages: Sequence[FlowStageConfig],
        dense: int | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.multiple = config.scale * 2 ** (len(stages) - 1)
        self.trunk = nn.Sequential(
            *_convolutions(channels, [64, 64], last_stride=2),
            *_convolutions(64, [128, 128], last_stride=2),
            *_convolutions(128, [256, 256, 256], last_stride=2),
            *_convolutions(256, [512, 512, 512]),
            *_convolutions(512, [512, 512, 512], dilation=2),
            *_convolutions(512, [512, 512, 512], dilation=2),
            *_convolutions(512, [512, 512, 512]),
            nn.ConvTranspose2d(512, self.features, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(self.features, self.features, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(self.features, self.features, 3, padding=1),
        )
        self.heads = nn.ModuleList(
            nn.ModuleList(self._head(level, stage.width) for _ in range(stage.blocks))
            for level, stage in enumerate(stages)
        )
        self.vector = None if dense is None else self._vector_head(dense)
        if config.frozen:
            self.trunk.requires_grad_(False)

    def forward(self, y: Tensor) -> list[Condition]:
        """Conditions, finest first, the backend's (B, dense) last; errors as for a pyramid."""
        _check(y, self.channels, self.multiple)
        h = self.trunk(y)
        conditions: list[Condition] = []
        for heads in self.heads:
            conditions.append([head(h) for head in cast("nn.ModuleList", heads)])
        if self.vector is not None:
            conditions.append(self.vector(h))
        return conditions

    def _head(self, level: int, width: int) -> nn.Sequential:
        """As many halvings as ``level``, the last of three with twice the channels."""
        widths = [self.features, *[128, 128, 256][:level]]
        widths += [256] * (level + 1 - len(widths))
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(0.05)]
        layers += [nn.Conv2d(widths[-1], width, 3, padding=1), ChannelNorm(width)]
        return nn.Sequential(*layers)

    def _vector_head(self, dense: int) -> nn.Sequential:
        widths = [self.features, 128, 256, 256, dense]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(0.05)]
        layers[-1] = nn.AdaptiveAvgPool2d(1)
        return nn.Sequential(*layers, nn.Flatten(), nn.LayerNorm(dense))


def build_condition(
    config: ConditionConfig,
    channels: int,
    stages: Sequence[FlowStageConfig],
    dense: int | None,
    prior: bool = False,
) -> ConditionPyramid | ColorizationCondition:
    """The condition network that ``config`` names, for a flow of these stages.

    Nothing is made that nothing reads: DDP would wait for its gradient. ``prior`` says whether a
    split reads the condition of the stage behind it.

    Raises:
        ImgturboError: no stage reads any of it, so that the flow would not depend on the source.
    """
    prior = prior and not config.a_head_a_coupling  # whose splits read no condition
    heads = [
        stage.width
        if stage.blocks or stage.injector or (prior and before is not None and before.keep < 1)
        else 0
        for before, stage in zip([None, *stages], stages, strict=False)
    ]
    if not any(heads):
        raise ImgturboError(
            "no stage of this flow reads the condition; give one a conditional block at least "
            "(model.decoder.stages: blocks; a stage with one channel cannot have any)"
        )
    if config.a_head_a_coupling:
        return ColorizationCondition(config, channels, stages, dense)
    return ConditionPyramid(config, channels, heads, dense)


def _convolutions(
    inputs: int, widths: Sequence[int], last_stride: int = 1, dilation: int = 1
) -> list[nn.Module]:
    """3×3 convolutions with ReLU, the last with ``last_stride``, and a norm behind them."""
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(itertools.pairwise([inputs, *widths])):
        stride = last_stride if index == len(widths) - 1 else 1
        layers.append(
            nn.Conv2d(before, after, 3, stride=stride, padding=dilation, dilation=dilation)
        )
        layers.append(nn.ReLU())
    return [*layers, ChannelNorm(widths[-1])]


def _check(y: Tensor, channels: int, multiple: int) -> None:
    if y.ndim != 4 or y.shape[1] != channels:
        raise ImgturboError(
            f"this flow was trained on conditions of {channels} band(s), (B, {channels}, H, W), "
            f"not on an array of shape {tuple(y.shape)}; give it those bands (a grey image where "
            "one band is expected)"
        )
    if y.shape[2] % multiple or y.shape[3] % multiple:
        raise ImgturboError(
            f"the sides of the condition must be multiples of {multiple}, not {y.shape[2]} × "
            f"{y.shape[3]}; crop or pad it"
        )
