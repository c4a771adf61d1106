r"""The conditional flow of rows: x ↔ w given c = s(z), by dense couplings.

    w = f(x; c),      log p(x|z) = log N(w; 0, 1) + log|det ∂f/∂x|,      x̃ = f⁻¹(ε; c)

It starts as x = w: the couplings' networks are zero at first. Trained by its likelihood
(:class:`imgturbo.flows.objective.Likelihood`); ``objective.noise`` is what dequantises whole
numbers. Ardizzone et al. 2019 (arXiv:1907.02392), on tables Kruse et al. 2021 (arXiv:2101.10763);
splines: Durkan et al. 2019 (arXiv:1906.04032).
"""

from __future__ import annotations

import math

from torch import Tensor

from imgturbo.config.posteriors import DenseFlowConfig
from imgturbo.flows.transform import full_precision, require_channels
from imgturbo.posteriors.couplings import dense_chain
from imgturbo.posteriors.rows import Conditions, RowGenerator
from imgturbo.posteriors.summaries import build_summary

__all__ = ["DenseFlow", "log_normal"]


def log_normal(w: Tensor) -> Tensor:
    """log N(w; 0, 1) (B,), of rows w (B, D)."""
    return -0.5 * (w.square() + math.log(2 * math.pi)).sum(1)


class DenseFlow(RowGenerator):
    """Draws and densities of p(x|z), (B, C) → (B, C').

    Args:
        config: see ``DenseFlowConfig``.
        in_channels: columns of z.
        out_channels: columns of x.

    Raises:
        ImgturboError: one column of x and a law that gives it no width, or columns of z that make
            no whole elements of a set or series.
    """

    has_density = True

    def __init__(self, config: DenseFlowConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, build_summary(config.condition, in_channels))
        features = config.condition.features
        self.flow = dense_chain(config, out_channels, features, injector=config.injector)

    def push(self, epsilon: Tensor, conditions: Conditions) -> Tensor:
        """f⁻¹: noise (n·B, C') → x, n rows for each condition."""
        return self.flow.inverse(epsilon, conditions[0])

    def latents(self, x: Tensor, z: Tensor | Conditions) -> tuple[Tensor, Tensor]:
        """f: x (B, C') → w (B, C') and log|det ∂w/∂x| (B,)."""
        require_channels(x, self.out_channels, "this flow")
        (condition,) = self.known(z)
        return self.flow(full_precision(x), condition)  # type: ignore[no-any-return]

    def log_density(self, y: Tensor, z: Tensor | Conditions) -> Tensor:
        """log p(y|z) (B,) in nats.

        Raises:
            ImgturboError: other numbers of columns than the flow's.
        """
        w, log_det = self.latents(y, z)
        return log_normal(w) + log_det
