r"""The augmented invertible network: what is observed, and beside it what the observation lost.

    (w, 0, y) = f(x, 0),      x̃ = f⁻¹(ε, 0, y),      ε ~ N(0, 1)

f is one chain of couplings, without a condition. Trained so that y comes out as it was observed
and w normal and independent of it, its inverse draws x ~ p(x|y). The zeros are padding, where
either side has fewer numbers than the chain (and training puts small noise there, so that the
inverse is learnt around zero as well).

Ardizzone et al. 2019, *Analyzing Inverse Problems with Invertible Neural Networks*
(arXiv:1808.04730), section 3. What trains it: :mod:`imgturbo.posteriors.augmented_terms`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imgturbo.config.posteriors import AugmentedINNConfig
from imgturbo.errors import ImgturboError
from imgturbo.flows.transform import full_precision, require_channels
from imgturbo.posteriors.couplings import dense_chain
from imgturbo.posteriors.rows import Conditions, RowGenerator

__all__ = ["AugmentedINN"]


class AugmentedINN(RowGenerator):
    """Draws of p(x|y), (B, C) → (B, C'): z of the other networks is y here.

    Args:
        config: see ``AugmentedINNConfig``.
        in_channels: columns of y.
        out_channels: columns of x.

    Attributes:
        sizes: numbers of w, of padding and of y on the far side.
        padding: numbers of padding on the side of x.

    Raises:
        ImgturboError: ``total`` is less than either side has.
    """

    def __init__(self, config: AugmentedINNConfig, in_channels: int, out_channels: int) -> None:
        latent = config.latent or max(1, out_channels - in_channels)
        least = max(out_channels, in_channels + latent, 2)
        total = config.total or least
        if total < least:
            raise ImgturboError(
                f"model.decoder.total is {total}, but the target has {out_channels} columns, and "
                f"the source's {in_channels} and {latent} of w make {in_channels + latent}; set "
                f"{least} or more"
            )
        super().__init__(in_channels, out_channels, nn.Identity(), numbers=latent)
        self.sizes = (latent, total - latent - in_channels, in_channels)
        self.padding = total - out_channels
        self.flow = dense_chain(config, total)

    def predict(self, x: Tensor, padding: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """f: x (B, C') → w (B, W), padding and y (B, C).

        Args:
            x: the target.
            padding: (B, ·) beside it; None: zeros.
        """
        require_channels(x, self.out_channels, "this network")
        x = full_precision(x)
        beside = x.new_zeros(len(x), self.padding) if padding is None else padding
        z, _ = self.flow(torch.cat([x, beside], dim=1))
        w, pad, y = z.split(self.sizes, dim=1)
        return w, pad, y

    def bring_back(self, w: Tensor, padding: Tensor | None, y: Tensor) -> Tensor:
        """f⁻¹: (w, padding, y) → x and its padding (B, T); None: zeros."""
        pad = w.new_zeros(len(w), self.sizes[1]) if padding is None else padding
        return self.flow.inverse(torch.cat([w, pad, y.to(w.dtype)], dim=1))

    def push(self, epsilon: Tensor, conditions: Conditions) -> Tensor:
        """w (n·B, W) → x (n·B, C'), n rows for each y."""
        (y,) = conditions
        y = y.repeat_interleave(len(epsilon) // len(y), dim=0)
        return self.bring_back(epsilon, None, y)[:, : self.out_channels]
