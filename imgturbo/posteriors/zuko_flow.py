r"""Flows of the package zuko behind the same contract: masked autoregressive and neural ones.

    w = f(x; c),      log p(x|z) = log N(w; 0, 1) + log|det ∂f/∂x|,      x̃ = f⁻¹(ε; c)

An autoregressive f computes all of w at once, and x number by number; a neural one searches for
each number by bisection, so that draws are slow. Papamakarios et al. 2017 (MAF,
arXiv:1705.07057), Huang et al. 2018 (NAF, arXiv:1804.00779), Wehenkel & Louppe 2019 (UNAF,
arXiv:1908.05164), Meng et al. 2020 (Gaussianisation, arXiv:2003.01941).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from imgturbo.config.posteriors import ZukoConfig
from imgturbo.errors import ImgturboError
from imgturbo.flows.transform import full_precision, require_channels
from imgturbo.posteriors.dense_flow import log_normal
from imgturbo.posteriors.rows import Conditions, RowGenerator
from imgturbo.posteriors.summaries import build_summary

__all__ = ["ZukoFlow"]


class ZukoFlow(RowGenerator):
    """Draws and densities of p(x|z), (B, C) → (B, C'), by a flow of zuko's.

    Args:
        config: see ``ZukoConfig``.
        in_channels: columns of z.
        out_channels: columns of x.

    Raises:
        ImgturboError: the package zuko is not installed.
    """

    has_density = True

    def __init__(self, config: ZukoConfig, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, build_summary(config.condition, in_channels))
        shapes_alone = torch.empty(0).is_meta
        with torch.device("cpu"), warnings.catch_warnings():
            # Which numbers a layer may see is computed from tensors, which need values; and a first
            # number that may see none has a layer of no weights, of which torch warns.
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            self.flow = _family(config.family)(
                out_channels,
                config.condition.features,
                transforms=config.transforms,
                hidden_features=config.hidden,
            )
        if shapes_alone:
            self.flow.to("meta")

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the summary; zuko's flow makes distributions, which no graph holds."""
        self.summary.compile(*args, **kwargs)

    def push(self, epsilon: Tensor, conditions: Conditions) -> Tensor:
        """f⁻¹: noise (n·B, C') → x, n rows for each condition."""
        (c,) = conditions
        c = c.repeat_interleave(len(epsilon) // len(c), dim=0)
        found: Tensor = self.flow(c.to(epsilon.dtype)).transform.inv(epsilon)
        return found

    def latents(self, x: Tensor, z: Tensor | Conditions) -> tuple[Tensor, Tensor]:
        """f: x (B, C') → w (B, C') and log|det ∂w/∂x| (B,)."""
        require_channels(x, self.out_channels, "this flow")
        (c,) = self.known(z)
        x = full_precision(x)
        w, log_det = self.flow(c.to(x.dtype)).transform.call_and_ladj(x)
        return w, log_det

    def log_density(self, y: Tensor, z: Tensor | Conditions) -> Tensor:
        """log p(y|z) (B,) in nats.

        Raises:
            ImgturboError: other numbers of columns than the flow's.
        """
        w, log_det = self.latents(y, z)
        return log_normal(w) + log_det


def _family(name: str) -> Callable[..., Any]:
    """A flow of zuko's, by the name that a config gives it."""
    try:  # an optional package
        from zuko import flows
    except ImportError:
        raise ImgturboError(
            "model.decoder.kind zuko needs the package zuko: pip install 'imgturbo[zuko]'"
        ) from None
    found: Callable[..., Any] = getattr(flows, name.upper())
    return found
