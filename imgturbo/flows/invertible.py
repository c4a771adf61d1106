r"""One invertible network as both maps of a pair: encoder f, decoder f⁻¹, for tables of numbers.

    f = c_n ∘ Q_n ∘ … ∘ c_1 ∘ Q_1 ∘ a,      z̃ = f(x),    x̃ = f⁻¹(z)

a is an ActNorm, Q_i a learnt mixing of the columns (GLOW, arXiv:1807.03039) and c_i an affine
coupling of two sides (Ardizzone et al. 2019, arXiv:1808.04730). Both maps hold the same weights, so
that x̂ = x and ẑ = z whatever these are. What is left to learn is the distribution of z̃, whose
divergence from a prior has a closed form: see ``turbo.closed``.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from imgturbo.config import InvertibleConfig
from imgturbo.errors import ImgturboError
from imgturbo.flows.actnorm import ActNorm
from imgturbo.flows.chain import Chain
from imgturbo.flows.coupling import Affine, Coupling
from imgturbo.flows.mixing import LUMixing
from imgturbo.flows.predictors import DensePredictor
from imgturbo.flows.transform import Transform
from imgturbo.nets.answer import Answer
from imgturbo.nets.generator import TableGenerator
from imgturbo.nets.noise import Noise

__all__ = ["InvertibleMap", "invertible_pair"]


class InvertibleMap(TableGenerator):
    """One way through f, (B, C) → (B, C).

    Args:
        config: its ``turned`` says which way: f itself, or f⁻¹.
        in_channels, out_channels: C, twice.
        flow: f, where another map has made it.

    Raises:
        ImgturboError: two unlike numbers of columns, or one column alone.
    """

    tells: ClassVar[frozenset[str]] = frozenset({"log_det"})

    def __init__(
        self,
        config: InvertibleConfig,
        in_channels: int,
        out_channels: int,
        flow: Transform | None = None,
    ) -> None:
        if in_channels != out_channels or in_channels < 2:
            raise ImgturboError(
                f"model.decoder.kind invertible maps as many numbers as it reads, two or more, not "
                f"{in_channels} to {out_channels}; set data.source.numbers to the number of "
                "columns, or take another kind"
            )
        super().__init__(in_channels, out_channels)
        self.turned = config.turned
        self.flow = _flow(config, in_channels) if flow is None else flow

    def forward(self, u: Tensor, noise: Noise | None = None) -> Tensor:
        """f(u) of an encoder, f⁻¹(u) of a decoder; ``noise`` is not taken notice of.

        Raises:
            ImgturboError: no table (B, C).
        """
        return self.answer(u).output if self.turned else self.flow.inverse(self.checked(u))

    def answer(self, u: Tensor, noise: Noise | None = None) -> Answer:
        """f(u) and log|det ∂f/∂u| (B,); of the inverse, too, by what it is the inverse of."""
        if self.turned:
            output, log_det = self.flow(self.checked(u))
            return Answer(output, log_det=log_det)
        output = self.flow.inverse(self.checked(u))
        return Answer(output, log_det=-self.flow(output)[1])

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile f, which gives the log-determinants both ways; its inverse stays as it is."""
        self.flow.compile(*args, **kwargs)


def invertible_pair(
    config: InvertibleConfig, z_channels: int, x_channels: int
) -> tuple[InvertibleMap, InvertibleMap]:
    """Encoder x → z and decoder z → x, of the same weights.

    Raises:
        ImgturboError: two unlike numbers of columns.
    """
    encoder = InvertibleMap(config.model_copy(update={"turned": True}), x_channels, z_channels)
    decoder = InvertibleMap(
        config.model_copy(update={"turned": False}), z_channels, x_channels, encoder.flow
    )
    return encoder, decoder


def _flow(config: InvertibleConfig, channels: int) -> Chain:
    predictor = partial(DensePredictor, width=config.width, hidden_layers=config.layers)
    parts: list[Transform] = [ActNorm(channels)]
    for number in range(config.blocks):
        parts += [LUMixing(channels, seed=number), Coupling(channels, predictor, Affine())]
    return Chain(*parts)
